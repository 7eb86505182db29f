"""Merging the sorted segments of a partition into groups, and result parts into pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from mrkernel.shuffle.assembly import concat
from mrkernel.shuffle.block import Block
from mrkernel.shuffle.columns import Column
from mrkernel.shuffle.group_batch import GroupBatch
from mrkernel.shuffle.grouping import join
from mrkernel.shuffle.passes import Scratch, in_passes
from mrkernel.shuffle.rounds import rounds
from mrkernel.shuffle.run import SegmentReader
from mrkernel.shuffle.values import SpilledValues


def merge_groups(
    segments: Sequence[SegmentReader],
    *,
    fan_in: int = 16,
    scratch: Path | None = None,
    limit_bytes: int = 256 * 1024 * 1024,
) -> Iterator[GroupBatch]:
    """Merge the segments of one partition into batches of groups, by key.

    Args:
        segments: each sorted; values of one key come in this order. May be empty.
        fan_in: segments merged at once even where their blocks do not fit in the budget together.
        scratch: directory for passes and for groups larger than memory; None: memory only.
        limit_bytes: budget for values in memory, about.

    Yields:
        Batches; each key is in exactly one of them. A batch ends when the next is asked for.

    Raises:
        CorruptRunError: a block fails its checksum; has ``path``, and ``offset`` in bytes.
    """
    folder = None if scratch is None else Scratch(scratch)
    try:
        if folder is not None:
            segments = in_passes(segments, fan_in, folder, limit_bytes)
        yield from _batches(rounds(segments), folder, limit_bytes)
    finally:
        if folder is not None:
            folder.close()


def merge_sorted(
    segments: Sequence[SegmentReader],
    *,
    fan_in: int = 16,
    scratch: Path,
    limit_bytes: int = 256 * 1024 * 1024,
) -> Iterator[Block]:
    """Merge as `merge_groups` does, into blocks; a long group comes piece by piece.

    Raises:
        CorruptRunError: a block fails its checksum.
    """
    folder = Scratch(scratch)
    try:
        yield from rounds(in_passes(segments, fan_in, folder, limit_bytes))
    finally:
        folder.close()


def merge_blocks(parts: Sequence[SegmentReader]) -> Iterable[Block]:
    """Merge result parts into blocks: by reduce key, then in the order of the yields.

    Args:
        parts: sorted ones (keys are the reduce keys) are merged; if one is not sorted (map-only
            output) they are read one after the other.

    Raises:
        CorruptRunError: a block fails its checksum.
    """
    return rounds(parts) if all(part.sorted for part in parts) else chain.from_iterable(parts)


def block_pairs(block: Block) -> Iterator[tuple[Any, Any]]:
    """Iterate the pairs of a block of a result part: its own keys, or each group's key."""
    if len(block.columns) == 2:
        return zip(block.columns[0].to_list(), block.columns[1].to_list(), strict=True)
    keys: Iterable[Any] = block.keys.to_list()
    if block.counts is not None:
        keys = chain.from_iterable(map(repeat, keys, block.count_list()))
    return zip(keys, block.columns[0].to_list(), strict=True)


def _batches(
    blocks: Iterator[Block], scratch: Scratch | None, limit_bytes: int
) -> Iterator[GroupBatch]:
    for block in blocks:
        if block.continues:
            yield from _long_group(block, blocks, scratch, limit_bytes)
        else:
            yield GroupBatch(block.keys, block.counts, block.columns[0])


def _long_group(
    piece: Block, blocks: Iterator[Block], scratch: Scratch | None, limit_bytes: int
) -> Iterator[GroupBatch]:
    """Collect one group that comes in pieces, on disk if it is larger than the budget."""
    keys = [piece.keys]
    columns: list[Column] = [piece.columns[0]]
    size = columns[0].nbytes
    spilled: SpilledValues | None = None
    try:
        while piece.continues:
            piece = next(blocks)
            if piece.keys.kind != keys[-1].kind or piece.keys.kind == "encoded":
                keys.append(piece.keys)
            columns.append(piece.columns[0])
            size += columns[-1].nbytes
            if scratch is not None and size > limit_bytes // 4:
                if spilled is None:
                    spilled = SpilledValues(scratch.path())
                for column in columns:
                    spilled.append(column)
                columns, size = [], 0
        key = join([Block(each, None, [each.column]) for each in keys]).keys
        if spilled is None:
            joined = concat(columns)
            yield GroupBatch(key, [len(joined)], joined)
        else:
            for column in columns:
                spilled.append(column)
            yield GroupBatch(key, [len(spilled)], spilled)
    finally:
        if spilled is not None:
            spilled.close()
