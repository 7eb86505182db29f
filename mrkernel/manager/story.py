"""The story of a job as the journal tells it: a sentence for each fact, and when. Pure.

For ``mrkernel journal JOB``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from mrkernel.errors import JobSpecError
from mrkernel.ids import JobId
from mrkernel.manager.facts import (
    AnyFact,
    Began,
    JobGone,
    JobLetGo,
    JobOver,
    JobTaken,
    TaskDone,
    TasksUndone,
)
from mrkernel.monitor.quantities import bytes_text, names_text, plural, seconds_text
from mrkernel.protocol.messages import Finished


def tell(facts: Iterable[AnyFact], job: str) -> Iterator[str]:
    """Yield the story of a job, line by line.

    Raises:
        JobSpecError: the journal knows no such job; names those it knows.
    """
    teller = _Teller(JobId(job))
    yield from teller.tell(facts)
    if not teller.begun:
        known = names_text(list(teller.others)) or "none"
        raise JobSpecError(f"there is no job {job!r} in this journal; it knows: {known}")


class _Teller:
    def __init__(self, job: JobId) -> None:
        self.begun = False
        self.others: dict[str, None] = {}
        self._job = job
        self._wall = 0.0
        self._maps = 0
        self._done: set[str] = set()
        self._over = False

    def tell(self, facts: Iterable[AnyFact]) -> Iterator[str]:
        for fact in facts:
            if isinstance(fact, Began):
                self._wall = fact.wall
                if self.begun and not self._over:
                    yield f"{'':12}  {self._restarted(fact)}"
            elif isinstance(fact, JobTaken) and fact.job != self._job:
                self.others[fact.job] = None
            else:
                sentence = self._sentence(fact)
                if sentence:
                    at = getattr(fact, "at", None)
                    yield f"{self._time(at):12}  {sentence}"

    def _time(self, at: float | None) -> str:
        if at is None:
            return ""
        return datetime.fromtimestamp(at + self._wall).strftime("%H:%M:%S.%f")[:-3]

    def _restarted(self, fact: Began) -> str:
        kept = sum(name.startswith("map") for name in self._done)
        return (
            f"the manager died and was started again (start {fact.start}): {kept} of "
            f"{plural(self._maps, 'map')} kept"
        )

    def _sentence(self, fact: AnyFact) -> str:
        match fact:
            case JobTaken(job, _, spec, splits) if job == self._job:
                self.begun = True
                self._maps = len(splits)
                tasks = (
                    f"{plural(len(splits), 'map task')}, {plural(spec.reduce_tasks, 'reduce task')}"
                )
                return f"accepted: {spec.name}, {tasks}"
            case TaskDone(store, finished) if finished.job == self._job:
                self._done.add(finished.task)
                return _done(store, finished)
            case TasksUndone(job, tasks, why) if job == self._job:
                self._done.difference_update(tasks)
                verb = "runs" if len(tasks) == 1 else "run"
                return f"{names_text(tasks)} {verb} again: {why}"
            case JobOver(job, outcome, sentence) if job == self._job:
                self._over = True
                return f"{outcome}: {sentence}" if sentence else outcome
            case JobLetGo(job, runs_only) if job == self._job:
                return "its map output was let go" if runs_only else "its result was let go"
            case JobGone(job) if job == self._job:
                return "forgotten"
            case _:
                return ""


def _done(store: str, finished: Finished) -> str:
    part = finished.part
    nbytes = sum(finished.output.sizes) if finished.output else part.nbytes if part else 0
    what = "records" if finished.output or not finished.task.startswith("reduce") else "groups"
    sentence = (
        f"{finished.task} done by {store} (attempt {finished.attempt}) in "
        f"{seconds_text(finished.seconds)}: {finished.records:,} {what}, {bytes_text(nbytes)} out"
    )
    if finished.bad:
        sentence += f", {plural(len(finished.bad), 'bad record')} skipped"
    return sentence
