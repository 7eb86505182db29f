"""From a JobSpec and the splits of its input to the tasks to run. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mrkernel.data.splits import Split
from mrkernel.ids import TaskId, map_task, reduce_task
from mrkernel.job.spec import JobSpec

MIN_REDUCE_TASKS = 2
#: Map output per reduce task the default aims at: big enough that merging dominates its fixed
#: cost, small enough that one lost reduce is cheap to repeat.
BYTES_PER_REDUCE_TASK = 32 << 20


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """One task before it is scheduled.

    Attributes:
        index: the split (map) or partition (reduce) it works on, from 0.
        split: None for a reduce task.
        label: its input for people.
    """

    id: TaskId
    index: int
    split: Split | None
    label: str
    input_bytes: int


def plan_tasks(
    spec: JobSpec, splits: Sequence[Split], first: int = 0
) -> tuple[list[PlannedTask], list[PlannedTask]]:
    """Return the map tasks, one per split, and the reduce tasks, one per partition.

    Args:
        first: number of the first map task; others have those before.
    """
    maps = [
        PlannedTask(map_task(i), i, split, split.label, split.nbytes)
        for i, split in enumerate(splits, first)
    ]
    reduces = [
        PlannedTask(reduce_task(i), i, None, f"partition {i}", 0) for i in range(spec.reduce_tasks)
    ]
    return maps, reduces


def default_reduce_tasks(input_bytes: int, slots: int) -> int:
    """Choose how many reduce tasks a job gets when nobody says: from 2 to 2 x slots.

    Args:
        input_bytes: bytes of all splits.
        slots: slots of the cluster at submit; 0 when it has no worker yet.
    """
    wanted = -(-input_bytes // BYTES_PER_REDUCE_TASK)
    return max(MIN_REDUCE_TASKS, min(wanted, 2 * slots))
