"""Replay: the books of a manager that died, made again of its facts. Pure.

The same methods put a fact down as when it first happened, but for telling anybody except the
views, which are empty after a restart. What was running is not known to have run: it is ready.
Every store is an orphan until whoever keeps it has registered again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from msgspec.structs import replace

from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.manager.attempts import Attempts, done_event
from mrkernel.manager.books import Books
from mrkernel.manager.facts import (
    AnyFact,
    Began,
    BlobKept,
    JobGone,
    JobLetGo,
    JobOver,
    JobTaken,
    Numbers,
    RetirementAsked,
    StoreGone,
    StoreTaken,
    TaskDone,
    TasksUndone,
    WorkerTaken,
)
from mrkernel.manager.jobs import Jobs
from mrkernel.manager.outputs import Outputs
from mrkernel.manager.records import NUMBERS_A_START, Job
from mrkernel.manager.transitions import JobTrigger, TaskState
from mrkernel.manager.workers import Workers
from mrkernel.monitor import events as public

_TRIGGERS = {
    "done": JobTrigger.ALL_DONE,
    "failed": JobTrigger.TASK_FAILED,
    "cancelled": JobTrigger.CANCELLED,
}


class Replay:
    """One replay, into fresh books."""

    def __init__(
        self, books: Books, jobs: Jobs, attempts: Attempts, outputs: Outputs, workers: Workers
    ) -> None:
        self._books = books
        self._jobs = jobs
        self._attempts = attempts
        self._outputs = outputs
        self._workers = workers
        self._shift = 0.0  # from the clock of who wrote to ours
        self._last = 0.0  # the newest time among the facts, on our clock

    def run(self, facts: Iterable[AnyFact], now: float, wall: float, start: int) -> None:
        """Put all facts down, then make the jobs that run ready to go on.

        Args:
            start: the how manieth of the cluster's managers this is.
        """
        for fact in facts:
            self._put_down(fact, now, wall)
        self._books.take_facts()  # they are in the journal
        for job in list(self._books.running.values()):
            self._go_on(job, now)
        for job in self._books.jobs.values():
            # Also of one that is done: a part of its result may be lost, and made again.
            job.ready_maps = deque(task for task in job.maps if task.state is TaskState.READY)
            job.ready_reduces = deque(task for task in job.reduces if task.state is TaskState.READY)
        # Which attempts the managers before had started is in no journal, and one of them may be
        # offered: none of their numbers, which name files, is given again.
        for job in self._books.jobs.values():
            for task in job.tasks.values():
                task.journaled = task.attempts
                task.attempts = max(task.attempts, NUMBERS_A_START * (start - 1))

    def _put_down(self, fact: AnyFact, now: float, wall: float) -> None:
        match fact:
            case Began():
                self._shift = fact.wall - wall
            case Numbers(workers, jobs):
                self._books.workers_seen, self._books.jobs_seen = workers, jobs
            case WorkerTaken():
                self._workers.replay(fact, now)
            case StoreTaken():
                self._workers.replay_store(fact, now)
            case StoreGone(store):
                self._books.stores.pop(store, None)
                self._books.orphans.pop(store, None)
            case RetirementAsked(instance):
                self._books.retiring.add(instance)
            case BlobKept(digest):
                self._books.blobs.add(digest)
            case JobTaken():
                self._books.blobs.update(fact.blobs)
                self._jobs.take(replace(fact, at=self._ours(fact.at, now)), now)
            case TaskDone():
                self._done(fact, now)
            case TasksUndone(job_id, tasks, why, at):
                self._undone(self._books.jobs[job_id], tasks, why, self._ours(at, now))
            case JobOver(job_id, outcome, sentence, failure, at):
                job = self._books.jobs[job_id]
                trigger = _TRIGGERS[outcome]
                self._jobs.close(job, trigger, sentence, failure, self._ours(at, now))
            case JobLetGo(job_id):
                self._jobs.let_go(self._books.jobs[job_id])
            case JobGone(job_id):
                self._jobs.forget(self._books.jobs[job_id], now)

    def _ours(self, at: float, now: float) -> float:
        """Turn a time of who wrote into one of ours; clocks of machines may have been set."""
        ours = min(now, at + self._shift)
        self._last = max(self._last, ours)
        return ours

    def _done(self, fact: TaskDone, now: float) -> None:
        finished = fact.finished
        job = self._books.jobs[finished.job]
        task = job.tasks[finished.task]
        if task.state is TaskState.DONE:
            return
        at = self._ours(fact.at, now)
        self._attempts.commit(job, task, finished, fact.store, at)
        task.origin, task.used_digest = fact.origin, fact.used_digest
        self._books.publish(done_event(job, finished, fact.store, at))
        if task.is_map and not job.maps_left:
            self._attempts.maps_done(job, at)

    def _undone(self, job: Job, tasks: tuple[TaskId, ...], why: str, at: float) -> None:
        lost = [job.tasks[task] for task in tasks]
        holder = next((task.holder for task in lost if task.holder), WorkerId(""))
        self._outputs.lose(job, lost, why, at)
        self._books.publish(public.OutputLost(at=at, job=job.id, worker=holder, tasks=tasks))

    def _go_on(self, job: Job, now: float) -> None:
        ending = None if job.maps_left else self._attempts.maps_done(job, now)
        if ending is not None:
            self._jobs.end(ending, now)  # the manager died between its last task and its end
            return
        job.moved_at = now
        kept = sum(task.state is TaskState.DONE for task in job.maps)
        self._books.publish(
            public.ManagerRestarted(
                at=now,
                job=JobId(job.id),
                maps_kept=kept,
                maps=len(job.maps),
                down_s=max(0.0, now - self._last),
            )
        )
