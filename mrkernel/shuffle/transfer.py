"""Conversations of processes without an event loop, and reading what workers serve by them.

On the same host a reader opens the file itself; see ``serving`` for the other side.
"""

from __future__ import annotations

import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from mrkernel.errors import ClusterError, ProtocolError
from mrkernel.ids import JobId
from mrkernel.protocol.framing import (
    CONTROL,
    HANDSHAKE_LIMIT,
    HEADER_SIZE,
    FrameDecoder,
    pack_frame,
    payload_size,
)
from mrkernel.protocol.handshake import NONCE_SIZE, Connector, Role
from mrkernel.protocol.messages import Message, MessageDecoder, frame_of
from mrkernel.protocol.silence import watch_over
from mrkernel.protocol.store_messages import ListLogs, LogFile, LogFiles, RangeReply, ReadRange

SMALL_READ = 64 << 10  #: bytes; less than this is read through a buffer
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 30.0  #: silence of a serving worker after which it counts as unreachable


class GarbledError(ClusterError):
    """What came is not what was sent; the rest of the conversation is of no use."""


class FrameSocket:
    """A blocking, authenticated conversation, for processes without an event loop.

    Raises (every method):
        ClusterError: the peer is unreachable, hung up or was silent too long.
        GarbledError: what it sent was damaged on the way.
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
        self._rest = memoryview(b"")  # taken from the socket, not asked for yet: outside of frames
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

    def watch_over(self, patience_s: float) -> None:
        """Let the kernel end the conversation when the peer's host was silent for so long."""
        watch_over(self._socket, patience_s)

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
            except OSError as error:
                raise ClusterError(self._gone(error)) from error
            except ProtocolError as error:
                raise GarbledError(self._gone(error)) from error
        got, payload = self._ready.pop(0)
        if got != kind:
            raise ClusterError(self._gone("it sent a frame of the wrong kind"))
        return payload

    def receive_alone(self, kind: int = CONTROL) -> bytes:
        """Return the payload of the next frame, and leave what follows it in the socket."""
        data = self.receive_bytes(HEADER_SIZE)
        try:
            frames = list(self._frames.feed(data))
            if not frames:
                frames = list(self._frames.feed(self.receive_bytes(payload_size(data))))
        except ProtocolError as error:
            raise GarbledError(self._gone(error)) from error
        if not frames or frames[0][0] != kind:
            raise GarbledError(self._gone("it sent a frame of the wrong kind"))
        return frames[0][1]

    def receive_bytes(self, length: int) -> bytearray:
        """Return the next so many bytes, which are in no frame."""
        data = bytearray(length)
        view = memoryview(data)
        while view:
            view = view[self.receive_into(view) :]
        return data

    def receive_into(self, view: memoryview) -> int:
        """Fill the beginning of ``view``, at least a byte, with bytes that are in no frame."""
        if self._rest:
            got = min(len(view), len(self._rest))
            view[:got] = self._rest[:got]
            self._rest = self._rest[got:]
            return got
        try:
            if len(view) < SMALL_READ:
                # Many small things follow each other: one look at the socket serves for several.
                self._rest = memoryview(self._socket.recv(SMALL_READ))
                got = len(self._rest)
            else:
                got = self._socket.recv_into(view)
        except OSError as error:
            raise ClusterError(self._gone(error)) from error
        if not got:
            raise ClusterError(self._gone("it hung up"))
        return self.receive_into(view) if self._rest else got

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
        self._replies = MessageDecoder(RangeReply | LogFiles)

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return bytes of a file; see ``ReadRange`` for negative numbers.

        Raises:
            ClusterError: it is not there, or the worker is not.
        """
        reply = self._ask(ReadRange(name, offset, length), RangeReply)
        if reply.error:
            raise ClusterError(reply.error)
        return bytes(self._peer.receive_bytes(reply.length))

    def logs(self, job: str, directory: str) -> tuple[LogFile, ...]:
        """List what the tasks of a job printed, in a store that the worker serves.

        Raises:
            ClusterError: the worker is not there.
        """
        files: tuple[LogFile, ...] = self._ask(ListLogs(JobId(job), directory), LogFiles).files
        return files

    def _ask(self, question: Message, answer: type[Message]) -> Any:
        self._peer.send(question)
        try:
            (reply,) = self._replies.decode(self._peer.receive_alone())
        except (ProtocolError, ValueError) as error:
            raise ClusterError(f"{self._peer.address[0]}: an odd reply: {error}") from error
        if not isinstance(reply, answer):
            raise ClusterError(f"{self._peer.address[0]}: an odd reply: {type(reply).__name__}")
        return reply

    def close(self) -> None:
        """Hang up."""
        self._peer.close()
