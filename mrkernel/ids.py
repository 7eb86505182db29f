"""Names of jobs, tasks, attempts and workers: plain strings with distinct types."""

from __future__ import annotations

from typing import NewType

#: ``"j-7f3a9c"``: unique within one manager's life.
JobId = NewType("JobId", str)
#: ``"map-0"``, ``"reduce-3"``: unique within one job; numbers count from 0.
TaskId = NewType("TaskId", str)
#: ``"w1"``: unique within one manager's life; a worker that comes back gets a new one.
WorkerId = NewType("WorkerId", str)


def map_task(index: int) -> TaskId:
    """Name the map task of split ``index`` (from 0)."""
    return TaskId(f"map-{index}")


def reduce_task(index: int) -> TaskId:
    """Name the reduce task of partition ``index`` (from 0)."""
    return TaskId(f"reduce-{index}")
