"""The journal: a file of records that survives its manager, whole records only.

A record is a header (length, checksum of the payload, checksum of these two; big-endian) and a
payload: the facts of one loop turn. It is written in one go. A manager that dies while it writes
leaves a torn record at the end: whatever was in it was acknowledged to nobody, and the next manager
cuts it off. Damage anywhere else is not guessed around: it is refused by its place.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from mrkernel.errors import ClusterError
from mrkernel.manager.facts import AnyFact, decode_facts, encode_facts

_HEADER = struct.Struct("!III")
_CHECKED = struct.Struct("!II")
#: A snapshot holds so many facts a record.
_FACTS_A_RECORD = 1000


def pack_record(payload: bytes) -> bytes:
    """Put the header before one payload."""
    checked = _CHECKED.pack(len(payload), zlib.crc32(payload))
    return checked + zlib.crc32(checked).to_bytes(4, "big") + payload


def read_records(data: bytes, name: str = "the journal") -> Iterator[tuple[int, bytes]]:
    """Yield each whole record: where it ends, in bytes, and its payload; stop at a torn tail.

    Args:
        name: of the file, for errors.

    Raises:
        ClusterError: a record before the last is damaged.
    """
    at = 0
    while at < len(data):
        header = data[at : at + _HEADER.size]
        if len(header) < _HEADER.size or not any(data[at:]):
            return  # torn; some file systems leave zeros where a write did not arrive
        length, checksum, header_checksum = _HEADER.unpack(header)
        if zlib.crc32(header[: _CHECKED.size]) != header_checksum:
            raise _damaged(name, at)
        end = at + _HEADER.size + length
        if end > len(data):
            return  # torn
        payload = data[at + _HEADER.size : end]
        if zlib.crc32(payload) != checksum:
            if end == len(data):
                return  # torn: its last page never reached the disk
            raise _damaged(name, at)
        yield end, payload
        at = end


def _damaged(name: str, at: int) -> ClusterError:
    return ClusterError(
        f"{name} is damaged at byte {at:,}: what follows cannot be trusted; move the file away to "
        "begin anew without its jobs"
    )


def read_journal(path: Path) -> list[AnyFact]:
    """Read all facts of a journal, also of one that a manager is writing.

    Raises:
        ClusterError: it is damaged, or of a later version.
        OSError: it cannot be read.
    """
    facts: list[AnyFact] = []
    for _, payload in read_records(path.read_bytes(), str(path)):
        facts += decode_facts(payload)
    return facts


class Journal:
    """A journal open for writing: what was in it is in ``facts`` until they are taken.

    Args:
        path: made if it is not there.
        durable: whether ``sync`` waits for the disk: not where nobody could read it after the
            machine went down (an embedded cluster ends with its kernel).

    Raises:
        ClusterError: it is damaged.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self.path = path
        self.durable = durable
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_APPEND, 0o600)
        self.size = 0  #: bytes of whole records
        self.snapshot_size = 0  #: bytes right after the last ``rewrite``
        self.facts: list[AnyFact] = []
        try:
            for end, payload in read_records(path.read_bytes(), str(path)):
                self.facts += decode_facts(payload)
                self.size = end
            os.ftruncate(self._file, self.size)
        except BaseException:
            self.close()
            raise

    def write(self, facts: list[AnyFact]) -> None:
        """Append one record.

        Raises:
            OSError: it is not in the journal, nor is a part of it.
        """
        record = memoryview(pack_record(encode_facts(facts)))
        try:
            written = 0
            while written < len(record):
                written += os.write(self._file, record[written:])
        except OSError:
            with contextlib.suppress(OSError):  # a torn tail is cut off by the next reader as well
                os.ftruncate(self._file, self.size)
            raise
        self.size += len(record)

    def sync(self) -> None:
        """Wait until what was written is on the disk, where that means something.

        Raises:
            OSError: it may not be.
        """
        if self.durable:
            os.fdatasync(self._file) if hasattr(os, "fdatasync") else os.fsync(self._file)

    def rewrite(self, facts: Iterable[AnyFact]) -> None:
        """Replace all records by these facts, at once or not at all.

        Raises:
            OSError: the old ones are still there.
        """
        draft = self.path.with_suffix(".new")
        descriptor = os.open(
            draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_APPEND, 0o600
        )
        size = 0
        try:
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                batch: list[AnyFact] = []
                for fact in facts:
                    batch.append(fact)
                    if len(batch) == _FACTS_A_RECORD:
                        size += file.write(pack_record(encode_facts(batch)))
                        batch = []
                size += file.write(pack_record(encode_facts(batch)))
            if self.durable:
                os.fsync(descriptor)
            draft.replace(self.path)
        except BaseException:
            os.close(descriptor)
            draft.unlink(missing_ok=True)
            raise
        os.close(self._file)
        self._file, self.size, self.snapshot_size = descriptor, size, size
        if self.durable:
            _sync_directory(self.path.parent)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
