"""Map outputs and result parts: who has them, what is lost with a store, what runs again. Pure."""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from mrkernel.data.splits import PartSplit, Split
from mrkernel.ids import JobId, WorkerId
from mrkernel.manager.books import Books
from mrkernel.manager.facts import TasksUndone
from mrkernel.manager.records import Job, Shelf, Store, Task
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
from mrkernel.protocol.worker_messages import PartPlace, RunSource


class Outputs:
    """The pages about finished work."""

    def __init__(self, books: Books) -> None:
        self._books = books

    # --- what a reduce task reads -----------------------------------------------------------------

    def sources(self, job: Job, partition: int) -> tuple[RunSource, ...]:
        """Who holds what of one partition; runs that are empty there, or carried, are left out."""
        if job.shelves is None or job.shelves_of != self._books.keepers_changed:
            # Once for all reduce tasks: with a thousand workers each has a thousand sources.
            job.shelves, job.shelves_of = self._shelves(job), self._books.keepers_changed
        found = []
        for shelf in job.shelves:
            if shelf.dense:
                found.append(shelf.source)
                continue
            runs = tuple(
                run
                for run, sizes in zip(shelf.source.runs, shelf.sizes, strict=True)
                if sizes[partition]
            )
            if runs:
                found.append(replace(shelf.source, runs=runs))
        return tuple(found)

    def _shelves(self, job: Job) -> list[Shelf]:
        held: dict[tuple[WorkerId, JobId], list[Task]] = {}
        for task in job.maps:
            assert task.holder is not None
            if task.run_in_file and task.holder in self._books.stores:  # else nobody needs it
                held.setdefault((task.holder, task.origin), []).append(task)
        shelves = []
        for (store, origin), tasks in held.items():
            runs = tuple((task.index, task.winner) for task in tasks)
            sizes = [task.output.sizes for task in tasks if task.output is not None]
            source = self._books.stores[store].source(runs, origin)
            shelves.append(Shelf(source, sizes, dense=all(map(all, sizes))))
        return shelves

    def carried(self, job: Job, partition: int) -> tuple[tuple[int, bytes], ...]:
        """Give the runs that came along with the reports of their maps, if they hold something."""
        return tuple(
            (task.index, task.output.data)
            for task in job.maps
            if task.output is not None
            and task.output.data is not None
            and task.output.sizes[partition]
        )

    def wait_for_a_keeper(self, job: Job) -> bool:
        """Whether reduce tasks cannot start because nobody serves what they read, for a while."""
        return any(job.holders[store] for store in self._books.orphans)

    # --- what a chained job reads -----------------------------------------------------------------

    def place(self, task: Task) -> PartPlace | None:
        """Where the part of a DONE task is, an empty one too; None when it was lost."""
        part = task.part
        assert task.holder is not None
        store = self._books.stores.get(task.holder)
        if part is None or (store is None and task.part_in_file):
            return None
        keeper = store.keeper if store is not None else None
        return PartPlace(
            index=task.index,
            name=part.name,
            nbytes=part.nbytes,
            pairs=part.pairs,
            data=part.data,
            worker=keeper.id if keeper is not None else task.holder,
            host_id=store.host_id if store is not None else "",
            directory=store.directory if store is not None else "",
            data_host=keeper.info.data_host if keeper is not None else "",
            data_port=keeper.info.data_port if keeper is not None else 0,
            attempt=task.winner,
        )

    def part(self, split: Split | None) -> PartPlace | None:
        """Where what a map task reads is, if it is a part that another job made."""
        if not isinstance(split, PartSplit):
            return None
        return self.place(self._books.jobs[split.job].result_tasks[split.part])

    def wait_for_parts(self, job: Job) -> bool:
        """Whether map tasks cannot start because what they read is made again, or nobody serves it.

        Parts that are lost for good are told by ``Chains``.
        """
        bases = [self._books.jobs.get(each) for each in job.reads]
        for base in bases:
            if base is None or base.state is not JobState.DONE:
                return True
        if job.parts_at != self._books.keepers_changed:
            served = self._books.stores.keys() - self._books.orphans.keys()
            for base in bases:
                for task in base.result_tasks if base is not None else ():
                    if task.part_in_file and task.holder not in served:
                        return True
            job.parts_at = self._books.keepers_changed
        return False

    # --- what is lost -----------------------------------------------------------------------------

    def lose_store(self, store: Store, now: float) -> None:
        """All that a store held is gone: what is still needed of it runs again."""
        why = f"the output of {store.id} is gone"
        for job in list(self._books.jobs.values()):
            if job.delivered:
                continue
            lost = self._lost(job)
            if lost:
                self.lose(job, lost, why, now)
                self._books.publish(
                    public.OutputLost(
                        at=now, job=job.id, worker=store.id, tasks=tuple(t.id for t in lost)
                    )
                )

    def lose_parts(self, job: Job, parts: list[Task], why: str, now: float) -> list[Task]:
        """Parts of a result cannot be read: make them again, with all it takes; return that."""
        lost = self._lost(job, parts)
        self.lose(job, lost, why, now)
        return lost

    def _lost(self, job: Job, unread: Collection[Task] = ()) -> list[Task]:
        """Finished tasks whose output is in no store any more, or ``unread``, and is needed.

        A part of the result that is lost opens its reduce task again, and that one needs the
        outputs of maps which nobody wanted any more when their store went.
        """
        if job.state in (JobState.FAILED, JobState.CANCELLED):
            return []
        is_lost = self._books.is_lost
        parts = [task for task in job.result_tasks if is_lost(task) or task in unread]
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
            and task.holder not in self._books.stores
            and any(task.output.sizes[index] for index in opened)
        ]
        return maps + parts

    def lose(self, job: Job, tasks: list[Task], why: str, now: float) -> None:
        """Finished work is gone; what waits for it waits again."""
        self._books.record(TasksUndone(job.id, tuple(task.id for task in tasks), why, now))
        job.shelves = None
        used = any(task.state in (TaskState.DONE, TaskState.RUNNING) for task in job.reduces)
        for task in tasks:
            advance(task, TASK_TRANSITIONS, TaskTrigger.OUTPUT_LOST, now, why)
            if task.run_in_file and task.holder is not None:
                job.holders[task.holder] -= 1
            if task.part_in_file and task.holder is not None:
                job.part_holders[task.holder] -= 1
            if used and task.output is not None:
                task.used_digest = task.output.digest
            task.unreadable |= {task.winner}
            task.winner, task.holder, task.output, task.part = 0, None, None, None
            task.origin = JobId("")
            if task.finished is not None:
                # Its counters stay, for nobody may need it to run again.
                task.finished = replace(task.finished, output=None, part=None)
            if task.is_map:
                job.maps_left += 1
            else:
                job.reduces_left += 1
        if tasks and job.state is JobState.DONE:
            advance(job, JOB_TRANSITIONS, JobTrigger.RESULT_LOST, now, why)
            self._books.running[job.id] = job
        for task in tasks:
            self.queue(job, task, now)
        if job.maps_left:
            job.ready_reduces.clear()
            for task in job.reduces:
                if task.state is TaskState.READY:
                    advance(task, TASK_TRANSITIONS, TaskTrigger.INPUTS_LOST, now, why)

    def queue(self, job: Job, task: Task, now: float) -> None:
        """Put a READY task at the head of its line: others may be waiting for it."""
        if task.is_map:
            job.ready_maps.appendleft(task)
        elif job.maps_left:
            advance(task, TASK_TRANSITIONS, TaskTrigger.INPUTS_LOST, now)
        else:
            job.ready_reduces.appendleft(task)
