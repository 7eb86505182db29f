"""Attempts: handed out, finished, offered, lost, cancelled; what that makes of their tasks. Pure.

An answer counts only when its attempt still runs on the worker that gives it: whatever was decided
meanwhile stays decided (fencing). The first attempt to finish wins and the others are cancelled, so
a task has one committed attempt, and its counters are that one's. Methods that may end a job say so
by returning an ``Ending``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from mrkernel.data.splits import MemorySplit
from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.job.bad_records import BadRecord
from mrkernel.job.failure import Failure
from mrkernel.manager import paces
from mrkernel.manager.books import Books
from mrkernel.manager.facts import TaskDone
from mrkernel.manager.instructions import Close, Send, SendBlob
from mrkernel.manager.outputs import Outputs
from mrkernel.manager.policy import smooth
from mrkernel.manager.records import Job, Running, Task, Worker
from mrkernel.manager.transitions import (
    TASK_TRANSITIONS,
    JobState,
    JobTrigger,
    TaskState,
    TaskTrigger,
    advance,
)
from mrkernel.monitor import events as public
from mrkernel.protocol.worker_messages import CancelAttempt, Finished, JobInfo, Start

#: An attempt that has read less of its input than this does not tell how long the rest will take.
TELLING_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Ending:
    """A job is over."""

    job: Job
    trigger: JobTrigger
    sentence: str = ""
    failure: Failure | None = None


class Attempts:
    """The pages about attempts."""

    def __init__(self, books: Books, outputs: Outputs) -> None:
        self._books = books
        self._outputs = outputs

    # --- handed out -------------------------------------------------------------------------------

    def start(
        self, job: Job, task: Task, worker: Worker, now: float, *, backup: bool = False
    ) -> None:
        """Hand a task to a worker, with all it needs and has not got yet."""
        task.attempts += 1
        advance(task, TASK_TRANSITIONS, TaskTrigger.STARTED, now, worker.id)
        # What waits in a worker behind other attempts has not begun: its first progress says when.
        begun = now if len(worker.assigned) < worker.info.slots else 0.0
        task.running[task.attempts] = Running(worker.id, now, begun, moved=now, backup=backup)
        worker.assigned[job.id, task.id] = task.attempts
        self._books.loads.changed(worker)
        job.running += 1
        job.moved_at = now
        self.introduce(job, worker)
        if isinstance(task.split, MemorySplit) and task.split.blob:
            self._send_blob(worker, task.split.blob)
        if task.is_map:
            start = Start(
                *(job.id, task.id, task.attempts, task.index, task.split),
                carry=job.carry,
                careful=task.careful,
                skip=tuple(sorted(task.skip)) if task.skip else (),
                part=self._outputs.part(task.split),
            )
        else:
            start = Start(
                *(job.id, task.id, task.attempts, task.index),
                sources=self._outputs.sources(job, task.index),
                carried=self._outputs.carried(job, task.index),
                careful=task.careful,
            )
        self._books.say(Send(worker.peer, start))
        self._books.publish(
            public.AttemptStarted(
                at=now,
                job=job.id,
                task=task.id,
                attempt=task.seen(task.attempts),
                worker=worker.id,
                input=task.label,
                backup=backup,
            )
        )

    def introduce(self, job: Job, worker: Worker) -> None:
        """Tell a worker of a job, with its functions, once."""
        if job.id not in worker.jobs:
            worker.jobs.add(job.id)
            self._send_blob(worker, job.spec.functions)
            self._books.say(Send(worker.peer, JobInfo(job.id, job.spec)))

    def _send_blob(self, worker: Worker, digest: str) -> None:
        if digest not in worker.blobs:
            worker.blobs.add(digest)
            self._books.say(SendBlob(worker.peer, digest))

    # --- finished ---------------------------------------------------------------------------------

    def take(
        self, worker: Worker, job_id: JobId, task_id: TaskId, attempt: int, now: float
    ) -> tuple[Job, Task, Running] | None:
        """End an attempt; None when it is not running on that worker any more."""
        if worker.assigned.get((job_id, task_id)) != attempt:
            return None
        job = self._books.jobs[job_id]
        task = job.tasks[task_id]
        del worker.assigned[job_id, task_id]
        self._books.loads.changed(worker)
        self._next_begins(worker, now)
        job.running -= 1
        return job, task, task.running.pop(attempt)

    def _next_begins(self, worker: Worker, now: float) -> None:
        """A slot is free: the first attempt that waits in the worker begins."""
        for (job_id, task_id), attempt in worker.assigned.items():
            running = self._books.jobs[job_id].tasks[task_id].running[attempt]
            if not running.begun:
                running.begun = running.moved = now
                return

    def finished(self, worker: Worker, message: Finished, now: float) -> Ending | None:
        """An attempt ended well: its task is DONE, unless the answer comes too late."""
        known = self._books.jobs.get(message.job)
        if known is not None and not _fits(known, message):
            self._books.say(Close(worker.peer))
            return None
        taken = self.take(worker, message.job, message.task, message.attempt, now)
        if taken is None:
            return None
        job, task, running = taken
        seconds = message.seconds or now - running.at
        paces.ended(job, task, worker, seconds, now)
        saved_s = self._overtaken(task, now) if running.backup else 0.0
        return self._commit(job, task, message, worker, now, saved_s)

    def offered(self, worker: Worker, message: Finished, now: float) -> Ending | None:
        """An attempt ended well while no manager heard it: it counts if its task is not DONE."""
        job = self._books.jobs.get(message.job)
        if job is None or job.state is not JobState.RUNNING:
            return None
        if not _fits(job, message):
            self._books.say(Close(worker.peer))
            return None
        task = job.tasks[message.task]
        if task.state is TaskState.DONE or message.attempt in task.unreadable:
            return None
        task.attempts = max(task.attempts, message.attempt)
        if task.state is TaskState.READY:
            (job.ready_maps if task.is_map else job.ready_reduces).remove(task)
        return self._commit(job, task, message, worker, now, 0.0)

    def _commit(
        self, job: Job, task: Task, message: Finished, worker: Worker, now: float, saved_s: float
    ) -> Ending | None:
        store = worker.store.id
        output = message.output
        if job.spec.resident and task.split is not None:
            self._books.note_reader(task.split, worker.id)
        if output is not None and task.used_digest and output.digest not in (0, task.used_digest):
            if task.state is TaskState.RUNNING:
                self.requeue(job, task, now, "another output")
            else:
                self.queue(job, task, now)
            return _not_deterministic(job, task)
        if message.bad:
            message = replace(message, bad=tuple(_explained(task, message.bad)))
        self._books.record(TaskDone(store, message, now))
        self.commit(job, task, message, store, now)
        self._books.publish(done_event(job, message, worker.id, now, saved_s))
        for attempt, running in list(task.running.items()):
            paces.overtaken(job, task, running, self._books.workers[running.worker], now)
            self.cancel_attempt(job, task, attempt, now)
        if job.skipped > job.spec.skip:
            return _too_many_bad(job)
        if task.is_map:
            if job.reduces and len(self._books.hosts) > 1:
                job.fresh.append(task)
            return None if job.maps_left else self.maps_done(job, now)
        # Maps that run again for nobody are cancelled.
        return None if job.reduces_left else Ending(job, JobTrigger.ALL_DONE)

    def commit(self, job: Job, task: Task, message: Finished, store: WorkerId, now: float) -> None:
        """Put down that an attempt finished its task; also of one that the journal knows."""
        advance(task, TASK_TRANSITIONS, TaskTrigger.FINISHED, now, store)
        task.attempts = max(task.attempts, message.attempt)
        task.winner, task.holder, task.origin = message.attempt, store, JobId("")
        job.skipped += len(message.bad) - len(task.bad)
        task.finished, task.finished_at, task.used_digest = message, now, 0
        task.output, task.part = message.output, message.part
        if task.run_in_file:
            job.holders[store] += 1
        if task.part_in_file:
            job.part_holders[store] += 1
        job.moved_at = now
        if task.is_map:
            job.shelves = None
            job.mean_map_s = smooth(job.mean_map_s, message.seconds)
            job.maps_left -= 1
        else:
            job.mean_reduce_s = smooth(job.mean_reduce_s, message.seconds)
            job.reduces_left -= 1

    def maps_done(self, job: Job, now: float) -> Ending | None:
        """All maps are DONE: the reduces that waited for them are ready."""
        for task in job.reduces:
            if task.state is TaskState.WAITING:
                advance(task, TASK_TRANSITIONS, TaskTrigger.INPUTS_READY, now)
                job.ready_reduces.append(task)
        if not job.reduces_left and job.state is JobState.RUNNING:
            return Ending(job, JobTrigger.ALL_DONE)
        return None

    def _overtaken(self, task: Task, now: float) -> float:
        """Say how long the attempt that a backup overtook would have run on, at its pace.

        0 when it has not got far enough to have one: a worker that stood still after its first few
        records would seem to need days.
        """
        for running in task.running.values():
            if running.begun and running.bytes > TELLING_SHARE * task.input_bytes:
                took = running.moved - running.begun
                return max(0.0, running.begun + took * task.input_bytes / running.bytes - now)
        return 0.0

    # --- lost, cancelled --------------------------------------------------------------------------

    def lose_worker(self, job: Job, worker: Worker, now: float) -> None:
        """Take from a job what a dead worker was at."""
        for job_id, task_id in list(worker.assigned):
            if job_id != job.id:
                continue
            task = job.tasks[task_id]
            attempt = worker.assigned[job_id, task_id]
            del task.running[attempt]
            task.losses += 1
            job.running -= 1
            why = f"worker {worker.id} died"
            self.requeue(job, task, now, why)
            self.tell_lost(job, task, attempt, worker.id, why, now)

    def cancel_attempt(self, job: Job, task: Task, attempt: int, now: float) -> None:
        """Stop an attempt whose answer is not wanted any more."""
        running = task.running.pop(attempt)
        worker = self._books.workers[running.worker]
        del worker.assigned[job.id, task.id]
        self._books.loads.changed(worker)
        self._next_begins(worker, now)
        job.running -= 1
        self._books.say(Send(worker.peer, CancelAttempt(job.id, task.id, attempt)))
        self.tell_lost(job, task, attempt, worker.id, "cancelled", now)

    def tell_lost(
        self, job: Job, task: Task, attempt: int, worker: WorkerId, cause: str, now: float
    ) -> None:
        """Tell the views of an attempt that was taken away."""
        self._books.publish(
            public.AttemptLost(
                at=now,
                job=job.id,
                task=task.id,
                attempt=task.seen(attempt),
                worker=worker,
                cause=cause,
            )
        )

    def requeue(self, job: Job, task: Task, now: float, why: str) -> None:
        """Put a task whose attempt is over back into its line."""
        if task.running:
            return  # another attempt of it still runs
        advance(task, TASK_TRANSITIONS, TaskTrigger.REQUEUED, now, why)
        self.queue(job, task, now)

    def queue(self, job: Job, task: Task, now: float) -> None:
        """Put a READY task at the head of its line: others may be waiting for it."""
        self._outputs.queue(job, task, now)


def done_event(
    job: Job, message: Finished, worker: WorkerId, now: float, saved_s: float = 0.0
) -> public.AttemptFinished:
    """Make the public event of a task that is done."""
    part = message.part
    return public.AttemptFinished(
        at=now,
        job=job.id,
        task=message.task,
        attempt=job.tasks[message.task].seen(message.attempt),
        worker=worker,
        records=message.records,
        pairs=message.pairs,
        bytes_in=message.bytes_in,
        bytes_out=sum(message.output.sizes) if message.output else part.nbytes if part else 0,
        seconds=message.seconds,
        bad=len(message.bad),
        peak_memory=message.peak_memory,
        saved_s=saved_s,
        sizes=message.output.sizes if message.output else (),
        top=message.output.top if message.output else (),
    )


def _explained(task: Task, bad: Iterable[BadRecord]) -> Iterator[BadRecord]:
    """Say what became of records that were passed over: who did so does not know."""
    for record in bad:
        error = record.error or task.skip.get(record.index, "ended the process of the mapper")
        if error:
            yield record if record.error else replace(record, error=error)


def _fits(job: Job, message: Finished) -> bool:
    """Whether an answer is one that the task it names can give."""
    task = job.tasks.get(message.task)
    if task is None or not task.is_map or job.map_only:
        return message.part is not None
    output = message.output
    return (
        output is not None
        and len(output.sizes) == len(job.reduces)
        and len(output.data or b"") <= job.carry
    )


def _not_deterministic(job: Job, task: Task) -> Ending:
    again = (
        f"{task.id} had to run again because its output was lost, and gave other pairs than reduce "
        "tasks had used already, so the result would be wrong"
    )
    if task.index < job.inherited:
        sentence = (
            f"the mended mapper gives other pairs for records that were good in {job.extends}: "
            f"{again}; run the mended mapper over all of the input, in a new job"
        )
    else:
        sentence = (
            f"the mapper is not deterministic: {again}; make the mapper depend on its record alone "
            "(no clock, no chance but `random`, no order of sets), and run the job again"
        )
    failure = Failure(kind="user", sentence=sentence, role="mapper")
    return Ending(job, JobTrigger.TASK_FAILED, sentence, failure)


def _too_many_bad(job: Job) -> Ending:
    bad = [record for task in job.maps for record in task.bad]
    first = bad[0]
    sentence = (
        f"{len(bad):,} bad records, and --on-error skip:{job.spec.skip} goes on without "
        f"{job.spec.skip:,}; the first is {first.where or first.file}: {first.error}"
    )
    failure = Failure(
        kind="user",
        sentence=sentence,
        role="mapper",
        record=first.record,
        where=first.where,
        index=first.index,
        evidence=first.pickled,
        hint="mend the mapper, or allow more with --on-error skip:N",
    )
    return Ending(job, JobTrigger.TASK_FAILED, sentence, failure)
