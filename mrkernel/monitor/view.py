"""Folds events into the picture of a job; ``cluster_view`` draws that of the cluster. Pure.

The manager folds each event once; what the notebook, the web page and the terminal show are these
pictures (see ``picture`` for how they travel). Folding only counts: rows, sentences and rates are
drawn when a picture or a delta is taken, at most ten times a second.

A fold accepts any order of events. What it counts is exact all the same: each attempt ends once,
each task is done at most once, and work whose output was lost is taken out of the sums until it is
done again. After ``JobEnded`` a job's counts stay as they are.

The fields of a job's picture (times are ``at``, the manager's clock; ``wall`` is to be added for
Unix time; None = not yet):

    job name functions state sentence
        state: waiting, running, done, failed, cancelled
    wall at started ended forgotten
        at: time of the newest event
    input_bytes slots
        0 = unknown; slots of the workers alive
    records bytes pairs
        read and given out by maps; records and bytes with those of running attempts
    groups pairs_out bytes_out
        reduced and given out by reduces (given out by maps, when map only)
    bytes_per_s records_per_s
        read by maps: of the last seconds while maps run, then of the whole job
    map reduce: total done running part retry
        running: in a slot; part: how much of the running tasks is done, in tasks; retry: tasks of
        which an attempt failed or was lost, or the output, and that are not done (again)
    shuffle: total expected done
        bytes; total: given out by maps so far; expected: when all maps are done; done: fetched
    lost_workers restarts failed moved redone
        workers that died; restarts of the manager; attempts that failed; tasks taken up again after
        an attempt failed or was lost; finished tasks that have to run again
    bad
        records that were skipped
    banner
        what everybody must see now, {kind level text}, kind being waits, restarted, or, set by a
        reader, away or gone (the manager); None: nothing
    workers: rows state cause end host pid slots cpu memory beat lost_at maps reduces records bytes
             seconds tasks more
        state: alive, suspect, barred (gets no new work), dead, retired, unknown (never announced);
        end: what became of it, "died" or "was killed (SIGKILL)"; seconds: spent in finished
        attempts; tasks: handed to it {task attempt at input part backup}, and so many more; those
        beyond its slots wait there
    troubles: rows by "task/attempt" task attempt worker at state sentence next
        the newest failed and lost attempts; next: the worker that took the task up, "" = nobody yet
"""

from __future__ import annotations

from collections.abc import Iterable

from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.monitor import events as ev
from mrkernel.monitor.cluster_view import ClusterView
from mrkernel.monitor.picture import Json
from mrkernel.monitor.quantities import bytes_text, plural, seconds_text
from mrkernel.monitor.stories import Backup, Loss, Skipped, Wait
from mrkernel.monitor.tally import MAP, REDUCE, Tally, Task, phase_of
from mrkernel.monitor.workers import TASKS_SHOWN, WorkersDraft, adoption_text

__all__ = ["ClusterView", "JobView"]

#: Rows of failed and lost attempts kept in the picture; the counts go on.
TROUBLES_KEPT = 50
#: How long everybody is told that the manager was restarted (seconds).
BANNER_S = 10.0


class JobView(WorkersDraft):
    """One job: header, three bars, its workers, what went wrong, the event feed.

    Args:
        job: whose events to fold; those of other jobs are passed over.
        wall: seconds to add to ``at`` for Unix time.
        workers: the workers there when the job begins, see ``ClusterView.workers``.
    """

    kind = "job"
    collections = ("workers", "troubles")

    def __init__(
        self,
        job: JobId,
        *,
        wall: float = 0.0,
        workers: dict[WorkerId, ev.WorkerJoined] | None = None,
    ) -> None:
        super().__init__(wall)
        self.job = job
        for joined in (workers or {}).values():
            row = self._worker(joined.worker)
            row.host, row.pid, row.slots = joined.host, joined.pid, joined.slots
            row.beat, row.life = joined.at, "alive"
        self._accepted: ev.JobAccepted | None = None
        self._ended: ev.JobEnded | None = None
        self._forgotten = False
        self._tally = Tally()
        self._troubles: dict[str, Json] = {}
        self._waiting: dict[TaskId, tuple[str, Loss | None]] = {}
        self._losses: dict[str, Loss] = {}
        self._backups: dict[TaskId, list[Backup]] = {}
        self._skipped = Skipped()
        self._wait: Wait | None = None
        self._restarted: tuple[float, str] | None = None  #: when, and what was kept
        self._failed = self._moved = self._redone = self._restarts = 0
        self._handlers |= {
            ev.JobAccepted: self._job_accepted,
            ev.JobEnded: self._job_ended,
            ev.JobForgotten: self._job_forgotten,
            ev.JobWaits: self._job_waits,
            ev.ManagerRestarted: self._manager_restarted,
            ev.AttemptStarted: self._attempt_started,
            ev.Progress: self._progress,
            ev.AttemptFinished: self._attempt_finished,
            ev.AttemptFailed: self._attempt_failed,
            ev.AttemptLost: self._attempt_lost,
            ev.OutputLost: self._output_lost,
            ev.Noted: self._noted,
        }

    @property
    def ended(self) -> bool:
        """Whether the job is over."""
        return self._ended is not None

    @property
    def forgotten(self) -> bool:
        """Whether nothing of the job is kept but this picture."""
        return self._forgotten

    def fold(self, event: ev.Event) -> None:
        """Take in one event; any order is fine, unknown kinds and other jobs are passed over."""
        handler = self._handlers.get(type(event))
        if handler is None:
            return
        job = getattr(event, "job", None)
        if job is None:
            if self._ended is not None:
                return  # the cluster lives on, this picture does not
        elif job != self.job or (self._ended is not None and type(event) not in _AFTER_END):
            return
        if event.at > self._at:
            self._at = event.at
        self._changed = True
        handler(event)
        self._tally.sample(event.at)

    # Drawing

    def fields(self) -> Json:
        """The picture's plain fields; see the module."""
        accepted, ended, tally = self._accepted, self._ended, self._tally
        maps, reduces = (accepted.maps, accepted.reduces) if accepted else (0, 0)
        last = REDUCE if reduces else MAP
        bytes_per_s, records_per_s = 0, 0
        if accepted is not None:
            whole = ended is not None or tally.done[MAP] >= maps
            bytes_per_s, records_per_s = tally.rates(self._at, accepted.at, whole=whole)
        state: str = "running" if tally.tasks else "waiting"
        if ended is not None:
            state = ended.outcome
        made = tally.bytes_out[MAP] if reduces else 0
        expected = made
        if 0 < tally.done[MAP] < maps:
            expected = round(made * maps / tally.done[MAP])
        return {
            "job": self.job,
            "name": accepted.name if accepted else self.job,
            "functions": accepted.functions if accepted else "",
            "state": state,
            "sentence": ended.sentence if ended else "",
            "wall": self._wall,
            "at": round(self._at, 3),
            "started": round(accepted.at, 3) if accepted else None,
            "ended": round(ended.at, 3) if ended else None,
            "forgotten": self._forgotten,
            "input_bytes": accepted.input_bytes if accepted else 0,
            "slots": sum(row.slots for row in self._workers.values() if not row.gone),
            "records": tally.read_records,
            "bytes": tally.read_bytes,
            "pairs": tally.pairs[MAP],
            "groups": tally.records[REDUCE],
            "pairs_out": tally.pairs[last],
            "bytes_out": tally.bytes_out[last],
            "bytes_per_s": bytes_per_s,
            "records_per_s": records_per_s,
            **self._bars(maps, reduces),
            "shuffle": {"total": made, "expected": expected, "done": tally.fetched_bytes},
            "lost_workers": sum(row.life == "dead" for row in self._workers.values()),
            "restarts": self._restarts,
            "failed": self._failed,
            "moved": self._moved,
            "redone": self._redone,
            "bad": tally.bad,
            "banner": self._banner(),
        }

    def keys(self, collection: str) -> Iterable[str]:
        """Workers in the order they joined; troubles, oldest first."""
        return self._workers if collection == "workers" else self._troubles

    def row(self, collection: str, key: str) -> Json | None:
        """One worker, or one failed or lost attempt."""
        if collection == "troubles":
            return self._troubles.get(key)
        worker = self._workers[key]
        shown = [
            {
                "task": a.task,
                "attempt": a.attempt,
                "at": round(a.at, 3),
                "input": a.input,
                "part": round(a.part, 3),
                "backup": a.backup,
            }
            for a in list(worker.running.values())[:TASKS_SHOWN]
        ]
        return {**worker.row(), "tasks": shown, "more": max(0, len(worker.running) - TASKS_SHOWN)}

    def _bars(self, maps: int, reduces: int) -> Json:
        running, part = [0, 0], [0.0, 0.0]
        for row in self._workers.values():
            for attempt in row.in_slots():
                running[attempt.phase] += 1
                part[attempt.phase] += attempt.part
        return {
            name: {
                "total": total,
                "done": self._tally.done[phase],
                "running": running[phase],
                "part": round(part[phase], 3),
                "retry": self._tally.retry[phase],
            }
            for phase, (name, total) in enumerate((("map", maps), ("reduce", reduces)))
        }

    def _banner(self) -> Json | None:
        if self._ended is not None:
            return None
        if self._wait is not None:
            return {"kind": "waits", "level": "warning", "text": self._wait.why}
        if self._restarted is not None:
            since, text = self._restarted
            if self._at - since < BANNER_S:
                return {"kind": "restarted", "level": "info", "text": text}
        return None

    # Folding: the job

    def _job_accepted(self, event: ev.JobAccepted) -> None:
        if self._accepted is not None:
            return
        self._accepted = event
        work = plural(event.maps, "map")
        work += f" and {plural(event.reduces, 'reduce')}" if event.reduces else ", no reduce"
        if event.input_bytes:
            work += f" over {bytes_text(event.input_bytes)}"
        self.feed.add(event.at, "info", f"{event.name}: {work}")

    def _job_ended(self, event: ev.JobEnded) -> None:
        for attempt in list(self._tally.running.values()):
            self._close(attempt.task, attempt.attempt)
        self._ended = event
        took = seconds_text(event.at - self._accepted.at) if self._accepted else ""
        if event.outcome == "done":
            self.feed.add(event.at, "info", f"done in {took}" if took else "done")
            return
        level = "error" if event.outcome == "failed" else "warning"
        after = f" after {took}" if took else ""
        why = f": {event.sentence}" if event.sentence else ""
        self.feed.add(event.at, level, f"the job {_OUTCOMES[event.outcome]}{after}{why}")

    def _job_forgotten(self, event: ev.JobForgotten) -> None:
        self._forgotten = True

    def _job_waits(self, event: ev.JobWaits) -> None:
        if self._wait is not None:
            if self._wait.why == event.sentence:
                return
            self._wait.ended(event.at)
            self._wait.tell(self.feed, event.at)
        self._wait = Wait(event) if event.sentence else None
        if self._wait is not None:
            self._wait.tell(self.feed, event.at)

    def _manager_restarted(self, event: ev.ManagerRestarted) -> None:
        self._restarts += 1
        kept = f"{event.maps_kept} of {plural(event.maps, 'map')} kept"
        text = f"manager restarted after {seconds_text(event.down_s)}: {kept}"
        self._restarted = (event.at, text)
        self.feed.add(event.at, "warning", text)

    def _noted(self, event: ev.Noted) -> None:
        self.feed.add(event.at, event.level, event.sentence)

    # Folding: attempts

    def _attempt_started(self, event: ev.AttemptStarted) -> None:
        worker = self._worker(event.worker)
        attempt = self._tally.start(event, gone=worker.gone)
        if attempt is None:
            return
        worker.running[event.task, event.attempt] = attempt
        if event.backup:
            backup = Backup(event)
            self._backups.setdefault(event.task, []).append(backup)
            backup.tell(self.feed, event.at)
        if event.attempt > 1 and event.task in self._waiting:
            self._taken_up(event)

    def _taken_up(self, event: ev.AttemptStarted) -> None:
        """A task whose attempt failed or was lost runs again: say where."""
        trouble, loss = self._waiting.pop(event.task)
        self._moved += 1
        row = self._troubles.get(trouble)
        if row is not None:
            self._troubles[trouble] = {**row, "next": event.worker}
            self._touched["troubles"][trouble] = None
        if loss is not None:
            loss.moves[event.task] = event.worker
            loss.tell(self.feed, event.at)

    def _progress(self, event: ev.Progress) -> None:
        attempt = self._tally.progress(event, self._accepted)
        if attempt is not None:
            self._touched["workers"][attempt.worker] = None

    def _close(self, name: TaskId, number: int) -> Task | None:
        """Count an attempt as over; None when it was so already."""
        closed = self._tally.close(name, number)
        if closed is None:
            return None
        task, attempt = closed
        if attempt is not None:
            self._worker(attempt.worker).running.pop((name, number), None)
        return task

    def _attempt_finished(self, event: ev.AttemptFinished) -> None:
        # The manager accepted this finish, so it counts even for an attempt we took for lost.
        task = self._close(event.task, event.attempt) or self._tally.tasks[event.task]
        if task.done is not None:
            return
        self._tally.count(event, task, 1)
        self._worker(event.worker).credit(event)
        for backup in self._backups.pop(event.task, ()):
            backup.finished(event)
            backup.tell(self.feed, event.at)
        if event.bad:
            self._skipped.tasks[event.task] = event.bad
            self._skipped.tell(self.feed, event.at)
        if event.task in self._waiting:  # by an attempt that was taken for lost
            _, loss = self._waiting.pop(event.task)
            if loss is not None:
                loss.moves[event.task] = event.worker
                loss.tell(self.feed, event.at)
        accepted = self._accepted
        if (
            accepted is not None
            and phase_of(event.task) == MAP
            and self._tally.done[MAP] == accepted.maps
        ):
            took = seconds_text(event.at - accepted.at)
            what = "the one map" if accepted.maps == 1 else f"all {accepted.maps:,} maps"
            self.feed.add(event.at, "info", f"{what} done after {took}")

    def _attempt_failed(self, event: ev.AttemptFailed) -> None:
        task = self._close(event.task, event.attempt)
        if task is None:
            return
        self._failed += 1
        self._trouble(event, task, "failed", event.sentence, None)
        self.feed.add(event.at, "error", f"{event.task} failed on {event.worker}: {event.sentence}")

    def _attempt_lost(self, event: ev.AttemptLost) -> None:
        task = self._close(event.task, event.attempt)
        # Not a loss: the runner-up of a race, or part of a cancelled job.
        if task is None or task.done is not None or event.cause == "cancelled":
            return
        self._lose(event, task, event.cause)

    def _lose(self, event: ev.AttemptLost, task: Task, cause: str) -> None:
        loss = self._loss(event.worker, cause)
        others = (a.worker for a in self._tally.running.values() if a.task == event.task)
        loss.moves[event.task] = next(others, "")  # a backup may run already
        loss.cost_s += max(0.0, event.at - task.started_at)
        self._trouble(event, task, "lost", cause, loss)
        loss.tell(self.feed, event.at)

    def _loss(self, worker: str, cause: str) -> Loss:
        loss = self._losses.get(worker)
        if loss is None:
            loss = self._losses[worker] = Loss(worker, cause)
        return loss

    def _trouble(
        self,
        event: ev.AttemptFailed | ev.AttemptLost,
        task: Task,
        state: str,
        sentence: str,
        loss: Loss | None,
    ) -> None:
        """Keep a row for an attempt that ended badly; the oldest rows make room."""
        self._tally.mark(event.task, task)
        key = f"{event.task}/{event.attempt}"
        if task.done is None and task.running == 0:
            self._waiting[event.task] = (key, loss)
        self._troubles[key] = {
            "task": event.task,
            "attempt": event.attempt,
            "worker": event.worker,
            "at": round(event.at, 3),
            "state": state,
            "sentence": sentence,
            "next": "",
        }
        self._touched["troubles"][key] = None
        if len(self._troubles) > TROUBLES_KEPT:
            oldest = next(iter(self._troubles))
            del self._troubles[oldest]
            self._touched["troubles"][oldest] = None

    def _output_lost(self, event: ev.OutputLost) -> None:
        redo, cost_s = 0, 0.0
        for name in event.tasks:
            task = self._tally.tasks.get(name)
            if task is None or task.done is None:
                continue
            cost_s += task.done.seconds
            self._tally.count(task.done, task, -1)
            self._tally.mark(name, task)
            if self._skipped.tasks.pop(name, 0):
                self._skipped.tell(self.feed, event.at)
            redo += 1
        if redo:
            self._redone += redo
            loss = self._loss(event.worker, "its output is gone")
            loss.redo += redo
            loss.kept = max(0, loss.kept - redo)
            loss.cost_s += cost_s
            loss.tell(self.feed, event.at)

    # Folding: workers

    def _worker_joined(self, event: ev.WorkerJoined) -> None:
        if event.worker not in self._workers or self._workers[event.worker].slots == 0:
            super()._worker_joined(event)

    def _worker_lost(self, event: ev.WorkerLost) -> None:
        row = self._worker(event.worker)
        if row.gone and not row.running:
            return
        super()._worker_lost(event)
        if row.life == "retired" and not row.running:
            self.feed.add(event.at, "info", f"{event.worker} left")
            return
        loss = self._loss(event.worker, event.cause)
        if row.life == "dead":
            loss.died, loss.cause, loss.why = True, event.cause, row.why
        # Its attempts ended with it; the manager's word for each may follow and changes nothing.
        for attempt in list(row.running.values()):
            lost = ev.AttemptLost(
                at=event.at,
                job=self.job,
                task=attempt.task,
                attempt=attempt.attempt,
                worker=event.worker,
                cause=f"{event.worker} {row.why or f'died: {event.cause}'}",
            )
            task = self._close(attempt.task, attempt.attempt)
            if task is not None and task.done is None:
                self._lose(lost, task, lost.cause)
        loss.tell(self.feed, event.at)

    def _worker_cause(self, event: ev.WorkerCause) -> None:
        super()._worker_cause(event)
        loss = self._losses.get(event.worker)
        if loss is not None:
            loss.why = event.cause
            loss.tell(self.feed, event.at)

    def _store_adopted(self, event: ev.StoreAdopted) -> None:
        super()._store_adopted(event)
        loss = self._losses.get(event.worker)
        if loss is not None and loss.died and not event.back:
            loss.kept, loss.keeper = event.tasks, event.by
            loss.tell(self.feed, event.at)
        elif text := adoption_text(event):
            self.feed.add(event.at, "info", text)


_AFTER_END = (ev.JobForgotten, ev.Noted)
_OUTCOMES = {"failed": "failed", "cancelled": "was cancelled"}
