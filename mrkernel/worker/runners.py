"""The slots' processes as the worker server sees them: fork, speak, listen, kill, bury.

A thin shell over the template: it turns descriptors into calls of four callbacks and knows nothing
of jobs. Everything happens on the server's event loop; nothing here waits.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from mrkernel.protocol.framing import FRAME_LIMIT, FrameDecoder
from mrkernel.worker.progress import ProgressCell, make_cell
from mrkernel.worker.template import (
    DIED,
    REPORT,
    REQUEST,
    RunnerMain,
    describe_exit,
    kill_group,
    run_template,
)

READ_SIZE = 256 << 10
OUTPUT_TAIL = 16 << 10  #: bytes of output kept for the report of a crash: it may be long


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
    said: Callable[[int, bytes], None]  #: payload of a frame
    printed: Callable[[int, bytes], None]
    died: Callable[[int, str, str, int], None]  #: cause, last of its output, records it had read
    template_lost: Callable[[], None]


def start_template(warm_up: Callable[[], None], main: RunnerMain) -> socket.socket:
    """Fork the template; call it before any event loop or thread exists. Returns our end."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        run_template(theirs, warm_up, main)
    theirs.close()
    ours.setblocking(False)
    return ours


class Runners:
    """The runner of each slot.

    Args:
        template: our end of its socket pair.
        slots: how many.
    """

    def __init__(self, template: socket.socket, slots: int, listener: Listener) -> None:
        self._template = template
        self._listener = listener
        self._reports = bytearray()
        self._runners: list[Runner | None] = [None] * slots
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(template, self._read_template)

    def fork(self, slot: int) -> None:
        """Ask for a fresh runner in an empty slot; ``up`` is called when it lives."""
        ours, theirs = socket.socketpair()
        output, their_output = os.pipe()
        cell = make_cell()
        socket.send_fds(self._template, [REQUEST.pack(slot)], [theirs.fileno(), their_output, cell])
        theirs.close()
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

    def kill(self, slot: int) -> None:
        """Kill a runner and all it started; ``died`` is called when it is buried."""
        runner = self._runners[slot]
        if runner is not None and runner.pid:
            kill_group(runner.pid)

    def read_output(self, slot: int) -> None:
        """Take what the runner printed so far: call it before its next attempt's output comes."""
        self._read_output(slot)

    def progress(self, slot: int) -> tuple[int, int, int]:
        """Return (attempts begun, records, bytes) of the slot's runner; zeros while empty."""
        runner = self._runners[slot]
        return (0, 0, 0) if runner is None else runner.cell.read()

    def pids(self) -> list[int]:
        """List the living runners."""
        return [runner.pid for runner in self._runners if runner is not None and runner.pid]

    def close(self) -> None:
        """Hang up on the template: it kills every runner."""
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
            what, slot, pid, status = REPORT.unpack_from(self._reports)
            del self._reports[: REPORT.size]
            runner = self._runners[slot]
            assert runner is not None
            if what != DIED:
                runner.pid = pid
                self._listener.up(slot)
                continue
            # What it said and printed before it died still counts.
            self._read_conversation(slot)
            self._read_output(slot)
            tail = runner.tail.decode("utf-8", "replace")
            records = runner.cell.read()[1]
            self._bury(slot)
            self._listener.died(slot, describe_exit(status), tail, records)

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
            for _, payload in runner.frames.feed(data):
                self._listener.said(slot, payload)
            if len(data) < READ_SIZE:
                return

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
            runner.tail = (runner.tail + data)[-OUTPUT_TAIL:]
            self._listener.printed(slot, data)

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
