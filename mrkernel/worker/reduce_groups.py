"""The groups of a reduce task on their way to its reducer: named, timed, their values sorted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mrkernel.errors import MRKernelError
from mrkernel.job.failure import UserCodeError, short, user_failure
from mrkernel.shuffle.group_batch import GroupBatch
from mrkernel.shuffle.values import Values
from mrkernel.worker.progress import ProgressCell


def near(batch: GroupBatch) -> str:
    """Say where some groups are."""
    if not len(batch):
        return ""
    first = f"group {short(batch.keys.slice(0, 1).to_list()[0])}"
    return first if len(batch) == 1 else f"{first} or one after it"


def groups_of(batch: GroupBatch, sort_values: bool) -> Iterable[tuple[Any, Any]]:
    """Give the groups of a batch, the values of each in order if that is asked for."""
    return _sorted_groups(batch) if sort_values else batch


def ticking(groups: Iterable[tuple[Any, Any]], progress: ProgressCell) -> Iterator[tuple[Any, Any]]:
    """Tell of each group before it is reduced, and once it is behind us."""
    for group in groups:
        progress.at(f"group {short(group[0])}")
        yield group
        progress.add(1, 0)


def _sorted_groups(batch: GroupBatch) -> Iterator[tuple[Any, Any]]:
    for key, values in batch:
        try:
            ordered = sorted(values)
        except MRKernelError:
            raise  # the values could not be read
        except Exception as error:
            failure = user_failure(
                error,
                role="--sort-values",
                where=f"group {short(key)}",
                hint="values of one group must be comparable: leave --sort-values out, "
                "or give them one type",
            )
            raise UserCodeError(failure) from error
        yield key, Values(ordered)
