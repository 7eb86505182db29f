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
    Numbers,
    TaskDone,
    TasksUndone,
)
from mrkernel.manager.records import number_in_start
from mrkernel.monitor.quantities import bytes_text, names_text, plural, seconds_text
from mrkernel.protocol.worker_messages import Finished


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
        self._done: dict[str, float] = {}  # when
        self._attempts: dict[str, int] = {}  # of each task, as last told
        self._over = False
        self._let_go = ""  # what was, as last told: each client that has the result says so
        self._began: Began | None = None  # the manager that wrote last
        self._accepted_at = 0.0

    def tell(self, facts: Iterable[AnyFact]) -> Iterator[str]:
        for fact in facts:
            if isinstance(fact, Began):
                self._wall, self._began = fact.wall, fact
            if isinstance(fact, Began | Numbers):
                # A manager that takes up a journal begins it anew, and ``Numbers`` is what it had.
                if self._began is not None and self.begun and not self._over:
                    yield from self._restarted(self._began)
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

    def _restarted(self, began: Began) -> Iterator[str]:
        if began.start == 1 or began.at < self._accepted_at:
            return
        done = [name for name, at in self._done.items() if at <= began.at]
        kept = sum(name.startswith("map") for name in done)
        yield (
            f"{self._time(began.at):12}  the manager died and was started again (start "
            f"{began.start}): {kept} of {plural(self._maps, 'map')} kept"
        )

    def _sentence(self, fact: AnyFact) -> str:
        match fact:
            case JobTaken(job, _, spec, splits, at=at) if job == self._job:
                self.begun, self._accepted_at = True, at
                self._maps = len(splits)
                tasks = (
                    f"{plural(len(splits), 'map task')}, {plural(spec.reduce_tasks, 'reduce task')}"
                )
                return f"accepted: {spec.name}, {tasks}"
            case TaskDone(store, finished, at) if finished.job == self._job:
                self._done[finished.task] = at
                before = self._attempts.get(finished.task, 0)
                attempt = max(number_in_start(finished.attempt), before + 1)
                self._attempts[finished.task] = attempt
                return _done(store, finished, attempt)
            case TasksUndone(job, tasks, why) if job == self._job:
                for task in tasks:
                    self._done.pop(task, None)
                verb = "runs" if len(tasks) == 1 else "run"
                return f"{names_text(tasks)} {verb} again: {why}"
            case JobOver(job, outcome, sentence) if job == self._job:
                self._over = True
                return f"{outcome}: {sentence}" if sentence else outcome
            case JobLetGo(job, runs_only) if job == self._job:
                told, self._let_go = self._let_go, "map output" if runs_only else "result"
                return f"its {self._let_go} was let go" if self._let_go != told else ""
            case JobGone(job) if job == self._job:
                return "forgotten"
            case _:
                return ""


def _done(store: str, finished: Finished, attempt: int) -> str:
    part = finished.part
    nbytes = sum(finished.output.sizes) if finished.output else part.nbytes if part else 0
    what = "records" if finished.output or not finished.task.startswith("reduce") else "groups"
    sentence = (
        f"{finished.task} done by {store} (attempt {attempt}) in "
        f"{seconds_text(finished.seconds)}: {finished.records:,} {what}, {bytes_text(nbytes)} out"
    )
    if finished.bad:
        sentence += f", {plural(len(finished.bad), 'bad record')} skipped"
    return sentence
