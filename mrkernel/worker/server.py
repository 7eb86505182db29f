"""The worker server: the I/O shell around a ``WorkerState``.

It holds the connection to the manager, beats, keeps the runs that its runners wrote and serves them
to others. User code never runs here: a regex that hogs its process hogs a runner, and the beats go
on. Order matters in ``main``: the template is forked before there is an event loop or a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable

import msgspec

from mrkernel.data.host import host_id
from mrkernel.data.locks import hold
from mrkernel.data.splits import MemorySplit
from mrkernel.errors import ManagerUnreachableError, MRKernelError
from mrkernel.ids import JobId, WorkerId
from mrkernel.protocol.connection import Connection
from mrkernel.protocol.messages import BlobPiece, Message, MessageDecoder
from mrkernel.protocol.worker_messages import (
    Adopt,
    BeatsHeard,
    Disown,
    Disturb,
    Finished,
    FromRunner,
    JobInfo,
    Offer,
    Register,
    Registered,
    Retire,
    Start,
    ToWorker,
)
from mrkernel.shuffle.run import run_name
from mrkernel.shuffle.serving import RunServer
from mrkernel.shuffle.shares import fetch_shares
from mrkernel.worker.attempt import part_name
from mrkernel.worker.beats import Beats
from mrkernel.worker.blobs import Blobs
from mrkernel.worker.config import WorkerConfig
from mrkernel.worker.deaths import Death
from mrkernel.worker.disturbing import Slowness, die, freeze
from mrkernel.worker.finding import Found, find_manager
from mrkernel.worker.folders import Folders
from mrkernel.worker.gathers import Fetch
from mrkernel.worker.lease import Lease
from mrkernel.worker.load import Load
from mrkernel.worker.memory import share_of_machine
from mrkernel.worker.orders import Orders
from mrkernel.worker.printing import Printing
from mrkernel.worker.runners import Listener, Runners, Template, start_template
from mrkernel.worker.state import (
    Delete,
    Discard,
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
    Weighed,
    WorkerState,
)
from mrkernel.worker.stores import Stores, delete_directory, unwanted
from mrkernel.worker.task_logs import TaskLogs
from mrkernel.worker.task_runner import RunnerHome, run_tasks, warm_up

logger = logging.getLogger("mrkernel.worker")

#: Niceness of what is fetched ahead.
BACKGROUND = 10
#: Seconds between two looks at runners that are at work.
WEIGH_S = 0.1
#: A manager that hangs up sooner, more than once, counts as not found.
STEADY_S = 0.25
#: Listening there, a worker tells the address at which its manager sees it.
_EVERYWHERE = ("0.0.0.0", "::")
#: Seconds that killed runners get to disappear before the next manager is looked for anyway.
BURIAL_S = 2.0


def main(config: WorkerConfig) -> int:
    """Be a worker until the manager is gone or says so; return the exit status."""
    config.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    home = RunnerHome(config.directory, config.token, host_id(), config.always_fetch)
    template = start_template(warm_up, lambda sock, cell: run_tasks(sock, cell, home))
    lock = hold(config.directory)  # after the fork: the template must not hold it
    try:
        return asyncio.run(_run(config, template))
    finally:
        if not config.supervised:
            delete_directory(config.directory)
        os.close(lock)


async def _run(config: WorkerConfig, template: Template) -> int:
    server = WorkerServer(config, template, random.Random())
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(server.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        return await running
    return 0


class WorkerServer:
    """One worker server; ``run`` is its whole life.

    Args:
        config: how it is set up.
        template: forks its runners.
        chance: spreads the workers that look for a lost manager.
    """

    def __init__(self, config: WorkerConfig, template: Template, chance: random.Random) -> None:
        self._config = config
        self._chance = chance
        self._state = WorkerState(config.slots, share_of_machine(config.slots))
        self._instance = secrets.token_hex(8)
        self._registered: Registered | None = None  # the last word of that kind
        self._lease_s = config.lease_s
        self._beats: Beats | None = None
        self._connection: Connection | None = None
        self._from_manager = MessageDecoder(ToWorker)
        self._from_runner = MessageDecoder(FromRunner)
        self._stores = Stores(config.directory)
        self._runs = RunServer(config.directory, config.token, self._stores.directories)
        self._blobs = Blobs(config.directory)
        self._folders = Folders(config.directory)
        self._printing = Printing(config.slots, self._say, TaskLogs(config.directory).write)
        self._weighing: asyncio.TimerHandle | None = None
        self._load = Load()
        self._template_pid = template.pid
        self._template_lost = asyncio.Event()
        self._runners = Runners(
            template,
            config.slots,
            Listener(
                up=lambda slot: self._turn([RunnerUp(slot)]),
                said=self._runner_said,
                printed=self._printing.add,
                died=self._runner_died,
                template_lost=self._template_lost.set,
            ),
        )
        self._orders = Orders(config.slots, self._runners.send)
        self._slowness = Slowness(self._runners.pids)

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
            self._orders.drop_all()
            self._slowness.stop()
            self._runners.close()
            self._runs.stop()
            if self._connection is not None:
                self._connection.close()
            if not self._config.supervised:
                self._stores.delete_all()

    # --- managers ---------------------------------------------------------------------------------

    async def _serve_managers(self) -> int:
        lease, steady = Lease(self._lease_s, time.monotonic(), self._chance), True
        while True:
            found = await find_manager(
                self._config.manager,
                self._config.token,
                lease,
                again=self._registered is not None,
            )
            began = time.monotonic()
            status = await self._serve_one(found)
            if status is not None:
                return status
            now, ended = time.monotonic(), found.connection.ended
            before, steady = steady, now - began >= STEADY_S
            if before or steady:
                lease = Lease(self._lease_s, now, self._chance)
            else:
                lease.served(now - began)
            # Who hangs up at once, again and again, was not found: the search goes on.
            pause = 0.0 if steady else lease.pause(now)
            if pause is None:
                host, port = self._config.manager
                raise ManagerUnreachableError(
                    f"the manager at {host}:{port} hangs up each time ({ended}): its log says why"
                )
            logger.warning("the manager is gone (%s); looking for it", ended)
            await self._start_anew()
            await asyncio.sleep(pause)

    async def _serve_one(self, found: Found) -> int | None:
        """Obey one manager until its connection ends; an exit status when told to retire."""
        self._connection = connection = found.connection
        connection.send(self._introduction(found.own_host))
        working: list[asyncio.Future[None]] = []
        try:
            async for messages in connection.batches(self._from_manager):
                events: list[Event] = []
                for message in messages:
                    match message:
                        case BlobPiece():
                            self._turn(events)
                            events = []
                            self._blobs.add(message)
                        case Registered():
                            self._beats = self._begin(found, message)
                            working.append(asyncio.ensure_future(self._beats.beat_forever()))
                            working.append(
                                asyncio.ensure_future(self._report_forever(message.report_s))
                            )
                        case BeatsHeard(heard):
                            if self._beats is not None:
                                self._beats.told(heard)
                        case Adopt(directory, jobs, results):
                            self._stores.adopt(directory)
                            self._stores.keep_only(jobs, results)
                        case Disown(directory, delete):
                            self._stores.disown(directory, delete=delete)
                        case Disturb():
                            self._turn(events)
                            events = []
                            self._disturb(message)
                        case Retire(reason):
                            print(f"mrkernel worker: {reason}", file=sys.stderr)  # noqa: T201
                            return 1
                        case _:
                            events.append(FromManager(message))
                self._turn(events)
        finally:
            for work in working:
                work.cancel()
            self._beats = None
            self._connection = None
        return None

    def _introduction(self, own_host: str) -> Register:
        """Say who we are, and who we were."""
        directory = self._config.directory
        if not directory.exists():
            # Whoever adopted it while we stood still deleted it.
            directory.mkdir(mode=0o700)
            self._blobs = Blobs(directory)
            hold(directory)  # until this process ends
        data_host, data_port = self._runs.address
        if data_host in _EVERYWHERE:
            data_host = own_host  # another one after the machine slept, perhaps
        last = self._registered
        return Register(
            host=socket.gethostname(),
            host_id=host_id(),
            pid=os.getpid(),
            slots=self._config.slots,
            python="{}.{}".format(*sys.version_info),
            data_host=data_host,
            data_port=data_port,
            directory=str(directory),
            instance=self._instance,
            previous=last.worker if last is not None else WorkerId(""),
            cluster=last.cluster if last is not None else "",
            adopted=tuple(map(str, self._stores.directories)),
        )

    def _begin(self, found: Found, registered: Registered) -> Beats:
        """A manager took us in: keep what we have and offer it, or be rid of it."""
        connection = found.connection
        logger.info("registered as %s", registered.worker)
        if registered.keep:
            jobs, results = registered.jobs, registered.results
            for job, runs_only in unwanted(self._config.directory, jobs, results):
                self._state.reports.forget(JobId(job), runs_only)
                self._folders.delete(job, runs_only)
            self._stores.keep_only(jobs, results)
            connection.send(self._offer())
        elif self._registered is not None:
            self._state.reports.clear()
            self._folders.let_go()
            self._stores.let_go()
        self._registered = registered
        self._lease_s = min(registered.lease_s or self._config.lease_s, self._config.lease_s)
        if registered.dead_s:
            connection.watch_over(registered.dead_s)
        return Beats(connection, registered, found.host)

    def _offer(self) -> Offer:
        """Offer what we reported lately and still have."""
        offer = self._state.reports.offer()
        return Offer(tuple(report for report in offer.finished if self._has(report)))

    def _has(self, report: Finished) -> bool:
        directory = self._config.directory
        if report.part is not None:
            return not report.part.name or (directory / report.part.name).exists()
        output = report.output
        if output is None or output.data is not None or not any(output.sizes):
            return True
        index = int(report.task.rpartition("-")[2])
        return (directory / report.job / run_name(index, report.attempt)).exists()

    async def _start_anew(self) -> None:
        """Forget what the lost manager asked for; what is finished stays, for when it is back."""
        self._orders.drop_all()
        self._state.forget_everything()
        # A runner that still writes must not meet the next attempt of its task.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BURIAL_S):
                await self._runners.kill_all()
        await self._folders.settled()  # the next manager may number its jobs like this one
        await self._stores.settled()
        self._blobs.clear()

    def _disturb(self, disturb: Disturb) -> None:
        """Fail on purpose."""
        logger.warning("told to fail: %s %g", disturb.how, disturb.amount)
        match disturb.how:
            case "kill":
                die(self._runners.pids())
            case "freeze":
                freeze(self._runners.pids(), self._template_pid, disturb.amount)
            case "slow":
                self._slowness.set(disturb.amount)

    # --- a turn -----------------------------------------------------------------------------------

    def _turn(self, events: Iterable[Event]) -> None:
        self._obey(self._state.turn(events, time.monotonic()))

    def _say(self, message: Message) -> None:
        if self._connection is not None:
            self._connection.send(message)

    def _obey(self, instructions: Iterable[object]) -> None:
        for instruction in instructions:
            match instruction:
                case Say(message):
                    self._say(message)
                case Order(slot, message):
                    if isinstance(message, Start):
                        self._printing.expect(slot, message)
                        self._weigh_soon()
                    self._order(slot, message)
                case Kill(slot, tell):
                    self._orders.drop(slot)
                    self._runners.kill(slot, tell=tell)
                case Fork(slot):
                    self._orders.drop(slot)  # they were for the runner that died
                    self._printing.fresh(slot)
                    self._runners.fork(slot)
                case Delete():
                    self._delete(instruction)
                case Discard(start, run):
                    name = run_name if run else part_name
                    path = self._config.directory / start.job / name(start.index, start.attempt)
                    with contextlib.suppress(OSError):  # whoever reads it finds out
                        path.unlink(missing_ok=True)
                case Fetch():
                    self._fetch(instruction)

    def _order(self, slot: int, message: JobInfo | Start) -> None:
        """Give a runner an order, with the files that it needs for it."""
        if isinstance(message, JobInfo):
            self._folders.make(message.job)
            functions = self._blobs.small(message.spec.functions)
            message = msgspec.structs.replace(message, functions=functions)
        elif isinstance(message.split, MemorySplit) and message.split.blob:
            self._blobs.to_file(message.split.blob)
        self._orders.add(slot, message)

    def _delete(self, order: Delete) -> None:
        self._blobs.delete(order.blobs)
        self._folders.delete(order.job, order.runs_only, keep_logs=order.keep_logs)
        self._stores.forget(order.job, order.runs_only, keep_logs=order.keep_logs)

    def _fetch(self, fetch: Fetch) -> None:
        """Fetch shares in a thread that leaves the processors to user code."""
        directory = self._config.directory / fetch.job
        loop = asyncio.get_running_loop()

        def run() -> None:
            if sys.platform == "linux":  # where a thread has a priority of its own
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BACKGROUND)
            try:
                job = fetch.source.job or fetch.job
                fetch_shares(fetch.source, job, fetch.partition, directory, self._config.token)
            except (MRKernelError, OSError) as error:
                # The reduce attempt finds out by itself whether it matters.
                logger.info("could not fetch ahead from %s: %s", fetch.source.worker, error)
            with contextlib.suppress(RuntimeError):  # the loop is closed: this worker ends
                loop.call_soon_threadsafe(lambda: self._turn([Fetched(fetch.number)]))

        self._folders.make(fetch.job)
        # A daemon: it may wait for a silent worker when this one ends.
        threading.Thread(target=run, name="mrk-fetch", daemon=True).start()

    # --- load, progress, memory -------------------------------------------------------------------

    async def _report_forever(self, report_s: float) -> None:
        while True:
            self._turn([self._pulse()])
            await asyncio.sleep(report_s)

    def _weigh_soon(self) -> None:
        if self._weighing is None:
            self._weighing = asyncio.get_running_loop().call_later(WEIGH_S, self._weigh)

    def _weigh(self) -> None:
        """Look at the memory and progress of the runners at work; at nothing without any."""
        self._weighing = None
        busy = [slot for slot, held in enumerate(self._state.slots) if held.busy]
        if busy:
            self._turn([Weighed(self._runners.weigh(busy), self._progress())])
            self._weigh_soon()

    def _pulse(self) -> Pulse:
        percent, resident = self._load.measure(self._runners.pids())
        return Pulse(percent, resident, self._progress())

    def _progress(self) -> tuple[RunnerProgress, ...]:
        read = self._runners.progress
        return tuple(RunnerProgress(*read(slot)) for slot in range(self._config.slots))

    # --- runners ----------------------------------------------------------------------------------

    def _runner_said(self, slot: int, payloads: list[bytes]) -> None:
        self._runners.read_output(slot)  # what it printed belongs before its end
        events = []
        for payload in payloads:
            for message in self._from_runner.decode(payload):
                self._printing.ended(slot)
                events.append(RunnerSaid(slot, message))
        self._turn(events)

    def _runner_died(self, slot: int, death: Death) -> None:
        self._printing.flush(slot)
        self._turn([RunnerDied(slot, death)])
