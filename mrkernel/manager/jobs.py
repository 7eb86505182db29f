"""Jobs: accepted or refused, ended, attached to, released and forgotten. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from msgspec.structs import replace

from mrkernel.data.splits import MemorySplit
from mrkernel.ids import JobId
from mrkernel.job.plan import plan_tasks
from mrkernel.job.spec import JobSpec
from mrkernel.manager.attempts import Attempts, Ending
from mrkernel.manager.books import Books
from mrkernel.manager.events import PeerId
from mrkernel.manager.instructions import DropBlob, Send
from mrkernel.manager.policy import carried_bytes
from mrkernel.manager.records import Job, Task, Worker
from mrkernel.manager.transitions import (
    JOB_TRANSITIONS,
    JobState,
    JobTrigger,
    TaskState,
    advance,
)
from mrkernel.monitor import events as public
from mrkernel.protocol.messages import (
    Accepted,
    Ended,
    Forget,
    JobPrinted,
    PartPlace,
    Printed,
    Submit,
)

#: Ended jobs whose result nobody waits for are forgotten, oldest first, beyond this many.
ENDED_JOBS_KEPT = 100
#: Tasks of one job, and shares (map tasks x reduce tasks) of its map output, that the books hold.
#: More is a slip, such as a split size in MB given in bytes, and would end the manager for all.
MOST_TASKS = 200_000
MOST_SHARES = 50_000_000
#: Characters of a job's output kept for those who attach later and for ``mrkernel logs``.
PRINTED_KEPT = 1 << 20


class Jobs:
    """The pages about jobs.

    Args:
        python: minor version whose closures this cluster runs, "3.11".
    """

    def __init__(self, books: Books, attempts: Attempts, python: str) -> None:
        self._books = books
        self._attempts = attempts
        self._python = python
        self._seen = 0
        self._offered: dict[PeerId, Counter[str]] = {}  #: blobs sent for jobs still to come

    def blob_stored(self, peer: PeerId, digest: str) -> None:
        """A client sent a blob for a job that it will submit."""
        self._books.blobs.add(digest)
        self._offered.setdefault(peer, Counter())[digest] += 1

    def client_lost(self, peer: PeerId) -> None:
        """Nobody listens there any more; its jobs go on."""
        for job in self._books.jobs.values():
            job.watchers.pop(peer, None)
        self._drop(self._offered.pop(peer, ()))

    def cancel(self, job_id: JobId, reason: str, now: float) -> None:
        """Stop a job everywhere; one that has ended stays as it is."""
        job = self._books.jobs.get(job_id)
        if job is not None and job.state is JobState.RUNNING:
            self.end(Ending(job, JobTrigger.CANCELLED, reason), now)

    def submit(self, peer: PeerId, message: Submit, now: float) -> None:
        """Accept a job, or say why not."""
        spec, splits = message.spec, message.splits
        digests = {s.blob for s in splits if isinstance(s, MemorySplit) and s.blob}
        digests.add(spec.functions)
        refusal = "" if spec.in_process else self._refusal(spec, digests, len(splits))
        offered = self._offered.get(peer)
        if offered is not None:
            # What was sent for a job to come is that job's now, or nobody's.
            offered.subtract(digests)
            self._offered[peer] = +offered
        if refusal:
            self._books.refuse(peer, message.ticket, refusal)
            self._drop(digests)
            return
        self._seen += 1
        job_id = JobId(f"j{self._seen}")
        planned_maps, planned_reduces = plan_tasks(spec, splits)
        maps = [Task.planned(plan, TaskState.READY) for plan in planned_maps]
        reduces = [Task.planned(plan, TaskState.WAITING) for plan in planned_reduces]
        carry = carried_bytes(len(maps), len(reduces))
        job = Job(job_id, spec, maps, reduces, frozenset(digests), now, carry)
        job.tasks = {task.id: task for task in (*maps, *reduces)}
        job.ready_maps.extend(maps)
        job.maps_left, job.reduces_left = len(maps), len(reduces)
        job.watchers[peer] = None
        self._books.jobs[job_id] = self._books.running[job_id] = job
        self._books.say(Send(peer, Accepted(message.ticket, job_id)))
        self._books.publish(
            public.JobAccepted(
                at=now,
                job=job_id,
                name=spec.name,
                maps=len(maps),
                reduces=len(reduces),
                input_bytes=sum(task.input_bytes for task in maps),
                functions=spec.functions_label,
            )
        )
        ending = None if maps else self._attempts.maps_done(job, now)
        if ending is not None:
            self.end(ending, now)

    def _refusal(self, spec: JobSpec, digests: set[str], maps: int) -> str:
        """Say why a job cannot run here; "" when it can."""
        if spec.python != self._python:
            return (
                f"this cluster runs Python {self._python} and your program Python {spec.python}: "
                "functions travel only between equal versions; start workers with yours"
            )
        if not digests <= self._books.blobs:
            return "the job's functions or input did not arrive whole: submit it again"
        reduces = spec.reduce_tasks
        if maps + reduces > MOST_TASKS or maps * reduces > MOST_SHARES:
            return (
                f"the job has {maps:,} map and {reduces:,} reduce tasks, more than a manager can "
                "keep books of: give fewer --reduce-tasks or a larger --split-size"
            )
        return ""

    def attach(self, peer: PeerId, ticket: int, job_id: JobId) -> None:
        """Tell a client what a job printed, and how it ends."""
        job = self._books.jobs.get(job_id)
        if job is None:
            self._books.refuse(peer, ticket, self.no_such_job(job_id))
            return
        lost = [task for task in job.result_tasks if job.delivered and self._books.is_lost(task)]
        if lost:
            self._books.refuse(
                peer,
                ticket,
                f"the result of {job_id} was delivered, and what this cluster kept of it died with "
                f"{lost[0].holder}: run the job again",
            )
            return
        self._books.say(Send(peer, Accepted(ticket, job_id)))
        for line in job.printed:
            self._books.say(Send(peer, line))
        if job.state is JobState.RUNNING:
            job.watchers[peer] = None
        else:
            self._books.say(Send(peer, self._ended(job)))

    def release(self, peer: PeerId, job_id: JobId, runs_only: bool, now: float) -> None:
        """A client needs a job's map output, or all of it, no more."""
        job = self._books.jobs.get(job_id)
        if job is None:
            return
        if job.state is JobState.RUNNING:
            if runs_only and job.ended_at is None:
                return
            job.watchers.pop(peer, None)
            if job.watchers:
                return
            # What runs is for nobody: the result was not wanted, or it was lost here right after
            # its client had it.
            self.end(Ending(job, JobTrigger.CANCELLED, "its result was released"), now)
        if runs_only:
            self._let_go(job, runs_only=job.state is JobState.DONE)
            self._forget_oldest(now)
        else:
            self._forget(job, now)

    def _let_go(self, job: Job, *, runs_only: bool) -> None:
        """No task of the job runs again: workers may delete what for, and all of it if so said."""
        job.delivered = True
        for task in job.maps:
            if task.output is not None and task.output.data is not None:
                task.output = replace(task.output, data=None)
        blobs, job.blobs = job.blobs, frozenset()
        gone = self._drop(blobs)
        for worker in self._books.workers.values():
            held = tuple(digest for digest in gone if digest in worker.blobs)
            worker.blobs.difference_update(held)
            if held or job.id in worker.jobs:
                self._books.say(Send(worker.peer, Forget(job.id, held, runs_only)))
            if not runs_only:
                worker.jobs.discard(job.id)

    def _drop(self, digests: Iterable[str]) -> list[str]:
        """Drop those blobs that no job needs, present or announced; return them."""
        needed = {digest for job in self._books.jobs.values() for digest in job.blobs}
        for offered in self._offered.values():
            needed.update(offered)
        gone = sorted(self._books.blobs.intersection(digests) - needed)
        self._books.blobs.difference_update(gone)
        for digest in gone:
            self._books.say(DropBlob(digest))
        return gone

    def _forget_oldest(self, now: float) -> None:
        delivered = [job for job in self._books.jobs.values() if job.delivered]
        for job in delivered[: max(0, len(delivered) - ENDED_JOBS_KEPT)]:
            self._forget(job, now)

    def _forget(self, job: Job, now: float) -> None:
        self._let_go(job, runs_only=False)
        del self._books.jobs[job.id]
        self._books.publish(public.JobForgotten(at=now, job=job.id))

    def printed(self, worker: Worker, message: Printed, now: float) -> None:
        """Pass on, and keep, what a task printed."""
        job = self._books.jobs.get(message.job)
        if job is None:
            return
        line = JobPrinted(job.id, message.task, worker.id, message.text, message.dropped)
        if job.printed_characters < PRINTED_KEPT:
            job.printed.append(line)
            job.printed_characters += len(line.text)
        for peer in job.watchers:
            self._books.say(Send(peer, line))
        self._books.publish(
            public.Printed(
                at=now,
                job=job.id,
                task=message.task,
                worker=worker.id,
                text=message.text,
                dropped=message.dropped,
            )
        )

    def end(self, ending: Ending, now: float) -> None:
        """Close a job: stop what runs for it, tell who waits, keep its result if it has one."""
        job, sentence = ending.job, ending.sentence
        advance(job, JOB_TRANSITIONS, ending.trigger, now, sentence)
        del self._books.running[job.id]
        job.ended_at, job.sentence, job.failure = now, sentence, ending.failure
        job.fresh.clear()
        for task in job.tasks.values():
            for attempt in list(task.running):
                self._attempts.cancel_attempt(job, task, attempt, now)
            if task.state is TaskState.RUNNING:
                # It may be wanted again: the result of a job that is done can still be lost.
                self._attempts.requeue(job, task, now, "the job ended")
        ended = self._ended(job)
        self._books.publish(
            public.JobEnded(at=now, job=job.id, outcome=ended.outcome, sentence=sentence)
        )
        for peer in job.watchers:
            self._books.say(Send(peer, ended))
        if job.state is not JobState.DONE:
            self._let_go(job, runs_only=False)
            self._forget_oldest(now)

    def _ended(self, job: Job) -> Ended:
        parts: list[PartPlace] = []
        counters: dict[str, int] = {}
        if job.state is JobState.DONE:
            for task in job.tasks.values():
                for name, n in task.counters.items():
                    counters[name] = counters.get(name, 0) + n
            for task in job.result_tasks:
                place = self._place(task)
                if place is not None:
                    parts.append(place)
        assert job.ended_at is not None
        outcomes = {
            JobState.DONE: "done",
            JobState.FAILED: "failed",
            JobState.CANCELLED: "cancelled",
        }
        return Ended(
            job=job.id,
            name=job.spec.name,
            outcome=outcomes[job.state],  # type: ignore[arg-type]
            sentence=job.sentence,
            seconds=job.ended_at - job.started_at,
            failure=job.failure,
            parts=tuple(parts),
            counters=counters,
            map_only=job.map_only,
        )

    def _place(self, task: Task) -> PartPlace | None:
        """Where the part of a DONE task is, an empty one too; None when it was lost."""
        part = task.part
        assert task.holder is not None
        holder = self._books.workers.get(task.holder)
        if part is None or (holder is None and part.pairs and part.data is None):
            return None
        return PartPlace(
            index=task.index,
            name=part.name,
            nbytes=part.nbytes,
            pairs=part.pairs,
            data=part.data,
            worker=task.holder,
            host_id=holder.info.host_id if holder else "",
            directory=holder.info.directory if holder else "",
            data_host=holder.info.data_host if holder else "",
            data_port=holder.info.data_port if holder else 0,
        )

    def no_such_job(self, job_id: JobId) -> str:
        """Say that there is none of that name, and which there are."""
        known = ", ".join(self._books.jobs) or "none"
        return f"there is no job {job_id!r} here; jobs I know: {known}"
