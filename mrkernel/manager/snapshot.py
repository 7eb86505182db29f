"""A snapshot: the fewest facts that make the books as they are again. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from mrkernel.data.splits import Split
from mrkernel.ids import WorkerId
from mrkernel.manager.books import Books
from mrkernel.manager.facts import (
    AnyFact,
    JobLetGo,
    JobOver,
    JobTaken,
    Numbers,
    RetirementAsked,
    StoreTaken,
    TaskDone,
    TasksUndone,
)
from mrkernel.manager.records import Job
from mrkernel.manager.transitions import JobState, TaskState


def snapshot(books: Books) -> Iterator[AnyFact]:
    """Give the facts of stores, retirements and jobs; blobs are the shell's."""
    for store in books.stores.values():
        yield StoreTaken(store.id, store.host_id, store.directory, store.instance)
    for instance in sorted(books.retiring):
        yield RetirementAsked(instance)
    for job in books.jobs.values():
        yield from _job(job)
    yield Numbers(books.workers_seen, books.jobs_seen)


def _job(job: Job) -> Iterator[AnyFact]:
    splits: tuple[Split, ...] = tuple(task.split for task in job.maps if task.split is not None)
    yield JobTaken(
        *(job.id, job.number, job.spec, splits, tuple(sorted(job.blobs)), job.key),
        extends=job.extends,
        at=job.started_at,
        whole=True,
        skips={task.id: task.skip for task in job.maps if task.skip},
        inherited=job.inherited,
    )
    known = [task for task in job.tasks.values() if task.finished is not None]
    for task in known:
        assert task.finished is not None
        holder = task.holder or WorkerId("")
        yield TaskDone(holder, task.finished, task.finished_at, task.origin, task.used_digest)
    undone = tuple(task.id for task in known if task.state is not TaskState.DONE)
    if undone:
        yield TasksUndone(job.id, undone, "their output is gone", job.moved_at)
    if job.state is not JobState.RUNNING:
        outcome = {JobState.DONE: "done", JobState.FAILED: "failed"}.get(job.state, "cancelled")
        ended_at = job.ended_at if job.ended_at is not None else job.moved_at
        yield JobOver(job.id, outcome, job.sentence, job.failure, ended_at)  # type: ignore[arg-type]
    if job.delivered:
        yield JobLetGo(job.id, runs_only=job.state is JobState.DONE)
