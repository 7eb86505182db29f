"""A simulated worker server around the real ``WorkerState``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from mrkernel.data.splits import MemorySplit
from mrkernel.ids import WorkerId
from mrkernel.protocol.worker_messages import (
    Adopt,
    Alive,
    BeatsHeard,
    CancelAttempt,
    Disown,
    Failed,
    FetchFailed,
    Finished,
    JobInfo,
    Offer,
    Register,
    Registered,
    Retire,
    Start,
)
from mrkernel.worker.deaths import Death
from mrkernel.worker.gathers import Fetch
from mrkernel.worker.lease import Lease
from mrkernel.worker.state import (
    Delete,
    Discard,
    Event,
    Fetched,
    Fork,
    FromManager,
    Instruction,
    Kill,
    Order,
    Pulse,
    RunnerDied,
    RunnerSaid,
    RunnerUp,
    Say,
    WorkerState,
)

from .disks import run_name
from .jobs import PYTHON
from .network import End, Process
from .runner import FORK_S, Runner

if TYPE_CHECKING:
    from .world import World


class SimulatedWorker(Process):
    """One worker server's whole life, over several managers.

    Attributes:
        name: as the world calls it: "p3".
        id: as its manager calls it now; "": none does.
        directory: its own.
        adopted: of dead workers of its host, which it serves.
        slowness: how much longer its runners need.
        disk_full: whether its runners cannot write.
    """

    def __init__(self, world: World, number: int, host: str, slots: int) -> None:
        super().__init__(world.clock, f"p{number}", host)
        self.world = world
        self.number = number
        self.pid = 1000 + number
        self.address = (host, 5000 + number)
        self.directory = f"/spill/worker-{number}"
        self.id = WorkerId("")
        self.adopted: dict[str, None] = {}
        self.slowness = 1.0
        self.disk_full = False
        self.shares: set[tuple[str, int, int, int]] = set()  #: job, map, attempt, partition
        self.state = WorkerState(slots)
        self.runners = [Runner(self, slot) for slot in range(slots)]
        self._connection: End | None = None
        self._cluster = ""
        self._blobs: set[str] = set()
        self._heard: bool | None = None  #: what it was told of its datagrams
        self._beat_s = 0.5
        self._registration = 0
        self._lease = Lease(world.lease_s, world.clock.now, world.chance)
        world.disks.make(host, self.directory)
        self._obey(self.state.start())
        self._look_for_manager()

    # --- managers ---------------------------------------------------------------------------------

    def _look_for_manager(self) -> None:
        manager = self.world.manager
        ends = self.world.network.connect(self, manager) if manager is not None else None
        if ends is None:
            pause = self._lease.pause(self.clock.now)
            if pause is None:
                self.leave()
            else:
                self.after(pause, self._look_for_manager)
            return
        assert manager is not None
        near, far = ends
        self._connection = near
        near.on_message = self._hear
        near.on_lost = self._manager_lost
        manager.accept(far, "worker")
        near.send(
            Register(
                host=self.host,
                host_id=self.host,
                pid=self.pid,
                slots=len(self.runners),
                python=PYTHON,
                data_host=self.address[0],
                data_port=self.address[1],
                directory=self.directory,
                instance=self.name,
                previous=self.id,
                cluster=self._cluster,
                adopted=tuple(self.adopted),
            )
        )

    def _hear(self, message: Any) -> None:
        match message:
            case Registered():
                self._registered(message)
            case Retire():
                self.leave()
            case BeatsHeard(heard):
                self._heard = heard
            case Adopt(directory, jobs, results):
                if self.world.disks.at(self.host, directory) is not None:
                    self.adopted[directory] = None
                    self._tidy(directory, jobs, results)
            case Disown(directory, delete):
                if self.adopted.pop(directory, "") is None and delete:
                    self._remove(directory)
            case ("blob", digest):
                self._blobs.add(digest)
            case _:
                if isinstance(message, CancelAttempt):
                    self.world.oracle.cancelled(message)
                self._handle(FromManager(message))

    def _registered(self, message: Registered) -> None:
        assert self._connection is not None
        if not message.keep:
            folder = self.world.disks.make(self.host, self.directory)
            folder.files.clear()
            self.shares.clear()
            self.state.reports.clear()
            for directory in self.adopted:
                self._remove(directory)
            self.adopted.clear()
        else:
            for directory in (self.directory, *self.adopted):
                self._tidy(directory, message.jobs, message.results)
            offered = self.state.reports.offer().finished
            self._connection.send(Offer(tuple(filter(self._has, offered))))
        self.id, self._cluster = message.worker, message.cluster
        self._beat_s = message.beat_s
        self._registration += 1
        self._beat(self._registration, message.number)
        self._report(self._registration, message.report_s if message.number else message.beat_s)

    def _has(self, report: Finished) -> bool:
        """Whether the files of a finished attempt are still here."""
        folder = self.world.disks.make(self.host, self.directory)
        if report.part is not None:
            name = report.part.name.partition("/")[2]
            return not name or (report.job, name) in folder.files
        output = report.output
        if output is None or output.data is not None or not any(output.sizes):
            return True
        index = int(report.task.removeprefix("map-"))
        return (report.job, run_name(index, report.attempt)) in folder.files

    def _tidy(self, directory: str, jobs: Sequence[str], results: Sequence[str]) -> None:
        """Delete what a directory holds of jobs that were let go while nobody could say so."""
        folder = self.world.disks.at(self.host, directory)
        if folder is not None and (directory == self.directory or self._is_orphan(directory)):
            for job in {job: None for job, _ in folder.files}:
                if job not in jobs or job in results:
                    folder.forget(job, runs_only=job in results)

    def _manager_lost(self, cause: str) -> None:
        self._connection = None
        self._heard = None
        self._registration += 1
        self.shares.clear()
        self._blobs.clear()
        self.state.forget_everything()
        for runner in self.runners:
            if runner.up:
                runner.kill()
        self._lease = Lease(self.world.lease_s, self.clock.now, self.world.chance)
        self.after(0.001, self._look_for_manager)

    def reset(self) -> None:
        """Lose the connection, and so does the manager."""
        if self._connection is not None:
            self._connection.close()
            self._manager_lost("connection reset")

    def leave(self) -> None:
        """End, with all that it wrote or adopted."""
        self.die()
        self.world.disks.remove(self.host, self.directory)
        for directory in self.adopted:
            self._remove(directory)

    def _remove(self, directory: str) -> None:
        """Remove an adopted directory, unless its owner lives."""
        if self._is_orphan(directory):
            self.world.disks.remove(self.host, directory)

    def _is_orphan(self, directory: str) -> bool:
        """Whether the owner of a directory is dead: nobody else has its lock."""
        return not any(other.directory == directory for other in self.world.workers)

    def die(self, *, silently: bool = False) -> None:
        """Be killed, runners and all; the files stay."""
        for runner in self.runners:
            runner.end()
        super().die(silently=silently)
        self.world.worker_died(self)

    def freeze(self) -> None:
        """Stop, runners and all."""
        super().freeze()
        for runner in self.runners:
            runner.freeze()

    def thaw(self) -> None:
        """Go on."""
        for runner in self.runners:
            runner.thaw()
        super().thaw()

    # --- beats ------------------------------------------------------------------------------------

    def _beat(self, registration: int, number: int) -> None:
        if registration != self._registration or self._connection is None:
            return
        manager = self.world.manager
        if number and manager is not None:
            beat = partial(manager.datagram, manager, self._connection.other)
            self.world.network.datagram(self, manager, beat)
            if not self._heard:
                self._connection.send(Alive())
        self.after(self._beat_s, partial(self._beat, registration, number))

    def _report(self, registration: int, every: float) -> None:
        if registration != self._registration:
            return
        progress = tuple(runner.progress() for runner in self.runners)
        self._handle(Pulse(1.0, 1, progress))
        self.after(every, partial(self._report, registration, every))

    # --- the state --------------------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        self._obey(self.state.handle(event, self.clock.now))
        if self.world.is_checked():
            self.state.validate()

    def _obey(self, instructions: list[Instruction]) -> None:
        for instruction in instructions:
            match instruction:
                case Say(message):
                    if self._connection is not None:
                        self._connection.send(message)
                        self.world.trace.note(self.clock.now, self.name, message)
                case Order(slot, message):
                    self._order(slot, message)
                case Kill(slot):
                    self.runners[slot].kill()
                case Fork(slot):
                    self.runners[slot] = runner = Runner(self, slot)
                    self.after(self.world.chance.uniform(*FORK_S), partial(self._up, runner))
                case Delete(job, blobs, runs_only):
                    self._delete(job, blobs, runs_only)
                case Fetch():
                    wait = self.world.chance.uniform(0.001, 0.2)
                    self.after(wait, partial(self._fetched, instruction, self._registration))
                case Discard(start):
                    self._discard(start)

    def _discard(self, start: Start) -> None:
        folder = self.world.disks.at(self.host, self.directory)
        name = f"part-{start.index}.{start.attempt}"
        if start.split is not None:
            folder and folder.files.pop((start.job, run_name(start.index, start.attempt)), None)
        folder and folder.files.pop((start.job, name), None)

    def _order(self, slot: int, message: JobInfo | Start) -> None:
        if isinstance(message, JobInfo):
            assert message.spec.functions in self._blobs, "the functions are not here"
        elif isinstance(message.split, MemorySplit) and message.split.blob:
            assert message.split.blob in self._blobs, "the input is not here"
        self.runners[slot].order(message)

    def _up(self, runner: Runner) -> None:
        if self.runners[runner.slot] is runner and not runner.dying:
            runner.up = True
            self._handle(RunnerUp(runner.slot))

    def _delete(self, job: str, blobs: tuple[str, ...], runs_only: bool) -> None:
        self._blobs.difference_update(blobs)
        self.shares = {share for share in self.shares if share[0] != job}
        for directory in (self.directory, *self.adopted):
            folder = self.world.disks.at(self.host, directory)
            if folder is not None:
                folder.forget(job, runs_only=runs_only)

    def _fetched(self, fetch: Fetch, registration: int) -> None:
        if registration != self._registration:
            return
        for index, attempt in fetch.source.runs:
            job = fetch.source.job or fetch.job
            found = self.world.read(self, fetch.source, job, run_name(index, attempt))
            if not isinstance(found, tuple):
                self.shares.add((fetch.job, index, attempt, fetch.partition))
        self._handle(Fetched(fetch.number))

    # --- runners ----------------------------------------------------------------------------------

    def runner_said(self, runner: Runner, message: Finished | Failed | FetchFailed) -> None:
        """A runner ended an attempt."""
        if self.runners[runner.slot] is runner:
            self._handle(RunnerSaid(runner.slot, message))

    def runner_died(self, runner: Runner, death: Death) -> None:
        """A runner's process is gone."""
        if self.runners[runner.slot] is runner:
            self._handle(RunnerDied(runner.slot, death))
