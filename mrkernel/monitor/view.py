"""Folds events into pictures: ``JobView`` here, ``ClusterView`` in ``workers``. Pure.

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
        part: how much of the running tasks is done, in tasks; retry: tasks of which an attempt
        failed or was lost, or the output, and that are not done (again)
    shuffle: total expected done
        bytes; total: given out by maps so far; expected: when all maps are done; done: fetched
    lost_workers failed moved redone
        workers that died; attempts that failed; tasks taken up again after an attempt failed or was
        lost; finished tasks that have to run again
    workers: rows state cause host pid slots cpu memory beat lost_at maps reduces records bytes
             seconds tasks more
        state: alive, suspect, dead, retired; seconds: spent in finished attempts; tasks: running
        here {task attempt at input part}, and so many more
    troubles: rows by "task/attempt" task attempt worker at state sentence next
        the newest failed and lost attempts; next: the worker that took the task up, "" = nobody yet
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.monitor import events as ev
from mrkernel.monitor.picture import Json
from mrkernel.monitor.quantities import bytes_text, names_text, plural, seconds_text
from mrkernel.monitor.workers import TASKS_SHOWN, ClusterView, WorkersDraft

__all__ = ["ClusterView", "JobView"]

#: Rows of failed and lost attempts kept in the picture; the counts go on.
TROUBLES_KEPT = 50

#: Rate window: samples at least this far apart, so many of them (4 s).
_SAMPLE_S = 0.25
_SAMPLES = 17


class _Attempt:
    """A running attempt, as last heard of."""

    __slots__ = ("at", "attempt", "bytes", "input", "is_map", "part", "records", "task", "worker")

    def __init__(self, event: ev.AttemptStarted, is_map: bool) -> None:
        self.task = event.task
        self.attempt = event.attempt
        self.worker = event.worker
        self.at = event.at
        self.input = event.input
        self.is_map = is_map
        self.records = 0
        self.bytes = 0
        self.part = 0.0  #: how much is done, 0 to 1; fixed when progress comes, as its row is


class _Task:
    """What is known of one task."""

    __slots__ = ("done", "ended", "running", "started_at", "troubled")

    def __init__(self) -> None:
        self.done: ev.AttemptFinished | None = None  #: the attempt whose output counts
        self.started_at = 0.0  #: of its newest attempt
        self.ended = 0  #: bit n set: attempt n is over, whatever comes late
        self.running = 0
        self.troubled = False  #: an attempt failed or was lost, or the output was


class _Loss:
    """A feed line that grows: a worker's death, and what became of its work."""

    __slots__ = ("cause", "cost_s", "died", "line", "moves", "redo", "worker")

    def __init__(self, worker: str, cause: str) -> None:
        self.worker = worker
        self.cause = cause
        self.died = False
        self.line = -1
        self.moves: dict[str, str] = {}  #: task → worker that took it up; "" = nobody yet
        self.redo = 0
        self.cost_s = 0.0  #: work that is done again: of running attempts and of finished tasks

    def sentence(self) -> str:
        head = f"{self.worker} died ({self.cause})" if self.died else f"{self.worker}: {self.cause}"
        moved = [f"{task} → {worker}" for task, worker in self.moves.items() if worker]
        lost = [task for task, worker in self.moves.items() if not worker]
        parts = []
        if moved:
            parts.append(names_text(moved))
        if lost:
            parts.append(f"{names_text(lost)} lost")
        text = f"{head}: {', '.join(parts)}" if parts else head
        if self.redo:
            verb = "runs" if self.redo == 1 else "run"
            text += f"; {plural(self.redo, 'finished task')} {verb} again"
        if self.moves or self.redo:
            text += f"; cost {seconds_text(self.cost_s)} of work"
        return text


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
            row.beat = joined.at
        self._accepted: ev.JobAccepted | None = None
        self._ended: ev.JobEnded | None = None
        self._forgotten = False
        self._tasks: dict[TaskId, _Task] = {}
        self._running: dict[tuple[TaskId, int], _Attempt] = {}
        self._troubles: dict[str, Json] = {}
        self._waiting: dict[TaskId, tuple[str, _Loss | None]] = {}
        self._losses: dict[str, _Loss] = {}
        #: [maps, reduces] each
        self._done = [0, 0]
        self._retry = [0, 0]
        self._counts = {
            name: [0, 0] for name in ("records", "pairs", "bytes_in", "bytes_out")
        }  #: of done tasks
        self._live_records = 0  #: of running maps
        self._live_bytes = [0, 0]  #: of running maps, running reduces
        self._failed = self._moved = self._redone = 0
        self._samples: deque[tuple[float, int, int]] = deque(maxlen=_SAMPLES)
        self._next_sample = 0.0
        self._handlers |= {
            ev.JobAccepted: self._job_accepted,
            ev.JobEnded: self._job_ended,
            ev.JobForgotten: self._job_forgotten,
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
        if event.at >= self._next_sample:
            self._next_sample = event.at + _SAMPLE_S
            self._samples.append((event.at, self._records(), self._bytes()))

    # Drawing

    def fields(self) -> Json:
        """The picture's plain fields; see the module."""
        accepted, ended = self._accepted, self._ended
        counts = self._counts
        maps, reduces = (accepted.maps, accepted.reduces) if accepted else (0, 0)
        last = 1 if reduces else 0
        bytes_per_s, records_per_s = self._rates()
        state: str = "running" if self._tasks else "waiting"
        if ended is not None:
            state = ended.outcome
        made = counts["bytes_out"][0] if reduces else 0
        expected = made
        if 0 < self._done[0] < maps:
            expected = round(made * maps / self._done[0])
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
            "records": self._records(),
            "bytes": self._bytes(),
            "pairs": counts["pairs"][0],
            "groups": counts["records"][1],
            "pairs_out": counts["pairs"][last],
            "bytes_out": counts["bytes_out"][last],
            "bytes_per_s": bytes_per_s,
            "records_per_s": records_per_s,
            "map": self._bar(0, maps),
            "shuffle": {
                "total": made,
                "expected": expected,
                "done": counts["bytes_in"][1] + self._live_bytes[1],
            },
            "reduce": self._bar(1, reduces),
            "lost_workers": sum(row.state == "dead" for row in self._workers.values()),
            "failed": self._failed,
            "moved": self._moved,
            "redone": self._redone,
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
            }
            for a in list(worker.running.values())[:TASKS_SHOWN]
        ]
        return {**worker.row(), "tasks": shown, "more": max(0, len(worker.running) - TASKS_SHOWN)}

    def _records(self) -> int:
        return self._counts["records"][0] + self._live_records

    def _bytes(self) -> int:
        return self._counts["bytes_in"][0] + self._live_bytes[0]

    def _bar(self, phase: int, total: int) -> Json:
        running = [a for a in self._running.values() if a.is_map == (phase == 0)]
        return {
            "total": total,
            "done": self._done[phase],
            "running": len(running),
            "part": round(sum(a.part for a in running), 3),
            "retry": self._retry[phase],
        }

    def _rates(self) -> tuple[int, int]:
        """Bytes and records a second read by maps."""
        if self._accepted is None:
            return 0, 0
        since, records, size = self._accepted.at, 0, 0
        if self._ended is None and self._done[0] < self._accepted.maps and self._samples:
            since, records, size = self._samples[0]
        span = self._at - since
        if span <= 0:
            return 0, 0
        return (
            max(0, round((self._bytes() - size) / span)),
            max(0, round((self._records() - records) / span)),
        )

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
        for attempt in list(self._running.values()):
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

    def _noted(self, event: ev.Noted) -> None:
        self.feed.add(event.at, event.level, event.sentence)

    # Folding: attempts

    def _attempt_started(self, event: ev.AttemptStarted) -> None:
        name, attempt = event.task, event.attempt
        task = self._tasks.get(name)
        if task is None:
            task = self._tasks[name] = _Task()
        if task.ended >> attempt & 1 or (name, attempt) in self._running:
            return
        worker = self._worker(event.worker)
        if worker.gone:
            task.ended |= 1 << attempt  # its end was the worker's
            return
        started = _Attempt(event, name[0] == "m")
        self._running[name, attempt] = started
        worker.running[name, attempt] = started
        task.running += 1
        task.started_at = event.at
        if attempt > 1 and name in self._waiting:
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
            self._tell(loss, event.at)

    def _progress(self, event: ev.Progress) -> None:
        attempt = self._running.get((event.task, event.attempt))
        if attempt is None:
            return
        if attempt.is_map:
            self._live_records += event.records - attempt.records
            self._live_bytes[0] += event.bytes - attempt.bytes
        else:
            self._live_bytes[1] += event.bytes - attempt.bytes
        attempt.records, attempt.bytes = event.records, event.bytes
        # Sizes of single inputs are not known here: by the mean of their kind.
        accepted = self._accepted
        if accepted is not None:
            if attempt.is_map:
                total, tasks = accepted.input_bytes, accepted.maps
            else:
                total, tasks = self._counts["bytes_out"][0], accepted.reduces
            attempt.part = min(1.0, event.bytes * tasks / total) if total > 0 else 0.0
        self._touched["workers"][attempt.worker] = None

    def _close(self, name: TaskId, number: int) -> _Task | None:
        """Count an attempt as over; None when it was so already."""
        task = self._tasks.get(name)
        if task is None:
            task = self._tasks[name] = _Task()
        bit = 1 << number
        if task.ended & bit:
            return None
        task.ended |= bit
        attempt = self._running.pop((name, number), None)
        if attempt is not None:
            task.running -= 1
            if attempt.is_map:
                self._live_records -= attempt.records
                self._live_bytes[0] -= attempt.bytes
            else:
                self._live_bytes[1] -= attempt.bytes
            self._worker(attempt.worker).running.pop((name, number), None)
        return task

    def _attempt_finished(self, event: ev.AttemptFinished) -> None:
        # The manager accepted this finish, so it counts even for an attempt we took for lost.
        task = self._close(event.task, event.attempt) or self._tasks[event.task]
        if task.done is not None:
            return
        self._count(event, task, 1)
        self._worker(event.worker).credit(event)
        phase = 0 if event.task[0] == "m" else 1
        if event.task in self._waiting:  # by an attempt that was taken for lost
            _, loss = self._waiting.pop(event.task)
            if loss is not None:
                loss.moves[event.task] = event.worker
                self._tell(loss, event.at)
        accepted = self._accepted
        if accepted is not None and phase == 0 and self._done[0] == accepted.maps:
            took = seconds_text(event.at - accepted.at)
            self.feed.add(event.at, "info", f"all {plural(accepted.maps, 'map')} done after {took}")

    def _count(self, event: ev.AttemptFinished, task: _Task, sign: int) -> None:
        """Take a finished attempt into the sums (sign 1), or out of them (-1)."""
        phase = 0 if event.task[0] == "m" else 1
        task.done = event if sign > 0 else None
        self._done[phase] += sign
        if task.troubled:
            self._retry[phase] -= sign
        counts = self._counts
        counts["records"][phase] += sign * event.records
        counts["pairs"][phase] += sign * event.pairs
        counts["bytes_in"][phase] += sign * event.bytes_in
        counts["bytes_out"][phase] += sign * event.bytes_out

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

    def _lose(self, event: ev.AttemptLost, task: _Task, cause: str) -> None:
        loss = self._losses.get(event.worker)
        if loss is None:
            loss = self._losses[event.worker] = _Loss(event.worker, cause)
        others = (a.worker for a in self._running.values() if a.task == event.task)
        loss.moves[event.task] = next(others, "")  # a backup may run already
        loss.cost_s += max(0.0, event.at - task.started_at)
        self._trouble(event, task, "lost", cause, loss)
        self._tell(loss, event.at)

    def _trouble(
        self,
        event: ev.AttemptFailed | ev.AttemptLost,
        task: _Task,
        state: str,
        sentence: str,
        loss: _Loss | None,
    ) -> None:
        """Keep a row for an attempt that ended badly; the oldest rows make room."""
        self._mark(event.task, task)
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

    def _mark(self, name: TaskId, task: _Task) -> None:
        """Count the task among those to be done again, until it is."""
        if not task.troubled:
            task.troubled = True
            if task.done is None:
                self._retry[0 if name[0] == "m" else 1] += 1

    def _output_lost(self, event: ev.OutputLost) -> None:
        redo, cost_s = 0, 0.0
        for name in event.tasks:
            task = self._tasks.get(name)
            if task is None or task.done is None:
                continue
            cost_s += task.done.seconds
            self._count(task.done, task, -1)
            self._mark(name, task)
            redo += 1
        if redo:
            self._redone += redo
            loss = self._losses.get(event.worker)
            if loss is None:
                loss = self._losses[event.worker] = _Loss(event.worker, "its output is lost")
            loss.redo += redo
            loss.cost_s += cost_s
            self._tell(loss, event.at)

    def _tell(self, loss: _Loss, at: float) -> None:
        if loss.line < 0:
            loss.line = self.feed.add(at, "error", loss.sentence())
        else:
            self.feed.edit(loss.line, "error", loss.sentence())

    # Folding: workers

    def _worker_joined(self, event: ev.WorkerJoined) -> None:
        if event.worker not in self._workers or self._workers[event.worker].slots == 0:
            super()._worker_joined(event)

    def _worker_lost(self, event: ev.WorkerLost) -> None:
        row = self._worker(event.worker)
        if row.gone:
            return
        super()._worker_lost(event)
        if row.state == "retired" and not row.running:
            self.feed.add(event.at, "info", f"{event.worker} left")
            return
        loss = self._losses.get(event.worker)
        if loss is None:
            loss = self._losses[event.worker] = _Loss(event.worker, event.cause)
        if row.state == "dead":
            loss.died, loss.cause = True, event.cause
        # Its attempts ended with it; the manager's word for each may follow and changes nothing.
        for attempt in list(row.running.values()):
            lost = ev.AttemptLost(
                at=event.at,
                job=self.job,
                task=attempt.task,
                attempt=attempt.attempt,
                worker=event.worker,
                cause=f"{event.worker} died: {event.cause}",
            )
            task = self._close(attempt.task, attempt.attempt)
            if task is not None and task.done is None:
                self._lose(lost, task, lost.cause)
        self._tell(loss, event.at)


_AFTER_END = (ev.JobForgotten, ev.Noted)
_OUTCOMES = {"failed": "failed", "cancelled": "was cancelled"}
