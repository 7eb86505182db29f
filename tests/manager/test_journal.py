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


# --- of another version ---------------------------------------------------------------------------


def test_a_later_version_is_refused(path: Path) -> None:
    path.write_bytes(pack_record(encode_facts([Began(VERSION + 1, "c1", "3.14", 1, 0.0)])))
    with pytest.raises(ClusterError, match=f"of version {VERSION + 1} .* start the version that"):
        Journal(path)


def test_a_fact_of_the_future_is_refused(path: Path) -> None:
    path.write_bytes(pack_record(b"\x91\x81\xa4fact\xa6future"))
    with pytest.raises(ClusterError, match=r"this version cannot read .*'future'"):
        read_journal(path)
