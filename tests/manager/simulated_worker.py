"""A worker server of ``test_manager_and_workers``: a real state, without processes around it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mrkernel.data.splits import MemorySplit
from mrkernel.ids import JobId, WorkerId
from mrkernel.job.failure import Failure
from mrkernel.manager.events import (
    PeerId,
)
from mrkernel.protocol.worker_messages import (
    Adopt,
    Disown,
    Failed,
    FetchFailed,
    Finished,
    JobInfo,
    Register,
    Registered,
    Retire,
    Start,
)
from mrkernel.worker import state as worker_side
from mrkernel.worker.deaths import Death
from mrkernel.worker.gathers import Fetch
from mrkernel.worker.state import WorkerState

if TYPE_CHECKING:
    from test_manager_and_workers import World

#: A file in a store: job, is it a run (or a part), index of the task, attempt.
File = tuple[JobId, bool, int, int]


@dataclass
class Runner:
    """A process in a slot: it knows jobs, has orders, and may be dying."""

    up: bool = False
    dying: bool = False
    jobs: set[JobId] = field(default_factory=set)
    orders: deque[Start] = field(default_factory=deque)


class SimulatedWorker:
    """A worker server around the real ``WorkerState``; its host's disk outlives it."""

    def __init__(self, peer: PeerId, slots: int, world: World) -> None:
        self.peer = peer
        self.world = world
        self.name = WorkerId("")
        self.cluster = ""
        self.instance, self.host = f"i{peer}", f"h{int(peer) % 2}"
        self.directory = f"/{peer}"
        self.adopted: list[str] = []
        self.state = WorkerState(slots)
        self.inbox: deque[Any] = deque()  #: from the manager, under way
        self.outbox: deque[Any] = deque()  #: to it
        self.runners = [Runner() for _ in range(slots)]
        self.files = world.disks.setdefault((self.host, self.directory), set())
        self.shares: set[tuple[JobId, int, int, int]] = set()  #: and the partition
        self.fetching: deque[Fetch] = deque()
        self.blobs: set[str] = set()
        self.obey(self.state.start())
        self.register()

    def register(self) -> None:
        port = int(self.peer)
        self.outbox.append(
            Register(
                *("h", self.host, 1, len(self.runners), "3.11", "127.0.0.1", port, self.directory),
                instance=self.instance,
                previous=self.name,
                cluster=self.cluster,
                adopted=tuple(self.adopted),
            )
        )

    def folders(self) -> list[set[File]]:
        """What it serves: its own directory, and those of the dead."""
        return [self.world.disks[self.host, path] for path in (self.directory, *self.adopted)]

    def delete(self, unwanted: Callable[[File], bool]) -> None:
        for path in (self.directory, *self.adopted):
            self.delete_in(path, unwanted)

    def delete_in(self, path: str, unwanted: Callable[[File], bool]) -> None:
        """Delete files; a directory whose owner lives, and holds its lock, is left to that one.

        The owner may be back, and write, before we hear that we are to adopt it.
        """
        owners = {worker.directory for worker in self.world.workers if worker is not self}
        if path not in owners:
            folder = self.world.disks[self.host, path]
            folder -= {file for file in folder if unwanted(file)}

    def registered(self, message: Registered) -> None:
        """As a worker server does: first of all nothing is kept that nobody wants."""
        self.name, self.cluster = message.worker, message.cluster
        if not message.keep:
            self.delete(lambda file: True)
            self.adopted.clear()
            self.state.reports.clear()
            return
        self.keep_only(message)
        for report in self.state.reports.offer().finished:
            if report.job not in message.jobs:
                self.state.reports.forget(report.job, False)
            elif report.job in message.results:
                self.state.reports.forget(report.job, True)
        self.outbox.append(self.state.reports.offer())

    def keep_only(self, message: Registered | Adopt) -> None:
        self.delete(
            lambda file: file[0] not in message.jobs or (file[1] and file[0] in message.results)
        )

    def handle(self, event: worker_side.Event, now: float) -> None:
        self.obey(self.state.handle(event, now))
        self.state.validate()

    def obey(self, instructions: list[worker_side.Instruction]) -> None:
        for instruction in instructions:
            match instruction:
                case worker_side.Say(message):
                    self.outbox.append(message)
                case worker_side.Order(slot, JobInfo() as info):
                    assert self.runners[slot].up
                    self.runners[slot].jobs.add(info.job)
                    assert info.spec.functions in self.blobs, "the functions are not here"
                case worker_side.Order(slot, Start() as start):
                    assert start.job in self.runners[slot].jobs, "a runner was not told of the job"
                    if isinstance(start.split, MemorySplit) and start.split.blob:
                        assert start.split.blob in self.blobs, "the input is not here"
                    self.runners[slot].orders.append(start)
                case worker_side.Kill(slot):
                    assert self.runners[slot].up
                    self.runners[slot].dying = True
                case worker_side.Fork(slot):
                    assert not self.runners[slot].up, "two runners in one slot"
                    self.runners[slot] = Runner()
                case Fetch(source=source):
                    assert source.host_id != self.host, "its files are at hand"
                    self.fetching.append(instruction)
                case worker_side.Delete(job, blobs, runs_only):
                    self.shares = {share for share in self.shares if share[0] != job}
                    self.forget_files(job, runs_only)
                    self.blobs -= set(blobs)
                case worker_side.Discard(start, run):
                    self.files.discard((start.job, run, start.index, start.attempt))

    def forget_files(self, job: JobId, runs_only: bool) -> None:
        self.delete(lambda file: file[0] == job and (file[1] or not runs_only))

    def hear(self, message: Any, now: float) -> None:
        """Take one message from the manager."""
        match message:
            case str():
                self.blobs.add(message)
            case Registered():
                self.registered(message)
            case Adopt(directory):
                self.adopted.append(directory)
                self.world.disks.setdefault((self.host, directory), set())
                self.keep_only(message)
            case Disown(directory, delete):
                if directory in self.adopted:
                    self.adopted.remove(directory)
                if delete:
                    self.delete_in(directory, lambda file: True)
            case Retire():
                raise AssertionError("nobody was to be refused here")
            case _:
                self.handle(worker_side.FromManager(message), now)

    def end_attempt(self, slot: int, how: str, world: World) -> None:
        """Let the runner of a slot end what it runs."""
        runner = self.runners[slot]
        start = runner.orders.popleft()
        me = (start.job, start.task, start.attempt)
        message: Finished | Failed | FetchFailed
        missing = world.missing_source(start, self)
        if missing is not None:
            message = FetchFailed(*me, *missing, "gone")
        elif how in ("user", "environment"):
            message = Failed(*me, Failure(kind=how, sentence=how))  # type: ignore[arg-type]
        else:
            output, part = world.output_of(start)
            if output is not None and any(output.sizes) and output.data is None:
                self.files.add((start.job, True, start.index, start.attempt))
            if part is not None and part.name:
                self.files.add((start.job, False, start.index, start.attempt))
            message = Finished(*me, 1, 1, 1, 0.01, output, part, {"done": 1})
        self.handle(worker_side.RunnerSaid(slot, message), world.now)

    def end_fetch(self, world: World) -> None:
        """What was fetched ahead is here, as far as it was to be had."""
        fetch = self.fetching.popleft()
        for index, attempt in fetch.source.runs:
            if world.serves(fetch.source, (fetch.job, True, index, attempt), self):
                self.shares.add((fetch.job, index, attempt, fetch.partition))
        self.handle(worker_side.Fetched(fetch.number), world.now)

    def bury(self, slot: int, world: World) -> None:
        """The process is gone, by our hand or by its own."""
        self.runners[slot] = Runner()
        self.handle(worker_side.RunnerDied(slot, Death(signal="SIGKILL")), world.now)

    def start_anew(self, peer: PeerId) -> None:
        """The connection broke: to the manager the same process is another worker now."""
        self.peer = peer
        self.inbox.clear()
        self.outbox.clear()
        self.shares.clear()
        self.fetching.clear()
        self.blobs.clear()
        self.state.forget_everything()
        self.state.validate()
        for runner in self.runners:
            runner.dying = runner.up
            runner.orders.clear()
        self.register()
