"""One authenticated connection over a Tornado IOStream: the only shell of the protocol.

Writes are queued and never awaited: ``send`` puts messages into the stream's buffer, and all that
one loop turn says to one peer goes out as one frame.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any, BinaryIO, Protocol

from tornado.iostream import IOStream, StreamClosedError

from mrkernel.errors import (
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
    SecurityError,
)
from mrkernel.protocol.framing import (
    CONTROL,
    HANDSHAKE_LIMIT,
    HEADER_SIZE,
    FrameDecoder,
    pack_frame,
)
from mrkernel.protocol.handshake import DEADLINE_S, NONCE_SIZE, Acceptor, Connector, Role
from mrkernel.protocol.messages import Message, MessageDecoder, frame_of
from mrkernel.protocol.silence import watch_over

logger = logging.getLogger("mrkernel.protocol")

READ_SIZE = 256 << 10  #: bytes taken from the socket at once
PIECE = 1 << 20  #: bytes of a file read and sent at once, where the kernel does not do it


class Talk(Protocol):
    """How to talk to a peer: a ``Connection``, or somebody in this process who needs none."""

    @property
    def role(self) -> Role: ...
    @property
    def session_key(self) -> bytes: ...
    @property
    def unsent_bytes(self) -> int: ...
    def put(self, message: Message) -> None: ...
    def send(self, message: Message) -> None: ...
    def send_alone(self, *messages: Message) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


class Connection:
    """A peer that has proved itself; make one with ``accept`` or ``connect``."""

    def __init__(
        self, stream: IOStream, decoder: FrameDecoder, role: Role, session_key: bytes
    ) -> None:
        self.role = role
        self.session_key = session_key  #: shared with the peer alone
        self._stream = stream
        self._frames = decoder
        self._frames.open()
        self._queue: list[Message] = []
        self._flush_scheduled = False
        self.ended = ""  #: why the connection ended, for people; "" while it lives

    # --- making one -------------------------------------------------------------------------------

    @classmethod
    async def accept(
        cls, stream: IOStream, token: bytes, tell: Callable[[str], None] | None = None
    ) -> Connection | None:
        """Let a peer prove itself within ``DEADLINE_S``; None, and closed, when it does not.

        Args:
            tell: hears why it did not; None: the log does.
        """
        stream.set_nodelay(True)
        acceptor = Acceptor(token, secrets.token_bytes(NONCE_SIZE))
        decoder = FrameDecoder(HANDSHAKE_LIMIT)
        try:
            async with asyncio.timeout(DEADLINE_S):
                hello = await _one_frame(stream, decoder)
                await stream.write(pack_frame(acceptor.challenge(hello)))
                acceptor.verify(await _one_frame(stream, decoder))
        except StreamClosedError:
            return None
        except (TimeoutError, ProtocolError, SecurityError) as error:
            # No word to the peer: every failure looks the same from outside.
            reason = str(error) or "it said nothing in time"
            if tell is not None:
                tell(reason)
            else:
                logger.warning("a peer was turned away: %s", reason)
            stream.close()
            return None
        return cls(stream, decoder, acceptor.role, acceptor.session_key)

    @classmethod
    async def connect(
        cls, stream: IOStream, address: tuple[str, int], token: bytes, role: Role
    ) -> Connection:
        """Connect and prove both sides to each other.

        Raises:
            StreamClosedError: nobody listens there, or the peer turned us away.
            RemoteProtocolError: it is no peer of ours.
            SecurityError: the peer does not know the token.
            TimeoutError: no answer within ``DEADLINE_S``.
        """
        connector = Connector(token, role, secrets.token_bytes(NONCE_SIZE))
        decoder = FrameDecoder(HANDSHAKE_LIMIT)
        try:
            async with asyncio.timeout(DEADLINE_S):
                await stream.connect(address)
                stream.set_nodelay(True)
                await stream.write(pack_frame(connector.hello()))
                await stream.write(pack_frame(connector.prove(await _one_frame(stream, decoder))))
        except BaseException:
            stream.close()
            raise
        return cls(stream, decoder, role, connector.session_key)

    # --- using it ---------------------------------------------------------------------------------

    async def batches(self, decoder: MessageDecoder) -> AsyncIterator[list[Any]]:
        """Yield the messages of each frame until the connection ends; ``ended`` then says why."""
        try:
            while True:
                data = await self._stream.read_bytes(READ_SIZE, partial=True)
                for kind, payload in self._frames.feed(data):
                    if kind != CONTROL:
                        raise RemoteProtocolError("raw bytes where messages were expected")
                    yield decoder.decode(payload)
        except StreamClosedError as error:
            self.ended = _why(error)
        except RemoteProtocolError as error:
            logger.warning("a connection was closed: %s", error)
            self.close()
            self.ended = f"protocol error: {error}"

    def send(self, message: Message) -> None:
        """Queue a message; it leaves at the end of this loop turn."""
        self._queue.append(message)
        if not self._flush_scheduled:
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write what is queued as one frame."""
        self._flush_scheduled = False
        if not self._queue:
            return
        queue, self._queue = self._queue, []
        self._write(*queue)

    def put(self, message: Message) -> None:
        """Queue a message that leaves with the next ``flush``: whoever puts it calls that."""
        self._queue.append(message)

    def send_alone(self, *messages: Message) -> None:
        """Write what is queued, then these in a frame of their own: for large ones."""
        self.flush()
        self._write(*messages)

    def watch_over(self, patience_s: float) -> None:
        """Let the kernel end the connection when the peer's host has been silent for so long."""
        if not self._stream.closed():
            watch_over(self._stream.socket, patience_s)

    @property
    def unsent_bytes(self) -> int:
        """Bytes the socket has not taken yet."""
        return len(self._stream._write_buffer) if self._stream._write_buffer else 0

    async def send_bytes(self, data: bytes | memoryview) -> None:
        """Write bytes as they are, in no frame, and wait until the socket took them.

        Raises:
            StreamClosedError: the connection ended.
        """
        self.flush()
        await self._stream.write(data)

    async def send_file(self, file: BinaryIO, offset: int, length: int) -> int:
        """Write bytes of a file, in no frame, as fast as the peer takes them.

        Where the platform can, the kernel sends them and they are never copied to here.

        Returns:
            How many the file had: fewer than ``length`` when it is shorter.

        Raises:
            StreamClosedError: the connection ended.
        """
        self.flush()
        sent = 0
        if length and type(self._stream) is IOStream:  # one with TLS must see what it sends
            await self._stream.write(b"")  # what is queued leaves first
            loop = asyncio.get_running_loop()
            try:
                with contextlib.suppress(asyncio.SendfileNotAvailableError):  # by hand, then
                    return await loop.sock_sendfile(
                        self._stream.socket, file, offset, length, fallback=False
                    )
            except ConnectionError as error:
                self._stream.close()
                raise StreamClosedError(error) from error
        file.seek(offset)
        while sent < length:
            data = file.read(min(PIECE, length - sent))
            if not data:
                break
            await self._stream.write(data)
            sent += len(data)
        return sent

    def _write(self, *messages: Message) -> None:
        if self._stream.closed():
            return
        try:
            frame = frame_of(*messages)
        except (LocalProtocolError, OverflowError, TypeError, ValueError):
            # A word that cannot be said must not just be missing: the peer sees the end instead.
            logger.exception("a connection was closed: what it was to be told cannot be encoded")
            self._stream.close()
            return
        # Nobody waits for it: a write that fails shows as the end of the reading side.
        self._stream.write(frame).add_done_callback(_observed)

    def close(self) -> None:
        """Close, after trying to write what is queued."""
        if not self._stream.closed():
            self.flush()
            self._stream.close()


async def _one_frame(stream: IOStream, decoder: FrameDecoder) -> bytes:
    """Read exactly one control frame: nothing may follow it before the other side answered."""
    header = await stream.read_bytes(HEADER_SIZE)
    frames = list(decoder.feed(header))
    if not frames:
        length = int.from_bytes(header[4:8], "big")
        frames = list(decoder.feed(await stream.read_bytes(length)))
    kind, payload = frames[0]
    if kind != CONTROL:
        raise RemoteProtocolError("raw bytes in the handshake")
    return payload


def _observed(future: Any) -> None:
    if not future.cancelled():
        future.exception()


def _why(error: StreamClosedError) -> str:
    real = error.real_error
    if real is None:
        return "connection closed"
    return f"connection lost: {real.strerror or real}" if isinstance(real, OSError) else str(real)
