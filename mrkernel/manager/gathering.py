"""Shuffling while maps run: who will reduce what, and what is told to fetch for it. Pure.

As long as all workers share a disk nothing happens here. With several hosts each partition has a
worker that will reduce it, as it looks (the scheduler keeps to that where it costs no slot), and
each tick tells these workers which map outputs on other hosts were finished since the last. What
they fetch is a copy that only they know of: what counts as the place of an output does not change.
"""

from __future__ import annotations

from mrkernel.ids import JobId, WorkerId
from mrkernel.manager.attempts import Attempts
from mrkernel.manager.books import Books
from mrkernel.manager.instructions import Send
from mrkernel.manager.records import Job, Task, Worker
from mrkernel.manager.transitions import TaskState, WorkerLiveness
from mrkernel.protocol.worker_messages import Gather


class Gathering:
    """The pages about what is fetched ahead."""

    def __init__(self, books: Books, attempts: Attempts) -> None:
        self._books = books
        self._attempts = attempts

    def tick(self) -> None:
        """Tell workers of the map outputs that are new and will be wanted there."""
        for job in self._books.running.values():
            if job.fresh:
                fresh, job.fresh = job.fresh, []
                self._tell(job, fresh)

    def _tell(self, job: Job, fresh: list[Task]) -> None:
        wanted: dict[WorkerId, list[int]] = {}
        for worker_id, reduce in zip(self._plan(job), job.reduces, strict=False):
            if reduce.state in (TaskState.WAITING, TaskState.READY):
                wanted.setdefault(worker_id, []).append(reduce.index)
        held: dict[WorkerId, list[Task]] = {}
        for task in fresh:
            # It may have been lost since, and its worker with it.
            store = self._books.stores.get(task.holder) if task.holder else None
            if task.state is TaskState.DONE and store is not None and store.keeper is not None:
                held.setdefault(store.id, []).append(task)
        for worker_id, partitions in wanted.items():
            worker = self._books.workers[worker_id]
            sources = []
            for holder_id, tasks in held.items():
                store = self._books.stores[holder_id]
                runs = tuple(
                    (task.index, task.winner) for task in tasks if _has_some(task, partitions)
                )
                if runs and store.host_id != worker.info.host_id:
                    sources.append(store.source(runs, JobId("")))
            if sources:
                self._attempts.introduce(job, worker)
                message = Gather(job.id, tuple(partitions), tuple(sources))
                self._books.say(Send(worker.peer, message))

    def _plan(self, job: Job) -> list[WorkerId]:
        """Say who will reduce each partition; who is gone is replaced, the others stay."""
        alive = [w for w in self._books.workers.values() if w.state is WorkerLiveness.ALIVE]
        if not alive:
            return []
        plan = job.plan or [WorkerId("")] * len(job.reduces)
        count: dict[WorkerId, int] = {worker.id: 0 for worker in alive}
        for worker_id in plan:
            if worker_id in count:
                count[worker_id] += 1

        def burden(worker: Worker) -> float:
            return count[worker.id] / worker.info.slots

        for partition, worker_id in enumerate(plan):
            if worker_id not in count:
                least = min(alive, key=burden)
                plan[partition] = least.id
                count[least.id] += 1
        job.plan = plan
        return plan


def _has_some(task: Task, partitions: list[int]) -> bool:
    output = task.output
    if output is None or output.data is not None:
        return False
    return any(output.sizes[p] for p in partitions)
