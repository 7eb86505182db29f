"""Shares: what one partition has in one run, copied from another host to here.

Every block is checked as it comes. One that is damaged is asked for once more: right the second
time, it was damaged on the way; damaged again, it is so where it lies.

Who wants a partition asks each host for all that its runs have of it, in one request; the answers
come one after the other, straight into a file, so that what is under way is one piece per
connection, however much there is: a slow disk here slows the sender down (TCP's own back-pressure).

All that one request brings makes one file, however many runs there are: their blocks, then a table
of what is where, then the table's length. The file is there whole or not at all (written aside,
then renamed), and holds whole shares only, also when the sender died in the middle of one.
"""

from __future__ import annotations

import logging
import os
import struct
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import BinaryIO, Literal
from zlib import crc32

import msgspec

from mrkernel.errors import ClusterError, ProtocolError
from mrkernel.protocol.framing import RAW
from mrkernel.protocol.messages import MessageDecoder
from mrkernel.protocol.store_messages import ReadShares, ShareReply
from mrkernel.protocol.worker_messages import RunSource
from mrkernel.shuffle.pieces import CODEC, PIECE, decompress
from mrkernel.shuffle.run import PartitionPlace, Read, RunIndex, file_read, run_name, tail_index
from mrkernel.shuffle.transfer import FrameSocket, GarbledError

logger = logging.getLogger("mrkernel.shuffle")

#: Workers that one reader fetches from at once.
AT_ONCE = 4

#: Map index and attempt of a run.
RunId = tuple[int, int]
#: Whose fault it is that a run cannot be had; see ``FetchFailed``.
Blame = Literal["disk", "network", "gone"]

_LENGTH = struct.Struct("<Q")


class ShareError(ClusterError):
    """One of several shares could not be had.

    Attributes:
        run: the run that it is a share of.
        blame: whose fault it is.
    """

    def __init__(self, run: RunId, reason: str, blame: Blame) -> None:
        super().__init__(run, reason, blame)
        self.run = run
        self.reason = reason
        self.blame = blame

    def __str__(self) -> str:
        return self.reason


class _DamagedError(GarbledError):
    """What came is not what was written, though it came as it was sent, for all one can see."""


class _RefusedError(ClusterError):
    """The other side says why it cannot send a share."""

    def __init__(self, reason: str, blame: Blame) -> None:
        super().__init__(reason, blame)
        self.blame = blame

    def __str__(self) -> str:
        return str(self.args[0])


# --- where they lie -------------------------------------------------------------------------------


def share_files(directory: Path, partition: int) -> list[Path]:
    """List the files in a job's directory that have shares of a partition."""
    return sorted(directory.glob(f"share-{partition}-*.run"))


def find_shares(directory: Path, partition: int) -> dict[RunId, tuple[Read, RunIndex]]:
    """Open the shares of a partition that are here, each like the run that it is a share of."""
    found: dict[RunId, tuple[Read, RunIndex]] = {}
    nothing = (RunIndex().partition(0),) * partition
    for path in share_files(directory, partition):
        try:
            table = _read_table(path)
        except FileNotFoundError:  # its job has ended meanwhile
            continue
        read = file_read(path)
        for run, index in table:
            found[run] = read, msgspec.structs.replace(index, partitions=nothing + index.partitions)
    return found


def cut_share(file: BinaryIO, name: str, partition: int) -> tuple[list[tuple[int, int]], RunIndex]:
    """Say what of a run file is the share of a partition.

    Args:
        file: the run, open.
        name: for errors.

    Returns:
        The ranges of the file, (offset, length) each, and the index of a file that has only them.

    Raises:
        CorruptRunError: the file is no whole run.
    """
    size = os.fstat(file.fileno()).st_size

    def read(offset: int, length: int) -> bytes:
        file.seek(offset if offset >= 0 else max(0, size + offset))
        return file.read(length)

    index = tail_index(read, name)
    place = index.partition(partition)
    ranges: list[tuple[int, int]] = []
    for segment in place.segments:
        for block in segment:
            if ranges and sum(ranges[-1]) == block.offset:
                ranges[-1] = (ranges[-1][0], ranges[-1][1] + block.length)
            else:
                ranges.append((block.offset, block.length))
    return ranges, msgspec.structs.replace(index, partitions=(_moved(place, 0),))


def _moved(place: PartitionPlace, at: int) -> PartitionPlace:
    """Say where the blocks of a share are in a file that has them one after the other."""
    segments = []
    for segment in place.segments:
        blocks = []
        for block in segment:
            blocks.append(msgspec.structs.replace(block, offset=at))
            at += block.length
        segments.append(tuple(blocks))
    return msgspec.structs.replace(place, segments=tuple(segments))


def _read_table(path: Path) -> list[tuple[RunId, RunIndex]]:
    with path.open("rb") as file:
        file.seek(-_LENGTH.size, os.SEEK_END)
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        file.seek(-_LENGTH.size - length, os.SEEK_END)
        return _table.decode(file.read(length))


_table = msgspec.msgpack.Decoder(list[tuple[RunId, RunIndex]])
_index = msgspec.msgpack.Decoder(RunIndex)
_replies = MessageDecoder(ShareReply)


class _ShareFile:
    """A file of shares that is being written; nothing is made before the first share."""

    def __init__(self, directory: Path, partition: int) -> None:
        # Two attempts may fetch the same shares: each writes a file of its own.
        name = f"share-{partition}-{os.getpid()}-{threading.get_native_id()}-{os.urandom(4).hex()}"
        self._path = directory / f"{name}.run"
        self._aside = directory / f"{name}.part"
        self._file: BinaryIO | None = None
        self._written = 0
        self._table: list[tuple[RunId, RunIndex]] = []

    def add(
        self, run: RunId, index: RunIndex, pieces: Iterator[bytes | memoryview]
    ) -> Iterator[int]:
        """Write a share; yield the size of each piece when it is written.

        Raises:
            _DamagedError: a block is not the one that was written; none of the share counts.
        """
        start = self._written
        if self._file is None:
            self._file = self._aside.open("wb")
        check = _Check(index.partitions[0])
        for piece in pieces:
            check.take(piece)
            self._file.write(piece)
            self._written += len(piece)
            yield len(piece)
        check.end()
        place = _moved(index.partitions[0], start)
        self._table.append((run, msgspec.structs.replace(index, partitions=(place,))))

    def close(self) -> None:
        """Write the table and show the file, if a share is whole in it; remove it if not."""
        if self._file is None:
            return
        try:
            with self._file:
                if self._table:
                    table = msgspec.msgpack.encode(self._table)
                    self._file.write(table)
                    self._file.write(_LENGTH.pack(len(table)))
            if self._table:
                self._aside.replace(self._path)
        finally:
            self._aside.unlink(missing_ok=True)


class _Check:
    """Checks the blocks of a share, which come one after the other in pieces of any size."""

    def __init__(self, place: PartitionPlace) -> None:
        self._blocks = [(block.length, block.crc) for each in place.segments for block in each]
        self._blocks.reverse()
        self._seen = self._crc = 0  # of the block that is coming

    def take(self, piece: bytes | memoryview) -> None:
        """Look at the next bytes."""
        view = memoryview(piece)
        while view:
            if not self._blocks:
                raise _DamagedError("more bytes came than there are")
            length, crc = self._blocks[-1]
            part = view[: length - self._seen]
            self._crc = crc32(part, self._crc)
            self._seen += len(part)
            view = view[len(part) :]
            if self._seen == length:
                if self._crc != crc:
                    raise _DamagedError("a block fails its checksum")
                self._blocks.pop()
                self._seen = self._crc = 0

    def end(self) -> None:
        """Nothing more comes."""
        if any(length for length, _ in self._blocks):
            raise _DamagedError("bytes are missing")


# --- getting them ---------------------------------------------------------------------------------


def fetch_shares(
    source: RunSource,
    job: str,
    partition: int,
    directory: Path,
    token: bytes,
    *,
    here: Collection[RunId] = (),
    took: Callable[[int], None] = lambda nbytes: None,
    stop: threading.Event | None = None,
) -> None:
    """Copy what the runs of one worker have of a partition into a file here.

    Args:
        job: whose runs they are.
        directory: the job's, here.
        here: runs whose shares are not wanted again.
        took: told of every piece that arrived, in bytes.
        stop: when it is set, no further share is begun.

    Raises:
        ShareError: one is not there, or the worker is not; those before it are here.
        OSError: this disk is full, or gone.
    """
    missing = [run for run in source.runs if run not in here]
    if not missing:
        return
    shares = _ShareFile(directory, partition)
    damaged: set[RunId] = set()
    try:
        while missing and not (stop is not None and stop.is_set()):
            try:
                _fetch_some(source, job, partition, missing, token, shares, took, stop)
            except GarbledError as error:
                # Its other shares are asked for in a new conversation, beginning with this one.
                run = missing[0]
                name = run_name(*run)
                if run in damaged:
                    if not isinstance(error, _DamagedError):
                        raise ShareError(run, str(error), "network") from error
                    raise ShareError(run, f"{name} is damaged there: {error}", "disk") from error
                damaged.add(run)
                logger.warning("%s from %s: %s; asking again", name, source.worker, error)
            else:
                for run in sorted(damaged):
                    logger.warning("%s was damaged on the way here, once", run_name(*run))
                return
    finally:
        shares.close()


def _fetch_some(
    source: RunSource,
    job: str,
    partition: int,
    missing: list[RunId],
    token: bytes,
    shares: _ShareFile,
    took: Callable[[int], None],
    stop: threading.Event | None,
) -> None:
    """Fetch shares in one conversation; those that are here are taken from ``missing``.

    Raises:
        GarbledError: the first of those that are missing came damaged.
        ShareError: it cannot be had.
        OSError: this disk is full, or gone.
    """
    try:
        peer = FrameSocket((source.data_host, source.data_port), token, "reader")
    except ClusterError as error:
        raise ShareError(missing[0], str(error), "network") from error
    try:
        names = tuple(f"{job}/{run_name(index, attempt)}" for index, attempt in missing)
        peer.send(ReadShares(names, partition, CODEC))
        while missing and not (stop is not None and stop.is_set()):
            reply = _reply(peer)
            index = _decoded_index(reply.index)
            for nbytes in shares.add(missing[0], index, _pieces(peer, reply)):
                took(nbytes)
            del missing[0]
    except GarbledError:
        raise
    except _RefusedError as error:
        raise ShareError(missing[0], str(error), error.blame) from error
    except ClusterError as error:
        raise ShareError(missing[0], str(error), "network") from error
    finally:
        peer.close()


def fetch_all(
    sources: Sequence[RunSource],
    fetch: Callable[[RunSource, threading.Event], None],
) -> None:
    """Fetch from several workers at once, ``AT_ONCE`` at most; the first error ends it all.

    Raises:
        Whatever ``fetch`` raises.
    """
    stop = threading.Event()
    if len(sources) == 1:
        fetch(sources[0], stop)
        return
    pool = ThreadPoolExecutor(min(AT_ONCE, len(sources)))
    try:
        fetching = [pool.submit(fetch, source, stop) for source in sources]
        done, _ = wait(fetching, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
    finally:
        # Those that wait for a silent worker are not waited for: they end by themselves.
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)


def _reply(peer: FrameSocket) -> ShareReply:
    try:
        reply: ShareReply
        (reply,) = _replies.decode(peer.receive_alone())
    except (ProtocolError, ValueError) as error:
        raise _DamagedError(f"{peer.address[0]}: an odd reply: {error}") from error
    if reply.error:
        raise _RefusedError(reply.error, reply.blame)
    return reply


def _decoded_index(data: bytes) -> RunIndex:
    try:
        index = _index.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _DamagedError(f"an odd index: {error}") from error
    if len(index.partitions) != 1:
        raise _DamagedError("an index of something else")
    return index


def _pieces(peer: FrameSocket, reply: ShareReply) -> Iterator[memoryview | bytes]:
    """Yield the bytes of a share as they come, decompressed."""
    left = reply.length
    if not reply.codec:
        buffer = memoryview(bytearray(min(PIECE, left)))
        while left:
            got = peer.receive_into(buffer[: min(PIECE, left)])
            left -= got
            yield buffer[:got]
        return
    while left:
        size = min(PIECE, left)
        packed = peer.receive_alone(RAW)
        try:
            data = decompress(packed, reply.codec, size)
        except OSError as error:
            raise _DamagedError(f"{peer.address[0]}: a damaged piece: {error}") from error
        left -= size
        yield data
