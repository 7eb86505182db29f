"""A large job on paper: what a manager says of 5,000 tasks on 100 workers of which a fifth dies."""

from __future__ import annotations

import heapq
import random
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mrkernel.ids import JobId, TaskId, WorkerId, map_task, reduce_task
from mrkernel.monitor import events as ev

JOB = JobId("j1")
BEAT_S = 0.5  #: a worker that steadily works says so as often
SPLIT = 1 << 24


@dataclass(frozen=True)
class Crowd:
    """The job, and who runs it.

    Attributes:
        deaths: workers killed one by one while maps run; what they run and what they did is done
            again.
        raises: share of the attempts that raise, and are tried again.
        seconds: of a task, about.
    """

    maps: int = 4800
    reduces: int = 200
    workers: int = 100
    slots: int = 2
    deaths: int = 20
    raises: float = 0.09
    seconds: float = 0.7


@dataclass(frozen=True)
class _Run:
    task: TaskId
    attempt: int
    worker: WorkerId
    begin: float


class _Story:
    """Deals tasks out to the free slots of the workers that live."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.chance = random.Random(5)
        self.said: list[ev.Event] = []
        self.at = 0.0
        self.number = 0
        self.mapped = 0
        self.todo: deque[tuple[TaskId, int]] = deque()
        self.free: deque[WorkerId] = deque()
        self.ends: list[tuple[float, int]] = []
        self.running: dict[int, _Run] = {}
        self.outputs: defaultdict[WorkerId, dict[TaskId, int]] = defaultdict(dict)
        self.living = [WorkerId(f"w{n}") for n in range(1, crowd.workers + 1)]

    def tell(self) -> list[ev.Event]:
        """All of it, in the order of the times."""
        crowd = self.crowd
        for worker in self.living:
            self._say(ev.WorkerJoined(at=0.0, worker=worker, host="node-7", pid=4000, slots=2))
            self.free.extend([worker] * crowd.slots)
        self._say(
            ev.JobAccepted(
                at=0.0, job=JOB, name="links", maps=crowd.maps, reduces=crowd.reduces,
                input_bytes=crowd.maps * SPLIT, functions="mapper, reducer: cell 3", top="sum",
            )
        )  # fmt: skip
        for count, name in ((crowd.maps, map_task), (crowd.reduces, reduce_task)):
            self.todo.extend((name(n), 1) for n in range(count))
            self._phase()
        self._say(ev.JobEnded(at=self.at, job=JOB, outcome="done", sentence=""))
        self.said += self._beats()
        return sorted(self.said, key=lambda event: event.at)

    def _phase(self) -> None:
        while self.todo or self.running:
            while self.todo and self.free:
                self._start(*self.todo.popleft(), self.free.popleft())
            self.at, number = heapq.heappop(self.ends)
            run = self.running.pop(number, None)
            if run is not None:
                self._end(run)

    def _start(self, task: TaskId, attempt: int, worker: WorkerId) -> None:
        self.number += 1
        number = int(task.partition("-")[2])
        self.running[self.number] = _Run(task, attempt, worker, self.at)
        span = self.crowd.seconds * self.chance.lognormvariate(0.0, 0.3)
        heapq.heappush(self.ends, (self.at + span, self.number))
        source = f"partition {number}"
        if task[0] == "m":
            source = f"crawl/{number // 8:03}.jsonl {number % 8 * 16}-{number % 8 * 16 + 16} MB"
        self._say(
            ev.AttemptStarted(
                at=self.at, job=JOB, task=task, attempt=attempt, worker=worker, input=source
            )
        )

    def _end(self, run: _Run) -> None:
        who: dict[str, Any] = {"at": self.at, "job": JOB, "task": run.task, "attempt": run.attempt}
        if self.chance.random() < self.crowd.raises:
            why = f"ValueError: could not convert string to float: 'n/a' in record {self.number}"
            self._say(ev.AttemptFailed(**who, worker=run.worker, sentence=why))
            self._again(run.task, run.attempt)
        else:
            self._finish(run, who)
        self.free.append(run.worker)
        every = self.crowd.maps // (self.crowd.deaths + 1)
        if self.mapped >= every * (1 + self.crowd.workers - len(self.living)):
            self._die(self.living[self.chance.randrange(len(self.living))])

    def _finish(self, run: _Run, who: dict[str, Any]) -> None:
        is_map = run.task[0] == "m"
        sizes = tuple(2_000 + 40 * (n == 3) for n in range(self.crowd.reduces)) if is_map else ()
        keys = tuple((f"https://example.org/{n}", 90.0 - n) for n in range(10)) if is_map else ()
        self._say(
            ev.AttemptFinished(
                **who, worker=run.worker, records=41_000, pairs=160_000, bytes_in=SPLIT,
                bytes_out=400_000, seconds=self.at - run.begin, sizes=sizes, top=keys,
            )
        )  # fmt: skip
        if is_map:
            self.mapped += 1
            self.outputs[run.worker][run.task] = run.attempt

    def _die(self, worker: WorkerId) -> None:
        self.living.remove(worker)
        self._say(ev.WorkerLost(at=self.at, worker=worker, cause="connection reset"))
        self._say(ev.WorkerCause(at=self.at, worker=worker, cause="was killed (SIGKILL)"))
        for number, run in list(self.running.items()):
            if run.worker == worker:
                del self.running[number]
                self._again(run.task, run.attempt)
        lost = self.outputs.pop(worker, {})
        if lost:
            self._say(ev.OutputLost(at=self.at, job=JOB, worker=worker, tasks=tuple(lost)))
        for task, attempt in lost.items():
            self._again(task, attempt)
        self.free = deque(each for each in self.free if each != worker)

    def _again(self, task: TaskId, attempt: int) -> None:
        self.todo.appendleft((task, attempt + 1))

    def _beats(self) -> Iterator[ev.Event]:
        """Each worker's load, and how far its attempts are, until it dies."""
        deaths = {event.worker: event.at for event in self.said if type(event) is ev.WorkerLost}
        spans: defaultdict[WorkerId, list[tuple[float, ev.AttemptStarted]]] = defaultdict(list)
        ends: dict[tuple[TaskId, int], float] = {}
        for event in self.said:
            if type(event) is ev.AttemptStarted:
                spans[event.worker].append((event.at, event))
            elif isinstance(event, ev.AttemptFinished | ev.AttemptFailed):
                ends[event.task, event.attempt] = event.at
        for place, (worker, runs) in enumerate(spans.items()):
            death = deaths.get(worker, self.at)
            at = BEAT_S * (1 + place / len(spans))
            first = 0
            while at < death:
                load = 180.0 + self.chance.random() * 20
                yield ev.WorkerBeat(
                    at=at, worker=worker, cpu_percent=load,
                    memory_bytes=400_000_000 + self.chance.randrange(10**6),
                )  # fmt: skip
                while (
                    first < len(runs)
                    and ends.get((runs[first][1].task, runs[first][1].attempt), death) < at - 5
                ):
                    first += 1
                for begin, run in runs[first:]:
                    if begin > at:
                        break
                    if ends.get((run.task, run.attempt), death) > at:
                        part = min(0.95, (at - begin) / self.crowd.seconds)
                        yield ev.Progress(
                            at=at, job=JOB, task=run.task, attempt=run.attempt, worker=worker,
                            records=round(41_000 * part), bytes=round(SPLIT * part),
                        )  # fmt: skip
                at += BEAT_S

    def _say(self, event: ev.Event) -> None:
        self.said.append(event)


def events(crowd: Crowd = Crowd()) -> list[ev.Event]:
    """What the manager publishes of it."""
    return _Story(crowd).tell()
