"""WorkerState: what a worker server knows. Pure: events in, instructions out.

Rules of this file: no clock, no socket, no process of its own; a slot is an index; the shell says
what happened to the runner in it.

Theory of operation. Attempts from the manager stand in one line. A slot whose runner is up gets the
first of them, and a few more when the line is long, so that short tasks do not wait for a round
trip each; the first of a slot's attempts is the one that runs. A runner that dies takes only that
one with it. Cancelling a running attempt means killing its runner, because nothing less stops a C
loop; a fresh one is forked in milliseconds.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field

from mrkernel.ids import JobId, TaskId
from mrkernel.job.failure import Failure, Frame, owner_of
from mrkernel.job.spec import JobSpec
from mrkernel.protocol.messages import (
    AttemptProgress,
    Beat,
    CancelAttempt,
    Failed,
    FetchFailed,
    Finished,
    Forget,
    Gather,
    JobInfo,
    Message,
    Start,
)
from mrkernel.worker.gathers import Fetch, Gathers

#: One frame of ``faulthandler``'s report.
_FATAL_FRAME = re.compile(r'^  File "(.+)", line (\d+) in (.+)$', re.MULTILINE)
#: Attempts a runner may hold at once, the running one included.
PIPELINE = 16


# --- what can happen ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FromManager:
    """The manager said something."""

    message: Message


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """A fresh runner waits in the slot."""

    slot: int


@dataclass(frozen=True, slots=True)
class RunnerSaid:
    """The slot's runner ended an attempt."""

    slot: int
    message: Finished | Failed | FetchFailed


@dataclass(frozen=True, slots=True)
class RunnerDied:
    """The slot's runner is gone; ``cause`` is for people, e.g. "was killed (SIGKILL)"."""

    slot: int
    cause: str
    stderr: str = ""  #: its last lines, if any
    records: int = 0  #: how many of its attempt's it had finished


@dataclass(frozen=True, slots=True)
class Pulse:
    """Time to beat; ``progress`` is what each slot's progress cell says, by slot."""

    cpu_percent: float
    memory_bytes: int
    progress: tuple[RunnerProgress, ...]


@dataclass(frozen=True, slots=True)
class RunnerProgress:
    """What a runner last wrote into its progress cell."""

    started: int  #: how many attempts it has begun in its life
    records: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """A ``Fetch`` is over, well or not."""

    number: int


Event = FromManager | RunnerUp | RunnerSaid | RunnerDied | Pulse | Fetched


# --- what to do -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Say:
    """Send to the manager."""

    message: Message


@dataclass(frozen=True, slots=True)
class Order:
    """Send to the slot's runner."""

    slot: int
    message: JobInfo | Start


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill the slot's runner and whatever it started; ``RunnerDied`` will come."""

    slot: int


@dataclass(frozen=True, slots=True)
class Fork:
    """Put a fresh runner into the slot; ``RunnerUp`` will come."""

    slot: int


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the files of a job, or only its runs, or a blob."""

    job: JobId
    blobs: tuple[str, ...]
    runs_only: bool


Instruction = Say | Order | Kill | Fork | Delete | Fetch


@dataclass(slots=True)
class Slot:
    """One runner's place.

    ``held`` are the attempts its runner was given, the running one first.
    """

    up: bool = False
    killing: bool = False  #: a kill is under way: nothing it still says counts
    held: deque[Start] = field(default_factory=deque)
    told: set[JobId] = field(default_factory=set)  #: jobs its runner knows
    seen: RunnerProgress | None = None  #: at the last pulse
    since: float = 0.0  #: when ``seen`` last changed
    timed_out: bool = False


class WorkerState:
    """All a worker server knows.

    Args:
        slots: runners it keeps.
    """

    def __init__(self, slots: int) -> None:
        self.slots = [Slot() for _ in range(slots)]
        self.line: deque[Start] = deque()  #: attempts not yet given to a runner
        self.jobs: dict[JobId, JobInfo] = {}
        self.gathers = Gathers()  #: what is fetched for reduce attempts to come
        self._out: list[Instruction] = []

    def start(self) -> list[Instruction]:
        """Return the first instructions: fill every slot."""
        return [Fork(slot) for slot in range(len(self.slots))]

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Take one event; return what to do, in order.

        Args:
            now: seconds on a monotonic clock.
        """
        match event:
            case FromManager(message):
                self._from_manager(message)
            case RunnerSaid(slot, message):
                self._runner_said(slot, message, now)
            case RunnerUp(slot):
                self.slots[slot] = Slot(up=True, since=now)
            case RunnerDied():
                self._runner_died(event)
            case Pulse(cpu_percent, memory_bytes, progress):
                self._pulse(cpu_percent, memory_bytes, progress, now)
            case Fetched(number):
                gone = self.gathers.ended(number)
                if gone is not None:
                    self._out.append(Delete(gone.job, (), gone.runs_only))
        self._give(now)
        if self.gathers.waiting:
            self._out.extend(self.gathers.start())
        out, self._out = self._out, []
        return out

    def forget_everything(self) -> None:
        """The manager is gone: nothing it asked for counts any more.

        The shell kills the runners; each comes back fresh, as after any death.
        """
        self.line.clear()
        self.jobs.clear()
        self.gathers.forget_everything()
        for slot in self.slots:
            slot.held.clear()
            slot.killing = slot.up

    def validate(self) -> None:
        """Check that no attempt is in two places.

        Raises:
            AssertionError: one is.
        """
        places = [(s.job, s.task) for s in self.line]
        for slot in self.slots:
            places += [(s.job, s.task) for s in slot.held]
            assert len(slot.held) <= PIPELINE
            assert slot.up or not slot.held, "a slot without a runner holds attempts"
        self.gathers.validate(set(self.jobs))
        assert len(places) == len(set(places)), f"an attempt is in two places: {places}"
        assert {job for job, _ in places} <= set(self.jobs), "an attempt of an unknown job"

    # --- the manager ------------------------------------------------------------------------------

    def _from_manager(self, message: Message) -> None:
        match message:
            case Start():
                self.line.append(message)
                if message.split is None and self.gathers.waiting:
                    self.gathers.begun(message.job, message.index)
            case Gather():
                self.gathers.add(message)
            case JobInfo():
                self.jobs[message.job] = message
            case CancelAttempt(job, task, attempt):
                self._cancel(job, task, attempt)
            case Forget(job, blobs, runs_only):
                if not runs_only:
                    self.jobs.pop(job, None)
                    for slot in self.slots:
                        slot.told.discard(job)
                self.gathers.forget(message)
                self._out.append(Delete(job, blobs, runs_only))

    def _cancel(self, job: JobId, task: TaskId, attempt: int) -> None:
        def is_it(start: Start) -> bool:
            return (start.job, start.task, start.attempt) == (job, task, attempt)

        for start in self.line:
            if is_it(start):
                self.line.remove(start)
                return
        for index, slot in enumerate(self.slots):
            if any(is_it(start) for start in slot.held):
                # Its runner has it in the pipe or is in the middle of it: only a fresh runner is
                # sure not to run it. What else it held goes back to the head of the line.
                rest = [start for start in slot.held if not is_it(start)]
                slot.held.clear()
                self.line.extendleft(reversed(rest))
                if not slot.killing:
                    slot.killing = True
                    self._out.append(Kill(index))
                return

    # --- the runners ------------------------------------------------------------------------------

    def _runner_said(
        self, index: int, message: Finished | Failed | FetchFailed, now: float
    ) -> None:
        slot = self.slots[index]
        if slot.killing or not slot.held:
            return  # said before the kill reached it: the attempt was cancelled
        running = slot.held[0]
        if (message.job, message.task, message.attempt) != (
            running.job,
            running.task,
            running.attempt,
        ):
            return
        slot.held.popleft()
        slot.since = now
        self._out.append(Say(message))

    def _runner_died(self, event: RunnerDied) -> None:
        slot = self.slots[event.slot]
        held = list(slot.held)
        if held and not slot.killing:
            first = held.pop(0)
            self._out.append(Say(_crash(first, event)))
        elif held and slot.timed_out:
            first = held.pop(0)
            self._out.append(Say(_timed_out(first, self.jobs[first.job].spec)))
        self.line.extendleft(reversed(held))
        self.slots[event.slot] = Slot()
        self._out.append(Fork(event.slot))

    def _give(self, now: float) -> None:
        """Give attempts in line to runners: one each first, then more while the line is long."""
        free = [slot for slot in self.slots if slot.up and not slot.killing]
        for depth in (1, PIPELINE):
            if not self.line or not free:
                return
            fair = min(depth, max(1, -(-len(self.line) // len(free))))
            for index, slot in enumerate(self.slots):
                if not slot.up or slot.killing:
                    continue
                while self.line and len(slot.held) < fair:
                    start = self.line.popleft()
                    if start.job not in slot.told:
                        slot.told.add(start.job)
                        self._out.append(Order(index, self.jobs[start.job]))
                    if not slot.held:
                        slot.since = now
                    slot.held.append(start)
                    self._out.append(Order(index, start))

    def _pulse(
        self,
        cpu_percent: float,
        memory_bytes: int,
        progress: tuple[RunnerProgress, ...],
        now: float,
    ) -> None:
        reports = []
        for index, (slot, at) in enumerate(zip(self.slots, progress, strict=True)):
            if not slot.held or slot.killing:
                continue
            running = slot.held[0]
            reports.append(
                AttemptProgress(running.job, running.task, running.attempt, at.records, at.bytes)
            )
            # Bytes count too: a reduce task that still fetches and merges is not stuck.
            if at != slot.seen:
                slot.seen, slot.since = at, now
            limit = self.jobs[running.job].spec.timeout_s
            if limit is not None and now - slot.since > limit:
                slot.killing = slot.timed_out = True
                self._out.append(Kill(index))
        self._out.append(Say(Beat(cpu_percent, memory_bytes, tuple(reports))))


def _crash(start: Start, event: RunnerDied) -> Failed:
    error_type, message, frames = _last_words(event.stderr)
    failure = Failure(
        kind="crash",
        sentence=f"its Python process {event.cause} after {event.records:,} finished records",
        error_type=error_type,
        message=message,
        frames=frames,
        hint="look at what the mapper or reducer calls outside Python (C code, os._exit, memory)",
    )
    return Failed(start.job, start.task, start.attempt, failure)


def _last_words(output: str) -> tuple[str, str, tuple[Frame, ...]]:
    """What a process said when it died: error type, message, and the user's frames.

    The report of ``faulthandler`` (most recent call first) is told like any other error; without
    one the last lines of its output have to do.
    """
    _, fatal, report = output.rpartition("Fatal Python error")
    if not fatal:
        return "", "\n".join(output.strip().splitlines()[-8:]), ()
    message = report.partition("\n")[0].removeprefix(": ")
    current = report.partition("Current thread ")[2].partition("\n\n")[0]
    frames = [
        Frame(file, int(line), function)
        for file, line, function in _FATAL_FRAME.findall(current)
        if owner_of(file) == "user"
    ]
    return fatal, message, tuple(reversed(frames))


def _timed_out(start: Start, spec: JobSpec) -> Failed:
    failure = Failure(
        kind="timeout",
        sentence=f"no record was finished for {spec.timeout_s:g} s",
        hint="an endless loop? otherwise give --timeout a larger number of seconds",
    )
    return Failed(start.job, start.task, start.attempt, failure)
