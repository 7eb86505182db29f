"""What of a job is done, running, and to be done again: the numbers of its picture. Pure.

Exact in any order of events: each attempt ends once, each task is done at most once, and work whose
output was lost is taken out of the sums until it is done again.
"""

from __future__ import annotations

from collections import deque

from mrkernel.ids import TaskId
from mrkernel.monitor import events as ev

MAP, REDUCE = 0, 1

#: Rate window: samples at least this far apart, so many of them (4 s).
_SAMPLE_S = 0.25
_SAMPLES = 17


def phase_of(task: TaskId) -> int:
    """Whether a task is a map or a reduce, by its name."""
    return MAP if task[0] == "m" else REDUCE


def index_of(task: TaskId) -> int:
    """Which split or partition is the task's, by its name."""
    return int(task[task.index("-") + 1 :])


class Attempt:
    """A running attempt, as last heard of."""

    __slots__ = (
        "at", "attempt", "backup", "bytes", "input", "part", "phase", "records", "task", "worker",
    )  # fmt: skip

    def __init__(self, event: ev.AttemptStarted) -> None:
        self.task = event.task
        self.attempt = event.attempt
        self.worker = event.worker
        self.at = event.at
        self.input = event.input
        self.backup = event.backup
        self.phase = phase_of(event.task)
        self.records = 0
        self.bytes = 0
        self.part = 0.0  #: how much is done, 0 to 1; fixed when progress comes, as its row is


class Task:
    """What is known of one task."""

    __slots__ = ("done", "ended", "running", "started_at", "troubled")

    def __init__(self) -> None:
        self.done: ev.AttemptFinished | None = None  #: the attempt whose output counts
        self.started_at = 0.0  #: of its newest attempt
        self.ended = 0  #: bit n set: attempt n is over, whatever comes late
        self.running = 0
        self.troubled = False  #: an attempt failed or was lost, or the output was


class Tally:
    """The sums over a job's tasks; lists of two are of maps and of reduces."""

    def __init__(self) -> None:
        self.tasks: dict[TaskId, Task] = {}
        self.running: dict[tuple[TaskId, int], Attempt] = {}
        self.done = [0, 0]
        self.retry = [0, 0]
        #: of done tasks
        self.records = [0, 0]
        self.pairs = [0, 0]
        self.bytes_in = [0, 0]
        self.bytes_out = [0, 0]
        self.bad = 0
        self._live_records = 0  #: of running maps
        self._live_bytes = [0, 0]  #: of running attempts
        self._samples: deque[tuple[float, int, int]] = deque(maxlen=_SAMPLES)
        self._next_sample = 0.0

    @property
    def read_records(self) -> int:
        """Read by maps, the running ones included."""
        return self.records[MAP] + self._live_records

    @property
    def read_bytes(self) -> int:
        """Read by maps, the running ones included."""
        return self.bytes_in[MAP] + self._live_bytes[MAP]

    @property
    def fetched_bytes(self) -> int:
        """Map output that reduces have, the running ones included."""
        return self.bytes_in[REDUCE] + self._live_bytes[REDUCE]

    def task(self, name: TaskId) -> Task:
        """The task, as far as it is known."""
        found = self.tasks.get(name)
        if found is None:
            found = self.tasks[name] = Task()
        return found

    def is_done(self, name: TaskId) -> bool:
        """Whether a task is."""
        task = self.tasks.get(name)
        return task is not None and task.done is not None

    def start(self, event: ev.AttemptStarted, *, gone: bool) -> Attempt | None:
        """Count an attempt as running; None when it does so already, or is over.

        Args:
            gone: its worker is, and its end was the worker's.
        """
        task = self.task(event.task)
        key = (event.task, event.attempt)
        if task.ended >> event.attempt & 1 or key in self.running:
            return None
        if gone:
            task.ended |= 1 << event.attempt
            return None
        attempt = self.running[key] = Attempt(event)
        task.running += 1
        task.started_at = event.at
        return attempt

    def progress(self, event: ev.Progress, size: float) -> Attempt | None:
        """Take in how far an attempt is; None when it does not run.

        Args:
            size: bytes of its input; 0: not known.
        """
        attempt = self.running.get((event.task, event.attempt))
        if attempt is None:
            return None
        phase = attempt.phase
        if phase == MAP:
            self._live_records += event.records - attempt.records
        self._live_bytes[phase] += event.bytes - attempt.bytes
        attempt.records, attempt.bytes = event.records, event.bytes
        attempt.part = min(1.0, event.bytes / size) if size > 0 else 0.0
        return attempt

    def close(self, name: TaskId, number: int) -> tuple[Task, Attempt | None] | None:
        """Count an attempt as over; None when it was so already.

        Returns:
            Its task, and the attempt if it ran.
        """
        task = self.task(name)
        bit = 1 << number
        if task.ended & bit:
            return None
        task.ended |= bit
        attempt = self.running.pop((name, number), None)
        if attempt is not None:
            task.running -= 1
            if attempt.phase == MAP:
                self._live_records -= attempt.records
            self._live_bytes[attempt.phase] -= attempt.bytes
        return task, attempt

    def count(self, event: ev.AttemptFinished, task: Task, sign: int) -> None:
        """Take a finished attempt into the sums (sign 1), or out of them (-1)."""
        phase = phase_of(event.task)
        task.done = event if sign > 0 else None
        self.done[phase] += sign
        if task.troubled:
            self.retry[phase] -= sign
        self.records[phase] += sign * event.records
        self.pairs[phase] += sign * event.pairs
        self.bytes_in[phase] += sign * event.bytes_in
        self.bytes_out[phase] += sign * event.bytes_out
        self.bad += sign * event.bad

    def mark(self, name: TaskId, task: Task) -> None:
        """Count the task among those to be done again, until it is."""
        if not task.troubled:
            task.troubled = True
            if task.done is None:
                self.retry[phase_of(name)] += 1

    # --- rates ------------------------------------------------------------------------------------

    def sample(self, at: float) -> None:
        """Remember how much was read by now, if it is time."""
        if at >= self._next_sample:
            self._next_sample = at + _SAMPLE_S
            self._samples.append((at, self.read_records, self.read_bytes))

    def rates(self, at: float, started: float, *, whole: bool) -> tuple[int, int]:
        """Bytes and records a second read by maps: of the last seconds, or of the whole job."""
        since, records, size = started, 0, 0
        if not whole and self._samples:
            since, records, size = self._samples[0]
        span = at - since
        if span <= 0:
            return 0, 0
        return (
            max(0, round((self.read_bytes - size) / span)),
            max(0, round((self.read_records - records) / span)),
        )
