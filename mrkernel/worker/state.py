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

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from mrkernel.data.splits import Split
from mrkernel.ids import JobId, TaskId
from mrkernel.protocol.messages import Message
from mrkernel.protocol.worker_messages import (
    AttemptProgress,
    Beat,
    CancelAttempt,
    Failed,
    FetchFailed,
    Finished,
    Forget,
    Gather,
    JobInfo,
    Start,
)
from mrkernel.worker.deaths import Death, crash, over_limit, timed_out
from mrkernel.worker.gathers import Fetch, Gathers
from mrkernel.worker.reports import Reports

#: Attempts a runner may hold at once, the running one included.
PIPELINE = 16
#: Attempts in line that are looked at for the one whose input a runner holds, and splits of which
#: it is known which runner that is.
LOOKED_AT = 64
READERS_KEPT = 10_000
#: Seconds that an attempt gets to make its functions ready (modules are imported then) before the
#: time for its first record begins.
READY_S = 10.0
#: A runner may have so many times the memory that its slot may fill before it spills.
HEADROOM = 1.5
#: But always this much, in bytes: Python with Arrow and some libraries has half of it.
LEAST_LIMIT = 512 << 20


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
    """The slot's runner is gone."""

    slot: int
    death: Death


@dataclass(frozen=True, slots=True)
class Weighed:
    """What each slot's runner has and how far it is, by slot."""

    memory: tuple[int, ...]  #: bytes; 0: not known
    progress: tuple[RunnerProgress, ...] = ()  #: empty: not looked at


@dataclass(frozen=True, slots=True)
class Pulse:
    """Time to report; ``progress`` is what each slot's progress cell says, by slot."""

    cpu_percent: float
    memory_bytes: int
    progress: tuple[RunnerProgress, ...]


@dataclass(frozen=True, slots=True)
class RunnerProgress:
    """What a runner last wrote into its progress cell."""

    started: int  #: how many attempts it has begun in its life
    records: int
    bytes: int
    stirs: int = 0  #: signs of life of programs, which finish no records that we see


@dataclass(frozen=True, slots=True)
class Fetched:
    """A ``Fetch`` is over, well or not."""

    number: int


Event = FromManager | RunnerUp | RunnerSaid | RunnerDied | Weighed | Pulse | Fetched


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
    tell: bool = False  #: let it say first where it is


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
    keep_logs: bool = False


@dataclass(frozen=True, slots=True)
class Discard:
    """Delete the file of an attempt that will never end: it may be half written."""

    start: Start
    run: bool  #: it is a run, not a result part


Instruction = Say | Order | Kill | Fork | Delete | Discard | Fetch


@dataclass(slots=True)
class Slot:
    """One runner's place.

    ``held`` are the attempts its runner was given, the running one first.
    """

    up: bool = False
    killing: bool = False  #: a kill is under way: nothing it still says counts
    held: deque[Start] = field(default_factory=deque)
    told: JobId | None = None  #: the job its runner knows: the last one it was told of
    ended: int = 0  #: attempts that its runner has behind it
    seen: RunnerProgress | None = None  #: when last looked at
    since: float = 0.0  #: when ``seen`` last changed
    timed_out: bool = False
    over: int = 0  #: bytes it had when it was killed for having too many; 0: it was not
    unwanted: list[Discard] = field(default_factory=list)  #: what it was at when it was killed

    @property
    def busy(self) -> bool:
        """Whether its runner is at an attempt that is wanted."""
        return bool(self.held) and not self.killing


class WorkerState:
    """All a worker server knows.

    Args:
        slots: runners it keeps.
        limit_bytes: of memory, for runners of jobs without a ``slot_memory``; 0: none.
    """

    def __init__(self, slots: int, limit_bytes: int = 0) -> None:
        self.slots = [Slot() for _ in range(slots)]
        self.reports = Reports()  #: what a manager that is back may not know
        self._limit_bytes = limit_bytes
        self.line: deque[Start] = deque()  #: attempts not yet given to a runner
        self._readers: dict[Split, int] = {}  #: slot that read a split last, of input in a loop
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
        return self.turn((event,), now)

    def turn(self, events: Iterable[Event], now: float) -> list[Instruction]:
        """Take what came together; attempts are given to runners once for all of it."""
        for event in events:
            self._take(event, now)
        if self.line:
            self._give(now)
        if self.gathers.waiting:
            self._out.extend(self.gathers.start())
        out, self._out = self._out, []
        return out

    def _take(self, event: Event, now: float) -> None:
        match event:
            case FromManager(message):
                self._from_manager(message)
            case RunnerSaid(slot, message):
                self._runner_said(slot, message, now)
            case RunnerUp(slot):
                self.slots[slot] = Slot(up=True, since=now)
            case RunnerDied():
                self._runner_died(event)
            case Weighed(memory, progress):
                self._weighed(memory)
                self._look(progress, now)
            case Pulse(cpu_percent, memory_bytes, progress):
                self._pulse(cpu_percent, memory_bytes, progress, now)
            case Fetched(number):
                gone = self.gathers.ended(number)
                if gone is not None:
                    self._out.append(Delete(gone.job, (), gone.runs_only, gone.keep_logs))

    def forget_everything(self) -> None:
        """The manager is gone: nothing it asked for counts any more.

        The shell kills the runners; each comes back fresh, as after any death. Finished work stays,
        and so do the reports of it: the next manager may be the same one again.
        """
        for slot in self.slots:
            slot.unwanted += map(self._discard, slot.held)
            slot.held.clear()
            slot.killing = slot.up
            slot.timed_out, slot.over = False, 0
        self.line.clear()
        self.jobs.clear()
        self.gathers.forget_everything()

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
            case Forget(job, blobs, runs_only, keep_logs):
                if not runs_only:
                    self.jobs.pop(job, None)
                    for slot in self.slots:
                        if slot.told == job:
                            slot.told = None
                self.gathers.forget(message)
                self.reports.forget(job, runs_only)
                self._out.append(Delete(job, blobs, runs_only, keep_logs))

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
                slot.unwanted += [self._discard(start) for start in slot.held if is_it(start)]
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
        slot.ended += 1
        if isinstance(message, Finished):
            self.reports.add(message)
        self._out.append(Say(message))

    def _runner_died(self, event: RunnerDied) -> None:
        slot, death = self.slots[event.slot], event.death
        held = list(slot.held)
        lost = slot.unwanted
        if held and (slot.over or slot.timed_out or not slot.killing):
            first = held.pop(0)
            lost = [*lost, self._discard(first)]
            if slot.over:
                said = over_limit(first, death, slot.over, self._limit(first))
            elif slot.timed_out:
                said = timed_out(first, death, self.jobs[first.job].spec.timeout_s or 0.0)
            else:
                said = crash(first, death)
            self._out.append(Say(said))
        self._out.extend(lost)
        self.line.extendleft(reversed(held))
        self.slots[event.slot] = Slot()
        self._out.append(Fork(event.slot))

    def _discard(self, start: Start) -> Discard:
        run = start.split is not None and self.jobs[start.job].spec.reduce_tasks > 0
        return Discard(start, run)

    def _give(self, now: float) -> None:
        """Give attempts in line to runners: one each first, then more while the line is long."""
        line = self.line
        free = [(i, slot) for i, slot in enumerate(self.slots) if slot.up and not slot.killing]
        for depth in (1, PIPELINE):
            if not line or not free:
                return
            fair = min(depth, max(1, -(-len(line) // len(free))))
            for index, slot in free:
                held = slot.held
                while line and len(held) < fair:
                    start = self._next(index)
                    if start.job != slot.told:
                        slot.told = start.job
                        self._out.append(Order(index, self.jobs[start.job]))
                    if not held:
                        slot.since = now
                    held.append(start)
                    self._out.append(Order(index, start))

    def _next(self, slot: int) -> Start:
        """Take the first in line, or one soon after it whose input the slot's runner may hold."""
        line = self.line
        chosen = line[0]
        if self.jobs[chosen.job].spec.resident and len(self.slots) > 1:
            spare: Start | None = None
            for start in islice(line, LOOKED_AT):
                reader = self._readers.get(start.split) if start.split is not None else None
                if reader == slot:
                    spare = start
                    break
                if spare is None and reader is None:
                    spare = start
            chosen = chosen if spare is None else spare
            if chosen.split is not None:
                self._readers[chosen.split] = slot
                while len(self._readers) > READERS_KEPT:
                    del self._readers[next(iter(self._readers))]
        line.remove(chosen)
        return chosen

    def _pulse(
        self,
        cpu_percent: float,
        memory_bytes: int,
        progress: tuple[RunnerProgress, ...],
        now: float,
    ) -> None:
        reports = []
        for slot, at in zip(self.slots, progress, strict=True):
            if slot.busy:
                running = slot.held[0]
                reports.append(
                    AttemptProgress(
                        running.job, running.task, running.attempt, at.records, at.bytes
                    )
                )
        self._look(progress, now)
        self._out.append(Say(Beat(cpu_percent, memory_bytes, tuple(reports))))

    def _look(self, progress: tuple[RunnerProgress, ...], now: float) -> None:
        """Kill what has not come further for too long."""
        for index, (slot, at) in enumerate(zip(self.slots, progress, strict=False)):
            if not slot.busy:
                continue
            # Bytes count too: a reduce task that still fetches and merges is not stuck.
            if at != slot.seen:
                slot.seen, slot.since = at, now
            limit = self.jobs[slot.held[0].job].spec.timeout_s
            if limit is not None and at.started <= slot.ended:
                limit += READY_S
            if limit is not None and now - slot.since > limit:
                slot.killing = slot.timed_out = True
                self._out.append(Kill(index, tell=True))

    def _weighed(self, memory: tuple[int, ...]) -> None:
        for index, (slot, used) in enumerate(zip(self.slots, memory, strict=True)):
            if slot.busy and 0 < self._limit(slot.held[0]) < used:
                slot.killing, slot.over = True, used
                self._out.append(Kill(index))

    def _limit(self, start: Start) -> int:
        """Return the bytes that the runner of an attempt may have; 0: any number."""
        given = self.jobs[start.job].spec.slot_memory
        return self._limit_bytes if given is None else max(LEAST_LIMIT, int(HEADROOM * given))
