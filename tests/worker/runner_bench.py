"""Slots with real runners that do what a test asks, and what is heard of them."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import psutil

from mrkernel.protocol.framing import FRAME_LIMIT, FrameDecoder, pack_frame
from mrkernel.worker.progress import ProgressCell
from mrkernel.worker.runners import Listener, Runners, Template, start_template

Life = Callable[[bytes, ProgressCell], bytes | None]

filled: list[bytes] = []  #: what a runner was asked to keep in memory


def live_by(act: Life) -> Callable[[socket.socket, int], None]:
    """A runner's life: answer each frame by what ``act`` makes of it."""

    def main(conversation: socket.socket, cell: int) -> None:
        progress, frames = ProgressCell(cell), FrameDecoder(FRAME_LIMIT)
        while data := conversation.recv(1 << 16):
            for _, payload in frames.feed(data):
                answer = act(payload, progress)
                if answer is not None:
                    conversation.sendall(pack_frame(answer))

    return main


def act(payload: bytes, progress: ProgressCell) -> bytes | None:
    """What the runners of these tests can do."""
    word, _, rest = payload.partition(b" ")
    match word:
        case b"echo":
            return rest
        case b"pid":
            return str(os.getpid()).encode()
        case b"print":
            print(rest.decode())
            print("to stderr", file=sys.stderr)
        case b"flood":
            os.write(1, b"x" * 100_000 + b"the end")
            return b"flooded"
        case b"progress":
            progress.begin()
            progress.add(7, 70)
            progress.at("a.txt, byte 70", 7)
            return b"counted"
        case b"signal":
            os.kill(os.getpid(), int(rest))
        case b"hang":
            hang()
        case b"deaf":
            faulthandler.disable()
            signal.signal(signal.SIGABRT, signal.SIG_IGN)
            hang()
        case b"fill":
            filled.append(b"x" * int(rest))
            return b"filled"
        case b"free":
            filled.clear()
            return b"freed"
        case b"exit":
            print("bye")
            sys.stdout.flush()
            os._exit(int(rest))
        case b"raise":
            raise ValueError("on its own")
        case b"babble":
            for descriptor in range(3, 100):  # as user code might that thinks one is its own
                with contextlib.suppress(OSError):
                    if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                        os.write(descriptor, b"no message at all")
        case b"start":
            program = subprocess.Popen(["sleep", "3600"])
            return str(program.pid).encode()
        case b"descriptors":
            links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
            return str(len([link for link in links if os.path.exists(link)])).encode()
    return None


def hang() -> None:
    """In C code, with the lock of the interpreter held."""
    print("hanging", flush=True)
    re.match(r"(a+)+b", "a" * 60)


class Bench:
    """The slots and what was heard of them, in order."""

    def __init__(self, template: Template, slots: int) -> None:
        self.heard: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
        self.printed: dict[int, bytes] = {}
        self.runners = Runners(
            template,
            slots,
            Listener(
                up=lambda slot: self.heard.put_nowait(("up", slot)),
                said=self._said,
                printed=self._printed,
                died=lambda *facts: self.heard.put_nowait(("died", *facts)),
                template_lost=lambda: self.heard.put_nowait(("template lost",)),
            ),
        )

    def _said(self, slot: int, payloads: list[bytes]) -> None:
        for payload in payloads:
            self.heard.put_nowait(("said", slot, payload))

    def _printed(self, slot: int, data: bytes) -> None:
        self.printed[slot] = self.printed.get(slot, b"") + data

    async def up(self, slot: int) -> None:
        self.runners.fork(slot)
        assert await self.heard.get() == ("up", slot)

    async def ask(self, slot: int, payload: bytes) -> bytes:
        self.runners.send(slot, pack_frame(payload))
        kind, of, answer = await self.heard.get()
        assert (kind, of) == ("said", slot)
        return bytes(answer)


def run(test: Callable[[Bench], Awaitable[None]], slots: int = 1) -> None:
    template = start_template(lambda: None, live_by(act))

    async def live() -> None:
        bench = Bench(template, slots)
        try:
            async with asyncio.timeout(10):
                await test(bench)
        finally:
            bench.runners.close()

    asyncio.run(live())
    # The template and its runners go by themselves; wait for the template, our child.
    for child in psutil.Process().children():
        child.wait(5)


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def eventually(true: Callable[[], object]) -> None:
    while not true():
        await asyncio.sleep(0.002)


async def gone(*pids: int) -> None:
    while any(map(alive, pids)):
        await asyncio.sleep(0.002)
