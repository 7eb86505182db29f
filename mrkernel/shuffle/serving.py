"""What a worker serves to other hosts: byte ranges of its files, and shares of its runs.

A name is ``<job>/<file>`` of plain characters, and no link is followed, so no request can leave the
directories that are served: the worker's own, and those it adopted from workers that died.
Bytes follow their reply in no frames, sent by the kernel where it can, so they are never copied to
here; compressed pieces come in a raw frame each. Whoever reads slowly is sent slowly.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from tornado.iostream import IOStream, StreamClosedError

from mrkernel.errors import CorruptRunError
from mrkernel.protocol.connection import Connection
from mrkernel.protocol.doorway import Doorway
from mrkernel.protocol.framing import RAW, pack_frame
from mrkernel.protocol.listening import PatientServer
from mrkernel.protocol.messages import MessageDecoder, frame_of
from mrkernel.protocol.store_messages import (
    ListLogs,
    LogFile,
    LogFiles,
    RangeReply,
    ReadRange,
    ReadShares,
    ShareReply,
)
from mrkernel.shuffle.log_files import list_logs
from mrkernel.shuffle.pieces import WORTHWHILE, compress, cut, known_codec
from mrkernel.shuffle.shares import cut_share

#: A share up to this size is read and sent in one go.
SMALL_SHARE = 32 << 10
_JOB = re.compile(r"[A-Za-z0-9_-]+")
_NAME = re.compile(r"[A-Za-z0-9_-]+/[A-Za-z0-9_.-]+")


class RunServer(PatientServer):
    """Serves the files under some directories to authenticated readers.

    Args:
        directory: where a file is looked for first.
        token: the cluster's secret.
        adopted: where it is looked for then; may change at any time.
    """

    def __init__(self, directory: Path, token: bytes, adopted: Sequence[Path] = ()) -> None:
        super().__init__()
        self._directory = directory
        self._adopted = adopted
        self._doorway = Doorway(token)
        self._decoder = MessageDecoder(ReadRange | ReadShares | ListLogs)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        sockets = list(self._sockets.values())
        host, port = sockets[0].getsockname()[:2]
        return str(host), int(port)

    async def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Serve one reader until it hangs up."""
        connection = await self._doorway.admit(stream)
        if connection is None:
            return
        try:
            if connection.role == "reader":
                async for requests in connection.batches(self._decoder):
                    for request in requests:
                        if isinstance(request, ReadRange):
                            await self._serve_range(connection, request)
                        elif isinstance(request, ListLogs):
                            connection.send(LogFiles(self._logs(request)))
                        else:
                            await self._serve_shares(connection, request)
        except StreamClosedError:
            return  # the reader went away in the middle of it: its business
        finally:
            connection.close()

    async def _serve_range(self, connection: Connection, request: ReadRange) -> None:
        file = self._open(request.name)
        if isinstance(file, str):
            connection.send(RangeReply(0, file))
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            start = request.offset if request.offset >= 0 else max(0, size + request.offset)
            length = max(0, size - start)
            if request.length >= 0:
                length = min(length, request.length)
            connection.send(RangeReply(length))
            await _send_range(connection, file, start, length)

    async def _serve_shares(self, connection: Connection, request: ReadShares) -> None:
        """Answer for one run after the other."""
        for name in request.names:
            file = self._open(name)
            if isinstance(file, str):
                connection.send(ShareReply(0, error=file, blame="gone"))
                continue
            with file:
                try:
                    ranges, index = cut_share(file, name, request.partition)
                except (OSError, CorruptRunError) as error:
                    connection.send(ShareReply(0, error=str(error), blame="disk"))
                    continue
                packed_index = msgspec.msgpack.encode(index)
                codec = known_codec(request.codec)
                await _send_share(connection, file, ranges, packed_index, codec)

    def _logs(self, request: ListLogs) -> tuple[LogFile, ...]:
        """List the logs of a job in one of our directories; none in any other."""
        if not _JOB.fullmatch(request.job):
            return ()
        served = (self._directory, *self._adopted)
        return tuple(
            file
            for directory in served
            if str(directory) == request.directory
            for file in list_logs(directory, request.job)
        )

    def _open(self, name: str) -> BinaryIO | str:
        """Open a file of ours, or say why not."""
        if not _NAME.fullmatch(name):
            return f"{name!r} is no name of a run"
        reason = ""
        for directory in (self._directory, *self._adopted):
            try:
                return _open_plain(directory, name)
            except OSError as error:
                # Why our own does not have it is what counts, where none has it.
                reason = reason or f"{name}: {error.strerror}"
        return reason


def _open_plain(directory: Path, name: str) -> BinaryIO:
    """Open ``<job>/<file>`` of a directory; a link, or what is no file, is refused."""
    job, _, file = name.partition("/")
    folder = os.open(directory / job, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        opened = os.open(file, flags, dir_fd=folder)
    finally:
        os.close(folder)
    mode = os.fstat(opened).st_mode
    if not stat.S_ISREG(mode):
        os.close(opened)
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(number, os.strerror(number))
    return os.fdopen(opened, "rb")


async def _send_share(
    connection: Connection,
    file: BinaryIO,
    ranges: list[tuple[int, int]],
    index: bytes,
    codec: str,
) -> None:
    """Send a share, compressed if its first piece says that this pays."""
    length = sum(size for _, size in ranges)
    pieces = cut(file, ranges)
    packed = b""
    if length <= SMALL_SHARE:
        data = next(pieces, b"")
        packed = compress(data, codec) if codec and data else data
        if len(packed) >= len(data):
            packed, codec = data, ""
        reply = frame_of(ShareReply(len(data), index, codec))
        await connection.send_bytes(reply + (pack_frame(packed, RAW) if codec else packed))
        return
    first = next(pieces, b"") if codec else b""
    if first:
        packed = await asyncio.to_thread(compress, first, codec)
    if not first or len(packed) > WORTHWHILE * len(first):
        connection.send(ShareReply(length, index))
        for offset, size in ranges:
            await _send_range(connection, file, offset, size)
        return
    connection.send(ShareReply(length, index, codec))
    sent = 0
    while first:
        await connection.send_bytes(pack_frame(packed, RAW))
        sent += len(first)
        first = next(pieces, b"")
        packed = await asyncio.to_thread(compress, first, codec) if first else b""
    if sent < length:
        connection.close()  # cut short under our hands: the reader sees the end


async def _send_range(connection: Connection, file: BinaryIO, offset: int, length: int) -> None:
    if await connection.send_file(file, offset, length) < length:
        connection.close()  # cut short under our hands: the reader sees the end
