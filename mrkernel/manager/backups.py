"""Backup attempts: a second try beside one that is silent or far behind; the first to end wins.

Pure. A task of a suspect worker gets one at once, as soon as a slot is free, before anything else.
A straggler gets one only when slots would stand idle, and when a fresh attempt, which needs what
others needed, would end clearly before it (LATE; Hadoop and Spark watch the same two numbers). On a
healthy cluster that happens rarely and costs little (Dean & Ghemawat 2004, 3.6).
"""

from __future__ import annotations

from mrkernel.ids import JobId, TaskId
from mrkernel.manager.attempts import Attempts
from mrkernel.manager.books import Books
from mrkernel.manager.outputs import Outputs
from mrkernel.manager.policy import choose_worker
from mrkernel.manager.records import Job, Running, Task, Worker
from mrkernel.manager.transitions import TaskState, WorkerLiveness

#: Seconds between two looks for stragglers.
LOOK_S = 0.2
#: Attempts of a phase that must have ended before one of the others can be called slow.
TELLING = 3
#: It is a straggler when what it still needs, at its pace, is more than this of a fresh attempt ...
LATE = 1.3
#: ... and a start, in seconds.
START_S = 0.2
#: Without progress to judge by: when it has run for so many times what others needed.
OVERDUE = 2.0


class Backups:
    """The pages about backup attempts."""

    def __init__(self, books: Books, attempts: Attempts, outputs: Outputs) -> None:
        self._books = books
        self._attempts = attempts
        self._outputs = outputs
        self._doubted: dict[tuple[JobId, TaskId], None] = {}  #: wait for a slot
        self._looked_at = 0.0

    def doubt(self, worker: Worker) -> None:
        """A worker is suspect: what it runs may never end."""
        self._doubted.update(dict.fromkeys(worker.assigned))

    def schedule(self, now: float) -> None:
        """Start the backups that wait, while slots are free."""
        for key in list(self._doubted):
            job = self._books.running.get(key[0])
            wanted = job is not None and self._wanted(job, job.tasks[key[1]])
            if job is None or not wanted or self._start(job, job.tasks[key[1]], now):
                del self._doubted[key]

    def _wanted(self, job: Job, task: Task) -> bool:
        """Whether it runs on suspect workers only, and on one at that."""
        if not job.spec.backup or task.state is not TaskState.RUNNING or len(task.running) > 1:
            return False
        (running,) = task.running.values()
        return self._books.workers[running.worker].state is WorkerLiveness.SUSPECT

    def tick(self, now: float) -> None:
        """Look for stragglers where slots stand idle."""
        if now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        least = self._books.loads.least()
        if least is None or least.load >= 1:
            return
        slots = sum(worker.info.slots for worker in self._books.workers.values())
        for job in self._books.running.values():
            if job.spec.backup and not job.ready_maps and not job.ready_reduces:
                self._look(job, max(2, slots // 4), now)

    def _look(self, job: Job, most: int, now: float) -> None:
        late: list[tuple[float, Task]] = []
        for worker in self._books.workers.values():
            for (job_id, task_id), attempt in worker.assigned.items():
                if job_id != job.id:
                    continue
                task = job.tasks[task_id]
                running = task.running[attempt]
                if len(task.running) > 1:
                    most -= running.backup
                    continue
                # A backup that is alone by now, because the first attempt was lost, is like any.
                needs = self._needs(job, task, running, now)
                if needs:
                    late.append((needs, task))
        late.sort(key=lambda pair: -pair[0])
        for _, task in late[: max(0, most)]:
            if not self._start(job, task, now):
                return

    def _needs(self, job: Job, task: Task, running: Running, now: float) -> float:
        """Say how long a straggler needs still, in seconds; 0: it is none."""
        durations = job.map_durations if task.is_map else job.reduce_durations
        if len(durations) < TELLING:
            return 0.0
        # One that waits in its worker behind another for longer than it would take is late as well.
        age = now - (running.begun or running.at)
        needs = 0.0
        if task.is_map and task.input_bytes and running.bytes and running.begun:
            # Its pace as of its last report, which may be half a second old.
            took = running.moved - running.begun
            needs = running.begun + took * task.input_bytes / running.bytes - now
        usual = durations.median
        if age < START_S or (
            needs < LATE * usual + START_S and age < OVERDUE * usual + 2 * START_S
        ):
            return 0.0  # the usual case, told apart without looking at the other tasks
        usual *= _share_of_usual(job, task)
        if needs > LATE * usual + START_S:
            return needs
        stuck = now - max(running.moved, running.begun, running.at) > OVERDUE * usual + START_S
        silent = not running.bytes or not task.is_map
        if age > OVERDUE * usual + 2 * START_S and (silent or stuck):
            return usual
        return 0.0

    def _start(self, job: Job, task: Task, now: float) -> bool:
        """Start a backup on a worker with a free slot that has no attempt of the task."""
        if not task.is_map and (job.maps_left or self._outputs.wait_for_a_keeper(job)):
            return False  # what it would read is not all there
        here = {running.worker for running in task.running.values()}
        worker = choose_worker(
            [w for w in self._books.workers.values() if w.id not in here],
            load=lambda w: w.load * w.pace,
            room=_free_slots,
            avoided=lambda w: w.id in task.failed_on,
        )
        if worker is None:
            return False
        self._attempts.start(job, task, worker, now, backup=True)
        return True


def _free_slots(worker: Worker) -> int:
    if worker.state is not WorkerLiveness.ALIVE or worker.barred:
        return 0
    return worker.info.slots - len(worker.assigned)


def _share_of_usual(job: Job, task: Task) -> float:
    """How much more there is to do for a task than for the usual one; at least 1."""
    if task.is_map:
        others = [other.input_bytes for other in job.maps]
        mine = task.input_bytes
    else:
        others = [0] * len(job.reduces)
        for source in job.maps:
            if source.output is not None:
                for index, size in enumerate(source.output.sizes):
                    others[index] += size
        mine = others[task.index]
    usual = sum(others) / max(1, len(others))
    return max(1.0, mine / usual) if usual else 1.0
