"""Records: journal and blobs of a manager, through its deaths and full disks."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from description import describe
from desk import FUNCTIONS, PYTHON, split

from mrkernel.data.splits import MemorySplit, Split
from mrkernel.errors import ClusterError
from mrkernel.ids import JobId
from mrkernel.job.spec import JobSpec
from mrkernel.manager import keeping
from mrkernel.manager.events import BlobStored, PeerId, PeerJoined, Received
from mrkernel.manager.facts import Began
from mrkernel.manager.instructions import DropBlob, Instruction
from mrkernel.manager.journal import read_journal
from mrkernel.manager.keeping import SMALL_BLOB, Records
from mrkernel.manager.state import ManagerState
from mrkernel.manager.state_directory import StateDirectory
from mrkernel.manager.workers import Home
from mrkernel.protocol.messages import Message, ReleaseJob, Submit

CLIENT = PeerId(1)
ANY = split(0)
LARGE = "1" * 64  #: digest of a blob that has a file of its own


class Life:
    """One manager's life on a state directory, without its sockets."""

    def __init__(self, path: Path) -> None:
        self.lives = True
        self.directory = StateDirectory.open(path, durable=False)
        self.records = Records(self.directory)
        self.state = ManagerState(Home(PYTHON, self.directory.cluster, self.records.start))
        self.blobs: dict[str, bytes] = {}
        self.told = self.records.restore(self.state, self.blobs, 5.0, 100.0)
        self.state.handle(PeerJoined(CLIENT, "client"), 5.0)

    def obey(self, instructions: list[Instruction]) -> None:
        for instruction in instructions:
            if isinstance(instruction, DropBlob):
                self.blobs.pop(instruction.digest)
                self.records.drop_blob(instruction.digest)

    def ask(self, message: Message) -> None:
        self.obey(self.state.handle(Received(CLIENT, message), 5.0))

    def store(self, digest: str, data: bytes) -> None:
        self.blobs[digest] = data
        self.state.handle(BlobStored(CLIENT, digest), 5.0)

    def submit(self, key: str = "", split: Split = ANY) -> None:
        self.store(FUNCTIONS, b"functions")
        spec = JobSpec(name="job", functions=FUNCTIONS, reduce_tasks=1, python=PYTHON)
        self.ask(Submit(1, spec, (split,), key))

    def submit_large(self) -> None:
        """A job with an input that only its client had."""
        self.store(LARGE, b"x" * (SMALL_BLOB + 1))
        self.submit(split=MemorySplit("x", 0, 1, None, blob=LARGE, size=9))

    def release(self, job: str = "j1") -> None:
        self.ask(ReleaseJob(JobId(job)))

    def write(self) -> None:
        self.records.write(self.state, self.blobs)

    def die(self) -> None:
        if self.lives:
            self.lives = False
            self.directory.close()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Callable[[], Life]]:
    lives: list[Life] = []

    def begin() -> Life:
        if lives:
            lives[-1].die()
        lives.append(Life(tmp_path / "state"))
        return lives[-1]

    yield begin
    lives[-1].die()


@pytest.mark.fault(8, 12)
def test_jobs_and_blobs_come_through_a_death(live: Callable[[], Life]) -> None:
    first = live()
    first.submit("k")
    first.submit_large()
    first.write()
    before = describe(first.state)
    for start in (2, 3):
        again = live()
        assert again.records.start == start
        assert describe(again.state) == before
        assert again.blobs == first.blobs
        again.state.validate()


def test_what_was_not_written_did_not_happen(live: Callable[[], Life]) -> None:
    life = live()
    life.submit()
    assert live().state.jobs == {}


def test_a_start_is_written_even_if_nothing_happens(live: Callable[[], Life]) -> None:
    live()
    assert [live().records.start, live().records.start] == [2, 3]


def test_a_blob_goes_when_that_is_written_down(live: Callable[[], Life], tmp_path: Path) -> None:
    """Else a manager that dies in between would miss what its journal says that it needs."""
    life = live()
    life.submit_large()
    life.write()
    file = tmp_path / "state" / "blobs" / LARGE
    life.release()
    assert file.exists()  # its job is still in the journal
    life = live()
    assert LARGE in life.blobs
    life.release()
    life.write()
    assert not file.exists()
    assert live().state.jobs == {}


def test_a_blob_that_a_later_job_has_as_well_stays(live: Callable[[], Life]) -> None:
    """The same cell twice: the first job is forgotten, and then the manager dies."""
    life = live()
    life.submit_large()
    life.write()
    life.release("j1")
    life.submit_large()
    life.write()
    again = live()
    assert not [each for each in again.told if isinstance(each, DropBlob)]
    assert again.blobs == life.blobs
    assert list(again.state.jobs) == ["j2"]


def test_blobs_of_jobs_that_are_gone_are_swept(live: Callable[[], Life], tmp_path: Path) -> None:
    live()
    (tmp_path / "state" / "blobs" / ("2" * 64)).write_bytes(b"nobody's")
    (tmp_path / "state" / "blobs" / "half.new").write_bytes(b"half")
    live()
    assert list((tmp_path / "state" / "blobs").iterdir()) == []


def test_a_blob_that_is_missing_is_told(live: Callable[[], Life], tmp_path: Path) -> None:
    life = live()
    life.submit_large()
    life.write()
    life.die()
    (tmp_path / "state" / "blobs" / LARGE).unlink()
    directory = StateDirectory.open(tmp_path / "state")
    with directory, pytest.raises(ClusterError, match="1 blobs of jobs are missing"):
        Records(directory).restore(ManagerState(Home(PYTHON)), {}, 0.0, 0.0)
    (tmp_path / "state" / "journal").unlink()
    live()


@pytest.mark.fault(25)
def test_facts_that_could_not_be_written_are_written_later(
    live: Callable[[], Life], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int, data: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    life = live()
    with monkeypatch.context() as patched:
        patched.setattr("mrkernel.manager.journal.os.write", full)
        for key in ("a", "b"):
            life.submit(key)
            with pytest.raises(OSError, match="No space left"):
                life.write()
    life.write()
    assert describe(live().state) == describe(life.state)


def test_a_journal_that_grows_is_written_anew(
    live: Callable[[], Life], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "LARGE_JOURNAL", 4_000)
    life = live()
    life.submit()
    for number in range(2, 200):
        life.submit()
        life.release(f"j{number}")
        life.write()
    journal = tmp_path / "state" / "journal"
    assert journal.stat().st_size < 8_000
    assert isinstance(read_journal(journal)[0], Began)
    assert describe(live().state) == describe(life.state)


def test_a_journal_that_cannot_be_shortened_goes_on(
    live: Callable[[], Life], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried = 0

    def full(facts: Any) -> None:
        nonlocal tried
        tried += 1
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(keeping, "LARGE_JOURNAL", 1_000)
    life = live()
    monkeypatch.setattr(life.directory.journal, "rewrite", full)
    for number in range(1, 100):
        life.submit()
        life.release(f"j{number}")
        life.write()
    assert 1 <= tried < 6
    assert "the journal stays long: No space left" in caplog.text
    assert live().state.jobs == {}


def test_without_a_directory_nothing_is_kept() -> None:
    records = Records(None)
    state = ManagerState(Home(PYTHON))
    assert (records.restore(state, {}, 0.0, 0.0), records.start, records.cluster) == ([], 1, "")
    records.write(state, {})
    records.drop_blob("f")
