"""Events of one job as they are written in tests, and what its counts mean, said the slow way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from events_strategy import JOB

from mrkernel.ids import TaskId, WorkerId
from mrkernel.monitor import events as ev
from mrkernel.monitor.view import JobView

W1, W2, W3 = WorkerId("w1"), WorkerId("w2"), WorkerId("w3")


def accepted(maps: int = 4, reduces: int = 2, **fields: object) -> ev.JobAccepted:
    defaults = {"at": 1.0, "job": JOB, "name": "count", "input_bytes": 4000, "functions": "cell"}
    return ev.JobAccepted(**{**defaults, "maps": maps, "reduces": reduces, **fields})


def joined(worker: WorkerId) -> ev.WorkerJoined:
    return ev.WorkerJoined(at=0.0, worker=worker, host="here", pid=7, slots=2)


def started(task: TaskId, worker: WorkerId, attempt: int = 1, at: float = 2.0) -> ev.AttemptStarted:
    return ev.AttemptStarted(
        at=at, job=JOB, task=task, attempt=attempt, worker=worker, input="a.txt"
    )


def finished(
    task: TaskId, worker: WorkerId, attempt: int = 1, at: float = 3.0, **fields: Any
) -> ev.AttemptFinished:
    sizes = {"records": 10, "pairs": 100, "bytes_in": 1000, "bytes_out": 500, **fields}
    return ev.AttemptFinished(
        at=at, job=JOB, task=task, attempt=attempt, worker=worker, seconds=1.0, **sizes
    )


def fold(*story: ev.Event, workers: Sequence[WorkerId] = (W1, W2)) -> JobView:
    view = JobView(JOB, workers={name: joined(name) for name in workers})
    for event in story:
        view.fold(event)
    return view


def texts(view: JobView) -> list[str]:
    return [line["text"] for line in view.snapshot()["feed"]]


class Oracle:
    """What a job's counts mean, said the slow way."""

    def __init__(self) -> None:
        self.done: dict[str, ev.AttemptFinished] = {}
        self.ended: set[tuple[str, int]] = set()
        self.running: dict[tuple[str, int], tuple[str, int, int]] = {}
        self.gone: set[str] = set()
        self.troubled: set[str] = set()
        self.over = False
        self.slots: dict[str, int] = {}
        self.alive: set[str] = set()  #: or suspect: not only named

    def end(self, task: str, attempt: int) -> bool:
        self.running.pop((task, attempt), None)
        fresh = (task, attempt) not in self.ended
        self.ended.add((task, attempt))
        return fresh

    def fold(self, e: ev.Event) -> None:
        if self.over or getattr(e, "job", JOB) not in (JOB, None):
            return
        match e:
            case ev.WorkerJoined():
                self.slots.setdefault(e.worker, e.slots)
                self.alive.add(e.worker)
            case ev.WorkerSuspect():
                self.alive.add(e.worker)
            case ev.StoreAdopted(back=True):
                if e.worker not in self.alive:  # never announced: it is another now
                    self.gone.add(e.worker)
            case ev.AttemptStarted():
                key = (e.task, e.attempt)
                if e.worker in self.gone:
                    if key not in self.running:
                        self.ended.add(key)
                elif key not in self.ended and key not in self.running:
                    self.running[key] = (e.worker, 0, 0)
            case ev.Progress():
                key = (e.task, e.attempt)
                if key in self.running:
                    self.running[key] = (self.running[key][0], e.records, e.bytes)
            case ev.AttemptFinished():
                self.end(e.task, e.attempt)
                self.done.setdefault(e.task, e)
            case ev.AttemptFailed():
                if self.end(e.task, e.attempt):
                    self.troubled.add(e.task)
            case ev.AttemptLost():
                fresh = self.end(e.task, e.attempt)
                if fresh and e.task not in self.done and e.cause != "cancelled":
                    self.troubled.add(e.task)
            case ev.OutputLost():
                for task in e.tasks:
                    if self.done.pop(task, None):
                        self.troubled.add(task)
            case ev.WorkerLost():
                self.gone.add(e.worker)
                for (task, attempt), (worker, _, _) in list(self.running.items()):
                    if worker == e.worker:
                        self.end(task, attempt)
                        if task not in self.done:
                            self.troubled.add(task)
            case ev.JobEnded():
                self.running.clear()
                self.over = True

    def counts(self) -> dict[str, object]:
        maps = [e for task, e in self.done.items() if task.startswith("map")]
        reduces = [e for task, e in self.done.items() if task.startswith("reduce")]
        live = [(task, *rest) for (task, _), rest in self.running.items()]
        # What is handed to a worker beyond its slots waits there.
        on = {w: [row for row in live if row[1] == w] for w in {row[1] for row in live}}
        active = [row for w, rows in on.items() for row in rows[: self.slots.get(w)]]
        live_maps = [row for row in live if row[0].startswith("map")]
        live_reduces = [row for row in live if row[0].startswith("reduce")]
        again = self.troubled - set(self.done)
        return {
            "records": sum(e.records for e in maps) + sum(row[2] for row in live_maps),
            "bytes": sum(e.bytes_in for e in maps) + sum(row[3] for row in live_maps),
            "pairs": sum(e.pairs for e in maps),
            "groups": sum(e.records for e in reduces),
            "fetched": sum(e.bytes_in for e in reduces) + sum(row[3] for row in live_reduces),
            "bad": sum(e.bad for e in self.done.values()),
            "map": (
                len(maps),
                sum(row[0][0] == "m" for row in active),
                sum(task[0] == "m" for task in again),
            ),
            "reduce": (
                len(reduces),
                sum(row[0][0] == "r" for row in active),
                sum(task[0] == "r" for task in again),
            ),
            "on": {w: len(rows) for w, rows in on.items()},
        }
