"""Jobs run on paper, event by event: their end is known, so that what was said of it can be judged.

A cluster in a few lines: slots take tasks in their order, reduces begin when all maps are done, a
task that takes much longer than most gets a backup where slots stand idle, and a worker that dies
takes with it what it ran, and the output of half the maps it did.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.monitor import events as ev
from mrkernel.monitor.view import JobView

JOB = JobId("j-1")
_BEAT_S = 0.5


@dataclass(frozen=True)
class Work:
    """A task: how much it reads, and what it takes."""

    task: TaskId
    size: int
    seconds: float


@dataclass(frozen=True)
class Plan:
    """A job, and what befalls it.

    Args:
        sizes: whether the bytes of the input are known.
        slow: attempts that take so many times as long as their task does elsewhere.
        death: when the first worker dies; None: never.
    """

    maps: tuple[Work, ...]
    reduces: tuple[Work, ...] = ()
    workers: int = 4
    slots: int = 2
    sizes: bool = True
    slow: Mapping[tuple[TaskId, int], float] = field(default_factory=dict)
    death: float | None = None


@dataclass
class _Run:
    work: Work
    attempt: int
    worker: WorkerId
    begin: float
    end: float

    @property
    def is_map(self) -> bool:
        return self.work.task.startswith("m")

    def names(self) -> dict[str, Any]:
        return {
            "job": JOB, "task": self.work.task, "attempt": self.attempt, "worker": self.worker
        }  # fmt: skip


class _Cluster:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.told: list[ev.Event] = []
        self.at = 0.0
        self.workers = [WorkerId(f"w{n}") for n in range(1, plan.workers + 1)]
        self.free = deque(self.workers * plan.slots)
        self.todo = deque(plan.maps)
        self.running: list[_Run] = []
        self.attempts: dict[TaskId, int] = {}
        self.done: dict[TaskId, _Run] = {}
        self.took: list[float] = []  #: by tasks of this phase

    def run(self) -> None:
        plan = self.plan
        for name in self.workers:
            self.tell(ev.WorkerJoined, worker=name, host="h", pid=1, slots=plan.slots)
        self.tell(
            ev.JobAccepted, job=JOB, name="x", maps=len(plan.maps), reduces=len(plan.reduces),
            input_bytes=sum(work.size for work in plan.maps) if plan.sizes else 0, functions="",
        )  # fmt: skip
        then, death, beat = deque(plan.reduces), plan.death, _BEAT_S
        self.fill()
        while self.running:
            first = min(self.running, key=lambda run: run.end)
            if death is not None and death <= min(first.end, beat):
                self.at, death = death, None
                self.die()
            elif beat < first.end:
                self.at, beat = beat, beat + _BEAT_S
                self.progress()
            else:
                self.at = first.end
                self.finish(first)
            if not self.running and not self.todo:
                self.todo, then, self.took = then, deque(), []
            self.fill()
        self.tell(ev.JobEnded, job=JOB, outcome="done", sentence="")

    def tell(self, kind: type[ev.Event], **fields: Any) -> None:
        self.told.append(kind(at=self.at, **fields))

    def fill(self) -> None:
        while self.todo and self.free:
            self.start(self.todo.popleft(), backup=False)
        late = 2 * median(self.took) if len(self.took) >= 3 else float("inf")
        for run in list(self.running):
            alone = sum(other.work is run.work for other in self.running) == 1
            if self.free and alone and self.at - run.begin > late:
                self.start(run.work, backup=True)

    def start(self, work: Work, *, backup: bool) -> None:
        attempt = self.attempts[work.task] = self.attempts.get(work.task, 0) + 1
        seconds = work.seconds * self.plan.slow.get((work.task, attempt), 1.0)
        run = _Run(work, attempt, self.free.popleft(), self.at, self.at + seconds)
        self.running.append(run)
        self.tell(ev.AttemptStarted, input="", backup=backup, **run.names())

    def progress(self) -> None:
        for run in self.running:
            if self.plan.sizes or not run.is_map:
                part = (self.at - run.begin) / (run.end - run.begin)
                self.tell(
                    ev.Progress, records=0, bytes=int(run.work.size * part), **run.names()
                )  # fmt: skip

    def finish(self, run: _Run) -> None:
        self.stop(run)
        self.took.append(run.end - run.begin)
        self.done[run.work.task] = run
        maps = len(self.plan.maps)
        sizes = tuple(work.size // maps for work in self.plan.reduces) if run.is_map else ()
        self.tell(
            ev.AttemptFinished, records=1, pairs=1, sizes=sizes, bytes_out=sum(sizes),
            bytes_in=run.work.size if self.plan.sizes or not run.is_map else 0,
            seconds=run.end - run.begin, **run.names(),
        )  # fmt: skip
        for other in [other for other in self.running if other.work is run.work]:
            self.stop(other)
            self.tell(ev.AttemptLost, cause="cancelled", **other.names())

    def stop(self, run: _Run) -> None:
        self.running.remove(run)
        self.free.append(run.worker)

    def die(self) -> None:
        worker = self.workers[0]
        lost = [run for run in self.running if run.worker == worker]
        gone = [run for run in self.done.values() if run.worker == worker and run.is_map]
        gone = gone[: len(gone) // 2] if self.plan.reduces else []
        tasks = tuple(run.work.task for run in gone)
        self.tell(ev.WorkerLost, worker=worker, cause="was killed (SIGKILL)")
        self.tell(ev.OutputLost, job=JOB, worker=worker, tasks=tasks)
        for run in lost:
            self.stop(run)
        self.free = deque(name for name in self.free if name != worker)
        for run in (*lost, *gone):
            self.done.pop(run.work.task, None)
            if not any(other.work is run.work for other in self.running):
                self.todo.appendleft(run.work)


def history(plan: Plan) -> list[ev.Event]:
    """All events of a job, in their order."""
    cluster = _Cluster(plan)
    cluster.run()
    return cluster.told


class Said(NamedTuple):
    """What the picture said, and what was true."""

    at: float
    left: float  #: seconds, in truth
    range: list[float] | None

    @property
    def right(self) -> bool:
        """Whether the truth is in the range, which is given in tenths of a second."""
        return self.range is not None and self.range[0] - 0.1 <= self.left <= self.range[1] + 0.1

    @property
    def width(self) -> float:
        """The range as part of what is left, which is taken for a second at least."""
        assert self.range is not None
        return (self.range[1] - self.range[0]) / max(1.0, self.left)


def asked(events: list[ev.Event], times: int = 40) -> list[Said]:
    """Ask the picture of a job how long it takes still, so many times from its begin to its end."""
    view = JobView(JOB)
    end = events[-1].at
    said: list[Said] = []
    before = 0.0
    for event in events:
        while event.at > end * (len(said) + 1) / times:
            said.append(Said(before, end - before, view.fields()["eta"]))
        view.fold(event)
        before = event.at
    return said
