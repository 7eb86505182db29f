"""The worker server: the I/O shell around a ``WorkerState``.

It holds the connection to the manager, beats, keeps the runs that its runners wrote and serves them
to others. User code never runs here: a regex that hogs its process hogs a runner, and the beats go
on. Order matters in ``main``: the template is forked before there is an event loop or a thread.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil
from tornado.iostream import IOStream, StreamClosedError

from mrkernel.data.host import host_id
from mrkernel.data.splits import MemorySplit
from mrkernel.errors import ManagerUnreachableError, MRKernelError, SecurityError
from mrkernel.protocol.connection import Connection
from mrkernel.protocol.messages import (
    BlobPiece,
    FromRunner,
    JobInfo,
    MessageDecoder,
    Printed,
    Register,
    Registered,
    Retire,
    Start,
    ToWorker,
    frame_of,
)
from mrkernel.shuffle.serving import RunServer
from mrkernel.shuffle.shares import fetch_shares
from mrkernel.worker.folders import Folders
from mrkernel.worker.gathers import Fetch
from mrkernel.worker.runners import Listener, Runners, start_template
from mrkernel.worker.state import (
    Delete,
    Event,
    Fetched,
    Fork,
    FromManager,
    Kill,
    Order,
    Pulse,
    RunnerDied,
    RunnerProgress,
    RunnerSaid,
    RunnerUp,
    Say,
    WorkerState,
)
from mrkernel.worker.task_runner import RunnerHome, run_tasks, warm_up

logger = logging.getLogger("mrkernel.worker")

#: Characters of output one attempt may send; the rest is counted, not sent.
PRINT_LIMIT = 20_000
#: Seconds output is collected for, so that a chatty mapper costs few messages.
PRINT_DELAY_S = 0.1
#: Functions up to this size travel on to runners as they came; larger ones are read from a file.
SMALL_FUNCTIONS = 256 << 10
#: Niceness of what is fetched ahead.
BACKGROUND = 10
#: How long a worker looks for a manager that went away before it ends itself.
LEASE_S = 30.0


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """How one worker is set up.

    Attributes:
        manager: its address.
        token: the cluster's secret.
        slots: runners it keeps.
        directory: its own, made and removed by it; runs and blobs lie here.
        host, port: where it serves its runs; port 0 = any free one.
        lease_s: how long it looks for a lost manager.
        always_fetch: read runs over TCP even from this host, as between hosts.
    """

    manager: tuple[str, int]
    token: bytes
    slots: int
    directory: Path
    host: str = "127.0.0.1"
    port: int = 0
    lease_s: float = LEASE_S
    always_fetch: bool = False


def python_version() -> str:
    """Return this interpreter's minor version, "3.11"."""
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def main(config: WorkerConfig) -> int:
    """Be a worker until the manager is gone or says so; return the exit status."""
    config.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    home = RunnerHome(config.directory, config.token, host_id(), config.always_fetch)
    template = start_template(warm_up, lambda sock, cell: run_tasks(sock, cell, home))
    try:
        return asyncio.run(_run(config, template))
    finally:
        shutil.rmtree(config.directory, ignore_errors=True)


async def _run(config: WorkerConfig, template: socket.socket) -> int:
    server = WorkerServer(config, template)
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(server.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        return await running
    return 0


class WorkerServer:
    """One worker server; ``run`` is its whole life."""

    def __init__(self, config: WorkerConfig, template: socket.socket) -> None:
        self._config = config
        self._state = WorkerState(config.slots)
        self._connection: Connection | None = None
        self._from_manager = MessageDecoder(ToWorker)
        self._from_runner = MessageDecoder(FromRunner)
        self._runs = RunServer(config.directory, config.token)
        self._blobs = config.directory / "blobs"
        self._blobs.mkdir(exist_ok=True)
        self._folders = Folders(config.directory)
        self._small: dict[str, bytes] = {}  # blobs that are in no file: functions, as a rule
        self._orders: list[list[JobInfo | Start]] = [[] for _ in range(config.slots)]
        self._output = [_SlotOutput() for _ in range(config.slots)]
        self._output_timer: asyncio.TimerHandle | None = None
        self._process = psutil.Process()
        self._cpu_seconds: tuple[float, float] | None = None  # (clock, CPU seconds so far)
        self._template_lost = asyncio.Event()
        self._runners = Runners(
            template,
            config.slots,
            Listener(
                up=lambda slot: self._turn([RunnerUp(slot)]),
                said=self._runner_said,
                printed=self._runner_printed,
                died=self._runner_died,
                template_lost=self._template_lost.set,
            ),
        )

    async def run(self) -> int:
        """Serve managers, one after the other, until retired or the lease is over."""
        self._runs.listen(self._config.port, self._config.host)
        self._obey(self._state.start())
        lost_template = asyncio.ensure_future(self._template_lost.wait())
        serving = asyncio.ensure_future(self._serve_managers())
        try:
            await asyncio.wait({lost_template, serving}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                return serving.result()
            logger.error("the template process is gone: this worker can fork no runners and ends")
            return 1
        finally:
            serving.cancel()
            lost_template.cancel()
            self._drop_orders()
            self._runners.close()
            self._runs.stop()
            if self._connection is not None:
                self._connection.close()

    async def _serve_managers(self) -> int:
        deadline = time.monotonic() + self._config.lease_s
        pause = 0.02
        host, port = self._config.manager
        while True:
            try:
                connection = await Connection.connect(
                    IOStream(socket.socket()), (host, port), self._config.token, "worker"
                )
            except SecurityError:
                raise
            except (StreamClosedError, TimeoutError, OSError) as error:
                if time.monotonic() > deadline:
                    raise ManagerUnreachableError(
                        f"no manager answers at {host}:{port} ({error}): is it running, and is it "
                        "the one whose token this worker has?"
                    ) from error
                await asyncio.sleep(pause)
                pause = min(pause * 1.6, 2.0)
                continue
            status = await self._serve_one(connection)
            if status is not None:
                return status
            logger.warning("the manager is gone (%s); looking for it", connection.ended)
            await self._folders.settled()  # the next manager may number its jobs like this one
            self._start_anew()
            deadline = time.monotonic() + self._config.lease_s
            pause = 0.02

    async def _serve_one(self, connection: Connection) -> int | None:
        """Obey one manager until its connection ends; an exit status when told to retire."""
        self._connection = connection
        data_host, data_port = self._runs.address
        connection.send(
            Register(
                host=socket.gethostname(),
                host_id=host_id(),
                pid=os.getpid(),
                slots=self._config.slots,
                python=python_version(),
                data_host=data_host,
                data_port=data_port,
                directory=str(self._config.directory),
            )
        )
        beating: asyncio.Future[None] | None = None
        try:
            async for messages in connection.batches(self._from_manager):
                events: list[Event] = []
                for message in messages:
                    match message:
                        case BlobPiece():
                            self._turn(events)
                            events = []
                            self._store_blob(message)
                        case Registered():
                            logger.info("registered as %s", message.worker)
                            beating = asyncio.ensure_future(self._beat_forever(message.beat_s))
                        case Retire(reason):
                            print(f"mrkernel worker: {reason}", file=sys.stderr)  # noqa: T201
                            return 1
                        case _:
                            events.append(FromManager(message))
                self._turn(events)
        finally:
            if beating is not None:
                beating.cancel()
            self._connection = None
        return None

    def _start_anew(self) -> None:
        """Forget what the lost manager asked for: to the next one this is a new worker."""
        self._drop_orders()
        for slot in range(self._config.slots):
            self._runners.kill(slot)
        self._folders.delete_now(list(self._state.jobs))
        for blob in self._blobs.iterdir():
            blob.unlink()  # it is sent again if it is needed
        self._small.clear()
        self._state.forget_everything()

    # --- a turn -----------------------------------------------------------------------------------

    def _turn(self, events: Iterable[Event]) -> None:
        now = time.monotonic()
        for event in events:
            self._obey(self._state.handle(event, now))

    def _obey(self, instructions: Iterable[object]) -> None:
        for instruction in instructions:
            match instruction:
                case Say(message):
                    if self._connection is not None:
                        self._connection.send(message)
                case Order(slot, message):
                    if isinstance(message, Start):
                        self._output[slot].expect(message)
                    self._order(slot, message)
                case Kill(slot):
                    self._orders[slot].clear()
                    self._runners.kill(slot)
                case Fork(slot):
                    self._orders[slot].clear()  # they were for the runner that died
                    self._output[slot] = _SlotOutput()
                    self._runners.fork(slot)
                case Delete(job, blobs, runs_only):
                    self._delete(job, blobs, runs_only)
                case Fetch():
                    self._fetch(instruction)

    def _order(self, slot: int, message: JobInfo | Start) -> None:
        """Queue an order; all that this loop turn has for a runner leaves as one frame."""
        if isinstance(message, JobInfo):
            self._folders.make(message.job)
            functions = self._small.get(message.spec.functions)
            message = msgspec.structs.replace(message, functions=functions)
        elif isinstance(message.split, MemorySplit) and message.split.blob in self._small:
            blob = message.split.blob  # input as small as functions are: a runner reads the file
            (self._blobs / blob).write_bytes(self._small.pop(blob))
        if not any(self._orders):
            asyncio.get_running_loop().call_soon(self._send_orders)
        self._orders[slot].append(message)

    def _send_orders(self) -> None:
        for slot, messages in enumerate(self._drop_orders()):
            if messages:
                self._runners.send(slot, frame_of(*messages))

    def _drop_orders(self) -> list[list[JobInfo | Start]]:
        """Empty the queues; return what was in them, by slot."""
        orders, self._orders = self._orders, [[] for _ in self._orders]
        return orders

    def _delete(self, job: str, blobs: tuple[str, ...], runs_only: bool) -> None:
        # At once: the same blob may come again before long, into the same file.
        for digest in blobs:
            if self._small.pop(digest, None) is None:
                (self._blobs / digest).unlink(missing_ok=True)
        self._folders.delete(job, runs_only)

    def _fetch(self, fetch: Fetch) -> None:
        """Fetch shares in a thread that leaves the processors to user code."""
        directory = self._config.directory / fetch.job
        loop = asyncio.get_running_loop()

        def run() -> None:
            if sys.platform == "linux":  # where a thread has a priority of its own
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BACKGROUND)
            try:
                fetch_shares(
                    fetch.source, fetch.job, fetch.partition, directory, self._config.token
                )
            except (MRKernelError, OSError) as error:
                # The reduce attempt finds out by itself whether it matters.
                logger.info("could not fetch ahead from %s: %s", fetch.source.worker, error)
            with contextlib.suppress(RuntimeError):  # the loop is closed: this worker ends
                loop.call_soon_threadsafe(lambda: self._turn([Fetched(fetch.number)]))

        self._folders.make(fetch.job)
        # A daemon: it may wait for a silent worker when this one ends.
        threading.Thread(target=run, name="mrk-fetch", daemon=True).start()

    def _store_blob(self, piece: BlobPiece) -> None:
        """Add a piece; runners read the file, and check its digest, once they are told of it."""
        if piece.last and not piece.offset and len(piece.data) <= SMALL_FUNCTIONS:
            self._small[piece.digest] = piece.data
            return
        mode = "ab" if piece.offset else "wb"
        with (self._blobs / Path(piece.digest).name).open(mode) as file:
            file.write(piece.data)

    # --- beats ------------------------------------------------------------------------------------

    async def _beat_forever(self, beat_s: float) -> None:
        while True:
            self._turn([self._pulse()])
            await asyncio.sleep(beat_s)

    def _pulse(self) -> Pulse:
        seconds, resident = 0.0, 0
        for process in [self._process, *map(_process, self._runners.pids())]:
            if process is None:
                continue
            with contextlib.suppress(psutil.Error), process.oneshot():
                times = process.cpu_times()
                seconds += times.user + times.system
                resident += process.memory_info().rss
        now = time.monotonic()
        percent = 0.0
        if self._cpu_seconds is not None:
            before, spent = self._cpu_seconds
            percent = max(0.0, 100 * (seconds - spent) / max(now - before, 1e-6))
        self._cpu_seconds = (now, seconds)
        progress = [self._runners.progress(slot) for slot in range(self._config.slots)]
        return Pulse(round(percent, 1), resident, tuple(RunnerProgress(*p) for p in progress))

    # --- runners ----------------------------------------------------------------------------------

    def _runner_said(self, slot: int, payload: bytes) -> None:
        self._runners.read_output(slot)  # what it printed belongs before its end
        for message in self._from_runner.decode(payload):
            self._flush_output(slot)
            self._output[slot].ended()
            self._turn([RunnerSaid(slot, message)])

    def _runner_died(self, slot: int, cause: str, tail: str, records: int) -> None:
        self._flush_output(slot)
        self._turn([RunnerDied(slot, cause, tail, records)])

    def _runner_printed(self, slot: int, data: bytes) -> None:
        self._output[slot].add(data)
        if self._output_timer is None:
            loop = asyncio.get_running_loop()
            self._output_timer = loop.call_later(PRINT_DELAY_S, self._flush_outputs)

    def _flush_outputs(self) -> None:
        self._output_timer = None
        for slot in range(self._config.slots):
            self._flush_output(slot)

    def _flush_output(self, slot: int) -> None:
        printed = self._output[slot].take()
        if printed is not None and self._connection is not None:
            self._connection.send(printed)


class _SlotOutput:
    """What the runner of a slot prints, attempt by attempt, capped."""

    def __init__(self) -> None:
        self._expected: list[Start] = []
        self._pending = bytearray()
        # Output comes cut at any byte: the rest of a character is waited for.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._sent = 0
        self._dropped = 0

    def expect(self, start: Start) -> None:
        self._expected.append(start)

    def ended(self) -> None:
        if self._expected:
            self._expected.pop(0)
        self._sent = self._dropped = 0
        self._decoder.reset()

    def add(self, data: bytes) -> None:
        room = PRINT_LIMIT - self._sent - len(self._pending)
        self._pending += data[: max(room, 0)]
        self._dropped += max(0, len(data) - max(room, 0))

    def take(self) -> Printed | None:
        if not self._expected or not (self._pending or self._dropped):
            return None
        start = self._expected[0]
        text = self._decoder.decode(self._pending)
        self._sent += len(self._pending)
        dropped, self._dropped = self._dropped, 0
        self._pending.clear()
        if not text and not dropped:
            return None
        return Printed(start.job, start.task, start.attempt, text, dropped)


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None
