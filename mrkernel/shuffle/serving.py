"""What a worker serves to other hosts: byte ranges of its files, and shares of its runs.

A name is ``<job>/<file>`` of plain characters, so no request can leave the worker's directory.
Bytes follow their reply in no frames, sent by the kernel where it can, so they are never copied to
here; compressed pieces come in a raw frame each. Whoever reads slowly is sent slowly.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpserver import TCPServer

from mrkernel.errors import CorruptRunError
from mrkernel.protocol.connection import Connection
from mrkernel.protocol.framing import RAW, pack_frame
from mrkernel.protocol.messages import (
    MessageDecoder,
    RangeReply,
    ReadRange,
    ReadShares,
    ShareReply,
    frame_of,
)
from mrkernel.shuffle.pieces import WORTHWHILE, compress, cut, known_codec
from mrkernel.shuffle.shares import cut_share

#: A share up to this size is read and sent in one go.
SMALL_SHARE = 32 << 10
_NAME = re.compile(r"[A-Za-z0-9_-]+/[A-Za-z0-9_.-]+")


class RunServer(TCPServer):
    """Serves the files under one directory to authenticated readers."""

    def __init__(self, directory: Path, token: bytes) -> None:
        super().__init__()
        self._directory = directory
        self._token = token
        self._decoder = MessageDecoder(ReadRange | ReadShares)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        sockets = list(self._sockets.values())
        host, port = sockets[0].getsockname()[:2]
        return str(host), int(port)

    async def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Serve one reader until it hangs up."""
        connection = await Connection.accept(stream, self._token)
        if connection is None:
            return
        try:
            if connection.role == "reader":
                async for requests in connection.batches(self._decoder):
                    for request in requests:
                        if isinstance(request, ReadRange):
                            await self._serve_range(connection, request)
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
                connection.send(ShareReply(0, error=file))
                continue
            with file:
                try:
                    ranges, index = cut_share(file, name, request.partition)
                except (OSError, CorruptRunError) as error:
                    connection.send(ShareReply(0, error=str(error)))
                    continue
                packed_index = msgspec.msgpack.encode(index)
                codec = known_codec(request.codec)
                await _send_share(connection, file, ranges, packed_index, codec)

    def _open(self, name: str) -> BinaryIO | str:
        """Open a file of ours, or say why not."""
        if not _NAME.fullmatch(name):
            return f"{name!r} is no name of a run"
        try:
            return (self._directory / name).open("rb")
        except OSError as error:
            return f"{name}: {error.strerror}"


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
