"""The journal: whole records only, damage refused by its place, written and replaced at once."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrkernel.errors import ClusterError
from mrkernel.ids import JobId
from mrkernel.manager.facts import VERSION, AnyFact, Began, BlobKept, JobGone, Numbers, encode_facts
from mrkernel.manager.journal import Journal, pack_record, read_journal, read_records

TURNS: list[list[AnyFact]] = [
    [Began(VERSION, "c1", "3.11", 1, 0.0)],
    [BlobKept("d", b"functions"), Numbers(1, 2)],
    [JobGone(JobId("j1"))],
]
FACTS = [fact for turn in TURNS for fact in turn]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    """A journal with three turns in it."""
    written = Journal(path, durable=False)
    for turn in TURNS:
        written.write(turn)
    yield written
    written.close()


def reopened(path: Path) -> list[AnyFact]:
    """What the next manager finds."""
    again = Journal(path, durable=False)
    again.close()
    return again.facts


def test_what_is_written_is_found_by_the_next_one(journal: Journal, path: Path) -> None:
    assert reopened(path) == read_journal(path) == FACTS
    assert journal.size == path.stat().st_size
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_journal_goes_on_where_it_was(journal: Journal, path: Path) -> None:
    again = Journal(path, durable=True)
    again.write([JobGone(JobId("j2"))])
    again.sync()
    again.close()
    assert reopened(path) == [*FACTS, JobGone(JobId("j2"))]


@pytest.mark.fault(29)
def test_cut_at_every_byte_the_whole_records_count(journal: Journal, path: Path) -> None:
    data = path.read_bytes()
    ends = [end for end, _ in read_records(data)]
    for size in range(len(data) + 1):
        path.write_bytes(data[:size])
        whole = sum(end <= size for end in ends)
        assert reopened(path) == [fact for turn in TURNS[:whole] for fact in turn]
        assert path.stat().st_size == ([0, *ends][whole])  # the torn rest is cut off


@pytest.mark.parametrize("rest", [1, 12, 100, 5000])
def test_zeros_at_the_end_are_a_write_that_did_not_arrive(
    journal: Journal, path: Path, rest: int
) -> None:
    with path.open("ab") as file:
        file.write(bytes(rest))
    assert reopened(path) == FACTS


@pytest.mark.fault(29)
@pytest.mark.parametrize("lost", [slice(0, 1), slice(0, 2), slice(1, 2), slice(1, 3)])
def test_pages_of_the_last_record_that_did_not_arrive_are_a_torn_tail(
    journal: Journal, path: Path, lost: slice
) -> None:
    """Some file systems put zeros there, at the beginning of the record as well as at its end."""
    page = 4096
    before = path.read_bytes()
    record = bytearray(pack_record(encode_facts([BlobKept("e", os.urandom(3 * page))])))
    size = min(lost.stop * page, len(record)) - lost.start * page
    record[lost.start * page : lost.start * page + size] = bytes(size)
    path.write_bytes(before + record)
    assert reopened(path) == FACTS
    assert path.read_bytes() == before
    # The same in the middle is damage: what follows was acknowledged.
    path.write_bytes(before + record + pack_record(encode_facts([Numbers(1, 1)])))
    with pytest.raises(ClusterError, match=f"damaged at byte {len(before):,}"):
        reopened(path)


@pytest.mark.fault(29)
def test_every_bit_that_flips_is_found(journal: Journal, path: Path) -> None:
    """Before the last record it is refused by its place; in the last, at worst it is a torn one."""
    data = path.read_bytes()
    ends = [end for end, _ in read_records(data)]
    starts = [0, *ends]
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        number = sum(end <= bit // 8 for end in ends)
        try:
            found = reopened(path)
        except ClusterError as error:
            assert f"{path} is damaged at byte {starts[number]:,}" in str(error)
        else:
            assert number == len(TURNS) - 1, "damage in the middle was passed over"
            assert found == [fact for turn in TURNS[:-1] for fact in turn]
        assert path.exists()


@given(st.binary(max_size=200))
def test_garbage_is_no_journal(garbage: bytes) -> None:
    try:
        assert list(read_records(garbage)) == []
    except ClusterError as error:
        assert "damaged at byte 0" in str(error)


@given(st.lists(st.binary(max_size=50), max_size=8))
def test_records_there_and_back(payloads: list[bytes]) -> None:
    data = b"".join(map(pack_record, payloads))
    assert [payload for _, payload in read_records(data)] == payloads


class Counted(bytes):
    """Bytes that count how many of them are copied."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        Counted.copied += len(part) if isinstance(part, bytes) else 1
        return part


def test_a_long_journal_is_copied_once() -> None:
    """Looking at all that follows each record took minutes of a manager's restart."""
    data = Counted(b"".join(pack_record(bytes([1]) * 50) for _ in range(1000)))
    assert len(list(read_records(data))) == 1000
    assert Counted.copied < 2 * len(data)


# --- a disk that is full --------------------------------------------------------------------------


class FullDisk:
    """Takes so many bytes more, and half a write at a time."""

    def __init__(self, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = room
        self._write = os.write
        monkeypatch.setattr("mrkernel.manager.journal.os.write", self.write)

    def write(self, file: int, data: Any) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._write(file, bytes(data)[: min(self.room, max(1, len(data) // 2))])
        self.room -= written
        return written


@pytest.mark.fault(25)
@pytest.mark.parametrize("room", [0, 1, 11, 12, 13, 20])
def test_a_full_disk_leaves_the_records_before(
    journal: Journal, path: Path, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()
    disk = FullDisk(room, monkeypatch)
    with pytest.raises(OSError, match="No space left"):
        journal.write([BlobKept("e", b"x" * 100)])
    assert path.read_bytes() == before
    disk.room = 10_000
    journal.write([JobGone(JobId("j2"))])
    assert reopened(path) == [*FACTS, JobGone(JobId("j2"))]


# --- written anew ---------------------------------------------------------------------------------


def test_a_rewritten_journal_has_the_new_facts_alone(journal: Journal, path: Path) -> None:
    facts: list[AnyFact] = [Numbers(i, i) for i in range(2_500)]
    journal.rewrite(iter(facts))
    assert journal.size == journal.snapshot_size == path.stat().st_size
    journal.write([JobGone(JobId("j9"))])
    assert journal.size > journal.snapshot_size
    assert reopened(path) == [*facts, JobGone(JobId("j9"))]
    assert [each.name for each in path.parent.iterdir()] == ["journal"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_rewrite_that_fails_leaves_the_old_one(journal: Journal, path: Path) -> None:
    def failing() -> Iterator[AnyFact]:
        yield Numbers(1, 1)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        journal.rewrite(failing())
    assert [each.name for each in path.parent.iterdir()] == ["journal"]
    journal.write([JobGone(JobId("j2"))])
    assert reopened(path) == [*FACTS, JobGone(JobId("j2"))]


def test_a_rewrite_that_was_interrupted_is_not_looked_at(journal: Journal, path: Path) -> None:
    path.with_suffix(".new").write_bytes(b"half a snapshot")
    assert reopened(path) == FACTS
    journal.rewrite([Numbers(3, 3)])
    assert reopened(path) == [Numbers(3, 3)]


def test_what_fails_for_another_reason_leaves_the_old_one_too(journal: Journal, path: Path) -> None:
    def failing() -> Iterator[AnyFact]:
        yield Numbers(1, 1)
        raise KeyError("a bug of ours")

    open_files = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    with pytest.raises(KeyError):
        journal.rewrite(failing())
    assert reopened(path) == FACTS
    assert [each.name for each in path.parent.iterdir()] == ["journal"]
    if open_files:
        assert len(os.listdir("/proc/self/fd")) == open_files


# --- a disk that fails to sync --------------------------------------------------------------------


def test_a_failed_sync_is_in_doubt_until_all_is_written_anew(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    journal.durable = True
    journal.sync()
    with monkeypatch.context() as patched:
        patched.setattr("mrkernel.manager.journal.os.fdatasync", broken)
        with pytest.raises(OSError, match="Input/output"):
            journal.sync()
    journal.sync()
    assert journal.doubtful
    journal.rewrite(FACTS)
    assert not journal.doubtful
    with monkeypatch.context() as patched:
        patched.setattr("mrkernel.manager.journal.sync_directory", broken)
        with pytest.raises(OSError, match="Input/output"):
            journal.rewrite([Numbers(9, 9)])
    assert journal.doubtful  # a machine that goes down may bring the old name back
    assert reopened(path) == [Numbers(9, 9)]


def test_half_a_record_that_cannot_be_cut_off_is_in_doubt(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next record would stand behind it, and all from there on be refused as damage."""

    def broken(file: int, size: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    disk = FullDisk(20, monkeypatch)
    monkeypatch.setattr("mrkernel.manager.journal.os.ftruncate", broken)
    with pytest.raises(OSError, match="No space left"):
        journal.write([BlobKept("e", b"x" * 100)])
    assert journal.doubtful
    disk.room = 10_000
    journal.rewrite([*FACTS, JobGone(JobId("j2"))])
    monkeypatch.undo()
    assert reopened(path) == [*FACTS, JobGone(JobId("j2"))]


# --- of another version ---------------------------------------------------------------------------


def test_a_later_version_is_refused(path: Path) -> None:
    path.write_bytes(pack_record(encode_facts([Began(VERSION + 1, "c1", "3.14", 1, 0.0)])))
    with pytest.raises(ClusterError, match=f"of version {VERSION + 1} .* start the version that"):
        Journal(path)


def test_a_fact_of_the_future_is_refused(path: Path) -> None:
    path.write_bytes(pack_record(b"\x91\x81\xa4fact\xa6future"))
    with pytest.raises(ClusterError, match=r"this version cannot read .*'future'"):
        read_journal(path)
