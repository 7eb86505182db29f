"""Passes: merging many segments into few in scratch files, where all at once do not fit."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from math import isqrt
from pathlib import Path

from mrkernel.shuffle.rounds import rounds
from mrkernel.shuffle.run import (
    RunWriter,
    SegmentReader,
    block_bytes,
    file_read,
    segment_readers,
)

#: A block takes about so much more memory while it is merged.
_SWELL = 3


class Scratch:
    """Names for temporary files, in a folder that is made when the first is needed."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._folder: Path | None = None
        self._files = 0

    def path(self) -> Path:
        """Give a new name."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="merge-", dir=self._parent))
        self._files += 1
        return self._folder / str(self._files)

    def close(self) -> None:
        """Remove everything."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def in_passes(
    segments: Sequence[SegmentReader],
    fan_in: int,
    scratch: Scratch,
    limit_bytes: int,
) -> Sequence[SegmentReader]:
    """Merge neighbours into scratch runs until the blocks of all segments fit in the budget.

    Few enough small segments (10,000 with one group each) need no pass, however many they are.
    """
    fan_in = max(2, fan_in)
    budget = limit_bytes // 4
    while sum(map(_weight, segments)) > budget and len(segments) > fan_in:
        merged: list[SegmentReader] = []
        some: list[SegmentReader] = []
        held = 0
        # As many lists as there are segments in each: no merge is larger than the last one.
        most = max(fan_in, isqrt(len(segments)) + 1)
        for segment in segments:
            weight = _weight(segment)
            if len(some) == most or (len(some) >= fan_in and held + weight > budget):
                merged += _rewritten(some, scratch, limit_bytes)
                some, held = [], 0
            some.append(segment)
            held += weight
        segments = merged + _rewritten(some, scratch, limit_bytes)
    return segments


def _rewritten(
    segments: list[SegmentReader], scratch: Scratch, limit_bytes: int
) -> list[SegmentReader]:
    """Merge segments into one, on disk."""
    if len(segments) == 1:
        return segments
    path = scratch.path()
    writer = RunWriter(path, 1, block_bytes=block_bytes(limit_bytes))
    try:
        for block in rounds(segments):
            writer.write_block(0, block)
        index = writer.close()
    except BaseException:
        writer.abort()
        raise
    return segment_readers(file_read(path), str(path), index, 0)


def _weight(segment: SegmentReader) -> int:
    """Estimate the bytes that the blocks of a segment take while they are merged."""
    return _SWELL * max((place.length for place in segment.blocks), default=0)
