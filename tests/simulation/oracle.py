"""What must be true of a cluster's work, whatever happened to it: I1 to I6 of the fault matrix.

I1: a job that is done gave what its maps make, each read once; another failed, loudly, and rightly.
I2: a task has one committed attempt. I3: what was acknowledged survives the manager. I4: every job
ends. I5: blame is right: a job fails by its user's code, or by what really came to pass too often.
I6: nothing is left over.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mrkernel.ids import JobId
from mrkernel.manager.facts import AnyFact, JobTaken, TaskDone, TasksUndone
from mrkernel.manager.records import number_in_start
from mrkernel.monitor import events as public
from mrkernel.protocol.client_messages import Ended
from mrkernel.protocol.worker_messages import CancelAttempt, PartPlace, Start

from .jobs import Made, Script

if TYPE_CHECKING:
    from .worker import SimulatedWorker


class Violation(AssertionError):
    """Something that must never be was."""


class Oracle:
    """Watches one world.

    Attributes:
        outcomes: how the jobs ended: name of the script → outcome.
        backups: attempts that ran beside another one of their task.
        deaths: of worker servers, as the manager sees it.
        reruns: tasks that ran again after they were done, because their output was lost.
    """

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}
        self.sentences: Counter[str] = Counter()
        self.reruns = 0
        self.deaths = 0
        self.backups = 0
        self.crashes: Counter[tuple[str, str]] = Counter()  #: crashes and kills, by script and task
        self.faults: Counter[str] = Counter()  #: of the environment, by script
        self._names: dict[JobId, str] = {}  #: of the scripts of jobs in the journal
        self._ids: dict[str, JobId] = {}  #: what each script was accepted as
        self._done: dict[tuple[JobId, str], int] = {}  #: as the feed has it: the winner
        self._journal: dict[tuple[JobId, str], int] = {}  #: as the journal has it
        self._may_run: set[tuple[JobId, str]] = set()
        self._released: set[str] = set()
        self._attempts: dict[JobId, Counter[str]] = defaultdict(Counter)

    # --- what workers see -------------------------------------------------------------------------

    def began(self, script: Script, start: Start, worker: SimulatedWorker) -> None:
        """An attempt began in a runner."""
        if start.split is not None and script.maps <= start.index:
            raise Violation(f"{script.name} has no map {start.index}")

    def read(self, script: Script, index: int, made: Made) -> None:
        """A reduce attempt read a run, which is said to be that of a map."""
        if (made.job, made.task) != (script.name, f"map-{index}"):
            raise Violation(f"a reduce of {script.name} read {made} for map {index} (I1)")

    def crashed(self, script: Script, start: Start) -> None:
        """A runner died in the middle of an attempt."""
        self.crashes[script.name, str(start.task)] += 1

    def faulted(self, script: Script) -> None:
        """The disk of a worker failed an attempt."""
        self.faults[script.name] += 1

    def damaged(self, job: str) -> None:
        """A file of a job was damaged, or removed, on its disk."""
        self.faults[self._names.get(JobId(job), "")] += 1

    def cancelled(self, message: CancelAttempt) -> None:
        """A worker was told to stop an attempt."""

    # --- what the journal and the feed say --------------------------------------------------------

    def journaled(self, facts: Sequence[AnyFact]) -> None:
        """Facts are in the journal for good."""
        for fact in facts:
            match fact:
                case JobTaken():
                    self._names[fact.job] = fact.spec.name
                case TaskDone():
                    key = (fact.finished.job, str(fact.finished.task))
                    if key in self._journal:
                        raise Violation(f"{key} is committed twice in the journal (I2)")
                    self._journal[key] = fact.finished.attempt
                case TasksUndone():
                    for task in fact.tasks:
                        del self._journal[fact.job, str(task)]

    def manager_began(self) -> None:
        """Another manager tells what it knows, from the beginning."""
        self._done.clear()

    def manager_died(self) -> None:
        """What it has not told anybody is as if it had never been."""

    def replayed(self) -> None:
        """It has told all that was in the journal."""
        gone = {
            key: attempt
            for key, attempt in self._journal.items()
            if self._done.get(key) != number_in_start(attempt)  # as people see it
            and self._names[key[0]] not in self._released
            and self._names[key[0]] not in self.outcomes
        }
        if gone:
            raise Violation(f"the journal has what its manager forgot: {gone} (I3)")

    def published(self, event: public.AnyEvent) -> None:
        """The manager told the views."""
        match event:
            case public.AttemptStarted(job=job, task=task, attempt=attempt):
                self.backups += event.backup
                if (job, str(task)) in self._done:
                    raise Violation(
                        f"{job} {task} runs again, attempt {attempt}, and was done (I2)"
                    )
                self._attempts[job][str(task)] = max(self._attempts[job][str(task)], attempt)
            case public.AttemptFinished(job=job, task=task, attempt=attempt):
                key = (job, str(task))
                if key in self._done:
                    raise Violation(f"{key} was won twice: {self._done[key]}, {attempt} (I2)")
                self._done[key] = attempt
            case public.OutputLost(job=job, tasks=tasks):
                for task in tasks:
                    if self._done.pop((job, str(task)), None) is None:
                        raise Violation(f"{job} lost {task}, which it had not (I2)")
                    self.reruns += 1
            case public.WorkerLost():
                self.deaths += 1
            case public.JobForgotten(job=job):
                for key in [key for key in self._done if key[0] == job]:
                    del self._done[key]
                for key in [key for key in self._journal if key[0] == job]:
                    del self._journal[key]

    def closed(self, name: str) -> None:
        """The manager hung up on somebody, who is honest."""

    # --- what clients see -------------------------------------------------------------------------

    def accepted(self, script: Script, job: JobId, known_as: JobId) -> None:
        """A client was told that its job is in."""
        before = self._ids.setdefault(script.name, job)
        if before != job:
            raise Violation(f"{script.name} was accepted as {before} and as {job} (I3)")
        if self._names.get(job) != script.name:
            raise Violation(f"{job} was accepted before it was in the journal (I3)")

    def refused(self, script: Script, ended: Ended | None, sentence: str) -> None:
        """A client was told no."""
        raise Violation(f"{script.name} was refused: {sentence} (I3)")

    def ended(self, script: Script, ended: Ended, *, asked_to_cancel: bool) -> None:
        """A client was told how its job ended."""
        before = self.outcomes.get(script.name)
        if before is not None and before != ended.outcome:
            raise Violation(f"{script.name} was {before} and is {ended.outcome} (I3)")
        self.outcomes[script.name] = ended.outcome
        match ended.outcome:
            case "cancelled":
                if not asked_to_cancel:
                    raise Violation(f"{script.name} was cancelled by nobody: {ended.sentence} (I5)")
            case "failed":
                self._judge_failure(script, ended)
            case "done":
                self._judge_counters(script, ended)

    def _judge_failure(self, script: Script, ended: Ended) -> None:
        why = f"{script.name} failed: {ended.sentence}"
        self.sentences[ended.sentence] += 1
        if ended.failure is None or not ended.sentence:
            raise Violation(f"{why}; without a word of why (I5)")
        if script.raising is not None and script.raising in ended.sentence:
            return
        often = {task: n for (name, task), n in self.crashes.items() if name == script.name}
        blamed = [task for task, n in often.items() if n >= min(3, script.attempts)]
        if any(task in ended.sentence for task in blamed):
            return
        if script.poison and any(f"map-{i}" in ended.sentence for i in script.poison):
            return
        if script.wavering and "deterministic" in ended.sentence:
            return
        if self.faults[script.name] >= script.attempts:
            return
        if "workers died while they ran" in ended.sentence and self.deaths >= 10:
            return
        raise Violation(f"{why}; crashes: {often}, faults: {self.faults[script.name]} (I5)")

    def _judge_counters(self, script: Script, ended: Ended) -> None:
        if script.raising is not None:
            raise Violation(f"{script.name} is done, and its {script.raising} raised (I1)")
        if len(script.poison) > script.skip:
            raise Violation(f"{script.name} is done with more bad records than it may (I1)")
        tasks = [f"map-{i}" for i in range(script.maps)]
        tasks += [f"reduce-{i}" for i in range(script.reduces)]
        expected = dict.fromkeys(tasks, 1) | ({"tasks": len(tasks)} if tasks else {})
        if ended.counters != expected:
            raise Violation(f"{script.name} counted {ended.counters}, not {expected} (I1)")

    def delivered(self, script: Script, ended: Ended, made: Sequence[Made]) -> None:
        """A client has the whole result."""
        kind, number = ("reduce", script.reduces) if script.reduces else ("map", script.maps)
        expected = [f"{kind}-{i}" for i in range(number)]
        if [part.task for part in made] != expected:
            raise Violation(f"{script.name} gave {made}, not the parts {expected} (I1)")
        read: dict[int, int] = {}
        for partition, part in enumerate(made):
            if part.job != script.name:
                raise Violation(f"{script.name} gave a part of {part.job} (I1)")
            if script.reduces and [index for index, _ in part.of] != script.feeds(partition):
                raise Violation(
                    f"{part.task} of {script.name} read the maps {part.of}, not once each of "
                    f"{script.feeds(partition)} (I1)"
                )
            for index, attempt in part.of:
                if script.wavering and read.setdefault(index, attempt) != attempt:
                    raise Violation(
                        f"{script.name} is not deterministic, and mixed attempts {attempt} and "
                        f"{read[index]} of map {index} without a word (I1)"
                    )
        self._judge_bad(script, ended)

    def _judge_bad(self, script: Script, ended: Ended) -> None:
        found = sorted((bad.task, bad.index) for bad in ended.bad)
        expected = sorted((f"map-{i}", record) for i, record in script.poison.items())
        if found != expected:
            raise Violation(f"{script.name} names bad records {found}, not {expected} (I5)")

    def unreadable(self, script: Script, place: PartPlace, given_up: bool) -> None:
        """A client could not read a part of a result that is done."""
        if given_up:
            raise Violation(f"a part of {script.name} is nowhere: {place} (I3)")

    def released(self, script: Script) -> None:
        """Nobody wants anything of the job any more."""
        self._released.add(script.name)

    def summary(self) -> Any:
        """Return how the jobs ended, for the trace."""
        return sorted(self.outcomes.items())
