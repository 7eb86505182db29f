"""A manager of a few lines over real sockets, which dies and comes back as a test says."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar

from mrkernel.errors import ClusterError
from mrkernel.protocol.client_messages import FromClient, Look, View, Watch, Welcome
from mrkernel.protocol.framing import HANDSHAKE_LIMIT, FrameDecoder, pack_frame
from mrkernel.protocol.handshake import NONCE_SIZE, Acceptor
from mrkernel.protocol.messages import BlobPiece, Message, MessageDecoder, frame_of
from mrkernel.security.token import ConnectionFile

M = TypeVar("M", bound=Message)

#: Longest that anything here takes on a busy machine; only a failure waits so long.
PATIENCE_S = 20.0
TOKEN = bytes(range(32))


def picture(topic: str, seq: int = 0, **fields: Any) -> dict[str, Any]:
    """A picture with hardly anything in it."""
    return {
        "kind": "cluster" if topic == "cluster" else "job", "seq": seq, "name": f"name of {topic}",
        "at": 1.0, "ended": None, "state": "running", "banner": None, "workers": {}, "feed": [],
        "older": 0, **fields,
    }  # fmt: skip


class Peer:
    """The manager's end of one connection; everything is taken in turn."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.settimeout(PATIENCE_S)
        self._frames = FrameDecoder(HANDSHAKE_LIMIT)
        self._decoder = MessageDecoder(FromClient)
        self._arrived: list[Any] = []
        self._ready: list[tuple[int, bytes]] = []
        acceptor = Acceptor(TOKEN, secrets.token_bytes(NONCE_SIZE))
        self._socket.sendall(pack_frame(acceptor.challenge(self._frame())))
        acceptor.verify(self._frame())
        self._frames.open()

    def _frame(self) -> bytes:
        while not self._ready:
            data = self._socket.recv(1 << 16)
            if not data:
                raise ClusterError("the client hung up")
            self._ready += self._frames.feed(data)
        return self._ready.pop(0)[1]

    def say(self, *messages: Message) -> None:
        self._socket.sendall(frame_of(*messages))

    def next(self) -> Any:
        """The next message."""
        while not self._arrived:
            self._arrived += self._decoder.decode(self._frame())
        return self._arrived.pop(0)

    def expect(self, kind: type[M]) -> M:
        """The next message that asks for something to be done, of the kind that is wanted.

        Blobs and watches are taken in passing, and pictures given to those who look.
        """
        while True:
            message = self.next()
            if isinstance(message, kind):
                return message
            if isinstance(message, Look):
                self.show(message)
            else:
                assert isinstance(message, BlobPiece | Watch), message

    def show(self, look: Look, **fields: Any) -> None:
        """Answer a look."""
        snapshot = picture(look.topic, **fields)
        self.say(View({"topic": look.topic, "snapshot": snapshot}, look.ticket))

    def close(self) -> None:
        self._socket.close()

    @property
    def hung_up(self) -> bool:
        """Whether the client does; waits until it does."""
        try:
            return self._socket.recv(1) == b""
        except ConnectionError:
            return True


class FakeManager:
    """Listens at one address for as long as it lives; ``die`` and ``start`` it at will."""

    def __init__(self) -> None:
        self._listening: socket.socket | None = None
        self._peers: list[Peer] = []
        self.port = 0
        self.start()
        self.connection = ConnectionFile(
            id="fake", host="127.0.0.1", port=self.port, token=TOKEN.hex(), pid=0
        )

    def start(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._listening.settimeout(PATIENCE_S)
        self.port = self._listening.getsockname()[1]

    def accept(self, cluster: str = "a", start: int = 1) -> Peer:
        """Take the next connection and say who it is."""
        assert self._listening is not None
        peer = Peer(self._listening.accept()[0])
        self._peers.append(peer)
        peer.say(Welcome(cluster, start))
        return peer

    def begin(self, make: Callable[[], Any]) -> tuple[Any, Peer]:
        """Let a client be made, which looks at the cluster first."""
        with ThreadPoolExecutor(1) as pool:
            made = pool.submit(make)
            peer = self.accept()
            assert peer.expect(Watch).topic == "cluster"
            peer.show(peer.expect(Look))
            return made.result(PATIENCE_S), peer

    def die(self) -> None:
        """Close every socket, as the kernel does for a process that was killed."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        for peer in self._peers:
            peer.close()
        self._peers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.die()
