"""Folds events into the picture of a cluster: its workers and jobs. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from mrkernel.ids import WorkerId
from mrkernel.monitor import events as ev
from mrkernel.monitor.picture import Json
from mrkernel.monitor.workers import HERE, TASKS_SHOWN, WorkerRow, WorkersDraft, adoption_text

#: Rows of workers that are gone: a manager may live for weeks, and its workers come and go.
GONE_KEPT = 100


class ClusterView(WorkersDraft):
    """The workers of a cluster and the jobs it runs.

    Fields: ``wall at slots busy lost jobs banner``, lost being how many workers died, jobs
    ``{id: {name state started ended}}`` of those not forgotten, and banner None here: readers set
    it. Rows: ``workers`` as in a job's picture, a task named ``"<job name> <task>"``; of those that
    are gone only the newest ``GONE_KEPT``.

    Args:
        wall: seconds to add to ``at`` for Unix time.
    """

    kind = "cluster"
    collections = ("workers",)

    def __init__(self, *, wall: float = 0.0) -> None:
        super().__init__(wall)
        self._jobs: dict[str, Json] = {}
        self._over: set[tuple[str, str, int]] = set()
        self._deaths: dict[str, int] = {}  #: worker → its line in the feed
        self._lost = 0
        self._handlers |= {
            ev.JobAccepted: self._job_accepted,
            ev.JobEnded: self._job_ended,
            ev.JobForgotten: self._job_forgotten,
            ev.AttemptStarted: self._attempt_started,
            ev.AttemptFinished: self._attempt_finished,
            ev.AttemptFailed: self._attempt_failed,
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
            if row.state in HERE
        }

    def fields(self) -> Json:
        """The picture's plain fields."""
        here = [row for row in self._workers.values() if not row.gone]
        return {
            "wall": self._wall,
            "at": round(self._at, 3),
            "slots": sum(row.slots for row in here),
            "busy": sum(1 for row in here for _ in row.in_slots()),
            "lost": self._lost,
            "jobs": dict(self._jobs),
            "banner": None,
        }

    def keys(self, collection: str) -> Iterable[str]:
        """The workers, in the order they joined."""
        return self._workers

    def row(self, collection: str, key: str) -> Json | None:
        """One worker; None: it is gone for long."""
        worker = self._workers.get(key)
        if worker is None:
            return None
        shown = [
            {"task": f"{name} {key[1]}", "attempt": key[2]}
            for key, name in list(worker.running.items())[:TASKS_SHOWN]
        ]
        return {
            **worker.row(),
            "beats": list(worker.beats),
            "tasks": shown,
            "more": max(0, len(worker.running) - TASKS_SHOWN),
        }

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
                self._touched["workers"].note(name)
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
        worker = self._announced(event.worker)
        if worker is not None and key in worker.running:
            del worker.running[key]
            return
        gone = worker is not None and worker.gone
        if not gone and self._jobs.get(event.job, _OVER)["ended"] is None:
            self._over.add(key)  # its start comes late, or never: dropped when the job ends

    def _attempt_finished(self, event: ev.AttemptFinished) -> None:
        self._attempt_over(event)
        if (worker := self._announced(event.worker)) is not None:
            worker.credit(event)

    def _attempt_failed(self, event: ev.AttemptFailed) -> None:
        self._attempt_over(event)
        if (worker := self._announced(event.worker)) is not None:
            worker.failed += 1

    def _announced(self, worker: str) -> WorkerRow | None:
        """The worker, to be changed; None: it is known only by what it did, before a restart."""
        return self._worker(worker) if worker in self._workers else None

    def _noted(self, event: ev.Noted) -> None:
        if event.job is None:
            self.feed.add(event.at, event.level, event.sentence)

    def _worker_lost(self, event: ev.WorkerLost) -> None:
        super()._worker_lost(event)
        worker = self._workers[event.worker]
        worker.running.clear()
        if worker.life == "retired":
            self.feed.add(event.at, "info", f"{event.worker} left")
        else:
            self._lost += event.worker not in self._deaths
            text = f"{event.worker} {worker.why or f'died ({event.cause})'}"
            self._deaths[event.worker] = self.feed.add(event.at, "error", text)
        gone = [name for name, row in self._workers.items() if row.gone]
        for name in gone[:-GONE_KEPT]:
            del self._workers[name]
            self._deaths.pop(name, None)
            self._touched["workers"].note(name)

    def _worker_cause(self, event: ev.WorkerCause) -> None:
        if self._announced(event.worker) is None:
            return
        super()._worker_cause(event)
        if event.worker in self._deaths:
            self.feed.edit(self._deaths[event.worker], "error", f"{event.worker} {event.cause}")

    def _store_adopted(self, event: ev.StoreAdopted) -> None:
        if self._announced(event.worker) is not None:
            super()._store_adopted(event)
        if text := adoption_text(event):
            self.feed.add(event.at, "info", text)


_OVER: Json = {"ended": 0.0}
