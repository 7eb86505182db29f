"""Reducers by name; each equals what Python says of the list of values. Pure.

``sum`` (floats within an ulp of the exact sum, so that any number of workers agrees), ``count``,
``min``, ``max``, ``mean`` (the sum by ``/`` the count), ``stats`` (a dict of count, sum, min, max,
mean and std: the sample deviation, None for a single value), ``first``, ``list``, ``set``,
``top:N`` (the N largest, largest first; NaN, which Python leaves wherever it stood, last).
``identity`` is no function of the values: each pair comes out as it came in, which sorts.
"""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Callable, Iterator
from operator import ne
from typing import Any, Literal, NamedTuple

from mrkernel.errors import JobSpecError
from mrkernel.job.moments import exact_sum, stats_of, stats_states

#: The built-in reducer that gives each pair as it is.
IDENTITY = "identity"

#: A reducer over the values alone: re-iterable and with ``len()``.
Builtin = Callable[[Any], Any]

#: Built-ins whose result may be reduced again: also combiners.
COMBINABLE = ("sum", "min", "max", "first")
#: Built-ins that fold to something else than values: only themselves can reduce it.
_STATEFUL = ("count", "mean", "stats")


class Folding(NamedTuple):
    """What a job's built-ins fold, and where."""

    map: str | None  #: the built-in by which map tasks fold; None: they do not
    reduce: str | None  #: the built-in by which reduce tasks fold whole batches of groups
    states: bool  #: whether what reduce gets are states of that built-in, no values

    @property
    def foretells(self) -> bool:
        """Whether what maps fold is what comes out in the end, as far as it is known by then."""
        return self.map is None or self.map == self.reduce


#: What the number of a key says while maps run: how often it came, or what became of its values.
Told = Literal["count", "sum", "min", "max"]
_TOLD: dict[str | None, Told] = {"sum": "sum", "min": "min", "max": "max"}


def told_by(fold: str | None) -> Told:
    """Say what is told of keys where maps fold by this built-in, or by none (None)."""
    if fold is not None and fold.startswith("top"):
        return "max"  # the first of the n largest
    return _TOLD.get(fold, "count")


def folding(reducer: Any, combiner: Any, *, sort_values: bool = False) -> Folding:
    """Say what a job folds.

    Args:
        reducer, combiner: as in ``Functions``: names of built-ins, functions, or None.
        sort_values: the reducer wants all values, in their order.
    """
    name = reducer.strip() if isinstance(reducer, str) else None
    if isinstance(combiner, str):
        by_map: str | None = combiner.strip()
    else:
        whole = sort_values or name in ("list", IDENTITY)
        by_map = None if combiner is not None or whole else name
    if name in _STATEFUL:
        # A combiner leaves values, which have yet to be counted.
        states = by_map == name
        return Folding(by_map, name if states else None, states)
    return Folding(
        by_map, None if sort_values and name not in ("sum", "min", "max") else name, False
    )


def identity(key: Any, values: Any) -> Iterator[tuple[Any, Any]]:
    """Give each pair as it came."""
    for value in values:
        yield key, value


def _mean(values: Any) -> Any:
    return exact_sum(values) / len(values)


def _stats(values: Any) -> dict[str, Any]:
    return stats_of(stats_states(list(values)))


def _first(values: Any) -> Any:
    return next(iter(values))


def distinct(values: Any) -> set[Any]:
    """``set(values)`` with one NaN at most, whichever objects they were."""
    found = set(values)
    nans = [value for value in found if type(value) is float and value != value]
    return found.difference(nans[1:])


def _top(n: int) -> Builtin:
    def top(values: Any) -> list[Any]:
        if True in map(ne, values, values):  # NaN, which has no order: after all others
            numbers = [value for value in values if value == value]
            return (heapq.nlargest(n, numbers) + [value for value in values if value != value])[:n]
        return heapq.nlargest(n, values)

    return top


_BUILTINS: dict[str, Builtin] = {
    "sum": exact_sum,
    "count": len,
    "min": min,
    "max": max,
    "mean": _mean,
    "stats": _stats,
    "first": _first,
    "list": list,
    "set": distinct,
}


def top_number(name: str) -> int:
    """Give the N of ``top:N``."""
    return int(name.partition(":")[2])


def is_builtin(name: str) -> bool:
    """Whether ``name`` can only mean a built-in reducer, well written or not."""
    word = name.strip().partition(":")[0]
    return word in _BUILTINS or word in ("top", IDENTITY)


def check_builtin(name: str) -> None:
    """Refuse the name of no built-in reducer.

    Raises: JobSpecError: there is none; says which there are.
    """
    if name.strip() != IDENTITY:
        builtin_reducer(name)


def builtin_reducer(name: str) -> Builtin:
    """The built-in reducer called ``name``: a function of the values.

    Raises: JobSpecError: there is none; says which there are.
    """
    word, colon, number = name.strip().partition(":")
    if word == "top":
        if number.isdecimal() and int(number) > 0:
            return _top(int(number))
        raise JobSpecError(f"reducer {name!r}: write top:N with N from 1, such as top:10")
    if word in _BUILTINS and not colon:
        return _BUILTINS[word]
    known = [*_BUILTINS, "top:10", IDENTITY]
    close = difflib.get_close_matches(name, known, n=1)
    advice = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
    raise JobSpecError(f"there is no built-in reducer {name!r}: {advice}")


def builtin_combiner(name: str) -> Builtin:
    """The built-in combiner called ``name``.

    Raises: JobSpecError: it is none: applied to its own results it would give something else.
    """
    try:
        function = builtin_reducer(name)
    except JobSpecError:
        close = difflib.get_close_matches(name, COMBINABLE, n=1)
        there = f"there are {', '.join(COMBINABLE)}"
        advice = f"did you mean {close[0]!r}?" if close else there
        raise JobSpecError(f"there is no built-in combiner {name!r}: {advice}") from None
    if name in COMBINABLE:
        return function
    if name == "list":
        raise JobSpecError("list is no combiner: it keeps all values, leave the combiner out")
    why = f"because {name} of several {name}s is not {name} of all"
    if name == "count":
        why = "it would count counts"
    raise JobSpecError(
        f"{name} is no combiner, {why}: leave the combiner out, --reducer {name} folds values in "
        "the map tasks by itself"
    )
