"""A result as the input of another job: read where it lies, or else through this program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import Any

from msgspec.structs import replace

from mrkernel.data.memory import memory_splits
from mrkernel.data.records import Batch, RecordReader
from mrkernel.data.splits import MemorySplit, PartSplit, ReadySplits, target_size
from mrkernel.engines.base import Engine
from mrkernel.engines.result import JobResult
from mrkernel.ids import JobId

#: A map task of a chained job reads no less than this, in bytes: a small part comes with its order.
SMALLEST_SHARE = 64 << 10
#: Map tasks per slot for pairs that another job made: what they cost is not known.
TASKS_PER_SLOT = 2


class Chained:
    """The results among the inputs of a job.

    Attributes:
        notes: sentences the user should read.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._results: dict[JobId, JobResult] = {}
        self.notes: tuple[str, ...] = ()

    def cut(
        self, result: JobResult, name: str, split_size: int | None, slots: int, sample: int | None
    ) -> ReadySplits:
        """Cut a result into splits, one map task each.

        Args:
            name: what the user calls it.
            sample: so many pairs of each part are enough; None: all.

        Raises:
            ClusterError: it was released.
        """
        origin = result.engine
        if origin is None or not origin.cluster_id or origin.cluster_id != self._engine.cluster_id:
            if origin is not None and origin.cluster_id and not self._engine.in_process:
                self.notes += (
                    f"{name} is the result of another cluster ({origin.label}): it comes through "
                    "this program",
                )
            return ReadySplits(list(_through_here(result, name, split_size, slots, sample)))
        job = JobId(result.job)
        self._results[job] = result
        splits = list(_in_place(result, job, name, split_size, slots))
        return ReadySplits(splits or list(_through_here(result, name, split_size, slots, 0)))

    def open(self, split: PartSplit) -> RecordReader:
        """Read a split here, to look at its beginning."""
        return RecordReader(self._batches(split))

    def _batches(self, split: PartSplit) -> Iterator[Batch]:
        (part,) = (each for each in self._results[split.job].parts if each.index == split.part)
        yield from part.batches(split)


def _in_place(
    result: JobResult, job: JobId, name: str, split_size: int | None, slots: int
) -> Iterator[PartSplit]:
    parts = [part for part in result.parts if part.pairs]
    total = sum(part.nbytes for part in parts)
    target = target_size(total, split_size, slots)
    if split_size is None:
        wanted = -(-total // (TASKS_PER_SLOT * max(1, slots)))
        target = min(target, max(SMALLEST_SHARE, wanted))
    for part in parts:
        pieces = max(1, min(part.pairs, -(-part.nbytes // target)))
        cuts = [part.pairs * piece // pieces for piece in range(pieces + 1)]
        for first, end in pairwise(cuts):
            count = end - first
            nbytes = max(1, part.nbytes * count // part.pairs)
            yield PartSplit(name, job, part.index, first, count, part.pairs, nbytes)


def _through_here(
    result: JobResult, name: str, split_size: int | None, slots: int, sample: int | None
) -> Iterator[MemorySplit]:
    pairs = [pair for part in result.parts for pair in islice(result.part(part.index), sample)]
    for split in memory_splits(pairs, name, split_size, slots):
        yield replace(split, pairs=True)


def kind_of_pairs(batch: Batch | None, records: int) -> str:
    """Say what the first pairs are made of."""
    pairs: Sequence[Any] = [] if batch is None else batch.records[:records]
    kinds = {f"{type(key).__name__} {type(value).__name__}" for key, value in pairs}
    return "pairs " + "; ".join(sorted(kinds))
