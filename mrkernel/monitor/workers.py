"""Folds events into the picture of a cluster: its workers and jobs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from mrkernel.ids import WorkerId
from mrkernel.monitor import events as ev
from mrkernel.monitor.picture import Draft, Json
from mrkernel.monitor.quantities import plural, seconds_text

#: Running tasks listed per worker row; further ones are counted.
TASKS_SHOWN = 16


class WorkerRow:
    """A worker and what it did: for one job, or for all."""

    __slots__ = (
        "beat", "bytes", "cause", "cpu", "host", "lost_at", "maps", "memory", "pid", "records",
        "reduces", "running", "seconds", "slots", "state",
    )  # fmt: skip

    def __init__(self) -> None:
        self.state = "alive"  #: alive, suspect, dead, retired
        self.cause = ""
        self.host = ""
        self.pid = 0
        self.slots = 0
        self.cpu = 0.0
        self.memory = 0
        self.beat = 0.0
        self.lost_at: float | None = None
        self.maps = 0  #: tasks finished here, those redone elsewhere later included
        self.reduces = 0
        self.records = 0
        self.bytes = 0
        self.seconds = 0.0
        self.running: dict[Any, Any] = {}

    @property
    def gone(self) -> bool:
        return self.state in ("dead", "retired")

    def credit(self, event: ev.AttemptFinished) -> None:
        if event.task[0] == "m":
            self.maps += 1
        else:
            self.reduces += 1
        self.records += event.records
        self.bytes += event.bytes_in
        self.seconds += event.seconds

    def row(self) -> Json:
        return {
            "state": self.state,
            "cause": self.cause,
            "host": self.host,
            "pid": self.pid,
            "slots": self.slots,
            "cpu": round(self.cpu),
            "memory": self.memory,
            "beat": round(self.beat, 3),
            "lost_at": self.lost_at,
            "maps": self.maps,
            "reduces": self.reduces,
            "records": self.records,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
        }


class WorkersDraft(Draft):
    """What both views say about workers."""

    def __init__(self, wall: float) -> None:
        super().__init__()
        self._wall = wall
        self._at = 0.0
        self._workers: dict[str, WorkerRow] = {}
        self._handlers: dict[type, Callable[[Any], None]] = {
            ev.WorkerJoined: self._worker_joined,
            ev.WorkerBeat: self._worker_beat,
            ev.WorkerSuspect: self._worker_suspect,
            ev.WorkerAlive: self._worker_alive,
            ev.WorkerLost: self._worker_lost,
        }

    def _worker(self, worker: str) -> WorkerRow:
        """The worker, to be changed: a row that was never announced is made up."""
        self._touched["workers"][worker] = None
        found = self._workers.get(worker)
        if found is None:
            found = self._workers[worker] = WorkerRow()
        return found

    def _worker_joined(self, event: ev.WorkerJoined) -> None:
        row = self._worker(event.worker)
        row.host, row.pid, row.slots = event.host, event.pid, event.slots
        row.beat = event.at
        self.feed.add(event.at, "info", f"{event.worker} joined with {plural(event.slots, 'slot')}")

    def _worker_beat(self, event: ev.WorkerBeat) -> None:
        row = self._worker(event.worker)
        row.cpu, row.memory, row.beat = event.cpu_percent, event.memory_bytes, event.at

    def _worker_suspect(self, event: ev.WorkerSuspect) -> None:
        row = self._worker(event.worker)
        if row.gone:
            return
        row.state = "suspect"
        row.cause = f"no beat for {seconds_text(event.silent_s)}"
        self.feed.add(event.at, "warning", f"{event.worker} is suspect: {row.cause}")

    def _worker_alive(self, event: ev.WorkerAlive) -> None:
        row = self._worker(event.worker)
        if row.state != "suspect":
            return
        row.state, row.cause, row.beat = "alive", "", event.at
        self.feed.add(event.at, "info", f"{event.worker} beats again")

    def _worker_lost(self, event: ev.WorkerLost) -> None:
        row = self._worker(event.worker)
        row.state = "retired" if event.cause.startswith("retired") else "dead"
        row.cause = event.cause
        row.lost_at = event.at


class ClusterView(WorkersDraft):
    """The workers of a cluster and the jobs it runs.

    Fields: ``wall at slots busy jobs``, jobs being ``{id: {name state started ended}}`` of those
    not forgotten. Rows: ``workers`` as in a job's picture, a task named ``"<job name> <task>"``.

    Args:
        wall: seconds to add to ``at`` for Unix time.
    """

    kind = "cluster"
    collections = ("workers",)

    def __init__(self, *, wall: float = 0.0) -> None:
        super().__init__(wall)
        self._jobs: dict[str, Json] = {}
        self._over: set[tuple[str, str, int]] = set()
        self._handlers |= {
            ev.JobAccepted: self._job_accepted,
            ev.JobEnded: self._job_ended,
            ev.JobForgotten: self._job_forgotten,
            ev.AttemptStarted: self._attempt_started,
            ev.AttemptFinished: self._attempt_finished,
            ev.AttemptFailed: self._attempt_over,
            ev.AttemptLost: self._attempt_over,
            ev.Noted: self._noted,
        }

    def fold(self, event: ev.Event) -> None:
        """Take in one event; any order is fine, unknown kinds are passed over."""
        handler = self._handlers.get(type(event))
        if handler is None:
            return
        if event.at > self._at:
            self._at = event.at
        self._changed = True
        handler(event)

    def workers(self) -> dict[WorkerId, ev.WorkerJoined]:
        """The workers not gone, as they would announce themselves: to begin a ``JobView`` with."""
        return {
            WorkerId(name): ev.WorkerJoined(
                at=row.beat, worker=WorkerId(name), host=row.host, pid=row.pid, slots=row.slots
            )
            for name, row in self._workers.items()
            if not row.gone
        }

    def fields(self) -> Json:
        """The picture's plain fields."""
        here = [row for row in self._workers.values() if not row.gone]
        return {
            "wall": self._wall,
            "at": round(self._at, 3),
            "slots": sum(row.slots for row in here),
            "busy": sum(len(row.running) for row in here),
            "jobs": dict(self._jobs),
        }

    def keys(self, collection: str) -> Iterable[str]:
        """The workers, in the order they joined."""
        return self._workers

    def row(self, collection: str, key: str) -> Json | None:
        """One worker."""
        worker = self._workers[key]
        shown = [
            {"task": f"{name} {key[1]}", "attempt": key[2]}
            for key, name in list(worker.running.items())[:TASKS_SHOWN]
        ]
        return {**worker.row(), "tasks": shown, "more": max(0, len(worker.running) - TASKS_SHOWN)}

    def _job_accepted(self, event: ev.JobAccepted) -> None:
        self._jobs[event.job] = {
            "name": event.name, "state": "running", "started": event.at, "ended": None,
        }  # fmt: skip

    def _job_ended(self, event: ev.JobEnded) -> None:
        job = self._jobs.get(event.job)
        if job is not None:
            self._jobs[event.job] = {**job, "state": event.outcome, "ended": event.at}
        for name, worker in self._workers.items():
            for key in [key for key in worker.running if key[0] == event.job]:
                del worker.running[key]
                self._touched["workers"][name] = None
        self._over = {key for key in self._over if key[0] != event.job}

    def _job_forgotten(self, event: ev.JobForgotten) -> None:
        self._jobs.pop(event.job, None)

    def _attempt_started(self, event: ev.AttemptStarted) -> None:
        key = (event.job, event.task, event.attempt)
        job = self._jobs.get(event.job)
        if key in self._over or (job is not None and job["ended"] is not None):
            self._over.discard(key)
            return
        worker = self._worker(event.worker)
        if not worker.gone:
            worker.running[key] = event.job if job is None else job["name"]

    def _attempt_over(self, event: ev.AttemptFinished | ev.AttemptFailed | ev.AttemptLost) -> None:
        key = (event.job, event.task, event.attempt)
        worker = self._worker(event.worker)
        if key in worker.running:
            del worker.running[key]
        elif not worker.gone and self._jobs.get(event.job, _OVER)["ended"] is None:
            self._over.add(key)  # its start comes late, or never: dropped when the job ends

    def _attempt_finished(self, event: ev.AttemptFinished) -> None:
        self._attempt_over(event)
        self._workers[event.worker].credit(event)

    def _noted(self, event: ev.Noted) -> None:
        if event.job is None:
            self.feed.add(event.at, event.level, event.sentence)

    def _worker_lost(self, event: ev.WorkerLost) -> None:
        super()._worker_lost(event)
        worker = self._workers[event.worker]
        worker.running.clear()
        if worker.state == "retired":
            self.feed.add(event.at, "info", f"{event.worker} left")
        else:
            self.feed.add(event.at, "error", f"{event.worker} died ({event.cause})")


_OVER: Json = {"ended": 0.0}
