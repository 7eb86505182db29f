"""The tables for job, task and worker: (state, trigger) → state. Pure.

Rules of this file: every life a noun can have is a row here, with its reason where it is not plain;
code that changes a ``state`` attribute does it through ``advance`` and nowhere else; a trigger
without a row is a bug and leaves the noun as it was.

Theory of operation. A map task is READY from the start; a reduce task WAITS until every map is
DONE. A task is RUNNING while it has at least one attempt on a worker. DONE is not the end: finished
work dies with the worker that holds it, and then the task runs again, unless nobody needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol, TypeVar

from mrkernel.errors import InvalidTransition


class TaskState(StrEnum):
    """Where a task is."""

    WAITING = "waiting"  #: a reduce task whose map outputs are not all there
    READY = "ready"
    RUNNING = "running"
    DONE = "done"


class TaskTrigger(StrEnum):
    """What moves a task."""

    INPUTS_READY = "inputs ready"
    STARTED = "attempt started"
    FINISHED = "attempt finished"
    REQUEUED = "requeued"
    INPUTS_LOST = "inputs lost"
    OUTPUT_LOST = "output lost"


TASK_TRANSITIONS: Mapping[tuple[TaskState, TaskTrigger], TaskState] = {
    (TaskState.WAITING, TaskTrigger.INPUTS_READY): TaskState.READY,
    (TaskState.READY, TaskTrigger.STARTED): TaskState.RUNNING,
    (TaskState.READY, TaskTrigger.INPUTS_LOST): TaskState.WAITING,
    # Another attempt of it beside the first: a backup.
    (TaskState.RUNNING, TaskTrigger.STARTED): TaskState.RUNNING,
    (TaskState.RUNNING, TaskTrigger.FINISHED): TaskState.DONE,
    # It was finished before its manager died, or went away from it, and is offered now.
    (TaskState.READY, TaskTrigger.FINISHED): TaskState.DONE,
    (TaskState.WAITING, TaskTrigger.FINISHED): TaskState.DONE,
    # Its last live attempt was lost, crashed, or could not read its input.
    (TaskState.RUNNING, TaskTrigger.REQUEUED): TaskState.READY,
    # Finished work dies with its worker's disk (Dean & Ghemawat 2004, 3.3).
    (TaskState.DONE, TaskTrigger.OUTPUT_LOST): TaskState.READY,
}


class JobState(StrEnum):
    """Where a job is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobTrigger(StrEnum):
    """What moves a job."""

    ALL_DONE = "all tasks done"
    TASK_FAILED = "a task failed"
    CANCELLED = "cancelled"
    RESULT_LOST = "a result part was lost"


JOB_TRANSITIONS: Mapping[tuple[JobState, JobTrigger], JobState] = {
    (JobState.RUNNING, JobTrigger.ALL_DONE): JobState.DONE,
    (JobState.RUNNING, JobTrigger.TASK_FAILED): JobState.FAILED,
    (JobState.RUNNING, JobTrigger.CANCELLED): JobState.CANCELLED,
    # The only copy of a part died before the client had it: that much is computed again.
    (JobState.DONE, JobTrigger.RESULT_LOST): JobState.RUNNING,
}


class WorkerLiveness(StrEnum):
    """What we believe of a worker."""

    ALIVE = "alive"
    SUSPECT = "suspect"  #: silent for too long: no new work
    DEAD = "dead"  #: fenced; if it speaks again it is a new worker


class WorkerTrigger(StrEnum):
    """What moves a worker."""

    SILENT = "silent"
    BEAT = "beat"
    LOST = "lost"


WORKER_TRANSITIONS: Mapping[tuple[WorkerLiveness, WorkerTrigger], WorkerLiveness] = {
    (WorkerLiveness.ALIVE, WorkerTrigger.SILENT): WorkerLiveness.SUSPECT,
    (WorkerLiveness.SUSPECT, WorkerTrigger.BEAT): WorkerLiveness.ALIVE,
    (WorkerLiveness.ALIVE, WorkerTrigger.LOST): WorkerLiveness.DEAD,
    (WorkerLiveness.SUSPECT, WorkerTrigger.LOST): WorkerLiveness.DEAD,
}

S = TypeVar("S", bound=StrEnum)
T = TypeVar("T", bound=StrEnum)


#: What happened to a noun so far: (seconds, trigger, why).
Story = list[tuple[float, str, str]]


class Noun(Protocol[S]):
    """Something with a life: a state, and the story of how it came there."""

    state: S
    story: Story


def advance(
    noun: Noun[S], table: Mapping[tuple[S, T], S], trigger: T, now: float, why: str = ""
) -> S:
    """Move ``noun`` by one row of ``table`` and add the move to its story.

    Args:
        why: what caused it, for the story.

    Raises:
        InvalidTransition: no such row; the noun is left as it was.
    """
    try:
        state = table[noun.state, trigger]
    except KeyError:
        raise InvalidTransition(
            f"{noun!r} is {noun.state}: no row for {trigger.value!r} ({why})",
            [f"{at:.3f} {what} {reason}".rstrip() for at, what, reason in noun.story],
        ) from None
    noun.state = state
    noun.story.append((now, trigger, why))
    return state
