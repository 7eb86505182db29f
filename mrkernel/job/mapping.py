"""The mapper of one task: records in, lists of pairs out, at the speed of C where user code allows.

A slice of a batch is one ``list(chain.from_iterable(map(mapper, records)))``; shapes are checked on
the whole list afterwards. Only when something is wrong do we look for the record: the failing one
is told by the list iterator (``__length_hint__``), which costs the good case nothing.
"""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, islice, starmap
from operator import is_, is_not
from types import GeneratorType
from typing import Any

from msgspec.structs import replace

from mrkernel.data.batches import called_with
from mrkernel.data.records import Batch
from mrkernel.job.callables import prepare
from mrkernel.job.evidence import evidence_of
from mrkernel.job.failure import Failure, UserCodeError, frames_of, short, text_of, user_failure

Pair = tuple[Any, Any]

_is_something = partial(is_not, None)
#: Pairs that are made before they are taken away.
MOST_PAIRS = 1 << 16


class MapCall:
    """A mapper, made ready for one task: a class is made here, once."""

    def __init__(self, mapper: Any) -> None:
        """Check the mapper.

        Raises:
            JobSpecError: it cannot be a mapper; says what to write.
            UserCodeError: it is a class and raised while it was made.
        """
        prepared = prepare(mapper, "mapper")
        self._call = prepared.call
        self._finish = prepared.finish
        self.has_finish = prepared.finish is not None
        self._generator = prepared.generator
        self.wants_key = prepared.required == 2  #: called as mapper(key, record)
        #: It is no generator and gave back no pair so far.
        self.silent = not prepared.generator

    def pairs(self, batch: Batch, start: int = 0, stop: int | None = None) -> list[Pair]:
        """Map the records ``start`` to ``stop`` (excluded) of a batch.

        Returns: all pairs in order, each exactly a tuple of two; keys are not checked.

        Raises: UserCodeError: the mapper raised, or gave something that is no pair.
        """
        return list(chain.from_iterable(self.pieces(batch, start, stop)))

    def pieces(
        self, batch: Batch, start: int = 0, stop: int | None = None, most: int = MOST_PAIRS
    ) -> Iterator[list[Pair]]:
        """Map the records ``start`` to ``stop`` (excluded), and give ``most`` pairs at a time.

        So a record that gives millions of pairs needs no memory for all of them.

        Raises: UserCodeError: as ``pairs``.
        """
        records = batch.records
        source: Iterator[Any]
        if self.wants_key:
            stop = len(records) if stop is None else min(stop, len(records))
            firsts, records = batch.arguments(start, stop)
            source = iter(firsts)
            made: Iterator[Any] = map(self._call, source, records)
        else:
            if start or (stop is not None and stop < len(records)):
                records = records[start:stop]
            source = iter(records)
            made = map(self._call, source)
        if not self._generator:
            # A plain function may leave a record out by falling off its end.
            made = filter(_is_something, made)
        stream = chain.from_iterable(made)
        size = most
        while size == most:
            try:
                out = list(islice(stream, most))
            except (Exception, SystemExit) as error:
                index = len(records) - source.__length_hint__() - 1  # type: ignore[attr-defined]
                raise self._failed(error, batch, start + index) from error
            size = len(out)
            if out:
                self.silent = False
                yield out if all_pairs(out) else self._reshaped(out, batch, start, len(records))
        left: tuple[Any, ...] = source.__reduce__()  # type: ignore[assignment]
        if len(left) == 3 and records:
            # map() took a StopIteration of the mapper for the end of the records.
            index = start + left[2] - 1
            stopped: BaseException = StopIteration("next() of an empty iterator")
            try:
                self._again(batch, index)  # for the line
            except (Exception, SystemExit) as again:  # noqa: BLE001 - it becomes the error reported
                stopped = again
            hint = "give next() a default, next(iterator, None), or write a for loop"
            raise self._error(stopped, batch, index, hint)

    def finish(self) -> list[Pair]:
        """The pairs that a class gives at the end of its task; [] for a function.

        Raises: UserCodeError: as ``pairs``.
        """
        if self._finish is None:
            return []
        try:
            given = self._finish()
            out = [] if given is None else list(given)
        except (Exception, SystemExit) as error:
            failure = user_failure(error, role="mapper", where="finish()", hint=hint_for(error))
            raise UserCodeError(failure) from error
        for index, item in enumerate(out):
            pair = as_pair(item)
            if pair is None:
                raise UserCodeError(_no_pair("mapper's finish()", item, "finish()"))
            out[index] = pair
        return out

    def _reshaped(self, out: list[Any], batch: Batch, start: int, count: int) -> list[Pair]:
        """Turn 2-lists and named tuples into tuples; find the record of anything else."""
        pairs = [as_pair(item) for item in out]
        if None not in pairs:
            return pairs  # type: ignore[return-value]
        if count == 1 and self._generator:  # no second call, which a class with a state would feel
            raise self._bad_pair(out[pairs.index(None)], batch, start)
        # Only now it is worth calling the mapper again, record by record: the task fails anyway.
        for index in range(start, start + count):
            try:
                result = self._again(batch, index)
                items = [] if result is None else list(result)
            except (Exception, SystemExit) as error:
                raise self._failed(error, batch, index) from error
            bad = next((item for item in items if as_pair(item) is None), self)
            if bad is not self:
                self._refuse(result, bad, batch, index)
        bad = out[pairs.index(None)]
        raise UserCodeError(_no_pair("mapper", bad, ""))

    def _again(self, batch: Batch, index: int) -> Any:
        record = batch.anew(index, index + 1)[0]  # the first call may have changed it
        if self.wants_key:
            return self._call(*called_with(batch.mark(index), record))
        return self._call(record)

    def _failed(self, error: BaseException, batch: Batch, index: int) -> UserCodeError:
        """The error of record ``index``; what the mapper gave back when that was no iterable."""
        index = max(0, min(index, len(batch.records) - 1))
        trace = error.__traceback__
        if isinstance(error, TypeError) and trace is not None and trace.tb_next is None:
            # Ours is the only frame: chain() met what is no iterable, or C code was called wrongly.
            try:
                result = self._again(batch, index)
            except (Exception, SystemExit) as again:  # noqa: BLE001 - it becomes the error reported
                hint = hint_for(again, batch.records[index])
                return self._error(again, batch, index, hint)
            if not isinstance(result, Iterable):
                return self._returned(result, batch, index)
        return self._error(error, batch, index, hint_for(error, batch.records[index]))

    def _error(self, error: BaseException, batch: Batch, index: int, hint: str) -> UserCodeError:
        failure = user_failure(error, role="mapper", where=batch.where(index), hint=hint)
        return UserCodeError(at_record(failure, batch, index))

    def _refuse(self, result: Any, bad: Any, batch: Batch, index: int) -> None:
        if self._generator or isinstance(result, GeneratorType):
            raise self._bad_pair(bad, batch, index)
        raise self._returned(result, batch, index)

    @staticmethod
    def _bad_pair(bad: Any, batch: Batch, index: int) -> UserCodeError:
        failure = _no_pair("mapper", bad, batch.where(index))
        return UserCodeError(at_record(failure, batch, index))

    def _returned(self, result: Any, batch: Batch, index: int) -> UserCodeError:
        """A plain function gave back something which is no list of pairs."""
        if isinstance(result, tuple) and len(result) == 2:
            said = f"the mapper returns a pair, {short(result)}"
            hint = "write yield key, value (or return [(key, value)])"
        elif isinstance(result, dict):
            said = f"the mapper returns a {type(result).__name__}"
            hint = "write return counts.items(), with the dict's own name"
        elif isinstance(result, (list, tuple, set)) and result:
            bad = next((item for item in result if as_pair(item) is None), None)
            said = (
                f"the mapper returns a {type(result).__name__} with {short(bad)}, which is no pair"
            )
            hint = "write return [(key, value), …], or yield key, value for each"
        else:
            said = f"the mapper returns {short(result)} ({a_kind(result)}), not pairs"
            hint = "write yield key, value (or return [(key, value)])"
        failure = Failure(kind="user", sentence=f"{said}: {hint} ({batch.where(index)})", hint=hint)
        return UserCodeError(at_record(failure, batch, index))

    def try_one(self, batch: Batch, index: int) -> list[Pair]:
        """Map one record, as ``pairs`` does, and look at what comes back (for the preflight).

        A dict whose keys are tuples of two would pass for pairs, and its values be lost in silence.

        Raises: UserCodeError: as ``pairs``; and the mapper gives back a dict.
        """
        call, given = self._call, None

        def noting(*arguments: Any) -> Any:
            nonlocal given
            given = call(*arguments)
            return given

        self._call = noting
        try:
            made = self.pairs(batch, index, index + 1)
        finally:
            self._call = call
        if made and isinstance(given, dict):
            raise self._returned(given, batch, index)
        return made


def all_pairs(items: list[Any]) -> bool:
    """Whether all items are plain tuples of two; 15 ns for each."""
    if [*map(type, items)].count(tuple) != len(items):
        return False
    try:
        # A call with two arguments is the cheapest way to have C count to two.
        deque(starmap(is_, items), 0)
    except TypeError:
        return False
    return True


def as_pair(item: Any) -> Pair | None:
    """The item as a tuple of two; None if it is neither that nor a list of two."""
    if isinstance(item, (tuple, list)) and len(item) == 2:
        return item if type(item) is tuple else tuple(item)
    return None


def a_kind(item: Any) -> str:
    """The type of something, with its article: ``an int``."""
    kind = type(item).__name__
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


def pair_hint(item: Any) -> str:
    """What to write instead of yielding ``item``."""
    if item is None:
        return "write yield key, value, such as yield word, 1"
    if isinstance(item, str):
        return "a pair needs a value: write yield word, 1 instead of yield word"
    if isinstance(item, dict):
        return "write yield from counts.items(), with the dict's own name"
    if isinstance(item, tuple) and len(item) == 1:
        return "a pair needs a value: write yield key, 1"
    if isinstance(item, (tuple, list)) and len(item) > 2:
        if all(as_pair(each) for each in item):
            return "write yield from pairs, with the list's own name"
        return "put the values together: write yield key, (value1, value2)"
    if isinstance(item, list) or hasattr(item, "__next__"):
        return "write yield from pairs, with its own name"
    return "a pair needs a value: write yield key, value, such as yield number, 1"


def at_record(failure: Failure, batch: Batch, index: int) -> Failure:
    """Add to a failure of the mapper on which record it failed, as it was before.

    Args:
        failure: its sentence is complete.
        index: of the record in its batch; ``Failure.index`` is the same, until somebody knows how
            many records of the split came before the batch.
    """
    record = batch.anew(index, index + 1)[0]
    return replace(
        failure,
        role="mapper",
        where=batch.where(index),
        record=short(record),
        index=index,
        evidence=evidence_of(batch.mark(index), record),
    )


def _no_pair(role: str, item: Any, where: str) -> Failure:
    what = f"{short(item)} ({a_kind(item)})"
    if isinstance(item, (tuple, list)):
        things = "thing" if len(item) == 1 else "things"
        what = f"{short(item)} ({a_kind(item)} of {len(item)} {things})"
    hint = pair_hint(item)
    place = f" ({where})" if where else ""
    return Failure(
        kind="user",
        sentence=f"the {role} yields {what}, not a pair: {hint}{place}",
        where=where,
        hint=hint,
    )


def hint_for(error: BaseException, record: Any = None) -> str:
    """What to write instead, for the errors that beginners meet; "" when nothing is known."""
    if isinstance(error, KeyError) and isinstance(record, dict) and error.args:
        missing = error.args[0]
        frames = frames_of(error)
        line = frames[-1].code if frames else ""
        # A dict of the user's own may lack the key as well: it is the record's if the line says so.
        written = isinstance(missing, str) and (f"'{missing}'" in line or f'"{missing}"' in line)
        if missing not in record and (written or _nearest(missing, record)):
            return _no_column(missing, record)
    message = text_of(error)
    if isinstance(error, AttributeError) and isinstance(record, dict) and error.obj is record:
        name = error.name or "name"
        if name in record:
            return f"rows are dicts: write record[{name!r}] instead of record.{name}"
        return _no_column(name, record)
    if isinstance(error, TypeError) and isinstance(record, str):
        if "string indices must be integers" in message:
            return "a record is a line of text (a str): cut it first, such as line.split(',')"
        if "a bytes-like object is required" in message:
            return "a record is a str: leave out the b in front of quotes"
    if isinstance(error, ValueError) and "values to unpack" in message:
        return "this record has another number of fields: check len(fields) before unpacking"
    if isinstance(error, IndexError) and isinstance(record, str):
        return "this line has fewer fields than the others: skip it, or check len(fields)"
    if isinstance(error, NameError) and error.name:
        return f"{error.name} is not defined where the mapper is: define or import it in a cell"
    if isinstance(error, SystemExit):
        return "a mapper may not end the process: leave exit() out, return skips a record"
    return ""


def _nearest(missing: Any, record: dict[Any, Any]) -> str:
    """The column most like ``missing``; "" when none is."""
    lowered = {str(name).lower().strip(): str(name) for name in reversed(record)}
    close = difflib.get_close_matches(str(missing).lower().strip(), lowered, n=1, cutoff=0.5)
    return lowered[close[0]] if close else ""


def _no_column(missing: Any, record: dict[Any, Any]) -> str:
    names = [str(name) for name in record]
    has = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    close = _nearest(missing, record)
    advice = f"; did you mean {close!r}?" if close else ""
    return f"record has no column {missing!r}; it has {has}{advice}"
