"""The disk budget for results that nobody fetches. Pure.

Results lie with the workers until somebody releases them. Those that no connected client holds are
deleted, oldest first, when all results together take more than the budget; and before that happens
it is said which would be next.
"""

from __future__ import annotations

from mrkernel.ids import JobId
from mrkernel.manager.books import Books
from mrkernel.manager.records import Job
from mrkernel.monitor.quantities import bytes_text

#: Bytes of all results together, when nobody says.
BUDGET = 10 << 30
#: Jobs of which it is remembered why they are not known any more.
REMEMBERED = 1_000
#: From this part of it on people are told.
NEARLY = 0.8


class Budget:
    """What is kept, and what goes.

    Args:
        limit: bytes of all results together.
    """

    def __init__(self, books: Books, limit: int = BUDGET) -> None:
        self._books = books
        self._limit = limit
        self._gone: dict[JobId, str] = {}

    def too_many(self, now_ended: Job | None, read: frozenset[JobId]) -> list[Job]:
        """Give the jobs whose results have to go, oldest first.

        Args:
            now_ended: the job that ended just now, which has its turn before it can go.
            read: jobs whose results running jobs read.
        """
        over = self._taken() - self._limit
        doomed = []
        for job in self._idle(read):
            if over <= 0:
                break
            if job is not now_ended:
                doomed.append(job)
                over -= job.result_bytes
        return doomed

    def warning(self, read: frozenset[JobId]) -> str:
        """Say what would go next when there is little left of the budget; "" while there is."""
        taken = self._taken()
        if taken < NEARLY * self._limit:
            return ""
        said = f"results take {bytes_text(taken)} of the {bytes_text(self._limit)} that they may"
        idle = [job.id for job in self._idle(read)]
        if not idle:
            return f"{said}, and all are in use: result.release() of what you have seen makes room"
        return (
            f"{said}; when it is more, those that nobody holds are deleted, {idle[0]} first: "
            f"`mrkernel fetch {idle[0]} PATH` saves it, `mrkernel forget` makes room"
        )

    def dropped(self, job: Job) -> str:
        """A result is deleted: remember, and say, why."""
        said = (
            f"the result of {job.id} ({bytes_text(job.result_bytes)}) was deleted with all that "
            "its tasks printed: nobody held it, and all results together took more than "
            f"{bytes_text(self._limit)} (`mrkernel manager --keep`); run it again"
        )
        self.forgotten(job.id, said)
        return said

    def forgotten(self, job: JobId, said: str) -> None:
        """Remember for who asks why a job is not known any more."""
        self._gone[job] = said
        while len(self._gone) > REMEMBERED:
            del self._gone[next(iter(self._gone))]

    def why_gone(self, job: JobId) -> str:
        """Say what became of a job that is not known any more; "": nothing that we did."""
        return self._gone.get(job, "")

    def _taken(self) -> int:
        return sum(job.result_bytes for job in self._books.jobs.values())

    def _idle(self, read: frozenset[JobId]) -> list[Job]:
        """Those with results that nobody has in hand, oldest first."""
        return [
            job
            for job in self._books.jobs.values()
            if job.result_bytes and not job.readers and job.id not in read
        ]
