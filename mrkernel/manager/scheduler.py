"""The scheduler: ready tasks to workers with room. Pure; the choices are in ``policy``."""

from __future__ import annotations

from collections import deque
from itertools import islice

from mrkernel.ids import JobId
from mrkernel.manager.attempts import Attempts
from mrkernel.manager.books import Books
from mrkernel.manager.outputs import Outputs
from mrkernel.manager.paces import SLOW
from mrkernel.manager.policy import choose_worker, prefetch
from mrkernel.manager.records import Job, Task, Worker
from mrkernel.manager.transitions import TaskState, WorkerLiveness

#: A slow worker is passed by at the end of a line, for others that will have room. When none of
#: these has ended anything for so many times what one takes, and so many seconds, it is better.
STUCK = 2.0
STUCK_S = 0.5
#: Tasks that wait for a certain worker and are passed by others, at most: the line is looked
#: through at every event.
PASSED = 64


class Scheduler:
    """Hands out what is ready, fairly among jobs."""

    def __init__(self, books: Books, attempts: Attempts, outputs: Outputs) -> None:
        self._books = books
        self._attempts = attempts
        self._outputs = outputs

    def schedule(self, now: float) -> None:
        """Hand out ready tasks while some worker has room, to the job with the fewest running."""
        blocked: set[JobId] = set()
        while True:
            least = self._books.loads.least()
            if least is None:
                return
            candidates = [
                job
                for job in self._books.running.values()
                if (job.ready_maps or job.ready_reduces)
                and job.id not in blocked
                and not _is_full(job, least)
            ]
            if not candidates:
                return
            if len(candidates) == 1:
                self._hand_out(candidates[0], now, alone=True)
                return  # it was given all that fits
            job = min(candidates, key=lambda j: j.running)
            if not self._hand_out(job, now, alone=False):
                blocked.add(job.id)

    def _hand_out(self, job: Job, now: float, *, alone: bool) -> bool:
        """Start ready tasks of ``job``: all that fit when it is alone, else one. False: none."""
        started = False
        quick: int | None = None  # slots of workers that are not slow, once it matters
        for line, mean_s in (
            (job.ready_maps, job.mean_map_s),
            (job.ready_reduces, job.mean_reduce_s),
        ):
            if line is job.ready_reduces and line and self._outputs.wait_for_a_keeper(job):
                break
            if line is job.ready_maps and line and job.reads and self._outputs.wait_for_parts(job):
                continue
            ahead = 1 + prefetch(mean_s)
            passed: list[Task] = []  # they wait for a worker where they have not failed yet
            while line:
                task = line[0]
                if task.state is not TaskState.READY:
                    line.popleft()  # it lost its inputs while it stood in line
                    continue
                worker = self._books.loads.least()
                if worker is None or worker.load >= ahead:
                    break  # nobody has room
                slow = False
                if worker.pace > SLOW:
                    quick = self._quick_slots(job, now) if quick is None else quick
                    slow = _lags(worker, len(line), quick)
                if task.failed_on or slow:
                    worker = self._choose(task, ahead, len(line), quick or 0)
                if worker is None and slow:
                    break  # the others will have room before a slow one were done
                if worker is not None:
                    self._attempts.start(job, self._take(line, job, worker), worker, now)
                    started = True
                    if not alone:
                        break
                elif len(passed) < PASSED:
                    passed.append(line.popleft())
                else:
                    break
            line.extendleft(reversed(passed))
            if started and not alone:
                break
        return started

    def _take(self, line: deque[Task], job: Job, worker: Worker) -> Task:
        """Take the first in line, or one soon after it whose input the worker has."""
        if job.plan and not line[0].is_map:
            for task in islice(line, PASSED):
                planned = job.plan[task.index] == worker.id
                if planned and task.state is TaskState.READY and worker.id not in task.failed_on:
                    line.remove(task)
                    return task
        elif job.spec.resident and line[0].is_map:
            readers, living = self._books.readers, self._books.workers
            free: Task | None = None  # the first that nobody has, or who has it is gone
            for task in islice(line, PASSED):
                reader = readers.get(task.split) if task.split is not None else None
                if reader == worker.id and worker.id not in task.failed_on:
                    line.remove(task)
                    return task
                if free is None and reader not in living:
                    free = task
            if free is not None and worker.id not in free.failed_on:
                line.remove(free)
                return free
        return line.popleft()

    def _choose(self, task: Task, ahead: int, waiting: int, quick: int) -> Worker | None:
        """Return the least loaded worker of those that suit a task best; None: none has room."""
        return choose_worker(
            self._books.workers.values(),
            load=_load,
            room=lambda worker: _room(worker, ahead),
            against=lambda worker: (worker.id in task.failed_on, _lags(worker, waiting, quick)),
        )

    def _quick_slots(self, job: Job, now: float) -> int:
        """Count the slots of the workers that are not slow; 0 when they are stuck all the same."""
        if _is_stuck(job, now):
            return 0
        return sum(
            worker.info.slots
            for worker in self._books.workers.values()
            if worker.pace <= SLOW and worker.state is WorkerLiveness.ALIVE
        )


def _is_full(job: Job, least: Worker) -> bool:
    """Whether no worker has room for a task of the job, nor anything in its lines to clear away."""
    maps, reduces = job.ready_maps, job.ready_reduces
    if maps and least.load < 1 + prefetch(job.mean_map_s):
        return False
    return not (reduces and least.load < 1 + prefetch(job.mean_reduce_s))


def _lags(worker: Worker, waiting: int, quick_slots: int) -> bool:
    """Whether the others empty the line before a slow worker ends one task of it."""
    return worker.pace > SLOW and waiting <= worker.pace * quick_slots


def _is_stuck(job: Job, now: float) -> bool:
    """Whether no attempt of a job has ended for much longer than one takes."""
    last, usual = job.started_at, 1.0
    for durations in (job.map_durations, job.reduce_durations):
        if durations and durations.at >= last:
            last, usual = durations.at, durations.median
    return now - last > STUCK * usual + STUCK_S


def _load(worker: Worker) -> float:
    return worker.load


def _room(worker: Worker, ahead: int) -> int:
    if worker.state is not WorkerLiveness.ALIVE or worker.barred:
        return 0
    return worker.info.slots * ahead - len(worker.assigned)
