"""A sample of a job's keys, for ``--partitioner range``: the mapper on some records, here.

It is taken before the job starts, so it is bounded in records, bytes and time, and user code runs
in a process apart. Whatever comes of it the job is right: only how evenly the keys are dealt out
depends on it, and without any sample one reduce task gets them all.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial

import msgspec

from mrkernel.data.records import Batch, RecordReader
from mrkernel.data.splits import FileSplit, MemorySplit, PartSplit, Split, is_far
from mrkernel.data.url_inputs import each
from mrkernel.errors import MRKernelError
from mrkernel.job import counters, randomness
from mrkernel.job.batch_mapping import BatchMapCall
from mrkernel.job.failure import UserCodeError
from mrkernel.job.functions import Functions
from mrkernel.job.mapping import MapCall, Pair
from mrkernel.job.trial import compute_apart
from mrkernel.shuffle.keys import encode
from mrkernel.shuffle.range_partition import choose_boundaries

#: Places of the input that are looked at, spread evenly over it; one per split where there are as
#: many.
PLACES = 20
#: Records mapped at each place, and pairs that are enough of it.
RECORDS, PAIRS = 250, 1000
#: Records mapped between two looks at the clock.
_SLICE = 25
#: Seconds: when the sample takes what it has, and when a mapper that does not come back is ended.
BUDGET_S, LIMIT_S = 1.0, 2.0

#: Encoded keys, each with the number of pairs it stands for.
Sample = list[tuple[bytes, float]]


def sample_boundaries(
    splits: Sequence[Split],
    open_split: Callable[[Split], RecordReader],
    functions: Callable[[], AbstractContextManager[Functions]],
    partitions: int,
    *,
    batch: bool = False,
) -> list[bytes]:
    """Find boundaries that deal the keys of a job out evenly, for a ``RangePartitioner``.

    Args:
        splits: the input.
        open_split: reads the records of one; small batches are best.
        functions: gives the functions as a worker would have them.
        partitions: number of reduce tasks.
        batch: whether the mapper takes tables.

    Returns: up to ``partitions`` - 1 boundaries, fewer where little was found; [] without a sample.
    """
    if partitions < 2:
        return []
    places = choose_places(splits)
    if any(map(is_far, splits[:1])):
        open_split = _looked_ahead([split for split, _ in places], open_split)
    compute = partial(_compute, places, open_split, functions, batch)
    data = compute_apart(compute, LIMIT_S)
    if not data:
        return []
    return choose_boundaries(msgspec.msgpack.decode(data, type=Sample), partitions)


def choose_places(splits: Sequence[Split], most: int = PLACES) -> list[tuple[Split, float]]:
    """Choose where to look: pieces of the input, each with the bytes it stands for."""
    if len(splits) >= most:
        share = sum(split.nbytes for split in splits) / most
        picked = [splits[(2 * n + 1) * len(splits) // (2 * most)] for n in range(most)]
        return [(split, share) for split in picked]
    places: list[tuple[Split, float]] = []
    for number, split in enumerate(splits):
        # The first splits get one more where it does not come out even.
        count = most // len(splits) + (number < most % len(splits))
        if isinstance(split, FileSplit) and split.nbytes and not split.streamed:
            # Any cut gives whole records: a reader skips to the first that begins after it.
            size = split.end - split.start
            starts = sorted({split.start + size * n // count for n in range(count)})
            places += [
                (msgspec.structs.replace(split, start=start), size / len(starts))
                for start in starts
            ]
        elif isinstance(split, PartSplit):
            # Its pairs are in the order of their keys: the first of them are like no others.
            end = split.first + split.count
            starts = sorted({split.first + split.count * n // count for n in range(count)})
            each = split.nbytes / len(starts)
            for start in starts:
                nbytes = max(1, split.nbytes * (end - start) // split.count)
                rest = msgspec.structs.replace(split, first=start, count=end - start, nbytes=nbytes)
                places.append((rest, each))
        else:
            places.append((split, float(split.nbytes)))
    return places


def first_batch(splits: Sequence[Split], look: Callable[[Split], RecordReader]) -> Batch | None:
    """Read the beginning of the first split that has records."""
    for split in splits:
        with look(split) as reader:
            for batch in reader:
                if len(batch):
                    return batch
    return None


def _looked_ahead(
    places: Sequence[Split], look: Callable[[Split], RecordReader]
) -> Callable[[Split], RecordReader]:
    """Read what a sample will look at, at many places at once: each takes its time to come."""

    def read(split: Split) -> Batch | None:
        with contextlib.suppress(MRKernelError):  # the job says what is wrong, in its own words
            return first_batch([split], look)
        return None

    begins = dict(zip(places, each(read, places), strict=True))
    return lambda split: RecordReader(iter(filter(None, [begins[split]])))


def _compute(
    places: Sequence[tuple[Split, float]],
    open_split: Callable[[Split], RecordReader],
    functions: Callable[[], AbstractContextManager[Functions]],
    tables: bool,
) -> bytes:
    deadline = time.monotonic() + BUDGET_S
    sample: Sample = []
    with (
        counters.collect(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        randomness.seeded(0, "map-0"),
        functions() as loaded,
    ):
        for split, stands_for in places:
            if time.monotonic() > deadline:
                break
            # What is wrong with the records or the mapper is told by the job, in its own words.
            with contextlib.suppress(MRKernelError), open_split(split) as reader:
                batch = next((batch for batch in reader if len(batch)), None)
                if batch is not None:
                    look = _look_at_tables if tables else _look_at_records
                    spaced = isinstance(split, MemorySplit)
                    pairs, part = look(loaded, batch, spaced, deadline)
                    step = max(1, len(pairs) // PAIRS)
                    weight = step * stands_for / max(1.0, batch.nbytes * part)
                    sample += [(encode(key), weight) for key, _ in pairs[::step]]
    return msgspec.msgpack.encode(sample)


def _look_at_records(
    functions: Functions, batch: Batch, spaced: bool, deadline: float
) -> tuple[list[Pair], float]:
    """Map some records; give their pairs, and which part of the batch they are.

    Args:
        spaced: spread over the batch, which is all there is of a split; else the first ones.
    """
    call = MapCall(functions.mapper)
    size = len(batch)
    mapped = 0
    pairs: list[Pair] = []
    slices = -(-min(size, RECORDS) // _SLICE)
    for number in range(slices):
        start = size * number // slices if spaced else number * _SLICE
        stop = min(start + _SLICE, size)
        try:
            pairs += call.pairs(batch, start, stop)
        except UserCodeError:
            continue  # the job says what is wrong with a record, or goes on without it
        mapped += stop - start
        if (len(pairs) >= PAIRS and not spaced) or time.monotonic() > deadline:
            break
    pairs += call.finish()
    return pairs, mapped / size


def _look_at_tables(
    functions: Functions, batch: Batch, spaced: bool, deadline: float
) -> tuple[list[Pair], float]:
    call = BatchMapCall(functions.mapper)
    mapped = min(len(batch), RECORDS)
    return call.try_rows(batch, mapped), mapped / len(batch)
