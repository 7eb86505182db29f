"""The journal: a file of records that survives its manager, whole records only.

A record is a header (length, checksum of the payload, checksum of these two; big-endian) and a
payload: the facts of one loop turn. It is written in one go. A manager that dies while it writes
leaves a torn record at the end: whatever was in it was acknowledged to nobody, and the next manager
cuts it off. Damage anywhere else is not guessed around: it is refused by its place.

After a failed sync the file is in doubt for good: Linux may have dropped the pages that it could
not write, and tells so only once, so a second sync of the same file that goes well says nothing of
them (PostgreSQL lost data that way). Only a new file with all facts in it, synced, ends the doubt.
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
        if len(header) < _HEADER.size:
            return  # torn
        length, checksum, header_checksum = _HEADER.unpack(header)
        end = at + _HEADER.size + length
        payload = data[at + _HEADER.size : end]
        if zlib.crc32(header[: _CHECKED.size]) == header_checksum:
            if end > len(data):
                return  # torn
            if zlib.crc32(payload) == checksum:
                yield end, payload
                at = end
                continue
        if (at or not any(data)) and not _goes_on(data, at + 1):
            return  # torn: pages of it never reached the disk, the first ones perhaps
        raise _damaged(name, at)


def _goes_on(data: bytes, at: int) -> bool:
    """Whether a whole record begins anywhere from here on: chance makes none."""
    for start in range(at, len(data) - _HEADER.size + 1):
        length, checksum, header_checksum = _HEADER.unpack_from(data, start)
        begin = start + _HEADER.size
        if (
            begin + length <= len(data)
            and zlib.crc32(data[start : start + _CHECKED.size]) == header_checksum
            and zlib.crc32(data[begin : begin + length]) == checksum
        ):
            return True
    return False


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
        self.doubtful = False  #: it may be torn, or not be on the disk: only ``rewrite`` helps
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
            OSError: it is not in the journal, nor is a part of it, unless that is ``doubtful`` now.
        """
        record = memoryview(pack_record(encode_facts(facts)))
        try:
            written = 0
            while written < len(record):
                written += os.write(self._file, record[written:])
        except OSError:
            try:
                os.ftruncate(self._file, self.size)
            except OSError:
                self.doubtful = True  # what came after a torn record would be read as damage
            raise
        self.size += len(record)

    def sync(self) -> None:
        """Wait until what was written is on the disk, where that means something.

        Raises:
            OSError: it may not be, nor what was written before; the journal is ``doubtful``.
        """
        if not self.durable:
            return
        try:
            os.fdatasync(self._file) if hasattr(os, "fdatasync") else os.fsync(self._file)
        except OSError:
            self.doubtful = True
            raise

    def rewrite(self, facts: Iterable[AnyFact]) -> None:
        """Replace all records by these facts, at once or not at all.

        Raises:
            OSError: the old ones are still there; or, if the journal is ``doubtful`` now, the new
                ones are, and a machine that went down could bring the old ones back.
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
        before, self._file = self._file, descriptor
        self.size = self.snapshot_size = size
        self.doubtful = True
        with contextlib.suppress(OSError):  # of writes that nobody needs any more
            os.close(before)
        if self.durable:
            sync_directory(self.path.parent)
        self.doubtful = False

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def sync_directory(path: Path) -> None:
    """Wait until the names in a directory are on the disk.

    Raises:
        OSError: they may not be.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
