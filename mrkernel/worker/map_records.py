"""The records of one map task through its mapper and into a sink, slice by slice.

A slice is as large as the clock allows: progress is seen, and a cancel in an engine without
processes is heard, between two of them. Nobody looks at single records while all goes well.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from msgspec.structs import replace

from mrkernel.data.records import Batch
from mrkernel.errors import KeyTypeError
from mrkernel.job.bad_records import BadRecord
from mrkernel.job.failure import Failure, UserCodeError, short
from mrkernel.job.mapping import MapCall, Pair, at_record
from mrkernel.protocol.worker_messages import PartOutput, RunOutput
from mrkernel.shuffle.columns import Column
from mrkernel.worker.progress import ProgressCell

#: Records are mapped in slices that take about this long.
SLICE_S = 0.05
FIRST_SLICE = 16
#: More at once leave the processor's cache before they are checked and sorted (measured).
LARGEST_SLICE = 1024
#: Under --timeout, and after a crash, every record is told before it is mapped and after: slow ones
#: in a slice would look like one that never ends, and nobody would know which one kills.
EXACT_SLICE = 1
#: Where a map task is when all its records are mapped, and its pairs are combined and dealt out.
AFTER_ALL = "the end of the split, after all records"


class Sink(Protocol):
    """Takes the pairs of a map task."""

    def add(self, pairs: list[Pair], /) -> None: ...
    def add_columns(self, keys: Column, values: Column, /) -> None: ...


@dataclass(slots=True)
class Done:
    """What an attempt has behind it."""

    records: int = 0
    pairs: int = 0
    bytes_in: int = 0
    output: RunOutput | None = None
    part: PartOutput | None = None
    bad: list[BadRecord] = field(default_factory=list)  #: records it went on without


def map_records(
    batches: Iterable[Batch],
    call: MapCall,
    sink: Sink,
    progress: ProgressCell,
    done: Done,
    *,
    exact: bool = False,
) -> None:
    """Map all records, each slice as fast as C where user code allows.

    Args:
        exact: tell of every single record, before and after.

    Raises: UserCodeError: the mapper failed; its failure names the record.
    """
    take = sink.add
    largest = EXACT_SLICE if exact else LARGEST_SLICE
    size = min(FIRST_SLICE, largest)
    for batch in batches:
        stop, total, before = 0, len(batch.records), done.records
        while stop < total:
            begin, stop = stop, min(stop + size, total)
            if exact:
                progress.at(batch.where(begin), before + begin)
            else:
                progress.at(batch.near(begin))
            clock = time.perf_counter()
            try:
                for pairs in call.pieces(batch, begin, stop):
                    try:
                        take(pairs)
                    except KeyTypeError as error:
                        raise _bad_key(error, call, batch, begin, stop, pairs) from error
                    done.pairs += len(pairs)
            except UserCodeError as error:
                raise in_split(error, before) from error.__cause__
            done.records += stop - begin
            progress.add(stop - begin, batch.nbytes * (stop - begin) // total)
            size = min(next_size(size, time.perf_counter() - clock), largest)
        done.bytes_in += batch.nbytes
    take_finals(call, sink, progress, done)


def take_finals(call: MapCall, sink: Sink, progress: ProgressCell, done: Done) -> None:
    """Take what a class gives at its end.

    Raises: UserCodeError: as ``map_records``.
    """
    if call.has_finish:
        progress.at("finish()")
    pairs = call.finish()
    # What fails from now on is the combiner, or the partitioner: no record is to blame.
    progress.at(AFTER_ALL)
    done.pairs += len(pairs)
    try:
        sink.add(pairs)
    except KeyTypeError as error:
        failure = Failure(
            kind="user", sentence=f"{error} (finish())", role="mapper", where="finish()"
        )
        raise UserCodeError(failure) from error


def next_size(size: int, took: float) -> int:
    """Choose the size of the next slice after one that took so many seconds."""
    if took < SLICE_S / 2:
        return min(size * 2, LARGEST_SLICE)
    if took > SLICE_S * 2:
        return max(size // 2, 1)
    return size


def in_split(error: UserCodeError, before: int) -> UserCodeError:
    """Count the record of a failure from the beginning of the split.

    Args:
        before: records of the split before its batch.
    """
    failure = error.failure
    if failure.index is None:
        return error
    return UserCodeError(replace(failure, index=before + failure.index))


def key_failure(error: KeyTypeError, batch: Batch, index: int) -> Failure:
    """Say that record ``index`` of a batch gave a key that cannot be one."""
    sentence = f"{error} ({batch.where(index)})"
    return at_record(
        Failure(kind="user", sentence=sentence, error_type="KeyTypeError"), batch, index
    )


def _bad_key(
    error: KeyTypeError, call: MapCall, batch: Batch, begin: int, stop: int, pairs: list[Pair]
) -> UserCodeError:
    """Find the record of a bad key by mapping one record at a time: the job fails anyway."""
    wanted: Any = pairs[error.index][0] if error.index is not None else None
    kind = type(wanted)
    if stop - begin == 1:
        return UserCodeError(key_failure(error, batch, begin))
    batch.records[begin:stop] = batch.anew(begin, stop)
    for index in range(begin, stop):
        for key, _ in call.pairs(batch, index, index + 1):
            if type(key) is kind and short(key) == short(wanted):
                return UserCodeError(key_failure(error, batch, index))
    where = batch.where(begin)
    return UserCodeError(
        Failure(kind="user", sentence=f"{error} ({where})", where=where, role="mapper")
    )
