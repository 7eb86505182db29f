"""How long tasks take, and how quick workers are. Pure.

Tasks of a phase do the same work on more or less data, so what some took says what others will
take. A worker whose attempts take a multiple of that is slow: the scheduler passes it by where it
would be waited for, and what it runs gets backups without further ado. That is learnt from attempts
that ended, and from those that were overtaken by a backup; it is forgotten while it stands idle,
for nothing else could show that it has recovered.
"""

from __future__ import annotations

from collections.abc import Iterable

from mrkernel.manager.policy import smooth
from mrkernel.manager.records import Job, Running, Task, Worker

#: A worker whose attempts take so many times as long as those of others is slow.
SLOW = 2.0
#: More than this is put down to the task: it hung.
WORST = 10.0
#: Attempts shorter than this, in seconds, say nothing about the pace of their worker ...
TELLING_S = 0.05
#: ... and so do those that can be compared with fewer than this.
FEW = 3
#: Seconds of idleness in which what is known of a slow worker halves.
HALF_LIFE_S = 30.0
#: Shares of map output that are added up to see which partitions are large.
LOOKED_AT = 200_000


def ended(job: Job, task: Task, worker: Worker, seconds: float, now: float) -> None:
    """An attempt ended well after so long: learn from that."""
    durations = job.durations(task)
    usual = seconds / weight(job, task)
    if seconds > TELLING_S and len(durations) >= FEW:
        _learn(worker, usual / durations.median)
    durations.add(usual, now)


def overtaken(job: Job, task: Task, running: Running, worker: Worker, now: float) -> None:
    """Another attempt of the task ended before this one, which took so long already."""
    durations = job.durations(task)
    took = now - running.begun
    if running.begun and took > TELLING_S and len(durations) >= FEW:
        pace = took / weight(job, task) / durations.median
        if pace > worker.pace:
            _learn(worker, pace)


def _learn(worker: Worker, pace: float) -> None:
    worker.pace = smooth(worker.pace, min(pace, WORST), 0.5)


def forgive(workers: Iterable[Worker], seconds: float) -> None:
    """So much time went by: forget a little of what is known of slow workers that stand idle."""
    for worker in workers:
        if worker.pace > 1 and not worker.assigned:
            worker.pace = 1 + (worker.pace - 1) * 0.5 ** (seconds / HALF_LIFE_S)


def weight(job: Job, task: Task) -> float:
    """Say how much more there is to do for a task than for the usual one; at least 1."""
    if task.is_map:
        if job.usual_input is None:
            job.usual_input = sum(other.input_bytes for other in job.maps) / len(job.maps)
        return max(1.0, task.input_bytes / job.usual_input) if job.usual_input else 1.0
    if job.weights is None:
        if job.maps_left:
            return 1.0
        job.weights = _weights(job)
    return job.weights[task.index]


def _weights(job: Job) -> list[float]:
    sums = [0] * len(job.reduces)
    for source in job.maps[:: 1 + len(job.maps) * len(sums) // LOOKED_AT]:
        if source.output is not None:
            for index, size in enumerate(source.output.sizes):
                sums[index] += size
    usual = sum(sums) / len(sums)
    return [max(1.0, size / usual) if usual else 1.0 for size in sums]
