"""Who runs what: choice of worker, of job, and how far ahead work is handed out. Pure.

The functions see counts and costs, not the scheduler's objects, so that each can be judged alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar

W = TypeVar("W")


def prefetch(mean_seconds: float | None) -> int:
    """Return how many attempts beyond its slots a worker is handed, per slot.

    A hand-out costs a round trip of about a millisecond, so tasks shorter than that are sent in
    bulk; an attempt that waits behind a long one on the wrong worker costs more than it saves, so
    long tasks are not sent ahead at all.

    Args:
        mean_seconds: mean duration of the job's recent attempts; None while none has ended.
    """
    if mean_seconds is None or mean_seconds > 0.25:
        return 0
    if mean_seconds > 0.02:
        return 1
    if mean_seconds > 0.002:
        return 4
    return 64


#: Bytes of a map's run that may travel in messages, and of all runs of a job times its reduce
#: tasks, each of which is sent them. A file costs 0.1 to 1 ms to make, these bytes some µs.
LARGEST_CARRIED = 8 << 10
ALL_CARRIED = 64 << 20


def carried_bytes(maps: int, reduces: int) -> int:
    """Return up to how many bytes the run of a map task comes along with the report of its end.

    Such a run needs no file, and is not lost with its worker.
    """
    return min(LARGEST_CARRIED, ALL_CARRIED // max(1, maps * reduces))


def smooth(mean: float | None, sample: float, weight: float = 0.2) -> float:
    """Move a running mean towards ``sample``, recent ones weighing most."""
    return sample if mean is None else (1 - weight) * mean + weight * sample


def choose_worker(
    workers: Collection[W],
    load: Callable[[W], float],
    room: Callable[[W], int],
    against: Callable[[W], tuple[bool, ...]],
) -> W | None:
    """Return the least loaded worker that has room, or None.

    Only those that least speaks against are looked at, if they have room or not: a task waits for
    the one worker where it has not failed yet.

    Args:
        load: attempts it has, per slot.
        room: how many more it may be handed; <= 0 means none.
        against: what speaks against it, worst first: that the task failed there, that it is slow.
    """
    objections = [(against(worker), worker) for worker in workers]
    least = min((objection for objection, _ in objections), default=())
    suited = (worker for objection, worker in objections if objection == least and room(worker) > 0)
    return min(suited, key=load, default=None)
