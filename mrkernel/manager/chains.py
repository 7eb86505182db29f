"""Chained jobs: a job reads the result parts of others where they lie. Pure.

As long as a job runs, those whose parts it reads are kept: what releases or forgets them waits. A
part that is lost meanwhile is made again by the tasks of its job, and readers wait for that; only
where the job is not kept well enough for it (its client has the result already) do readers fail.
"""

from __future__ import annotations

from collections.abc import Iterable

from mrkernel.data.splits import PartSplit, Split
from mrkernel.ids import JobId
from mrkernel.job.failure import Failure
from mrkernel.manager.attempts import Ending
from mrkernel.manager.books import Books
from mrkernel.manager.records import Job
from mrkernel.manager.transitions import JobState, JobTrigger, TaskState


class Chains:
    """The pages about jobs that read the results of others."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def refusal(self, splits: Iterable[Split]) -> str:
        """Say why a job cannot read what it is to read; "" when it can."""
        for split in splits:
            if isinstance(split, PartSplit):
                base = self._books.jobs.get(split.job)
                if base is not None and split.part >= len(base.result_tasks):
                    return f"{split.job} has no part {split.part}: run it again"
                why = self._why_not(split)
                if why:
                    return why
        return ""

    def is_read(self, job: JobId) -> bool:
        """Whether a job that runs reads the result of ``job``."""
        return any(job in other.reads for other in self._books.running.values())

    def broken(self, job: Job) -> Ending | None:
        """End a job that waits for a part which nobody can make again; None: it goes on."""
        for task in job.maps if job.reads else ():
            if task.state is TaskState.READY and isinstance(task.split, PartSplit):
                why = self._why_not(task.split)
                if why:
                    failure = Failure(kind="environment", sentence=why)
                    return Ending(job, JobTrigger.TASK_FAILED, why, failure)
        return None

    def broken_jobs(self) -> list[Ending]:
        """End all such jobs."""
        found = map(self.broken, self._books.running.values())
        return [ending for ending in found if ending is not None]

    def _why_not(self, split: PartSplit) -> str:
        base = self._books.jobs.get(split.job)
        again = f"run {split.job} again, and this job on its new result"
        if base is None:
            return (
                f"the result of {split.job} ({split.name}), which this job reads, is not in the "
                f"cluster any more, it was released: {again}"
            )
        if base.state is not JobState.DONE and (
            base.state is not JobState.RUNNING or base.ended_at is None
        ):
            said = f": {base.sentence}" if base.sentence else ""
            return (
                f"part {split.part} of {split.job} ({split.name}), which this job reads, was lost "
                f"and could not be made again{said}; {again}"
            )
        if base.delivered and self._books.is_lost(base.result_tasks[split.part]):
            return (
                f"part {split.part} of {split.job} ({split.name}), which this job reads, died with "
                f"its host, and that job's map output is not kept any more: {again}"
            )
        return ""
