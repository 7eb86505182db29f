"""Backup attempts: a second try beside one that is silent or far behind; the first to end wins.

Pure. A task of a suspect worker gets one at once, as soon as a slot is free, before anything else.
A straggler gets one only when slots would stand idle, and when a fresh attempt, which needs what
others needed, would end clearly before it (LATE; Hadoop and Spark watch the same two numbers). What
an attempt still needs is told by its own progress, else by the known pace of a slow worker, else by
nothing but its age. On a healthy cluster a backup is rare and costs little (Dean & Ghemawat 2004,
3.6).
"""

from __future__ import annotations

from dataclasses import dataclass

from mrkernel.ids import JobId, TaskId
from mrkernel.manager.attempts import Attempts
from mrkernel.manager.books import Books
from mrkernel.manager.outputs import Outputs
from mrkernel.manager.paces import SLOW, forgive, weight
from mrkernel.manager.policy import choose_worker
from mrkernel.manager.records import Job, Running, Task, Worker
from mrkernel.manager.transitions import TaskState, WorkerLiveness

#: Doubted tasks for which a worker is looked for in vain after one event: every heartbeat is an
#: event, and there may be thousands of workers and of tasks.
MISSES = 4
#: Seconds between two looks for stragglers.
LOOK_S = 0.1
#: It is a straggler when what it still needs, at its pace, is more than this of a fresh attempt ...
LATE = 1.3
#: ... and a start, in seconds.
START_S = 0.2
#: ... Without progress to judge by: when it has run for LATE times what nine of ten others needed.
#: To LATE comes so much where only one other is known, and a tenth of it where ten are.
UNKNOWN = 2.0
#: So many attempts that ended say what is usual; where there are fewer, those that run say it, too.
MANY = 8
#: Progress is told so often, in seconds; the pace of one that began later is not known yet.
REPORT_S = 0.5
PACE_S = 1.0


@dataclass(frozen=True, slots=True)
class _Lone:
    """A task with one attempt."""

    task: Task
    running: Running
    worker: Worker


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
        misses = 0
        for key in list(self._doubted) if self._doubted else ():
            least = self._books.loads.least()
            if least is None or least.load >= 1 or misses == MISSES:
                return
            job = self._books.running.get(key[0])
            del self._doubted[key]
            if job is None or not self._wanted(job, job.tasks[key[1]]):
                continue
            if not self._start(job, job.tasks[key[1]], now):
                self._doubted[key] = None  # behind the others
                misses += 1

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
        forgive(self._books.workers.values(), now - self._looked_at)
        self._looked_at = now
        least = self._books.loads.least()
        if least is None or least.load >= 1:
            return
        slots = sum(worker.info.slots for worker in self._books.workers.values())
        lone: dict[JobId, list[_Lone]] = {}
        backups: dict[JobId, int] = {}
        for worker in self._books.workers.values():
            for (job_id, task_id), attempt in worker.assigned.items():
                job = self._books.jobs[job_id]
                if not job.spec.backup or job.ready_maps or job.ready_reduces:
                    continue
                task = job.tasks[task_id]
                running = task.running[attempt]
                if len(task.running) > 1:
                    backups[job_id] = backups.get(job_id, 0) + running.backup
                else:
                    # A backup that is alone by now, because the first was lost, is like any.
                    lone.setdefault(job_id, []).append(_Lone(task, running, worker))
        for job_id, found in lone.items():
            job = self._books.jobs[job_id]
            self._look(job, found, max(2, slots // 4) - backups.get(job_id, 0), now)

    def _look(self, job: Job, found: list[_Lone], most: int, now: float) -> None:
        """Start backups of those that are late, the latest first.

        Args:
            most: how many, but for those on slow workers: they are no accident.
        """
        totals = {one.task.id: _total(one, now) for one in found}
        usual = {
            is_map: _usual(job, is_map, [(one, totals[one.task.id]) for one in found])
            for is_map in (True, False)
        }
        late = []
        for one in found:
            needs = _needs(job, one, totals[one.task.id], usual[one.task.is_map], now)
            if needs:
                late.append((needs, one))
        late.sort(key=lambda pair: -pair[0])
        # What only waits behind a long task is soon done elsewhere, and the long one is not: it has
        # its turn when nothing waits there any more.
        blocking = {one.worker.id for one in found if not one.running.begun}
        late = [
            (needs, one)
            for needs, one in late
            if not one.running.begun or one.worker.id not in blocking
        ]
        for _, one in late:
            if one.worker.pace <= SLOW:
                if most <= 0:
                    continue
                most -= 1
            if not self._start(job, one.task, now):
                return

    def _start(self, job: Job, task: Task, now: float) -> bool:
        """Start a backup on a worker with a free slot that has not had the task yet.

        Where the task failed it would only fail again, and be counted as another failure.
        """
        if not task.is_map and (job.maps_left or self._outputs.wait_for_a_keeper(job)):
            return False  # what it would read is not all there
        if task.is_map and self._outputs.wait_for_parts(job):
            return False
        tried = task.failed_on.union(running.worker for running in task.running.values())
        worker = choose_worker(
            [w for w in self._books.workers.values() if w.id not in tried],
            load=lambda w: w.pace * (1 + w.load),
            room=_free_slots,
            against=lambda w: (w.pace > SLOW,),
        )
        if worker is None:
            return False
        self._attempts.start(job, task, worker, now, backup=True)
        return True


def _free_slots(worker: Worker) -> int:
    if worker.state is not WorkerLiveness.ALIVE or worker.barred:
        return 0
    return worker.info.slots - len(worker.assigned)


def _total(one: _Lone, now: float) -> float | None:
    """Say how long an attempt takes in all, at the pace of its progress; None: nobody knows."""
    task, running = one.task, one.running
    if not (task.is_map and task.input_bytes and running.bytes and running.begun):
        return None
    age = now - running.begun
    if age < PACE_S:
        return None
    # Its pace is that of its last report, unless it stands still.
    took = max(running.moved - running.begun, age - REPORT_S)
    return max(age, took * task.input_bytes / running.bytes)


def _usual(
    job: Job, is_map: bool, found: list[tuple[_Lone, float | None]]
) -> tuple[float, float, float] | None:
    """Say what a usual task needs, how many times that is late, and when silence is; None: unknown.

    While few have ended, those that run count with what they will need.
    """
    durations = job.map_durations if is_map else job.reduce_durations
    sample = sorted(durations)
    if is_map and len(sample) < MANY:
        known = [total / weight(job, one.task) for one, total in found if total is not None]
        sample = sorted([*sample, *known])
    if len(sample) < 2 and not durations:
        return None
    limit = durations.high * _late(len(durations)) + START_S if durations else float("inf")
    return sample[(len(sample) - 1) // 2], _late(len(sample)), limit


def _late(known: int) -> float:
    return LATE + UNKNOWN / known


def _needs(
    job: Job,
    one: _Lone,
    total: float | None,
    known: tuple[float, float, float] | None,
    now: float,
) -> float:
    """Say how long a straggler needs still, in seconds; 0: it is none."""
    if known is None:
        return 0.0
    usual, late, limit = known
    task, running, pace = one.task, one.running, one.worker.pace
    age = now - (running.begun or running.at)
    if age < START_S:
        return 0.0
    size = weight(job, task)
    fresh = usual * size
    if total is None and pace > SLOW:
        total, late = fresh * pace, LATE
    if total is not None and total - age > late * fresh + START_S:
        return total - age
    # One that tells of its progress is late when it has stood still for so long.
    since = max(running.moved, running.begun, running.at) if running.bytes else now - age
    return fresh if now - since > limit * size else 0.0
