"""The slots' processes as the worker server sees them: fork, speak, listen, kill, bury.

A thin shell over the template: it turns descriptors into calls of four callbacks and knows nothing
of jobs. Everything happens on the server's event loop; nothing here waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mrkernel.errors import RemoteProtocolError
from mrkernel.protocol.framing import FRAME_LIMIT, FrameDecoder
from mrkernel.worker.deaths import Death
from mrkernel.worker.memory import Victims, family
from mrkernel.worker.progress import ProgressCell, make_cell
from mrkernel.worker.slot_output import END
from mrkernel.worker.template import (
    DIED,
    REPORT,
    REQUEST,
    RunnerMain,
    kill_group,
    run_template,
    signal_name,
)

logger = logging.getLogger("mrkernel.worker")

READ_SIZE = 256 << 10
OUTPUT_TAIL = 16 << 10  #: bytes of output kept for the report of a crash: it may be long
#: Seconds that a runner gets to say where it is, before it is killed.
LAST_WORDS_S = 0.5
#: Seconds before a runner that could not be forked is asked for again.
AGAIN_S = 0.5


@dataclass(slots=True)
class Runner:
    """One runner process."""

    conversation: socket.socket
    output: int
    cell: ProgressCell
    frames: FrameDecoder
    pid: int = 0  #: 0 until the template reports it
    unsent: bytearray = field(default_factory=bytearray)  #: what its socket did not take
    tail: bytes = b""  #: the last of its output


@dataclass(slots=True)
class Listener:
    """Who hears of the runners; each gets the slot first."""

    up: Callable[[int], None]
    said: Callable[[int, list[bytes]], None]  #: payloads of frames
    printed: Callable[[int, bytes], None]
    died: Callable[[int, Death], None]
    template_lost: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Template:
    """The process that forks runners, and our end of its socket pair."""

    control: socket.socket
    pid: int


def start_template(warm_up: Callable[[], None], main: RunnerMain) -> Template:
    """Fork the template; call it before any event loop or thread exists."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        run_template(theirs, warm_up, main)
    theirs.close()
    ours.setblocking(False)
    return Template(ours, pid)


class Runners:
    """The runner of each slot.

    Args:
        template: who forks them.
        slots: how many.
    """

    def __init__(self, template: Template, slots: int, listener: Listener) -> None:
        self._template = template.control
        self._victims = Victims()
        self._listener = listener
        self._reports = bytearray()
        self._runners: list[Runner | None] = [None] * slots
        self._loop = asyncio.get_running_loop()
        self._buried = asyncio.Event()
        self._closed = False
        self._loop.add_reader(self._template, self._read_template)

    def fork(self, slot: int) -> None:
        """Ask for a fresh runner in an empty slot; ``up`` is called when it lives.

        Where this process may open no more files just now, it is tried again a little later.
        """
        if self._closed:
            return
        opened: list[int] = []
        try:
            ours, theirs = socket.socketpair()
            opened += [ours.detach(), theirs.detach()]
            opened += os.pipe()
            opened.append(make_cell())
        except OSError as error:
            for descriptor in opened:
                os.close(descriptor)
            logger.warning("no runner for slot %d: %s; trying again", slot, error)
            self._loop.call_later(AGAIN_S, self.fork, slot)
            return
        conversation, their_end, output, their_output, cell = opened
        ours = socket.socket(fileno=conversation)
        socket.send_fds(self._template, [REQUEST.pack(slot)], [their_end, their_output, cell])
        os.close(their_end)
        os.close(their_output)
        ours.setblocking(False)
        os.set_blocking(output, False)
        runner = Runner(ours, output, ProgressCell(cell), FrameDecoder(FRAME_LIMIT))
        self._runners[slot] = runner
        self._loop.add_reader(ours, self._read_conversation, slot)
        self._loop.add_reader(output, self._read_output, slot)

    def send(self, slot: int, frame: bytes) -> None:
        """Send a frame to a runner; what its socket does not take now goes later."""
        runner = self._runners[slot]
        assert runner is not None
        sent = 0
        if not runner.unsent:
            try:
                sent = runner.conversation.send(frame)
            except BlockingIOError:
                pass
            except ConnectionError:
                return  # it hung up; the template's report follows
            if sent == len(frame):
                return
            self._loop.add_writer(runner.conversation, self._write, slot)
        runner.unsent += memoryview(frame)[sent:]

    def kill(self, slot: int, *, tell: bool = False) -> None:
        """Kill a runner and all it started; ``died`` is called when it is buried.

        Args:
            tell: give it a moment to write down where it is (``faulthandler`` does, also in the
                middle of a C function).
        """
        runner = self._runners[slot]
        if runner is None or not runner.pid:
            return
        if not tell:
            kill_group(runner.pid)
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(runner.pid, signal.SIGABRT)
        self._loop.call_later(LAST_WORDS_S, self._kill_now, slot, runner)

    def _kill_now(self, slot: int, runner: Runner) -> None:
        if self._runners[slot] is runner:
            kill_group(runner.pid)

    def read_output(self, slot: int) -> None:
        """Take what the runner printed so far: call it before its next attempt's output comes."""
        self._read_output(slot)

    def progress(self, slot: int) -> tuple[int, int, int, int]:
        """Return what the cell of the slot's runner says; zeros while empty."""
        runner = self._runners[slot]
        return (0, 0, 0, 0) if runner is None else runner.cell.read()

    def pids(self) -> list[int]:
        """List the living runners."""
        return [runner.pid for runner in self._runners if runner is not None and runner.pid]

    def weigh(self, slots: Iterable[int]) -> tuple[int, ...]:
        """Return the bytes of memory that the runners of some slots have, by slot; 0: not asked.

        The programs that they run count as well.
        """
        weights = [0] * len(self._runners)
        for slot in slots:
            runner = self._runners[slot]
            if runner is not None and runner.pid:
                weights[slot] = family(runner.pid)
        return tuple(weights)

    async def kill_all(self) -> None:
        """Kill every runner and wait until they are buried; each slot is filled again as always."""
        dying = self.pids()
        for pid in dying:
            kill_group(pid)
        while set(dying) & set(self.pids()):
            self._buried.clear()
            await self._buried.wait()

    def close(self) -> None:
        """Hang up on the template: it kills every runner."""
        self._closed = True
        self._loop.remove_reader(self._template)
        self._template.close()
        for slot, runner in enumerate(self._runners):
            if runner is not None:
                self._bury(slot)

    # --- descriptors ------------------------------------------------------------------------------

    def _read_template(self) -> None:
        try:
            data = self._template.recv(READ_SIZE)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._loop.remove_reader(self._template)
            self._listener.template_lost()
            return
        self._reports += data
        while len(self._reports) >= REPORT.size:
            what, slot, pid, status, peak = REPORT.unpack_from(self._reports)
            del self._reports[: REPORT.size]
            runner = self._runners[slot]
            assert runner is not None
            if what != DIED:
                runner.pid = pid
                self._listener.up(slot)
                continue
            runner.pid = 0  # that number may be another process by now
            # What it said and printed before it died still counts.
            self._read_conversation(slot)
            self._read_output(slot)
            cell = runner.cell
            death = Death(
                status=max(status, 0),
                signal=signal_name(status),
                stderr=runner.tail.decode("utf-8", "replace"),
                records=cell.read()[1],
                place=cell.place(),
                index=cell.index(),
                peak_bytes=peak,
                out_of_memory=status == -signal.SIGKILL and self._victims.any_new(),
            )
            self._bury(slot)
            self._listener.died(slot, death)

    def _read_conversation(self, slot: int) -> None:
        runner = self._runners[slot]
        if runner is None:
            return
        while True:
            try:
                data = runner.conversation.recv(READ_SIZE)
            except (BlockingIOError, ConnectionError):
                return
            if not data:
                # It hung up; the template's report follows.
                self._loop.remove_reader(runner.conversation)
                return
            payloads: list[bytes] = []
            try:
                for _, payload in runner.frames.feed(data):
                    payloads.append(payload)  # what came before nonsense counts
            except RemoteProtocolError as error:
                self._silence(runner, error)
            if payloads:
                self._listener.said(slot, payloads)
            if len(data) < READ_SIZE:
                return

    def _silence(self, runner: Runner, error: RemoteProtocolError) -> None:
        """User code wrote into what is ours: nothing the runner says can be believed any more."""
        logger.warning("a runner is killed: %s", error)
        self._loop.remove_reader(runner.conversation)
        runner.tail += (
            b"mrkernel: user code wrote into the connection to its worker, which is no file of its "
            b"own\n"
        )
        if runner.pid:
            kill_group(runner.pid)

    def _read_output(self, slot: int) -> None:
        runner = self._runners[slot]
        if runner is None:
            return
        while True:
            try:
                data = os.read(runner.output, READ_SIZE)
            except BlockingIOError:
                return
            if not data:
                self._loop.remove_reader(runner.output)
                return
            # The last words are those of the attempt that runs.
            runner.tail = (runner.tail + data).rpartition(END)[2][-OUTPUT_TAIL:]
            self._listener.printed(slot, data)
            if len(data) < READ_SIZE:
                return

    def _write(self, slot: int) -> None:
        runner = self._runners[slot]
        if runner is None:
            return
        try:
            while runner.unsent:
                sent = runner.conversation.send(runner.unsent)
                del runner.unsent[:sent]
        except BlockingIOError:
            return
        except ConnectionError:
            runner.unsent.clear()  # it hung up; the template's report follows
        self._loop.remove_writer(runner.conversation)

    def _bury(self, slot: int) -> None:
        runner = self._runners[slot]
        assert runner is not None
        self._loop.remove_reader(runner.conversation)
        self._loop.remove_writer(runner.conversation)
        self._loop.remove_reader(runner.output)
        runner.conversation.close()
        os.close(runner.output)
        runner.cell.close()
        self._runners[slot] = None
        self._buried.set()
