"""What of a job went wrong, and who makes it good: rows, counts, and lines of the feed. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from mrkernel.ids import TaskId
from mrkernel.monitor import events as ev
from mrkernel.monitor.picture import Changes, Feed, Json
from mrkernel.monitor.stories import Loss
from mrkernel.monitor.tally import Tally, Task

#: Rows of failed and lost attempts kept in the picture; the counts go on.
TROUBLES_KEPT = 50


class Setbacks:
    """The failed and lost attempts of a job, and the tasks that wait to be taken up again.

    Args:
        tally, feed: the job's.
        changes: what to note changed rows in.
    """

    def __init__(self, tally: Tally, feed: Feed, changes: Changes) -> None:
        self.rows: dict[str, Json] = {}
        self.failures = 0
        self.moved = 0
        self.redone = 0
        self._tally = tally
        self._feed = feed
        self._changes = changes
        self._waiting: dict[TaskId, tuple[str, Loss | None]] = {}
        self._losses: dict[str, Loss] = {}

    def failed(self, event: ev.AttemptFailed, task: Task) -> None:
        """An attempt failed by its own doing."""
        self.failures += 1
        self._add(event, task, "failed", event.sentence, None)
        text = f"{event.task} failed on {event.worker}: {event.sentence}"
        self._feed.add(event.at, "error", text)

    def lost(self, event: ev.AttemptLost, task: Task) -> None:
        """An attempt was taken away, and its task is not done."""
        loss = self.loss(event.worker, event.cause)
        others: Iterable[str] = ()
        if task.running:  # a backup runs already
            others = (a.worker for a in self._tally.running.values() if a.task == event.task)
        loss.moves[event.task] = next(iter(others), "")
        loss.cost_s += max(0.0, event.at - task.started_at)
        self._add(event, task, "lost", event.cause, loss)
        loss.tell(self._feed, event.at)

    def output_lost(
        self, event: ev.OutputLost, tasks: list[tuple[Task, ev.AttemptFinished]]
    ) -> None:
        """Finished tasks have to run again."""
        for task, done in tasks:
            self._tally.count(done, task, -1)
            self._tally.mark(done.task, task)
        self.redone += len(tasks)
        loss = self.loss(event.worker, "its output is gone")
        loss.redo += len(tasks)
        loss.kept = max(0, loss.kept - len(tasks))
        loss.cost_s += sum(done.seconds for _, done in tasks)
        loss.tell(self._feed, event.at)

    def taken_up(self, event: ev.AttemptStarted) -> None:
        """A task whose attempt failed or was lost runs again: say where."""
        if event.task not in self._waiting:
            return
        key, loss = self._waiting.pop(event.task)
        self.moved += 1
        row = self.rows.get(key)
        if row is not None:
            self.rows[key] = {**row, "next": event.worker}
            self._changes.note(key)
        if loss is not None:
            loss.moves[event.task] = event.worker
            loss.tell(self._feed, event.at)

    def done_after_all(self, event: ev.AttemptFinished) -> None:
        """A task that waits is done, by an attempt that was taken for lost."""
        if event.task not in self._waiting:
            return
        _, loss = self._waiting.pop(event.task)
        if loss is not None:
            loss.moves[event.task] = event.worker
            loss.tell(self._feed, event.at)

    def loss(self, worker: str, cause: str) -> Loss:
        """The story of what is lost with a worker, begun if need be."""
        loss = self._losses.get(worker)
        if loss is None:
            loss = self._losses[worker] = Loss(worker, cause)
        return loss

    def known(self, worker: str) -> Loss | None:
        """The story of what was lost with a worker; None: nothing was."""
        return self._losses.get(worker)

    def _add(
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
        self.rows[key] = {
            "task": event.task,
            "attempt": event.attempt,
            "worker": event.worker,
            "at": round(event.at, 3),
            "state": state,
            "sentence": sentence,
            "next": "",
        }
        self._changes.note(key)
        if len(self.rows) > TROUBLES_KEPT:
            oldest = next(iter(self.rows))
            del self.rows[oldest]
            self._changes.note(oldest)
