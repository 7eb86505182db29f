"""A simulated task runner: attempts take their time, read, write, and meet their fate."""

from __future__ import annotations

import zlib
from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from mrkernel.job.bad_records import BadRecord
from mrkernel.job.failure import Failure
from mrkernel.protocol.worker_messages import (
    Failed,
    FetchFailed,
    Finished,
    JobInfo,
    PartOutput,
    RunOutput,
    RunSource,
    Start,
)
from mrkernel.worker.deaths import Death
from mrkernel.worker.state import RunnerProgress

from .clock import Call, Timer
from .disks import File, run_name
from .jobs import RECORDS, Made, Script, packed, unpacked

if TYPE_CHECKING:
    from .worker import SimulatedWorker

#: Seconds to fork one, and until one that was killed is seen to be dead.
FORK_S = (0.003, 0.01)
DEATH_S = (0.0005, 0.003)


class Runner:
    """The process in a slot.

    Attributes:
        up: it has said that it waits for work.
        slow: how much longer everything takes it.
    """

    def __init__(self, worker: SimulatedWorker, slot: int) -> None:
        self.worker = worker
        self.slot = slot
        self.up = False
        self.dying = False
        self.frozen = False
        self.orders: deque[Start] = deque()
        self._world = worker.world
        self._jobs: dict[str, JobInfo] = {}
        self._started = 0
        self._running: Start | None = None
        self._ends_at: float | None = None  #: None: never by itself
        self._began_at = 0.0
        self._next: Call = self._ended  #: what comes then
        self._timer: Timer | None = None
        self._read: list[tuple[int, int]] = []

    @property
    def script(self) -> Script:
        """Of the job whose attempt it runs."""
        assert self._running is not None
        return self._world.scripts[self._jobs[self._running.job].spec.name]

    def order(self, message: JobInfo | Start) -> None:
        """Take an order."""
        assert self.up, "an order for a runner that is not there"
        if self.dying:
            return  # nobody knows yet: it went into the pipe of a dead process
        if isinstance(message, JobInfo):
            self._jobs[message.job] = message
            return
        assert message.job in self._jobs, "a runner was not told of the job"
        self.orders.append(message)
        if self._running is None:
            self._begin()

    def progress(self) -> RunnerProgress:
        """Return what its progress cell says."""
        if self._running is None:
            return RunnerProgress(self._started, 0, 0)
        total = (self._ends_at or self._world.clock.now + 1e9) - self._began_at
        share = min(1.0, (self._world.clock.now - self._began_at) / max(total, 1e-9))
        if self._ends_at is None or self.frozen:
            share = 0.4
        return RunnerProgress(self._started, int(share * RECORDS), int(share * 1000))

    def kill(self) -> None:
        """Let its worker kill it; its end is seen a moment later."""
        self._die("SIGKILL")

    def crash(self, signal: str) -> None:
        """Let it die by itself, or by somebody else's hand."""
        if self._running is not None and not self.dying:
            self._world.oracle.crashed(self.script, self._running)
        self._die(signal)

    def end(self) -> None:
        """Its worker died, and it at once."""
        self._stop()
        self.dying = True

    def freeze(self) -> None:
        """Stop it (SIGSTOP)."""
        self.frozen = True
        self._stop()

    def thaw(self) -> None:
        """Let it on: what it was at takes as much longer."""
        if self.frozen:
            self.frozen = False
            if self._running is not None and not self.dying and self._ends_at is not None:
                self._until((self._ends_at - self._began_at) / 2, self._next)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _die(self, signal: str) -> None:
        if self.dying:
            return
        self._stop()
        self.dying = True
        death = Death(signal=signal, records=self.progress().records)
        start = self._running
        if start is not None and start.careful and signal == "SIGSEGV" and start.split is not None:
            death = replace(death, index=self.script.poison.get(start.index, death.records))
        wait = self._world.chance.uniform(*DEATH_S)
        self.worker.after(wait, partial(self.worker.runner_died, self, death))

    # --- attempts ---------------------------------------------------------------------------------

    def _begin(self) -> None:
        start = self._running = self.orders[0]
        self._started += 1
        self._read = []
        world, script = self._world, self.script
        world.oracle.began(script, start, self.worker)
        fate = script.fate(start.task, start.attempt, start.skip)
        usual = script.seconds[0 if start.split is not None else 1]
        takes = usual * world.chance.uniform(0.5, 1.5) * self.worker.slowness
        self._began_at = world.clock.now
        if fate == "hang":
            self._ends_at = None
        elif fate == "crash":
            self._until(takes, partial(self.crash, "SIGSEGV"))
        elif start.split is None:
            self._until(takes / 2, self._read_sources)
        else:
            self._until(takes, self._ended)

    def _until(self, seconds: float, then: Call) -> None:
        """Be busy for so long."""
        self._ends_at = self._world.clock.now + seconds
        self._next = then
        self._timer = self._world.clock.at(self._ends_at, then)
        if self.frozen:
            self._stop()

    def _read_sources(self) -> None:
        """Half of a reduce attempt is reading."""
        start = self._running
        assert start is not None
        wait = 0.0
        for source in start.sources:
            for index, attempt in source.runs:
                fault, late = self._read_run(source, index, attempt)
                wait += late
                if fault is not None:
                    message = FetchFailed(
                        *(start.job, start.task, start.attempt, index, attempt, source.worker),
                        reason=fault[1],
                        blame=fault[0],  # type: ignore[arg-type]
                    )
                    self._until(wait, partial(self._say, message))
                    return
        for index, data in start.carried:
            made = unpacked(data)
            self._world.oracle.read(self.script, index, made)
            self._read.append((index, made.attempt))
        self._until(wait + (self._world.clock.now - self._began_at), self._ended)

    def _read_run(
        self, source: RunSource, index: int, attempt: int
    ) -> tuple[tuple[str, str] | None, float]:
        """Read one run; return what is wrong, and how long it took to find out."""
        start = self._running
        assert start is not None
        job = source.job or start.job
        if (job, index, attempt, start.index) in self.worker.shares:
            self._read.append((index, attempt))
            return None, 0.0
        found = self._world.read(self.worker, source, job, run_name(index, attempt))
        if isinstance(found, tuple):
            return found, 2.5 if found[0] == "network" else 0.0
        self._world.oracle.read(self.script, index, found.made)
        self._read.append((index, attempt))
        return None, 0.0

    def _ended(self) -> None:
        """An attempt is over: write what it made, and say so."""
        start = self._running
        assert start is not None
        script = self.script
        me = (start.job, start.task, start.attempt)
        if script.fate(start.task, start.attempt, start.skip) == "user":
            failure = Failure(kind="user", sentence="mapper raised ValueError", index=3)
            self._say(Failed(*me, failure))
            return
        if self.worker.disk_full and not start.carry:
            self._world.oracle.faulted(script)
            failure = Failure(kind="environment", sentence="no space left on the disk")
            self._say(Failed(*me, failure))
            return
        is_map = start.split is not None
        output = part = None
        if is_map and script.reduces:
            output = self._write_run(script, start)
        else:
            part = self._write_part(script, start)
        bad = tuple(
            BadRecord(task=start.task, index=i, file=script.name, offset=i, record=f"{i}", error="")
            for i in start.skip
        )
        self._say(
            Finished(
                *me,
                records=RECORDS,
                pairs=RECORDS,
                bytes_in=1000,
                seconds=self._world.clock.now - self._began_at,
                output=output,
                part=part,
                counters={"tasks": 1, start.task: 1},
                bad=bad,
            )
        )

    def _write_run(self, script: Script, start: Start) -> RunOutput:
        sizes = tuple(script.size(start.index, p) for p in range(script.reduces))
        made = Made(script.name, start.task, start.attempt, skipped=start.skip)
        differs = f" {start.attempt}" if script.wavering else ""
        digest = zlib.crc32(f"{script.name} {start.index}{differs}".encode()) or 1
        if not any(sizes):
            return RunOutput(sizes, digest)
        data = packed(made)
        if script.is_carried(start.index) and len(data) <= start.carry:
            return RunOutput(sizes, digest, data)
        self._write(start.job, run_name(start.index, start.attempt), made)
        return RunOutput(sizes, digest)

    def _write_part(self, script: Script, start: Start) -> PartOutput:
        made = Made(script.name, start.task, start.attempt, tuple(sorted(self._read)), start.skip)
        if not script.kept:
            data = packed(made)
            return PartOutput("", len(data), 1, data)
        name = f"part-{start.index}.{start.attempt}"
        self._write(start.job, name, made)
        return PartOutput(f"{start.job}/{name}", 10**6, 1)

    def _write(self, job: str, name: str, made: Made) -> None:
        folder = self._world.disks.make(self.worker.host, self.worker.directory)
        folder.files[job, name] = File(made)

    def _say(self, message: Finished | Failed | FetchFailed) -> None:
        if self.dying:
            return
        self.orders.popleft()
        self._running, self._ends_at = None, None
        if self.orders:
            self._begin()
        self.worker.run(partial(self.worker.runner_said, self, message))
