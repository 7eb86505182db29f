"""Where heartbeats arrive: one UDP socket, drained at each wake-up, that never answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

from mrkernel.manager.events import PeerId
from mrkernel.protocol.heartbeat import SIZE, HeartbeatReceiver

#: Datagrams taken at one wake-up: a flood must leave time for everything else.
_AT_ONCE = 256


class HeartbeatSocket:
    """Receives the heartbeats of registered workers.

    Args:
        host: the address that the manager listens on.
        heard: called with the peers whose fresh heartbeats came.

    Attributes:
        port: where it receives.
    """

    def __init__(self, host: str, heard: Callable[[Sequence[PeerId]], None]) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind((host, 0))
        self.port: int = self._socket.getsockname()[1]
        self._heard = heard
        self._receiver = HeartbeatReceiver()
        self._peers: dict[int, PeerId] = {}

    def begin(self) -> None:
        """Listen; the event loop runs."""
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def end(self) -> None:
        """Listen no more."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def expect(self, number: int, peer: PeerId, key: bytes) -> None:
        """Accept the heartbeats of a peer's registration."""
        self._receiver.expect(number, key)
        self._peers[number] = peer

    def forget(self, peer: PeerId) -> None:
        """A peer is gone."""
        for number in [number for number, other in self._peers.items() if other == peer]:
            del self._peers[number]
            self._receiver.forget(number)

    def _read(self) -> None:
        peers = []
        for _ in range(_AT_ONCE):
            try:
                datagram = self._socket.recv(SIZE + 1)
            except BlockingIOError:
                break
            except ConnectionError:
                continue  # an answer of ours could not be delivered, on some systems: there is none
            number = self._receiver.accept(datagram)
            if number is not None:
                peers.append(self._peers[number])
        if peers:
            self._heard(peers)
