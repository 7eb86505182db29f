"""Folds the events of one job into what its picture is drawn from. Pure."""

from __future__ import annotations

from typing import ClassVar

from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.monitor import events as ev
from mrkernel.monitor.eta import Durations
from mrkernel.monitor.output_so_far import PartitionSizes, TopKeys
from mrkernel.monitor.picture import Pace
from mrkernel.monitor.quantities import bytes_text, plural, seconds_text
from mrkernel.monitor.setbacks import Setbacks
from mrkernel.monitor.stories import Backup, Skipped, Wait
from mrkernel.monitor.tally import MAP, REDUCE, Tally, Task, phase_of
from mrkernel.monitor.timeline import Timeline
from mrkernel.monitor.workers import WorkersDraft, adoption_text

#: A bar is 100 bytes, and a job of empty tasks makes tens of thousands a second: at most 40 kB a
#: second, the newest first.
_BARS_PACE = Pace(each=40, burst=400, newest_first=True)


class JobFold(WorkersDraft):
    """One job: what was done of it, what went wrong, its workers, timeline and event feed.

    Args:
        job: whose events to fold; those of other jobs are passed over.
        wall: seconds to add to ``at`` for Unix time.
        workers: the workers there when the job begins, see ``ClusterView.workers``.
    """

    kind = "job"
    collections = ("workers", "troubles", "bars")
    paces: ClassVar[dict[str, Pace]] = {**WorkersDraft.paces, "bars": _BARS_PACE}

    def __init__(
        self,
        job: JobId,
        *,
        wall: float = 0.0,
        workers: dict[WorkerId, ev.WorkerJoined] | None = None,
    ) -> None:
        super().__init__(wall)
        self.job = job
        self._accepted: ev.JobAccepted | None = None
        self._ended: ev.JobEnded | None = None
        self._forgotten = False
        self._tally = Tally()
        self._durations = (Durations(), Durations())  #: of maps, and of reduces
        self._timeline = Timeline(self._touched["bars"])
        self._sizes = PartitionSizes()
        self._top = TopKeys()
        self._setbacks = Setbacks(self._tally, self.feed, self._touched["troubles"])
        self._backups: dict[TaskId, list[Backup]] = {}
        self._skipped = Skipped()
        self._wait: Wait | None = None
        self._restarts = 0
        self._restarted: tuple[float, str] | None = None  #: when, and what was kept
        for joined in (workers or {}).values():
            row = self._worker(joined.worker)
            row.host, row.pid, row.slots = joined.host, joined.pid, joined.slots
            row.beat, row.life = joined.at, "alive"
            self._timeline.announced(joined.worker, joined.slots)
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

    # --- the job ----------------------------------------------------------------------------------

    def _job_accepted(self, event: ev.JobAccepted) -> None:
        if self._accepted is not None:
            return
        self._accepted = event
        self._top.kind = event.top
        work = plural(event.maps, "map")
        work += f" and {plural(event.reduces, 'reduce')}" if event.reduces else ", no reduce"
        if event.input_bytes:
            work += f" over {bytes_text(event.input_bytes)}"
        self.feed.add(event.at, "info", f"{event.name}: {work}")

    def _job_ended(self, event: ev.JobEnded) -> None:
        for attempt in list(self._tally.running.values()):
            self._close(attempt.task, attempt.attempt)
        self._timeline.over(event.at, f"the job {_OUTCOMES.get(event.outcome, 'was done')}")
        self._ended = event
        took = seconds_text(event.at - self._accepted.at) if self._accepted else ""
        if event.outcome == "done":
            self.feed.add(event.at, "info", f"done in {took}" if took else "done")
            return
        level: ev.Level = "error" if event.outcome == "failed" else "warning"
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

    # --- attempts ---------------------------------------------------------------------------------

    def _attempt_started(self, event: ev.AttemptStarted) -> None:
        worker = self._worker(event.worker)
        attempt = self._tally.start(event, gone=worker.gone)
        if attempt is None:
            return
        worker.running[event.task, event.attempt] = attempt
        self._timeline.started(event)
        if event.backup:
            backup = Backup(event)
            self._backups.setdefault(event.task, []).append(backup)
            backup.tell(self.feed, event.at)
        if event.attempt > 1:
            self._setbacks.taken_up(event)

    def _progress(self, event: ev.Progress) -> None:
        attempt = self._tally.progress(event, self._input_size(event.task))
        if attempt is not None:
            self._touched["workers"].note(attempt.worker)
            self._timeline.progress(event)

    def _input_size(self, task: TaskId) -> float:
        """Bytes that a task reads; 0: not known."""
        if phase_of(task) == REDUCE:
            return self._sizes.of(task)
        # Those of single splits are not told: by their mean.
        accepted = self._accepted
        return accepted.input_bytes / accepted.maps if accepted and accepted.maps else 0.0

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
        closed = self._close(event.task, event.attempt)
        task = closed or self._tally.tasks[event.task]
        if task.done is not None:
            if closed is not None:
                self._timeline.ended(event, "killed", f"{task.done.worker} was faster")
            return
        self._tally.count(event, task, 1)
        self._count_output(event, 1)
        self._worker(event.worker).credit(event)
        took = self._timeline.finished(event)
        self._durations[phase_of(event.task)].add(took, event.bytes_in)
        for backup in self._backups.pop(event.task, ()):
            backup.finished(event)
            backup.tell(self.feed, event.at)
        if event.bad:
            self._skipped.tasks[event.task] = event.bad
            self._skipped.tell(self.feed, event.at)
        self._setbacks.done_after_all(event)
        accepted = self._accepted
        if (
            accepted is not None
            and phase_of(event.task) == MAP
            and self._tally.done[MAP] == accepted.maps
        ):
            what = "the one map" if accepted.maps == 1 else f"all {accepted.maps:,} maps"
            text = f"{what} done after {seconds_text(event.at - accepted.at)}"
            self.feed.add(event.at, "info", text)

    def _count_output(self, event: ev.AttemptFinished, sign: int) -> None:
        if event.bytes_out:
            self._sizes.count_in(event, sign)
        if event.top:
            self._top.count_in(event, sign)

    def _attempt_failed(self, event: ev.AttemptFailed) -> None:
        task = self._close(event.task, event.attempt)
        if task is None:
            return
        self._worker(event.worker).failed += 1
        self._timeline.ended(event, "failed", event.sentence)
        self._setbacks.failed(event, task)

    def _attempt_lost(self, event: ev.AttemptLost) -> None:
        task = self._close(event.task, event.attempt)
        if task is None:
            return
        # Not a loss: the runner-up of a race, or part of a cancelled job.
        if task.done is not None:
            self._timeline.ended(event, "killed", f"{task.done.worker} was faster")
        elif event.cause == "cancelled":
            self._timeline.ended(event, "killed", event.cause)
        else:
            self._timeline.ended(event, "lost", event.cause)
            self._setbacks.lost(event, task)

    def _output_lost(self, event: ev.OutputLost) -> None:
        lost = []
        for name in dict.fromkeys(event.tasks):
            task = self._tally.tasks.get(name)
            if task is None or task.done is None:
                continue
            lost.append((task, task.done))
            self._count_output(task.done, -1)
            if self._skipped.tasks.pop(name, 0):
                self._skipped.tell(self.feed, event.at)
        if lost:
            cause = f"its output was lost with {event.worker}"
            self._timeline.output_lost([done for _, done in lost], cause)
            self._setbacks.output_lost(event, lost)

    # --- workers ----------------------------------------------------------------------------------

    def _worker_joined(self, event: ev.WorkerJoined) -> None:
        if event.worker not in self._workers or self._workers[event.worker].slots == 0:
            super()._worker_joined(event)
            self._timeline.announced(event.worker, event.slots)

    def _worker_lost(self, event: ev.WorkerLost) -> None:
        row = self._worker(event.worker)
        if row.gone and not row.running:
            return
        super()._worker_lost(event)
        if row.life == "retired" and not row.running:
            self.feed.add(event.at, "info", f"{event.worker} left")
            return
        loss = self._setbacks.loss(event.worker, event.cause)
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
            if task is None:
                continue
            self._timeline.ended(lost, "lost", lost.cause)
            if task.done is None:
                self._setbacks.lost(lost, task)
        loss.tell(self.feed, event.at)

    def _worker_cause(self, event: ev.WorkerCause) -> None:
        super()._worker_cause(event)
        self._timeline.explained(event.worker, f"{event.worker} {event.cause}")
        loss = self._setbacks.known(event.worker)
        if loss is not None:
            loss.why = event.cause
            loss.tell(self.feed, event.at)

    def _store_adopted(self, event: ev.StoreAdopted) -> None:
        super()._store_adopted(event)
        loss = self._setbacks.known(event.worker)
        if loss is not None and loss.died and not event.back:
            loss.kept, loss.keeper = event.tasks, event.by
            loss.tell(self.feed, event.at)
        elif text := adoption_text(event):
            self.feed.add(event.at, "info", text)


_AFTER_END = (ev.JobForgotten, ev.Noted)
_OUTCOMES = {"failed": "failed", "cancelled": "was cancelled"}
