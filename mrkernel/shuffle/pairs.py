"""The pairs of a result part as records of another job, read where the part lies. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from mrkernel.data.batches import Batch, PairBatch, tagged
from mrkernel.data.splits import PartSplit
from mrkernel.errors import InputError
from mrkernel.shuffle.block import Block, load_block
from mrkernel.shuffle.merge import block_pairs, merge_blocks
from mrkernel.shuffle.run import Read, RunIndex, SegmentReader, segment_readers


def pair_batches(split: PartSplit, read: Read, index: RunIndex) -> Iterator[Batch]:
    """Read the pairs of a split, in the order of its part.

    Args:
        read: of the part's file.
        index: what is where in it.

    Raises:
        InputError: the part is another one than when the job was planned.
        CorruptRunError: a block fails its checksum.
        OSError, ClusterError: whatever ``read`` raises.
    """
    found = index.partition(0).pairs
    if found != split.pairs:
        raise InputError(
            f"part {split.part} of {split.job} ({split.name}) was lost and made again with "
            f"{found:,} pairs, where it had {split.pairs:,}: make its functions depend on their "
            f"input alone, and run {split.job} again",
            split.name,
        )
    yield from tagged(_batches(split, read, index), split.source)


def _batches(split: PartSplit, read: Read, index: RunIndex) -> Iterator[Batch]:
    name = f"{split.name} part {split.part}"
    end = split.first + split.count
    for at, size, make in _blocks(split, segment_readers(read, name, index, 0)):
        start, stop = max(at, split.first) - at, min(at + size, end) - at
        if start < stop:
            remake = partial(_pairs, make, start, stop)
            nbytes = split.nbytes * (stop - start) // split.count
            yield PairBatch(remake(), name, at + start, nbytes, remake)


def _pairs(make: Callable[[], Block], start: int, stop: int) -> list[tuple[Any, Any]]:
    return list(block_pairs(make().cut(start, stop)))


def _blocks(
    split: PartSplit, segments: list[SegmentReader]
) -> Iterator[tuple[int, int, Callable[[], Block]]]:
    """The blocks that may hold pairs of the split: number of the first pair, pairs, the block."""
    at, end = 0, split.first + split.count
    if len(segments) > 1 and segments[0].sorted:
        # What a reducer gave at its finish() goes in between.
        for block in merge_blocks(segments):
            if at >= end:
                return
            yield at, block.pairs, partial(load_block, block.dump())
            at += block.pairs
        return
    for segment in segments:
        for number, place in enumerate(segment.blocks):
            if at < end and at + place.pairs > split.first:
                yield at, place.pairs, partial(segment.block, number)
            at += place.pairs
