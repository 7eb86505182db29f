"""The reducer or combiner of one task: groups in, pairs out.

A generator yields pairs. Otherwise what it returns, tuples included, is the value of its key; None
for the first group of a task is refused, because somebody forgot a return.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, compress, islice, pairwise, repeat
from operator import is_, is_not, not_
from types import GeneratorType, NoneType
from typing import Any, NamedTuple, NoReturn, Protocol

from mrkernel.errors import KeyTypeError, MRKernelError
from mrkernel.job.builtins import IDENTITY, builtin_combiner, builtin_reducer, identity
from mrkernel.job.callables import prepare
from mrkernel.job.evidence import evidence_of_group
from mrkernel.job.failure import Failure, UserCodeError, short, user_failure
from mrkernel.job.mapping import Pair, all_pairs, as_pair, hint_for, pair_hint

#: Results that cannot leave the task: they would be empty, or unpicklable, afterwards.
_LAZY: tuple[type, ...] = (
    map,
    filter,
    zip,
    GeneratorType,
    type({}.keys()),
    type({}.values()),
    type({}.items()),
)


class Reduced(NamedTuple):
    """What a batch of groups was reduced to, as columns."""

    keys: list[Any]  #: the groups' keys
    counts: list[int]  #: output pairs of each group
    out_keys: list[Any] | None  #: key of each output pair; None: each is its group's key
    values: list[Any]  #: value of each output pair


class Groups(Protocol):
    """Groups whose values are in memory, and come to life and end in bulk."""

    keys: list[Any]
    items: list[list[Any]]  #: the values of each group, for us
    values: list[Any]  #: the same, as the reducer gets them

    def close(self) -> Iterator[None]:
        """Give an iterator; each step ends the life of the next group's values."""

    def reopen(self, place: int) -> None:
        """Let the values of one group live on."""


#: Stands after what the reducer yielded for a group.
_END = object()
_MARK = (_END,)


class ReduceCall:
    """A reducer or combiner, made ready for one task."""

    def __init__(
        self,
        reducer: Any,
        role: str = "reducer",
        finish_states: Callable[[Any], Any] | None = None,
    ) -> None:
        """Check it.

        Args:
            reducer: a function, a class, an object to call, or the name of a built-in.
            role: "reducer" or "combiner".
            finish_states: reduces a group where map tasks left states of a built-in, no values.

        Raises:
            JobSpecError: it cannot be that; says what to write.
            UserCodeError: it is a class and raised while it was made.
        """
        self._role = role
        self._first = True
        self._finish = None
        self.has_finish = False
        self._generator = False
        self._builtin = None
        self._states = False  # values are states of the built-in
        if isinstance(reducer, str) and reducer.strip() == IDENTITY and role == "reducer":
            reducer = identity
        if isinstance(reducer, str):
            look_up = builtin_combiner if role == "combiner" else builtin_reducer
            self._builtin = finish_states or look_up(reducer)
            self._states = finish_states is not None
            self._name = reducer.strip()
            return
        prepared = prepare(reducer, role)
        self._call = prepared.call
        self._generator = prepared.generator
        self._finish = prepared.finish
        self.has_finish = self._finish is not None
        if role == "combiner" and self._finish is not None:
            self._fail("a combiner's finish() is never called", "leave finish() out", "")

    def reduce(self, groups: Iterable[tuple[Any, Any]]) -> Reduced:
        """Reduce a batch of groups.

        Args:
            groups: (key, values); values that are no list are closed after their call.

        Raises: UserCodeError: it raised, or gave something that is no pair; names the group.
        """
        if self._builtin is not None:
            return self._reduce_builtin(groups)
        call = self._call
        keys: list[Any] = []
        counts: list[int] = []
        pairs: list[Any] = []
        for key, values in groups:
            try:
                result = call(key, values)
                if type(result) is GeneratorType:
                    before = len(pairs)
                    pairs.extend(result)
                    counts.append(len(pairs) - before)
                elif result is not None:
                    pairs.append((key, result))
                    counts.append(1)
                elif self._finish is not None:
                    counts.append(0)  # it gathers, and gives at finish()
                elif self._first:
                    self._refuse_none(key, values)
                else:
                    pairs.append((key, None))
                    counts.append(1)
            except MRKernelError:
                raise  # a slip we refuse, or a corrupt run met while reading values
            except (Exception, SystemExit) as error:
                raise self._error(error, key, values) from error
            self._first = False
            keys.append(key)
            if type(values) is not list:
                given = counts[-1]
                if given > 1 or (given and type(pairs[-1]) is tuple and values is pairs[-1][-1]):
                    self._keep(values, pairs, given)
                values.close()
        return self._columns(keys, counts, pairs)

    def reduce_all(self, groups: Groups) -> Reduced:
        """Reduce groups as `reduce` does, in a loop in C: 200 ns less for each group (measured).

        Raises: UserCodeError: as ``reduce``.
        """
        if not groups.keys:
            return Reduced([], [], None, [])
        if self._builtin is not None:
            return self._all_builtin(groups)
        keys, values = groups.keys, groups.values
        source = iter(keys)
        # Whenever the next key is asked for, the values of the one before end.
        closing = compress(source, chain((True,), map(not_, groups.close())))
        called = map(self._call, closing, values)
        pairs: list[Any]
        try:
            if self._generator:
                marked = chain.from_iterable(zip(called, repeat(_MARK), strict=False))
                pairs = list(chain.from_iterable(marked))
            else:
                pairs = list(called)
        except MRKernelError:
            raise  # a slip we refuse, or a corrupt run met while reading values
        except (Exception, SystemExit) as error:
            place = len(keys) - source.__length_hint__() - 1  # type: ignore[attr-defined]
            raise self._error(error, keys[place], values[place]) from error
        if self._generator:
            reduced = self._unmarked(groups, pairs)
        else:
            if len(pairs) < len(keys):
                # map() took a StopIteration of the reducer for the end of the groups.
                place = len(pairs)
                stopped: BaseException = StopIteration("next() of an empty iterator")
                try:
                    self._call(keys[place], values[place])  # for the line
                except (Exception, SystemExit) as again:  # noqa: BLE001 - it becomes the error
                    stopped = again
                raise self._error(stopped, keys[place], values[place]) from stopped
            reduced = self._all_results(groups, pairs)
        values[-1].close()
        self._first = False
        return reduced

    def _all_builtin(self, groups: Groups) -> Reduced:
        function = self._builtin
        assert function is not None
        source = iter(groups.items)
        try:
            out = list(map(function, source))
        except MRKernelError:
            raise
        except Exception as error:
            left = source.__length_hint__()  # type: ignore[attr-defined]
            place = len(groups.keys) - left - 1
            key, values = groups.keys[place], groups.items[place]
            raise self._error(error, key, values, _builtin_hint(self._name, error)) from error
        return Reduced(groups.keys, [1] * len(out), None, out)

    def _unmarked(self, groups: Groups, marked: list[Any]) -> Reduced:
        """Make columns of pairs with a mark after those of each group."""
        number = len(groups.keys)
        if len(marked) == 2 * number and all(map(is_, marked[1::2], repeat(_END))):
            counts, pairs = [1] * number, marked[::2]
        else:
            ends = compress(range(len(marked)), map(is_, marked, repeat(_END)))
            counts = [end - start - 1 for start, end in pairwise(chain((-1,), ends))]
            pairs = list(compress(marked, map(is_not, marked, repeat(_END))))
        return self._columns(groups.keys, counts, pairs, groups)

    def _all_results(self, groups: Groups, results: list[Any]) -> Reduced:
        """Make columns of what a plain function returned, one result for each group."""
        keys = groups.keys
        kinds = set(map(type, results))
        if NoneType in kinds and self._first and results[0] is None and self._finish is None:
            self._refuse_none(keys[0], groups.items[0])
        absent = NoneType in kinds and self._finish is not None  # it gathers, gives at finish()
        if absent or GeneratorType in kinds or type(groups.values[0]) in kinds:
            pairs: list[Any] = []
            counts: list[int] = []
            for place, (key, result) in enumerate(zip(keys, results, strict=True)):
                before = len(pairs)
                if type(result) is GeneratorType:
                    groups.reopen(place)
                    try:
                        pairs.extend(result)
                    except MRKernelError:
                        raise
                    except (Exception, SystemExit) as error:
                        raise self._error(error, key, groups.values[place]) from error
                    groups.values[place].close()
                elif result is not None or self._finish is None:
                    pairs.append((key, result))
                counts.append(len(pairs) - before)
            return self._columns(keys, counts, pairs, groups)
        if not kinds.isdisjoint(_LAZY):
            place = next(i for i, value in enumerate(results) if type(value) in _LAZY)
            self._refuse_lazy(results[place], keys[place], self._evidence(groups, place))
        return Reduced(keys, [1] * len(keys), None, results)

    def pairs(self, key: Any, values: Any) -> list[Pair]:
        """Reduce one group; same as ``reduce`` of it."""
        reduced = self.reduce([(key, values)])
        out_keys = [key] * len(reduced.values) if reduced.out_keys is None else reduced.out_keys
        return list(zip(out_keys, reduced.values, strict=True))

    def combine(self, key: Any, values: Any) -> list[Any]:
        """Combine the values of one key; gives the values that take their place.

        Raises: UserCodeError: as ``reduce``, and when it yields another key.
        """
        if self._builtin is not None:
            try:
                return [self._builtin(values)]
            except Exception as error:
                raise self._error(error, key, values, _builtin_hint(self._name, error)) from error
        if self._generator:  # called for every key of every spill: without the detour of columns
            try:
                pairs = list(self._call(key, values))
            except MRKernelError:
                raise
            except (Exception, SystemExit) as error:
                raise self._error(error, key, values) from error
            if len(pairs) == 1:
                pair = pairs[0]
                plain = type(pair) is tuple and len(pair) == 2 and pair[0] is key
                if plain and type(pair[1]) not in _LAZY:
                    return [pair[1]]
            reduced = self._columns([key], [len(pairs)], pairs)
        else:
            reduced = self.reduce([(key, values)])
        for other in reduced.out_keys or ():
            if other != key and other == other:  # NaN is its own key, and unequal to itself
                self._fail(
                    f"the {self._role} yields the key {short(other)} in the group {short(key)}",
                    "a combiner must keep its key: write yield key, value",
                    _group(key),
                )
        return reduced.values

    def finish(self) -> list[Pair]:
        """The pairs that a class gives after its last group; [] for a function.

        Raises: UserCodeError: it raised, or gave something that is no pair.
        """
        if self._finish is None:
            return []
        try:
            given = self._finish()
            out = [] if given is None else list(given)
        except (Exception, SystemExit) as error:
            hint = hint_for(error)
            raise UserCodeError(
                user_failure(error, role=self._role, where="finish()", hint=hint)
            ) from error
        checked = [as_pair(item) for item in out]
        if None in checked:
            self._refuse_item(out[checked.index(None)], "finish()")
        return checked  # type: ignore[return-value]

    def _reduce_builtin(self, groups: Iterable[tuple[Any, Any]]) -> Reduced:
        function = self._builtin
        assert function is not None
        keys: list[Any] = []
        out: list[Any] = []
        for key, values in groups:
            try:
                out.append(function(values))
            except MRKernelError:
                raise
            except Exception as error:
                raise self._error(error, key, values, _builtin_hint(self._name, error)) from error
            keys.append(key)
            if type(values) is not list:
                values.close()
        return Reduced(keys, [1] * len(keys), None, out)

    @staticmethod
    def _keep(values: Any, pairs: list[Any], given: int) -> None:
        """Copy what was given of a group's values, whose life ends with the call."""
        for at in range(len(pairs) - given, len(pairs)):
            pair = pairs[at]
            if isinstance(pair, (tuple, list)) and len(pair) == 2 and pair[1] is values:
                pairs[at] = (pair[0], list(values))

    def _columns(
        self,
        keys: list[Any],
        counts: list[int],
        pairs: list[Any],
        groups: Groups | None = None,
    ) -> Reduced:
        """Check all pairs at once and turn them into columns.

        Args:
            groups: what was reduced, if values may be among the results whose life has ended.
        """
        if not all_pairs(pairs):
            checked = [as_pair(pair) for pair in pairs]
            if None in checked:
                at = checked.index(None)
                place = _group_of(at, counts)
                self._refuse_item(pairs[at], _group(keys[place]), self._evidence(groups, place))
            pairs = checked
        out_keys = [key for key, _ in pairs]
        values = [value for _, value in pairs]
        kinds = set(map(type, values))
        if groups is not None and type(groups.values[0]) in kinds:
            lists = dict(zip(map(id, groups.values), groups.items, strict=True))
            values = [lists.get(id(value), value) for value in values]
        if not kinds.isdisjoint(_LAZY):
            at = next(i for i, value in enumerate(values) if type(value) in _LAZY)
            place = _group_of(at, counts)
            self._refuse_lazy(values[at], keys[place], self._evidence(groups, place))
        if len(pairs) == len(keys) and set(counts) <= {1}:
            same = all(map(is_, out_keys, keys))
        else:
            spread = chain.from_iterable(map(repeat, keys, counts))
            same = all(map(is_, out_keys, spread))
        return Reduced(keys, counts, None if same else out_keys, values)

    def _error(self, error: BaseException, key: Any, values: Any, hint: str = "") -> UserCodeError:
        return UserCodeError(
            user_failure(
                error,
                role=self._role,
                where=_group(key),
                record=_some(values, self._states),
                hint=hint or _reducer_hint(error) or hint_for(error),
                # States are no values of the user's: the built-in would not understand them.
                evidence=b"" if self._states else evidence_of_group(key, values),
            )
        )

    def _fail(self, said: str, hint: str, where: str, evidence: bytes = b"") -> NoReturn:
        place = f" ({where})" if where else ""
        raise UserCodeError(
            Failure(
                kind="user",
                sentence=f"{said}: {hint}{place}",
                where=where,
                hint=hint,
                role=self._role,
                evidence=evidence,
            )
        )

    def _refuse_none(self, key: Any, values: Any) -> NoReturn:
        self._fail(
            f"the {self._role} gave back None for its first group",
            "did you forget return? Write return sum(values), or yield key, sum(values)",
            _group(key),
            evidence_of_group(key, values),
        )

    @staticmethod
    def _evidence(groups: Groups | None, place: int) -> bytes:
        """Keep a group whose values are at hand."""
        if groups is None:
            return b""
        return evidence_of_group(groups.keys[place], groups.items[place])

    def _refuse_item(self, item: Any, where: str, evidence: bytes = b"") -> NoReturn:
        if isinstance(item, (tuple, list, dict, str)) or hasattr(item, "__next__"):
            hint = pair_hint(item).replace("yield word", "yield key")
        else:
            hint = "write yield key, value (or return value without the key)"
        kind = type(item).__name__
        said = f"the {self._role} yields {short(item)} ({kind}), not a pair"
        self._fail(said, hint, where, evidence)

    def _refuse_lazy(self, value: Any, key: Any, evidence: bytes) -> NoReturn:
        instead = "yield key, list(…)" if self._generator else "return list(…)"
        self._fail(
            f"the {self._role} gives a {type(value).__name__}, which cannot be kept",
            f"write {instead}",
            _group(key),
            evidence,
        )


def bad_key(error: KeyTypeError, where: str) -> UserCodeError:
    """The failure of a reducer that gives a key which cannot be one."""
    sentence = f"{str(error).replace('mapper', 'reducer', 1)} ({where})"
    return UserCodeError(
        Failure(
            kind="user", sentence=sentence, error_type="KeyTypeError", where=where, role="reducer"
        )
    )


def _group(key: Any) -> str:
    return f"group {short(key)}"


def _group_of(pair: int, counts: list[int]) -> int:
    """The group that output pair number ``pair`` belongs to."""
    seen = 0
    for index, count in enumerate(counts):
        seen += count
        if pair < seen:
            return index
    return len(counts) - 1


def _some(values: Any, states: bool) -> str:
    """The first values of a group, for a failure; of states those that hold a value."""
    try:
        if states:
            values = [state[0] for state in values if type(state) is tuple]
        count = len(values)
        first = ", ".join(short(value) for value in islice(values, 3))
    except Exception as error:  # noqa: BLE001 - unreadable values: the text says why
        return f"values that cannot be read ({type(error).__name__})"
    return f"{count} value{'s' if count != 1 else ''}: {first}{', …' if count > 3 else ''}"[:200]


def _builtin_hint(name: str, error: BaseException) -> str:
    if isinstance(error, TypeError) and "NoneType" in str(error):
        return (
            f"{name} cannot use None: leave out what is missing (if x is not None; "
            "table.drop_null(); frame.dropna())"
        )
    if isinstance(error, TypeError) and name in ("sum", "mean", "stats"):
        if "'bytes'" in str(error):  # what a program writes, which cannot do otherwise
            return (
                f"{name} needs numbers, and the values are bytes, as programs write them: give a "
                "reducer that says sum(map(int, values)) or the like"
            )
        return f"{name} needs numbers: let the mapper yield int(x) or float(x) as the value"
    if isinstance(error, TypeError) and name == "set":
        return "a set holds only hashable values: let the mapper yield tuples, or write list"
    if isinstance(error, TypeError):
        return f"{name} compares values: let the mapper yield values of one type"
    return ""


def _reducer_hint(error: BaseException) -> str:
    text = str(error) if isinstance(error, (TypeError, AttributeError)) else ""
    if "'Values' object" in text:
        return "values is iterable and has len(): write list(values) for more"
    if "unsupported operand type(s) for +: 'int' and 'str'" in text:
        return "the values are str: let the mapper yield int(x), or write sum(map(int, values))"
    if "object is not callable" in text:
        return "a notebook variable may hide a Python function of that name: del it, or rename it"
    return ""
