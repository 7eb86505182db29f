"""A manager's server in a house of its own, and peers of it in the same loop."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from desk import PYTHON, split
from tornado.iostream import IOStream

from mrkernel.job.spec import JobSpec
from mrkernel.manager.server import ManagerServer
from mrkernel.protocol.client_messages import Submit, ToClient, Welcome
from mrkernel.protocol.connection import Connection
from mrkernel.protocol.handshake import Role
from mrkernel.protocol.messages import Message, MessageDecoder
from mrkernel.protocol.worker_messages import Register, Registered, ToWorker

TOKEN = b"t" * 32
FUNCTIONS = b"the functions"
DIGEST = hashlib.sha256(FUNCTIONS).hexdigest()


class Peer:
    """A client or a worker of the server, in the same loop."""

    def __init__(self, connection: Connection, union: Any) -> None:
        self._connection = connection
        self.registered: Registered | None = None  #: how the server took a worker in
        self.session_key = connection.session_key
        self._batches = connection.batches(MessageDecoder(union))
        self._heard: list[Any] = []

    def say(self, *messages: Message) -> None:
        """Send messages as one frame."""
        self._connection.send_alone(*messages)

    async def hear(self) -> Any:
        """Return the next message; None when the server hung up."""
        while not self._heard:
            batch = await anext(self._batches, None)
            if batch is None:
                return None
            self._heard = batch
        return self._heard.pop(0)

    async def hear_frame(self) -> list[Any]:
        """Return all messages of the next frame."""
        assert not self._heard, "there is something left of the last frame"
        return await anext(self._batches)

    async def hear_until(self, kind: type) -> Any:
        """Return the next message of a kind."""
        while True:
            message = await self.hear()
            assert message is not None, f"the server hung up before any {kind.__name__}"
            if isinstance(message, kind):
                return message

    def leave(self) -> None:
        self._connection.close()


class House:
    """A server that listens, and its peers."""

    def __init__(self, **options: Any) -> None:
        self.server = ManagerServer(TOKEN, **options)
        self.state = self.server.state
        self.server.begin()
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setblocking(False)
        self.server.add_socket(listening)
        self._address = listening.getsockname()
        self._peers: list[Peer] = []

    async def peer(self, role: Role) -> Peer:
        stream = IOStream(socket.socket())
        connection = await Connection.connect(stream, self._address, TOKEN, role)
        peer = Peer(connection, ToWorker if role == "worker" else ToClient)
        self._peers.append(peer)
        if role == "client":
            welcome = await peer.hear()
            assert isinstance(welcome, Welcome)
        return peer

    async def worker(self, host_id: str = "h") -> Peer:
        worker = await self.peer("worker")
        worker.say(Register("h", host_id, 1, 1, PYTHON, "127.0.0.1", 1, "/"))
        worker.registered = await worker.hear()
        assert isinstance(worker.registered, Registered)
        return worker

    def close(self) -> None:
        self.server.end()
        for peer in self._peers:
            peer.leave()


def run(test: Callable[[House], Awaitable[None]], **options: Any) -> None:
    """Run a test with a server in one loop."""

    async def live() -> None:
        house = House(**options)
        ticking = asyncio.ensure_future(house.server.tick_forever())
        try:
            async with asyncio.timeout(10):
                await test(house)
        finally:
            house.close()
            ticking.cancel()

    asyncio.run(live())


def submission(ticket: int = 1, maps: int = 1, reduces: int = 0) -> Submit:
    spec = JobSpec(name="job", functions=DIGEST, reduce_tasks=reduces, python=PYTHON)
    return Submit(ticket, spec, tuple(split(i) for i in range(maps)))
