"""Runs and result parts between machines: a worker serves ranges of its files, others read them.

On the same host a reader opens the file itself; the server is for everyone else. A name is
``<job>/<file>`` of plain characters, so no request can leave the worker's directory.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpserver import TCPServer

from mrkernel.errors import ClusterError, ProtocolError
from mrkernel.protocol.connection import Connection
from mrkernel.protocol.framing import (
    CONTROL,
    HANDSHAKE_LIMIT,
    RAW,
    FrameDecoder,
    pack_frame,
)
from mrkernel.protocol.handshake import NONCE_SIZE, Connector, Role
from mrkernel.protocol.messages import Message, MessageDecoder, RangeReply, ReadRange, frame_of

_NAME = re.compile(r"[A-Za-z0-9_-]+/[A-Za-z0-9_.-]+")
PIECE = 1 << 20  #: bytes read from disk and sent at once
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 30.0  #: silence of a serving worker after which it counts as unreachable


class RunServer(TCPServer):
    """Serves byte ranges of the files under one directory to authenticated readers."""

    def __init__(self, directory: Path, token: bytes) -> None:
        super().__init__()
        self._directory = directory
        self._token = token
        self._decoder = MessageDecoder(ReadRange)

    async def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Serve one reader until it hangs up."""
        connection = await Connection.accept(stream, self._token)
        if connection is None:
            return
        try:
            if connection.role == "reader":
                async for requests in connection.batches(self._decoder):
                    for request in requests:
                        await self._serve(connection, request)
        except StreamClosedError:
            return  # the reader went away in the middle of a range: its business
        finally:
            connection.close()

    async def _serve(self, connection: Connection, request: ReadRange) -> None:
        if not _NAME.fullmatch(request.name):
            connection.send(RangeReply(0, f"{request.name!r} is no name of a run"))
            return
        try:
            file = (self._directory / request.name).open("rb")
        except OSError as error:
            connection.send(RangeReply(0, f"{request.name}: {error.strerror}"))
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            start = request.offset if request.offset >= 0 else max(0, size + request.offset)
            length = max(0, size - start)
            if request.length >= 0:
                length = min(length, request.length)
            connection.send(RangeReply(length))
            file.seek(start)
            while length:
                data = file.read(min(PIECE, length))
                if not data:
                    connection.close()  # cut short under our hands: the reader sees the end
                    return
                length -= len(data)
                await connection.send_raw(data)


class FrameSocket:
    """A blocking, authenticated conversation, for processes without an event loop.

    Raises (every method):
        ClusterError: the peer is unreachable, hung up or was silent too long.
        SecurityError: it does not know the token.
    """

    def __init__(self, address: tuple[str, int], token: bytes, role: Role) -> None:
        self.address = address
        try:
            self._socket = socket.create_connection(address, timeout=CONNECT_TIMEOUT_S)
        except OSError as error:
            raise ClusterError(f"{address[0]}:{address[1]}: {error.strerror or error}") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._frames = FrameDecoder(HANDSHAKE_LIMIT)
        self._ready: list[tuple[int, bytes]] = []
        try:
            connector = Connector(token, role, secrets.token_bytes(NONCE_SIZE))
            self._socket.sendall(pack_frame(connector.hello()))
            self._socket.sendall(pack_frame(connector.prove(self.receive(CONTROL))))
        except (OSError, ProtocolError) as error:
            self._socket.close()
            raise ClusterError(f"{address[0]}:{address[1]} turned us away: {error}") from error
        except BaseException:
            self._socket.close()
            raise
        self._frames.open()
        self._socket.settimeout(READ_TIMEOUT_S)

    def settimeout(self, seconds: float | None) -> None:
        """Set how long ``receive`` waits; None waits for ever."""
        self._socket.settimeout(seconds)

    def send(self, *messages: Message) -> None:
        """Send messages as one frame."""
        frame = frame_of(*messages)
        try:
            with self._undisturbed():
                self._socket.sendall(frame)
        except OSError as error:
            raise ClusterError(self._gone(error)) from error

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Put off the interrupt key to the end of a frame: half a one would garble all after it.

        Pressed twice, it ends the conversation and the wait.
        """
        before = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or before is None:
            yield
            return
        pressed: list[tuple[int, FrameType | None]] = []

        def note(number: int, frame: FrameType | None) -> None:
            pressed.append((number, frame))
            if len(pressed) > 1:
                self.close()
                raise KeyboardInterrupt

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
        if pressed and callable(before):
            before(*pressed[0])

    def receive(self, kind: int) -> bytes:
        """Return the payload of the next frame, which must be of ``kind``."""
        while not self._ready:
            try:
                data = self._socket.recv(256 << 10)
                if not data:
                    raise ClusterError(self._gone("it hung up"))
                self._ready.extend(self._frames.feed(data))
            except (OSError, ProtocolError) as error:
                raise ClusterError(self._gone(error)) from error
        got, payload = self._ready.pop(0)
        if got != kind:
            raise ClusterError(self._gone("it sent a frame of the wrong kind"))
        return payload

    def close(self) -> None:
        """Hang up; a ``receive`` in another thread ends."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            self._socket.close()  # it was not connected any more
        else:
            self._socket.close()

    def _gone(self, why: object) -> str:
        return f"{self.address[0]}:{self.address[1]}: {why}"


class RunReader:
    """Reads ranges of one worker's files over the network, one after the other."""

    def __init__(self, address: tuple[str, int], token: bytes) -> None:
        self._peer = FrameSocket(address, token, "reader")
        self._replies = MessageDecoder(RangeReply)

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return bytes of a file; see ``ReadRange`` for negative numbers.

        Raises:
            ClusterError: it is not there, or the worker is not.
        """
        return b"".join(self.stream(name, offset, length))

    def stream(self, name: str, offset: int, length: int) -> Iterator[bytes]:
        """Yield the bytes of a range as they come; the iterator must be used up."""
        self._peer.send(ReadRange(name, offset, length))
        try:
            (reply,) = self._replies.decode(self._peer.receive(CONTROL))
        except (ProtocolError, ValueError) as error:
            raise ClusterError(f"{self._peer.address[0]}: an odd reply: {error}") from error
        if reply.error:
            raise ClusterError(reply.error)
        left = reply.length
        while left > 0:
            data = self._peer.receive(RAW)
            left -= len(data)
            yield data

    def close(self) -> None:
        """Hang up."""
        self._peer.close()
