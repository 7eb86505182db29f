"""Attempts: handed out, answered, lost, cancelled; and what that makes of their tasks. Pure.

An answer counts only when its attempt still runs on the worker that gives it: whatever was decided
meanwhile stays decided (fencing). Methods that may end a job say so by returning an ``Ending``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mrkernel.data.splits import MemorySplit
from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.job.failure import Failure
from mrkernel.manager.books import Books
from mrkernel.manager.instructions import Close, Send, SendBlob
from mrkernel.manager.policy import smooth
from mrkernel.manager.records import Job, Task, Worker
from mrkernel.manager.transitions import (
    JOB_TRANSITIONS,
    TASK_TRANSITIONS,
    JobState,
    JobTrigger,
    TaskState,
    TaskTrigger,
    advance,
)
from mrkernel.monitor import events as public
from mrkernel.protocol.messages import (
    CancelAttempt,
    Failed,
    FetchFailed,
    Finished,
    JobInfo,
    RunSource,
    Start,
)

#: A map task whose output could not be read so often fails the job: what keeps a reduce task from
#: its input is not going away, and running the map task for ever would hide it.
REPEATS = 10


@dataclass(frozen=True, slots=True)
class Ending:
    """A job is over."""

    job: Job
    trigger: JobTrigger
    sentence: str = ""
    failure: Failure | None = None


class Attempts:
    """The pages about attempts and tasks."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def _take(
        self, worker: Worker, job_id: JobId, task_id: TaskId, attempt: int
    ) -> tuple[Job, Task] | None:
        """Free the worker of an attempt; None when that attempt is not running there any more."""
        if worker.assigned.get((job_id, task_id)) != attempt:
            return None
        job = self._books.jobs[job_id]
        del worker.assigned[job_id, task_id]
        self._books.loads.changed(worker)
        job.running -= 1
        return job, job.tasks[task_id]

    def finished(self, worker: Worker, message: Finished, now: float) -> Ending | None:
        """An attempt ended well: its task is DONE, unless the answer comes too late."""
        known = self._books.jobs.get(message.job)
        if known is not None and not _fits(known, message):
            self._books.say(Close(worker.peer))
            return None
        taken = self._take(worker, message.job, message.task, message.attempt)
        if taken is None:
            return None
        job, task = taken
        started = task.running.pop(message.attempt)[1]
        advance(task, TASK_TRANSITIONS, TaskTrigger.FINISHED, now, worker.id)
        task.winner, task.holder = message.attempt, worker.id
        task.output, task.part = message.output, message.part
        task.counters = message.counters
        task.seconds = message.seconds
        self._books.publish(
            public.AttemptFinished(
                at=now,
                job=job.id,
                task=task.id,
                attempt=message.attempt,
                worker=worker.id,
                records=message.records,
                pairs=message.pairs,
                bytes_in=message.bytes_in,
                bytes_out=sum(message.output.sizes) if message.output else _part_bytes(message),
                seconds=message.seconds or now - started,
            )
        )
        for attempt in list(task.running):
            self.cancel_attempt(job, task, attempt, now)
        if task.is_map:
            job.mean_map_s = smooth(job.mean_map_s, message.seconds)
            job.maps_left -= 1
            if job.reduces and len(self._books.hosts) > 1:
                job.fresh.append(task)
            if not job.maps_left:
                return self.maps_done(job, now)
        else:
            job.mean_reduce_s = smooth(job.mean_reduce_s, message.seconds)
            job.reduces_left -= 1
            if not job.reduces_left:  # maps that run again for nobody are cancelled
                return Ending(job, JobTrigger.ALL_DONE)
        return None

    def maps_done(self, job: Job, now: float) -> Ending | None:
        """All maps are DONE: the reduces that waited for them are ready."""
        for task in job.reduces:
            if task.state is TaskState.WAITING:
                advance(task, TASK_TRANSITIONS, TaskTrigger.INPUTS_READY, now)
                job.ready_reduces.append(task)
        if not job.reduces_left and job.state is JobState.RUNNING:
            return Ending(job, JobTrigger.ALL_DONE)
        return None

    def failed(self, worker: Worker, message: Failed, now: float) -> Ending | None:
        """An attempt failed: its task runs again, or the job is over; ``kind`` decides."""
        failure = message.failure
        taken = self._take(worker, message.job, message.task, message.attempt)
        if taken is None:
            return None
        job, task = taken
        del task.running[message.attempt]
        if failure.kind == "environment":
            task.faults += 1
        else:
            task.crashes += 1
        task.failed_on.add(worker.id)
        self._books.publish(
            public.AttemptFailed(
                at=now,
                job=job.id,
                task=task.id,
                attempt=message.attempt,
                worker=worker.id,
                sentence=failure.sentence,
            )
        )
        if failure.kind in ("user", "input"):
            return Ending(job, JobTrigger.TASK_FAILED, f"{task.id}: {failure.sentence}", failure)
        if task.crashes >= job.spec.attempts or (
            # A worker's bad disk is not the task's fault; but when all of them fail alike, there
            # is nobody left to hope for.
            task.faults >= job.spec.attempts and task.failed_on.issuperset(self._books.workers)
        ):
            times = task.crashes + task.faults
            often = f"{times} times, last on" if times > 1 else "on"
            sentence = f"{task.id} failed {often} {worker.id}: {failure.sentence}"
            return Ending(job, JobTrigger.TASK_FAILED, sentence, failure)
        self.requeue(job, task, now, failure.sentence)
        return None

    def fetch_failed(self, worker: Worker, message: FetchFailed, now: float) -> Ending | None:
        """A reduce attempt could not read a run: the map that wrote it runs again."""
        known = self._books.jobs.get(message.job)
        if known is not None and not 0 <= message.map_index < len(known.maps):
            self._books.say(Close(worker.peer))
            return None
        taken = self._take(worker, message.job, message.task, message.attempt)
        if taken is None:
            return None
        job, task = taken
        del task.running[message.attempt]
        self.requeue(job, task, now, message.reason)
        self._books.publish(
            public.AttemptLost(
                at=now,
                job=job.id,
                task=task.id,
                attempt=message.attempt,
                worker=worker.id,
                cause=message.reason,
            )
        )
        source = job.maps[message.map_index]
        if source.state is not TaskState.DONE or source.winner != message.map_attempt:
            return None  # known to be lost already: its worker's death was noticed first
        source.repeats += 1
        if source.repeats >= REPEATS:
            sentence = (
                f"the output of {source.id} could not be read {source.repeats} times, last by "
                f"{task.id} on {worker.id} from {message.worker}: {message.reason}"
            )
            failure = Failure(kind="environment", sentence=sentence)
            return Ending(job, JobTrigger.TASK_FAILED, sentence, failure)
        self._lose_outputs(job, [source], message.reason, now)
        self._books.publish(
            public.OutputLost(at=now, job=job.id, worker=message.worker, tasks=(source.id,))
        )
        return None

    def _lose_attempt(self, job: Job, task: Task, attempt: int, why: str, now: float) -> None:
        """An attempt died with its worker."""
        worker_id, _ = task.running.pop(attempt)
        job.running -= 1
        self.requeue(job, task, now, why)
        self._books.publish(
            public.AttemptLost(
                at=now, job=job.id, task=task.id, attempt=attempt, worker=worker_id, cause=why
            )
        )

    def cancel_attempt(self, job: Job, task: Task, attempt: int, now: float) -> None:
        """Stop an attempt whose answer is not wanted any more."""
        worker_id, _ = task.running.pop(attempt)
        worker = self._books.workers[worker_id]
        del worker.assigned[job.id, task.id]
        self._books.loads.changed(worker)
        job.running -= 1
        self._books.say(Send(worker.peer, CancelAttempt(job.id, task.id, attempt)))
        self._books.publish(
            public.AttemptLost(
                at=now,
                job=job.id,
                task=task.id,
                attempt=attempt,
                worker=worker_id,
                cause="cancelled",
            )
        )

    def requeue(self, job: Job, task: Task, now: float, why: str) -> None:
        """Put a task whose attempt is over back into its line."""
        if task.running:
            return  # another attempt of it still runs
        advance(task, TASK_TRANSITIONS, TaskTrigger.REQUEUED, now, why)
        self._queue(job, task, now)

    def _queue(self, job: Job, task: Task, now: float) -> None:
        """Put a READY task at the head of its line: others may be waiting for it."""
        if task.is_map:
            job.ready_maps.appendleft(task)
        elif job.maps_left:
            advance(task, TASK_TRANSITIONS, TaskTrigger.INPUTS_LOST, now)
        else:
            job.ready_reduces.appendleft(task)

    def _lose_outputs(self, job: Job, tasks: list[Task], why: str, now: float) -> None:
        """Finished work is gone; what waits for it waits again."""
        for task in tasks:
            advance(task, TASK_TRANSITIONS, TaskTrigger.OUTPUT_LOST, now, why)
            task.winner, task.holder, task.output, task.part = 0, None, None, None
            if task.is_map:
                job.maps_left += 1
            else:
                job.reduces_left += 1
        if tasks and job.state is JobState.DONE:
            advance(job, JOB_TRANSITIONS, JobTrigger.RESULT_LOST, now, why)
            self._books.running[job.id] = job
        for task in tasks:
            self._queue(job, task, now)
        if job.maps_left:
            for task in job.reduces:
                if task.state is TaskState.READY:
                    advance(task, TASK_TRANSITIONS, TaskTrigger.INPUTS_LOST, now, why)

    def start(self, job: Job, task: Task, worker: Worker, now: float) -> None:
        """Hand a READY task to a worker, with all it needs and has not got yet."""
        task.attempts += 1
        advance(task, TASK_TRANSITIONS, TaskTrigger.STARTED, now, worker.id)
        task.running[task.attempts] = (worker.id, now)
        worker.assigned[job.id, task.id] = task.attempts
        self._books.loads.changed(worker)
        job.running += 1
        self.introduce(job, worker)
        if isinstance(task.split, MemorySplit) and task.split.blob:
            self._send_blob(worker, task.split.blob)
        start = Start(job.id, task.id, task.attempts, task.index, task.split, carry=job.carry)
        if not task.is_map:
            start = Start(
                *(job.id, task.id, task.attempts, task.index),
                sources=self._sources(job, task.index),
                carried=tuple(_carried(job, task.index)),
            )
        self._books.say(Send(worker.peer, start))
        self._books.publish(
            public.AttemptStarted(
                at=now,
                job=job.id,
                task=task.id,
                attempt=task.attempts,
                worker=worker.id,
                input=task.label,
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

    def _sources(self, job: Job, partition: int) -> tuple[RunSource, ...]:
        """Who holds what of one partition; runs that are empty there, or carried, are left out."""
        runs: dict[WorkerId, list[tuple[int, int]]] = {}
        for task in job.maps:
            assert task.holder is not None
            output = task.output
            if output is not None and output.data is None and output.sizes[partition]:
                runs.setdefault(task.holder, []).append((task.index, task.winner))
        sources = []
        for worker_id, held in runs.items():
            sources.append(self._books.workers[worker_id].source(tuple(held)))
        return tuple(sources)

    def _lost_outputs(self, job: Job) -> list[Task]:
        """Finished tasks whose output died with its worker and is needed.

        A part of the result that is lost opens its reduce task again, and that one needs the
        outputs of maps which nobody wanted any more when their worker died.
        """
        parts = [task for task in job.result_tasks if self._books.is_lost(task)]
        if job.map_only:
            return parts
        reopened = set(parts)
        opened = [
            task.index
            for task in job.reduces
            if task.state is not TaskState.DONE or task in reopened
        ]
        maps = [
            task
            for task in job.maps
            if task.output is not None
            and task.output.data is None
            and task.holder not in self._books.workers
            and any(task.output.sizes[index] for index in opened)
        ]
        return maps + parts

    def lose_worker(self, job: Job, worker: Worker, now: float) -> None:
        """Take from a job all that a dead worker did for it, and what it was at."""
        why = f"worker {worker.id} died"
        lost = self._lost_outputs(job)
        if lost:
            self._lose_outputs(job, lost, why, now)
            names = tuple(task.id for task in lost)
            self._books.publish(
                public.OutputLost(at=now, job=job.id, worker=worker.id, tasks=names)
            )
        # Last, so that they stand at the head of the line: what was running runs again first.
        for job_id, task_id in list(worker.assigned):
            if job_id == job.id:
                attempt = worker.assigned[job_id, task_id]
                self._lose_attempt(job, job.tasks[task_id], attempt, why, now)


def _carried(job: Job, partition: int) -> Iterator[tuple[int, bytes]]:
    """Give the runs that came along with the reports of their maps, where they hold something."""
    for task in job.maps:
        output = task.output
        if output is not None and output.data is not None and output.sizes[partition]:
            yield task.index, output.data


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


def _part_bytes(message: Finished) -> int:
    return message.part.nbytes if message.part else 0
