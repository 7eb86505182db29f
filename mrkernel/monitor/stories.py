"""Lines of a job's feed that grow while what they tell of goes on. Pure.

A worker's death and what became of its work; a backup attempt and whether it won; records that were
skipped; a wait. One fault is one sentence, however many events it makes.
"""

from __future__ import annotations

from mrkernel.ids import TaskId
from mrkernel.monitor import events as ev
from mrkernel.monitor.picture import Feed
from mrkernel.monitor.quantities import names_text, plural, seconds_text


class Story:
    """A line that is told anew whenever there is more to say."""

    level: ev.Level = "info"

    def __init__(self) -> None:
        self._line = -1

    def sentence(self) -> str:
        """All of it, as far as it is known."""
        raise NotImplementedError

    def tell(self, feed: Feed, at: float) -> None:
        """Put it into the feed, where it stands if it does."""
        if self._line < 0:
            self._line = feed.add(at, self.level, self.sentence())
        else:
            feed.edit_later(self._line, self.level, self.sentence)


class Loss(Story):
    """What was lost with a worker, and where it is made good.

    Args:
        cause: as the manager saw it: "connection reset".
    """

    level: ev.Level = "error"

    def __init__(self, worker: str, cause: str) -> None:
        super().__init__()
        self.worker = worker
        self.cause = cause
        self.why = ""  #: what really ended it: "was killed (SIGKILL)"
        self.died = False
        self.moves: dict[str, str] = {}  #: task → worker that took it up; "" = nobody yet
        self.redo = 0  #: finished tasks that run again
        self.kept = 0  #: finished tasks that need not
        self.keeper = ""  #: who serves their output
        self.cost_s = 0.0  #: work that is done again: of running attempts and of finished tasks

    def sentence(self) -> str:
        """Such as "w2 was killed (SIGKILL): map-3 → w1; cost 1.0 s of work"."""
        head = f"{self.worker} {self._end()}"
        moved = [f"{task} → {worker}" for task, worker in self.moves.items() if worker]
        lost = [task for task, worker in self.moves.items() if not worker]
        parts = []
        if moved:
            parts.append(names_text(moved))
        if lost:
            parts.append(f"{names_text(lost)} lost")
        text = f"{head}: {', '.join(parts)}" if parts else head
        if self.kept:
            whose = "its" if self.kept == 1 else "their"
            text += f"; {plural(self.kept, 'finished task')} kept"
            text += f": {self.keeper} serves {whose} output"
        if self.redo:
            verb = "runs" if self.redo == 1 else "run"
            text += f"; {plural(self.redo, 'finished task')} {verb} again"
        if self.moves or self.redo:
            text += f"; cost {seconds_text(self.cost_s)} of work"
        return text

    def _end(self) -> str:
        if self.died:
            return self.why or f"died ({self.cause})"
        return f"lost work ({self.cause})"


class Backup(Story):
    """A second attempt of a task that takes long, or whose worker is silent."""

    def __init__(self, event: ev.AttemptStarted) -> None:
        super().__init__()
        self.task = event.task
        self.attempt = event.attempt
        self.worker = event.worker
        self.outcome = ""

    def sentence(self) -> str:
        """Such as "backup of map-9 on w3 won: saved 14 s"."""
        return f"backup of {self.task} on {self.worker}{self.outcome}"

    def finished(self, event: ev.AttemptFinished) -> None:
        """The task is done, by the backup or by another attempt."""
        if event.attempt != self.attempt:
            self.outcome = f": {event.worker} was faster"
            return
        self.outcome = " won"
        if event.saved_s > 0:
            self.outcome += f": saved {seconds_text(event.saved_s)}"


class Skipped(Story):
    """Records that the job goes on without."""

    level: ev.Level = "warning"

    def __init__(self) -> None:
        super().__init__()
        self.tasks: dict[TaskId, int] = {}

    @property
    def count(self) -> int:
        """How many."""
        return sum(self.tasks.values())

    def sentence(self) -> str:
        """Such as "3 bad records skipped: map-3, map-7"."""
        return f"{plural(self.count, 'bad record')} skipped: {names_text(list(self.tasks))}"


class Wait(Story):
    """Nothing of the job goes on."""

    level: ev.Level = "warning"

    def __init__(self, event: ev.JobWaits) -> None:
        super().__init__()
        self.why = event.sentence
        self._since = event.at
        self._over = ""

    def sentence(self) -> str:
        """Such as "waiting for map-4 on w2: …; it went on after 12 s"."""
        return self.why + self._over

    def ended(self, at: float) -> None:
        """Something goes on again."""
        self._over = f"; it went on after {seconds_text(at - self._since)}"
