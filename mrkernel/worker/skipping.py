"""``--on-error skip``: the records of a map task, those left out on which the mapper fails.

What a bad record gave before it raised is left out with it, and what it added to counters; what it
drew from ``random`` stays drawn. So the result is the same wherever slices are cut: a slice is
mapped as a whole first, as fast as ever; only if something is wrong with it everything is put back
(records as they were read, counters, ``random``) and its records are mapped one by one. A mapper
that keeps a state (a class) would see them twice, so its records go one by one from the start.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from operator import itemgetter
from typing import Any

from msgspec.structs import replace

from mrkernel.data.records import Batch, Unreadable
from mrkernel.errors import KeyTypeError
from mrkernel.job import counters, randomness
from mrkernel.job.bad_records import BadRecord
from mrkernel.job.failure import Failure, UserCodeError, short
from mrkernel.job.mapping import MapCall, Pair, at_record
from mrkernel.shuffle import keys as _keys
from mrkernel.shuffle import pickling
from mrkernel.worker.map_records import (
    EXACT_SLICE,
    FIRST_SLICE,
    LARGEST_SLICE,
    Done,
    Sink,
    key_failure,
    next_size,
    take_finals,
)
from mrkernel.worker.progress import ProgressCell

#: Bytes of pickled records that a task keeps, at most: they travel in the message of its end.
PICKLED_BYTES = 16 << 20
#: Places that the sentence about too many bad records names.
_NAMED = 3
#: Values that can always be sent.
_PLAIN = frozenset({str, bytes, int, float, bool, type(None)})
_first: Callable[[Pair], Any] = itemgetter(0)
_second: Callable[[Pair], Any] = itemgetter(1)


class Skipping:
    """The map task of a job that goes on without bad records.

    Args:
        task: its name.
        most: bad records that the job goes on without; 0: only without those of ``skip``.
        skip: records of the split, from 0, that the mapper is not given: they kill its process.
        stateful: whether the mapper must see each record once.
        exact: tell of every single record, before and after.
    """

    def __init__(
        self,
        task: str,
        most: int,
        skip: Collection[int],
        *,
        stateful: bool,
        exact: bool,
    ) -> None:
        self._task = task
        self._most = most
        self._skip = frozenset(skip)
        self._one_by_one = stateful or exact
        self._exact = exact
        self._room = PICKLED_BYTES
        self._bad: list[BadRecord] = []
        self._failed = 0  # of them, those on which the mapper failed here

    def map_records(
        self,
        batches: Iterable[Batch],
        call: MapCall,
        sink: Sink,
        progress: ProgressCell,
        done: Done,
    ) -> None:
        """Map all records; those left out are in ``done.bad``.

        Raises: UserCodeError: more of them are bad than the job goes on without.
        """
        self._bad = done.bad
        size = EXACT_SLICE if self._exact else FIRST_SLICE
        for batch in batches:
            stop, total, before = 0, len(batch.records), done.records
            while stop < total:
                begin, stop = stop, min(stop + size, total)
                if self._exact:
                    progress.at(batch.where(begin), before + begin)
                else:
                    progress.at(batch.near(begin))
                clock = time.perf_counter()
                pairs = self._slice(call, batch, begin, stop, before)
                done.pairs += len(pairs)
                if self._exact:  # a combiner that kills is not the fault of this record
                    progress.at(f"the pairs up to {batch.where(begin)}")
                sink.add(pairs)
                done.records += stop - begin
                progress.add(stop - begin, batch.nbytes * (stop - begin) // total)
                if not self._exact:
                    size = min(next_size(size, time.perf_counter() - clock), LARGEST_SLICE)
            done.bytes_in += batch.nbytes
        take_finals(call, sink, progress, done)

    def _slice(self, call: MapCall, batch: Batch, begin: int, stop: int, before: int) -> list[Pair]:
        """Map a slice, as a whole if nothing is wrong with it.

        Args:
            before: records of the split before the batch.
        """
        if not self._one_by_one and self._is_plain(batch, begin, stop, before):
            counted, drawn = counters.saved(), randomness.state()
            try:
                return _checked(call.pairs(batch, begin, stop))
            except (UserCodeError, KeyTypeError):
                counters.restore(counted)
                randomness.restore(drawn)
                batch.records[begin:stop] = batch.anew(begin, stop)
        pairs: list[Pair] = []
        for index in range(begin, stop):
            pairs += self._record(call, batch, index, before)
        return pairs

    def _is_plain(self, batch: Batch, begin: int, stop: int, before: int) -> bool:
        """Whether all records of a slice may be given to the mapper."""
        if self._skip and not self._skip.isdisjoint(range(before + begin, before + stop)):
            return False
        return Unreadable not in set(map(type, batch.records[begin:stop]))

    def _record(self, call: MapCall, batch: Batch, index: int, before: int) -> list[Pair]:
        record = batch.records[index]
        if isinstance(record, Unreadable):
            sentence = f"{batch.where(index)} is {record.reason}"
            failure = Failure(kind="input", sentence=sentence, record=short(record.text))
            self._leave_out(batch, index, before, failure, error=record.reason)
            return []
        if before + index in self._skip:
            sentence = f"the record at {batch.where(index)} ends the process of the mapper"
            failure = at_record(Failure(kind="crash", sentence=sentence), batch, index)
            # The manager knows how, and fills it in.
            self._leave_out(batch, index, before, failure, error="")
            return []
        counted = counters.saved()
        try:
            pairs = call.pairs(batch, index, index + 1)
            try:
                return _checked(pairs)
            except KeyTypeError as error:
                raise UserCodeError(key_failure(error, batch, index)) from error
            except UserCodeError as error:  # a value, which did not know its record
                sentence = f"{error.failure.sentence} ({batch.where(index)})"
                failure = replace(error.failure, sentence=sentence)
                raise UserCodeError(at_record(failure, batch, index)) from error
        except UserCodeError as error:
            counters.restore(counted)
            self._leave_out(batch, index, before, error.failure, error=_error_of(error.failure))
        return []

    def _leave_out(
        self, batch: Batch, index: int, before: int, failure: Failure, *, error: str
    ) -> None:
        """Note a bad record.

        Raises: UserCodeError: it is one too many.
        """
        file, offset = batch.key(index)
        pickled = failure.evidence if len(failure.evidence) <= self._room else b""
        self._room -= len(pickled)
        self._bad.append(
            BadRecord(
                task=self._task,
                index=before + index,
                file=file,
                offset=offset,
                record=failure.record,
                error=error,
                traceback=failure.traceback(),
                where=batch.where(index),
                pickled=pickled,
            )
        )
        if before + index in self._skip:
            return  # the manager knows, and counts
        self._failed += 1
        if self._failed > self._most:
            failure = replace(failure, index=before + index)
            raise UserCodeError(self._too_many(failure) if self._most else failure)

    def _too_many(self, last: Failure) -> Failure:
        first = "; ".join(f"{bad.where}: {bad.error}" for bad in self._bad[:_NAMED])
        more = ", …" if len(self._bad) > _NAMED else ""
        records = "1 record" if self._most == 1 else f"{self._most:,} records"
        return replace(
            last,
            kind="input" if last.kind == "input" else "user",
            sentence=f"{self._failed:,} records of {self._task} are bad, and --on-error "
            f"skip:{self._most} goes on without {records}: mend the mapper, or allow more "
            f"({first}{more})",
        )


def _error_of(failure: Failure) -> str:
    """Say in one line what was wrong."""
    if failure.error_type and failure.error_type != "KeyTypeError" and failure.frames:
        message = failure.message.partition("\n")[0]
        return f"{failure.error_type}: {message}" if message else failure.error_type
    return failure.sentence.removesuffix(f" ({failure.where})")


def _checked(pairs: list[Pair]) -> list[Pair]:
    """See that pairs can leave the task: a sink may take some before it finds one that cannot.

    Raises:
        KeyTypeError: a key is of a type that keys cannot have.
        UserCodeError: a value cannot be pickled.
    """
    if not set(map(type, map(_first, pairs))) <= _keys.SCALARS:
        _keys.check(list(map(_first, pairs)))
    if not set(map(type, map(_second, pairs))) <= _PLAIN:
        values: list[Any] = list(map(_second, pairs))
        if not pickling.is_tree(values):
            pickling.dumps(values)
    return pairs
