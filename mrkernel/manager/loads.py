"""The least loaded worker, at once: however many workers there are, a task costs the same. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from mrkernel.ids import WorkerId
from mrkernel.manager.records import Worker
from mrkernel.manager.transitions import WorkerLiveness


class Loads:
    """Workers by attempts per slot; among equals the one that joined first.

    A heap that is told of every change and forgets nothing by itself: an entry that is not true any
    more is passed over when it comes up, and all of them are swept when they are the most.

    Args:
        workers: the books' own; looked at, never changed.
    """

    def __init__(self, workers: Mapping[WorkerId, Worker]) -> None:
        self._workers = workers
        self._heap: list[tuple[float, int, Worker]] = []

    def changed(self, worker: Worker) -> None:
        """Take note that a worker joined, lives or works again, or has more or fewer attempts."""
        worker.load = len(worker.assigned) / worker.info.slots
        heap = self._heap
        if len(heap) > 64 + 4 * len(self._workers):
            heap[:] = [(w.load, w.number, w) for w in self._workers.values()]
            heapq.heapify(heap)
        heapq.heappush(heap, (worker.load, worker.number, worker))

    def least(self) -> Worker | None:
        """Return the worker with the fewest attempts per slot of those that may work, or None."""
        heap = self._heap
        while heap:
            load, _, worker = heap[0]
            if worker.state is WorkerLiveness.ALIVE and not worker.barred and load == worker.load:
                return worker
            heapq.heappop(heap)
        return None
