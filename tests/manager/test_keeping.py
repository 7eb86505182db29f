"""Records: journal and blobs of a manager, through its deaths and full disks."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from description import describe
from desk import FUNCTIONS, PYTHON, split

from mrkernel.data.splits import MemorySplit, Split
from mrkernel.ids import JobId, TaskId
from mrkernel.job.spec import JobSpec
from mrkernel.manager import keeping
from mrkernel.manager.events import BlobStored, PeerId, PeerJoined, Received
from mrkernel.manager.facts import Began
from mrkernel.manager.instructions import DropBlob, Instruction, Publish
from mrkernel.manager.journal import read_journal
from mrkernel.manager.keeping import SMALL_BLOB, Records
from mrkernel.manager.state import ManagerState
from mrkernel.manager.state_directory import StateDirectory
from mrkernel.manager.story import tell
from mrkernel.manager.workers import Home
from mrkernel.monitor.events import Noted
from mrkernel.protocol.client_messages import ReleaseJob, Submit
from mrkernel.protocol.messages import Message
from mrkernel.protocol.worker_messages import Finished, PartOutput, Register, RunOutput

CLIENT = PeerId(1)
ANY = split(0)
INPUT = b"x" * (SMALL_BLOB + 1)  #: a blob that has a file of its own
LARGE = hashlib.sha256(INPUT).hexdigest()


class Life:
    """One manager's life on a state directory, without its sockets."""

    def __init__(self, path: Path, now: float) -> None:
        self.lives = True
        self.now = now
        self.directory = StateDirectory.open(path, durable=False)
        self.records = Records(self.directory)
        self.state = ManagerState(Home(PYTHON, self.directory.cluster, self.records.start))
        self.blobs: dict[str, bytes] = {}
        self.told = self.records.restore(self.state, self.blobs, now, 100.0)
        self.state.handle(PeerJoined(CLIENT, "client"), now)

    def obey(self, instructions: list[Instruction]) -> None:
        for instruction in instructions:
            if isinstance(instruction, DropBlob):
                self.blobs.pop(instruction.digest)
                self.records.drop_blob(instruction.digest)

    def ask(self, message: Message) -> None:
        self.obey(self.state.handle(Received(CLIENT, message), self.now))

    def store(self, digest: str, data: bytes) -> None:
        self.blobs[digest] = data
        self.state.handle(BlobStored(CLIENT, digest), self.now)

    def submit(self, key: str = "", split: Split = ANY, reduces: int = 1) -> None:
        self.store(FUNCTIONS, b"functions")
        spec = JobSpec(name="job", functions=FUNCTIONS, reduce_tasks=reduces, python=PYTHON)
        self.ask(Submit(1, spec, (split,), key))

    def submit_large(self, reduces: int = 1) -> None:
        """A job with an input that only its client had."""
        self.store(LARGE, INPUT)
        self.submit(split=MemorySplit("x", 0, 1, None, blob=LARGE, size=9), reduces=reduces)

    def run(self, output: RunOutput | None = None, job: str = "j1") -> None:
        """Let its one map task end well on a worker of its own."""
        worker = PeerId(7)
        info = Register("h", "h", 1, 1, PYTHON, "127.0.0.1", 1, "/")
        part = PartOutput("part-0.1", 1, 1, b"x") if output is None else None
        map_0 = TaskId("map-0")
        finished = Finished(JobId(job), map_0, 1, 1, 1, 1, 0.1, output=output, part=part)
        self.obey(self.state.handle(PeerJoined(worker, "worker"), self.now))
        for message in (info, finished):
            self.obey(self.state.handle(Received(worker, message), self.now))

    def notes(self) -> list[str]:
        """What its views were told at the start, in words."""
        events = [each.event for each in self.told if isinstance(each, Publish)]
        return [event.sentence for event in events if isinstance(event, Noted)]

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
        lives.append(Life(tmp_path / "state", 5.0 + 5.0 * len(lives)))
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


def spoil(path: Path, how: str) -> str:
    """Let the file of the input be lost; return what is said of it."""
    file = path / "state" / "blobs" / LARGE
    if how == "missing":
        file.unlink()
        return f"blobs/{LARGE} is not there"
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)
    return f"blobs/{LARGE} is damaged"


@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_a_job_whose_input_is_lost_fails_and_others_go_on(
    live: Callable[[], Life], tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    life = live()
    life.submit()
    life.submit_large()
    life.write()
    life.die()
    said = spoil(tmp_path, how)
    for life in (live(), live()):  # and so it stays
        assert [job.state.name for job in life.state.jobs.values()] == ["RUNNING", "FAILED"]
        job = life.state.jobs[JobId("j2")]
        assert (
            job.sentence == f"the manager has the input of j2 no more ({said}): run the job again"
        )
        life.state.validate()
        assert set(life.blobs) == {FUNCTIONS}
    assert caplog.text.count(f"{said} in {tmp_path / 'state'}: j2 cannot run again") == 1


def test_a_result_outlives_the_input_it_was_made_of(
    live: Callable[[], Life], tmp_path: Path
) -> None:
    life = live()
    life.submit_large(reduces=0)
    life.run()
    assert life.state.jobs[JobId("j1")].state.name == "DONE"
    life.write()
    life.die()
    said = spoil(tmp_path, "missing")
    life = live()
    assert life.notes() == [
        f"the manager has the input of j1 no more ({said}): its result is there, but what of it "
        "is lost cannot be made again"
    ]
    job = life.state.jobs[JobId("j1")]
    assert (job.state.name, job.delivered, job.result_tasks[0].part is not None) == (
        *("DONE", True, True),
    )
    before = describe(life.state)
    again = live()
    assert describe(again.state) == before
    assert not again.notes()


@pytest.mark.fault(25)
def test_after_a_failed_sync_everything_is_written_anew(
    live: Callable[[], Life], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux may drop what it could not write, and the next sync of that file goes well."""
    fails = 0

    def sync(file: int) -> None:
        nonlocal fails
        if fails:
            fails -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    life = live()
    life.directory.journal.durable = True
    monkeypatch.setattr("mrkernel.manager.journal.os.fdatasync", sync)
    monkeypatch.setattr("mrkernel.manager.journal.os.fsync", sync)
    journal = tmp_path / "state" / "journal"
    inode, safe = journal.stat().st_ino, journal.stat().st_size
    life.submit("a")
    for fails in (1, 1):  # noqa: B007 - the second time there is no new fact
        with pytest.raises(OSError, match="Input/output error"):
            life.write()
    life.submit_large()
    life.write()
    before = describe(life.state)
    life.die()
    if journal.stat().st_ino == inode:  # the machine goes down: what was dropped is not there
        os.truncate(journal, safe)
    again = live()
    assert describe(again.state) == before
    assert again.blobs == life.blobs


def test_a_manager_that_finds_no_room_starts_and_writes_later(
    live: Callable[[], Life], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, mode: str, **_: Any) -> Any:
        os.close(os.dup(descriptor))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    life = live()
    life.submit()
    life.write()
    with monkeypatch.context() as patched:
        patched.setattr("mrkernel.manager.journal.os.fdopen", full)
        life = live()
    assert list(life.state.jobs) == ["j1"]
    life.submit("k")
    life.write()
    again = live()
    assert (list(again.state.jobs), again.records.start) == (["j1", "j2"], 3)


def test_a_blob_that_cannot_be_deleted_stops_nothing(
    live: Callable[[], Life], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(digest: str) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    life = live()
    life.submit_large()
    life.write()
    monkeypatch.setattr(life.directory, "drop_blob", broken)
    life.release()
    life.write()
    assert f"blob {LARGE} is left over" in caplog.text
    assert live().state.jobs == {}


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


def test_the_story_tells_when_tasks_were_done_also_after_restarts(
    live: Callable[[], Life], tmp_path: Path
) -> None:
    """Each start writes the journal anew; what happened before is not told as of then."""
    life = live()
    life.submit()
    life.now = 7.0
    life.run(RunOutput((0,), 0))
    life.write()
    for start in (2, 3):
        life = live()
        lines = list(tell(read_journal(tmp_path / "state" / "journal"), "j1"))
        times = [line.split()[0] for line in lines]
        assert "map-0 done" in lines[1]
        moment = datetime.fromtimestamp(107.0).strftime("%H:%M:%S.%f")[:-3]
        assert times[1] == moment
        assert lines[2].endswith(
            f"the manager died and was started again (start {start}): 1 of 1 map kept"
        )
