"""Shares: what one partition has in one run, copied from another host to here.

Who wants a partition asks each host for all that its runs have of it, in one request; the answers
come one after the other, straight into a file, so that what is under way is one piece per
connection, however much there is: a slow disk here slows the sender down (TCP's own back-pressure).

All that one request brings makes one file, however many runs there are: their blocks, then a table
of what is where, then the table's length. The file is there whole or not at all (written aside,
then renamed), and holds whole shares only, also when the sender died in the middle of one.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import BinaryIO

import msgspec

from mrkernel.errors import ClusterError, ProtocolError
from mrkernel.protocol.framing import RAW
from mrkernel.protocol.messages import MessageDecoder, ReadShares, RunSource, ShareReply
from mrkernel.shuffle.pieces import CODEC, PIECE, decompress
from mrkernel.shuffle.run import PartitionPlace, Read, RunIndex, file_read, run_name, tail_index
from mrkernel.shuffle.transfer import FrameSocket

#: Workers that one reader fetches from at once.
AT_ONCE = 4

#: Map index and attempt of a run.
RunId = tuple[int, int]

_LENGTH = struct.Struct("<Q")


class ShareError(ClusterError):
    """One of several shares could not be had.

    Attributes:
        run: the run that it is a share of.
    """

    def __init__(self, run: RunId, reason: str) -> None:
        super().__init__(run, reason)
        self.run = run
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


# --- where they lie -------------------------------------------------------------------------------


def share_files(directory: Path, partition: int) -> list[Path]:
    """List the files in a job's directory that have shares of a partition."""
    return sorted(directory.glob(f"share-{partition}-*.run"))


def find_shares(directory: Path, partition: int) -> dict[RunId, tuple[Read, RunIndex]]:
    """Open the shares of a partition that are here, each like the run that it is a share of."""
    found: dict[RunId, tuple[Read, RunIndex]] = {}
    nothing = (RunIndex().partition(0),) * partition
    for path in share_files(directory, partition):
        read = file_read(path)
        for run, index in _read_table(path):
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
        """Write a share; yield the size of each piece when it is written."""
        start = self._written
        if self._file is None:
            self._file = self._aside.open("wb")
        for piece in pieces:
            self._file.write(piece)
            self._written += len(piece)
            yield len(piece)
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
    try:
        peer = FrameSocket((source.data_host, source.data_port), token, "reader")
    except ClusterError as error:
        raise ShareError(missing[0], str(error)) from error
    shares = _ShareFile(directory, partition)
    run = missing[0]
    try:
        names = tuple(f"{job}/{run_name(index, attempt)}" for index, attempt in missing)
        peer.send(ReadShares(names, partition, CODEC))
        for run in missing:
            if stop is not None and stop.is_set():
                return
            reply = _reply(peer)
            index = _index.decode(reply.index)
            for nbytes in shares.add(run, index, _pieces(peer, reply)):
                took(nbytes)
    except ClusterError as error:
        raise ShareError(run, str(error)) from error
    finally:
        peer.close()
        shares.close()


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
        raise ClusterError(f"{peer.address[0]}: an odd reply: {error}") from error
    if reply.error:
        raise ClusterError(reply.error)
    return reply


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
            raise ClusterError(f"{peer.address[0]}: a damaged piece: {error}") from error
        left -= size
        yield data
