"""Runs: one file per attempt with its output, partition by partition, each block with a checksum.

A run file is a header, blocks, and a footer with the index; the index also travels in messages, so
a reader needs only ``read(offset, length)`` and does not care whether the bytes come from a file,
from memory or over TCP. One *segment* is one spill's share of a partition: its blocks are sorted
by key, unless the index says ``sorted=False`` (map-only output: each pair alone, in yield order).
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

import msgspec

from mrkernel.errors import CorruptRunError
from mrkernel.shuffle.block import BLOCK_BYTES, Block, load_block

_MAGIC = b"mrkrun\x00\x01"
_TAIL = struct.Struct("<QII")  # offset of the index, its length, its crc32; then the magic again

#: Bytes at the end of a file that most often hold its index.
_INDEX_GUESS = 4096

#: Reads ``length`` bytes at ``offset``.
Read = Callable[[int, int], bytes | memoryview]


class BlockPlace(msgspec.Struct, frozen=True, array_like=True):
    """Where one block is, and what is in it."""

    offset: int
    length: int
    crc: int  #: crc32 of its bytes
    groups: int
    pairs: int
    continues: bool = False  #: its last group goes on in the next block of the segment


Segment = tuple[BlockPlace, ...]


class PartitionPlace(msgspec.Struct, frozen=True, array_like=True):
    """One partition's share of a run."""

    nbytes: int
    groups: int  #: of all segments together; a key in two segments counts twice
    pairs: int
    segments: tuple[Segment, ...]


_NOTHING = PartitionPlace(0, 0, 0, ())


class RunIndex(msgspec.Struct, frozen=True, array_like=True):
    """What is where in a run file. Small: it travels in messages.

    An empty run has no partitions here and no file.
    """

    partitions: tuple[PartitionPlace, ...] = ()
    nbytes: int = 0  #: size of the file; 0: there is none
    sorted: bool = True  #: False: blocks are in yield order
    digest: int = 0  #: of all pairs, see `digest`; 0: not known

    def partition(self, number: int) -> PartitionPlace:
        """Give the share of partition ``number`` (from 0); an empty one if it has nothing."""
        return self.partitions[number] if number < len(self.partitions) else _NOTHING

    @property
    def groups(self) -> int:
        """Groups of all partitions and segments."""
        return sum(place.groups for place in self.partitions)

    @property
    def pairs(self) -> int:
        """Pairs of all partitions."""
        return sum(place.pairs for place in self.partitions)


class RunWriteError(OSError):
    """A run could not be written: its disk is full, or broken.

    Attributes:
        filename: the run file; it is removed by ``RunWriter.abort``.
        needed: bytes that it would have had so far.
    """

    needed: int


def run_name(map_index: int, attempt: int) -> str:
    """Name the run file of a map attempt within its job's directory."""
    return f"map-{map_index}.{attempt}.run"


def block_bytes(limit_bytes: int) -> int:
    """Choose the size of blocks for tasks with so much memory: 64 segments merge at once."""
    return max(BLOCK_BYTES // 4, min(BLOCK_BYTES, limit_bytes // 768))


class RunWriter:
    """Writes a run file; nothing is created before the first block.

    Args:
        path: the file.
        partitions: how many shares it has.
        sorted: whether keys ascend within a segment.
        inline: a run up to so many bytes makes no file: it is ``data`` after ``close``.
        block_bytes: of a block, about.
    """

    def __init__(
        self,
        path: Path | str,
        partitions: int,
        *,
        sorted: bool = True,
        inline: int = 0,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        self._path = path  # a Path of it would take a tenth of the time of a task without records
        self.data: bytes | None = None  #: all of a run that made no file
        self._inline = inline
        self.partitions = partitions
        self.sorted = sorted  #: until the run is closed it may be found out that they do not
        self._block_bytes = block_bytes
        self._file: BinaryIO | None = None
        self._offset = 0
        self._open: list[list[BlockPlace]] = [[] for _ in range(partitions)]
        self._segments: list[list[Segment]] = [[] for _ in range(partitions)]

    def write_block(self, partition: int, block: Block) -> None:
        """Write some groups of one partition, in blocks of about the usual size.

        Raises:
            UserCodeError: a value cannot be pickled.
            OSError: the disk is full or gone.
        """
        for piece in block.split(self._block_bytes):
            self._write(partition, piece)

    def end_segment(self) -> None:
        """Say that what follows starts again at the lowest key, in all partitions."""
        for places, segments in zip(self._open, self._segments, strict=True):
            if places:
                segments.append(tuple(places))
                places.clear()

    def close(self, digest: int = 0) -> RunIndex:
        """Write the index, with the digest of all pairs, and close the file.

        Without any block there is no file.
        """
        self.end_segment()
        if self._file is None:
            return RunIndex(sorted=self.sorted)
        tail = _TAIL.size + len(_MAGIC)
        places = tuple(map(_summary, self._segments))
        index = RunIndex(places, 0, self.sorted, digest)  # the size is known only after it
        data = msgspec.msgpack.encode(index)
        try:
            self._file.write(data + _TAIL.pack(self._offset, len(data), crc32(data)) + _MAGIC)
            if isinstance(self._file, io.BytesIO):
                self.data = self._file.getvalue()
            self._file.close()
        except OSError as error:
            raise self._failed(error, len(data) + tail) from error
        return RunIndex(places, self._offset + len(data) + tail, self.sorted, digest)

    def abort(self) -> None:
        """Close and remove the file."""
        if self._file is not None:
            # What is still in its buffer may not fit on the disk, and is not wanted either.
            with contextlib.suppress(OSError):
                self._file.close()
            if not isinstance(self._file, io.BytesIO):
                Path(self._path).unlink(missing_ok=True)

    def _create(self) -> BinaryIO:
        return open(self._path, "wb")  # noqa: PTH123 - a path may be a string here

    def _failed(self, error: OSError, more: int) -> RunWriteError:
        failed = RunWriteError(error.errno, error.strerror, str(self._path))
        failed.needed = self._offset + more
        return failed

    def _write(self, partition: int, block: Block) -> None:
        data = block.dump()
        if len(data) > 4 * self._block_bytes and block.pairs > 1:
            # The estimate was far off (a few huge values among small ones): halve.
            middle = block.pairs // 2
            self._write(partition, block.cut(0, middle))
            self._write(partition, block.cut(middle, block.pairs))
            return
        try:
            if self._file is None:
                self._file = io.BytesIO() if self._inline else self._create()
                self._file.write(_MAGIC)
                self._offset = len(_MAGIC)
            place = BlockPlace(
                self._offset, len(data), crc32(data), block.groups, block.pairs, block.continues
            )
            if isinstance(self._file, io.BytesIO) and self._offset + len(data) > self._inline:
                begun, self._file = self._file, self._create()
                self._file.write(begun.getbuffer())
            self._file.write(data)
        except OSError as error:
            raise self._failed(error, len(data)) from error
        self._offset += len(data)
        self._open[partition].append(place)


class SegmentReader:
    """Iterates the blocks of one segment; may be iterated again.

    Attributes:
        blocks: their places.
        sorted: whether keys ascend.
    """

    __slots__ = ("_path", "_read", "blocks", "sorted")

    def __init__(
        self,
        read: Read,
        path_for_errors: str,
        blocks: Sequence[BlockPlace],
        *,
        sorted: bool = True,
    ) -> None:
        self._read = read
        self._path = path_for_errors
        self.blocks = blocks
        self.sorted = sorted

    def __iter__(self) -> Iterator[Block]:
        for number in range(len(self.blocks)):
            yield self.block(number)

    def block(self, number: int) -> Block:
        """Read block ``number`` (from 0).

        Raises:
            CorruptRunError: its bytes are not those that were written.
        """
        place = self.blocks[number]
        data = self._read(place.offset, place.length)
        if len(data) != place.length or crc32(data) != place.crc:
            raise CorruptRunError(
                f"{self._path} is damaged at byte {place.offset}: what made it must run again",
                self._path,
                place.offset,
            )
        return load_block(data)


def segment_readers(
    read: Read, path_for_errors: str, index: RunIndex, partition: int
) -> list[SegmentReader]:
    """Make readers for all segments of one partition of a run, in the order they were written."""
    return [
        SegmentReader(read, path_for_errors, blocks, sorted=index.sorted)
        for blocks in index.partition(partition).segments
    ]


def file_read(path: Path | str) -> Read:
    """Make a ``read`` of a local file, which is open only while it reads.

    So ten thousand runs need no ten thousand file descriptors; an open costs 6 µs per block.
    Mapping the file would save a third of the 28 µs that a block of 128 KB costs with its
    checksum, or 1.5 ns a pair (measured), and end the process where a file is cut short.
    """
    path = Path(path)

    def read(offset: int, length: int) -> bytes:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    return read


def memory_read(data: bytes | memoryview) -> Read:
    """Make a ``read`` of a run in memory."""
    view = memoryview(data)
    return lambda offset, length: view[offset : offset + length]


def read_index(path: Path | str) -> RunIndex:
    """Read the index back from a run file.

    Raises:
        CorruptRunError: the file is no whole run.
        FileNotFoundError: there is no such file.
    """
    name = os.fspath(path)
    tail = _TAIL.size + len(_MAGIC)
    # One open and one read where four would do: a reduce task may have ten thousand runs.
    with Path(name).open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(len(_MAGIC))
        start = max(0, size - _INDEX_GUESS)
        file.seek(start)
        end = file.read()
        if size < tail + len(_MAGIC) or end[-len(_MAGIC) :] != _MAGIC:
            raise CorruptRunError(f"{name} is not a whole run file", name, max(0, size - tail))
        offset, length, crc = _TAIL.unpack_from(end, len(end) - tail)
        data = b""
        if offset + length + tail == size:
            if offset < start:
                file.seek(offset)
                end, start = file.read(length), offset
            data = end[offset - start : offset - start + length]
    if not data or crc32(data) != crc or head != _MAGIC:
        raise CorruptRunError(f"{name} is damaged in its index", name, offset)
    index = msgspec.msgpack.decode(data, type=RunIndex)
    return msgspec.structs.replace(index, nbytes=size)


def _summary(segments: Sequence[Segment]) -> PartitionPlace:
    blocks = [place for segment in segments for place in segment]
    return PartitionPlace(
        sum(place.length for place in blocks),
        sum(place.groups for place in blocks),
        sum(place.pairs for place in blocks),
        tuple(segments),
    )


def tail_index(read: Read, name: str) -> RunIndex:
    """Read the index by a ``read`` that counts negative offsets from the end, as a peer's does.

    Raises:
        CorruptRunError: the file is no whole run.
    """
    size = _TAIL.size + len(_MAGIC)
    end = bytes(read(-size, size))
    if len(end) != size or end[-len(_MAGIC) :] != _MAGIC:
        raise CorruptRunError(f"{name} is not a whole run file", name, 0)
    offset, length, crc = _TAIL.unpack_from(end)
    data = bytes(read(offset, length))
    if len(data) != length or crc32(data) != crc:
        raise CorruptRunError(f"{name} is damaged in its index", name, offset)
    index = msgspec.msgpack.decode(data, type=RunIndex)
    return msgspec.structs.replace(index, nbytes=offset + length + size)


def memory_index(data: bytes | memoryview) -> RunIndex:
    """Read the index of a run in memory.

    Raises:
        CorruptRunError: the bytes are no whole run.
    """
    view = memoryview(data)

    def read(offset: int, length: int) -> memoryview:
        start = offset if offset >= 0 else max(0, len(view) + offset)
        return view[start : start + length]

    return tail_index(read, "a result part")
