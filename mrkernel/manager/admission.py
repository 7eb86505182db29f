"""Whether a job that is submitted can run here, and the job that is made of it. Pure."""

from __future__ import annotations

from collections.abc import Container

from msgspec.structs import replace

from mrkernel.data.splits import PartSplit
from mrkernel.ids import WorkerId
from mrkernel.job.builtins import Folding, folding
from mrkernel.job.plan import plan_tasks
from mrkernel.job.spec import JobSpec
from mrkernel.manager.books import Books
from mrkernel.manager.facts import JobTaken
from mrkernel.manager.policy import carried_bytes
from mrkernel.manager.records import Job, Task
from mrkernel.manager.transitions import JobState, TaskState

#: Tasks of one job, and shares (map tasks x reduce tasks) of its map output, that the books hold.
#: More is a slip, such as a split size in MB given in bytes, and would end the manager for all.
MOST_TASKS = 200_000
MOST_SHARES = 50_000_000


class Admission:
    """What a job must be to run here.

    Args:
        python: minor version whose closures this cluster runs, "3.11".
        in_process: whether functions and inputs are where its jobs run, and never travel.
    """

    def __init__(self, books: Books, python: str, *, in_process: bool) -> None:
        self._books = books
        self._python = python
        self._in_process = in_process

    def refusal(self, spec: JobSpec, digests: set[str], maps: int) -> str:
        """Say why a job cannot run here; "" when it can."""
        if spec.in_process != self._in_process:
            return "the job's functions are in another process than this manager: pack them"
        if spec.in_process:
            return ""
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


def no_extension(base: Job, spec: JobSpec) -> str:
    """Say why a job cannot be taken up once more; "" when it can."""
    if base.state is not JobState.DONE or base.delivered:
        return (
            f"the map output of {base.id} is not kept any more, so its bad records cannot be "
            "run alone: run the job again"
        )
    if len(base.reduces) != spec.reduce_tasks or base.map_only:
        return f"{base.id} had {len(base.reduces)} reduce tasks: give the same number"
    return ""


def planned(fact: JobTaken, base: Job | None, stores: Container[WorkerId], now: float) -> Job:
    """Make a job of what was accepted.

    Args:
        base: the job whose map tasks it takes over.
        stores: whose output is there.
    """
    spec = fact.spec
    kept = base.maps if base is not None else []
    planned_maps, planned_reduces = plan_tasks(spec, fact.splits, first=len(kept))
    maps = [_taken_over(task, fact, stores) for task in kept]
    maps += [Task.planned(plan, TaskState.READY) for plan in planned_maps]
    reduces = [Task.planned(plan, TaskState.WAITING) for plan in planned_reduces]
    job = Job(fact.job, spec, maps, reduces, frozenset(fact.blobs), fact.at)
    if base is not None:
        # Its maps may run again here, also when the other job is forgotten.
        job.blobs |= base.blobs - {base.spec.functions}
    job.number, job.key, job.extends, job.moved_at = fact.number, fact.key, fact.extends, now
    job.inherited = fact.inherited if fact.whole else len(kept)
    splits = [task.split for task in maps]
    job.reads = frozenset(split.job for split in splits if isinstance(split, PartSplit))
    job.carry = carried_bytes(len(maps), len(reduces))
    job.tasks = {task.id: task for task in (*maps, *reduces)}
    job.holders.update(task.holder for task in maps if task.holder and task.run_in_file)
    job.ready_maps.extend(task for task in maps if task.state is TaskState.READY)
    job.maps_left, job.reduces_left = len(job.ready_maps), len(reduces)
    for task in maps:
        task.skip.update(fact.skips.get(task.id, {}))
    return job


def folds_of(spec: JobSpec) -> Folding:
    """What the job's built-ins fold, and where."""
    names = {"function": object(), "none": None}
    reducer, combiner = (names.get(name, name) for name in (spec.reducer, spec.combiner))
    return folding(reducer, combiner, sort_values=spec.sort_values)


def _taken_over(task: Task, fact: JobTaken, stores: Container[WorkerId]) -> Task:
    """Make a map task that was done for another job; what was skipped there stays so.

    It runs again if its output is gone meanwhile: nobody missed it there, where all was reduced.
    """
    gone = task.run_in_file and task.holder not in stores
    state = TaskState.READY if gone else task.state
    copy = Task(task.id, task.index, task.split, task.label, task.input_bytes, state)
    # What was bad there comes with the new map tasks, or was passed over for good.
    copy.skip = dict.fromkeys([*task.skip, *(record.index for record in task.bad)], "")
    copy.attempts, copy.journaled = task.attempts, task.journaled
    if task.finished is not None and state is TaskState.DONE:
        copy.winner, copy.holder = task.winner, task.holder
        copy.origin = task.origin or fact.extends
        copy.finished_at = fact.at
        copy.finished = replace(task.finished, job=fact.job, bad=())
        copy.output = task.output
    return copy
