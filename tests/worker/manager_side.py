"""A worker server as a real process, and a test in the place of its manager."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil
from tornado.iostream import IOStream
from tornado.tcpserver import TCPServer

from mrkernel.data.splits import FileSplit
from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.job.functions import Functions, pack
from mrkernel.job.spec import JobSpec
from mrkernel.protocol.connection import Connection
from mrkernel.protocol.messages import BlobPiece, Message, MessageDecoder
from mrkernel.protocol.worker_messages import (
    Finished,
    FromWorker,
    JobInfo,
    Register,
    Registered,
    Start,
)
from mrkernel.worker.config import WorkerConfig
from mrkernel.worker.server import main

TOKEN = b"t" * 32
Pairs = Iterator[tuple[str, Any]]
M = TypeVar("M", bound=Message)


class Peer:
    """A worker at the other end of one connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.heard: list[Any] = []
        self._news = asyncio.Event()
        self._listening = asyncio.ensure_future(self._listen())
        self.gone = False

    async def _listen(self) -> None:
        async for messages in self.connection.batches(MessageDecoder(FromWorker)):
            self.heard += messages
            self._news.set()
        self.gone = True
        self._news.set()

    def say(self, *messages: Message) -> None:
        for message in messages:
            self.connection.send(message)

    async def until(self, true: Callable[[], Any]) -> Any:
        """Wait until something is true; looked at when the worker says something, or hangs up."""
        while not (found := true()):
            self._news.clear()
            await self._news.wait()
        return found

    async def hear(self, kind: type[M], number: int = 1) -> M:
        """Wait for the message of its kind of that number, from 1, and return it."""

        def said() -> list[M]:
            return [message for message in self.heard if isinstance(message, kind)][number - 1 :]

        found: list[M] = await self.until(said)
        return found[0]

    def count(self, kind: type[Message]) -> int:
        return sum(isinstance(message, kind) for message in self.heard)

    async def hang_up(self) -> None:
        """As a manager that dies."""
        self._listening.cancel()
        self.connection.close()
        await asyncio.sleep(0)


class Manager(TCPServer):
    """Lets workers in."""

    def __init__(self, listener: socket.socket, token: bytes = TOKEN) -> None:
        super().__init__()
        self._token = token
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        self._all: list[Peer] = []
        self.add_socket(listener)

    async def handle_stream(self, stream: IOStream, address: Any) -> None:
        connection = await Connection.accept(stream, self._token)
        if connection is not None:
            self._all.append(Peer(connection))
            self._peers.put_nowait(self._all[-1])

    async def worker(self, name: str = "w1", **registered: Any) -> tuple[Peer, Register]:
        """Wait for a worker and take it in."""
        peer = await self._peers.get()
        register = await peer.hear(Register)
        jobs = (JobId("j1"), JobId("j2"))
        facts = {"beat_s": 30.0, "report_s": 30.0, "cluster": "c1", "jobs": jobs, **registered}
        peer.say(Registered(WorkerId(name), **facts))
        return peer, register

    async def end(self) -> None:
        """Let nobody in any more, and hang up on all."""
        self.stop()
        for peer in self._all:
            await peer.hang_up()


class Bench:
    """What a test of a worker server has at hand.

    Attributes:
        root: where workers have their directories.
        address: where they look for their manager.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.address: tuple[str, int] = self.listener.getsockname()
        self.pids: dict[str, int] = {}
        self.input = root / "input.txt"
        self.input.write_text("a b\nb c\nc d\n")

    def start(self, name: str = "one", *, slots: int = 1, **config: Any) -> int:
        """Fork a worker server; call it before there is a loop."""
        pid = os.fork()
        if not pid:
            status = 70
            try:
                self.listener.close()
                log = os.open(self.root / f"{name}.log", os.O_CREAT | os.O_WRONLY, 0o600)
                os.dup2(log, 1)
                os.dup2(log, 2)
                sys.stdout = sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
                logging.basicConfig(level=logging.INFO, stream=sys.stderr, force=True)
                directory = self.root / name
                status = main(WorkerConfig(self.address, TOKEN, slots, directory, **config))
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(status)
        self.pids[name] = pid
        return pid

    def log(self, name: str = "one") -> str:
        return (self.root / f"{name}.log").read_text()

    def job(self, mapper: Any, reducer: Any = "list", name: str = "j1", **spec: Any) -> list[Any]:
        """What a worker has to be told of a job."""
        packed = pack(Functions(mapper, reducer), beside=None)
        digest = hashlib.sha256(packed.data).hexdigest()
        facts: dict[str, Any] = {"name": "job", "functions": digest, "reduce_tasks": 2, **spec}
        return [BlobPiece(digest, packed.data), JobInfo(JobId(name), JobSpec(**facts))]

    def map(self, number: int = 0, job: str = "j1", attempt: int = 1, carry: int = 0) -> Start:
        size = self.input.stat().st_size
        split = FileSplit(str(self.input), 0, size, size, self.input.stat().st_mtime_ns)
        task = TaskId(f"map-{number}")
        return Start(JobId(job), task, attempt, number, split, carry=carry)

    def runners(self, name: str = "one") -> list[psutil.Process]:
        """The processes below a worker server's template."""
        (template,) = psutil.Process(self.pids[name]).children()
        below: list[psutil.Process] = template.children()
        return below

    def wait(self, name: str = "one") -> int:
        """Wait for the end of a worker server; return how it ended."""
        pid = self.pids.pop(name)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def close(self) -> None:
        self.listener.close()
        for pid in self.pids.values():
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGTERM)
        for pid in self.pids.values():
            os.waitpid(pid, 0)


@contextmanager
def bench_in(root: Path) -> Iterator[Bench]:
    bench = Bench(root)
    try:
        yield bench
    finally:
        bench.close()


def play(bench: Bench, test: Callable[[Manager], Awaitable[None]], within: float = 30.0) -> None:
    """Be the manager for a while."""

    async def live() -> None:
        manager = Manager(bench.listener)
        try:
            async with asyncio.timeout(within):
                await test(manager)
        finally:
            await manager.end()

    asyncio.run(live())


async def eventually(true: Callable[[], Any], pause_s: float = 0.005) -> Any:
    """Look until something is there; the limit is that of the test."""
    while not (found := true()):
        await asyncio.sleep(pause_s)
    return found


def words(line: str) -> Pairs:
    for word in line.split():
        yield word, 1


def files(directory: Path) -> list[str]:
    return sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())


async def finish_a_map(bench: Bench, peer: Peer, number: int = 0, job: str = "j1") -> Finished:
    """Have it run a map task whose run becomes a file."""
    peer.say(*bench.job(words, name=job), bench.map(number, job))
    return await peer.hear(Finished, peer.count(Finished) + 1)
