"""Reducers by name; each equals what Python says of the list of values. Pure.

``sum`` (floats within an ulp of the exact sum, so that any number of workers agrees), ``count``,
``min``, ``max``, ``mean`` (the sum by ``/`` the count), ``stats`` (a dict of count, sum, min, max,
mean and std: the sample deviation, None for a single value), ``first``, ``list``, ``set``,
``top:N`` (the N largest, largest first).
"""

from __future__ import annotations

import difflib
import heapq
import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

from mrkernel.errors import JobSpecError

#: A reducer over the values alone: re-iterable and with ``len()``.
Builtin = Callable[[Any], Any]

#: Built-ins whose result may be reduced again: also combiners, and folds of the sort buffer.
COMBINABLE = ("sum", "min", "max")


def exact_sum(values: Iterable[Any]) -> Any:
    """``sum(values)``, but floats are rounded once, at the end, instead of at every step.

    Ints stay exact at any size; a mix of ints and floats is a float; nan and inf are as Python has
    them; other types (Decimal, Fraction, complex, NumPy) are added by Python's ``sum``.
    """
    held = values if isinstance(values, (list, tuple)) else list(values)
    types = set(map(type, held))
    if float not in types or not types <= {float, int, bool}:
        return sum(held)
    whole = sum(v for v in held if type(v) is not float) if len(types) > 1 else 0
    floats = [v for v in held if type(v) is float]
    try:
        if -(1 << 53) <= whole <= 1 << 53:
            return math.fsum([*floats, whole])
    except ValueError:
        return math.nan  # inf and -inf
    except OverflowError:
        pass  # a partial sum past the range of floats; the whole may be inside it
    if not all(map(math.isfinite, floats)):
        return sum(floats)
    exact = sum(map(Fraction, floats), Fraction(whole))
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def _mean(values: Any) -> Any:
    return exact_sum(values) / len(values)


def _stats(values: Any) -> dict[str, Any]:
    count = len(values)
    mean = _mean(values)
    std = None
    if count > 1:
        variance = exact_sum([(v - mean) ** 2 for v in values]) / (count - 1)
        std = variance.sqrt() if hasattr(variance, "sqrt") else math.sqrt(variance)
    return {
        "count": count,
        "sum": exact_sum(values),
        "min": min(values),
        "max": max(values),
        "mean": mean,
        "std": std,
    }


def _first(values: Any) -> Any:
    return next(iter(values))


def _top(n: int) -> Builtin:
    def top(values: Any) -> list[Any]:
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
    "set": set,
}


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
    known = [*_BUILTINS, "top:10"]
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
    if name == "count":
        raise JobSpecError(
            "count is no combiner, it would count counts: yield 1 for each in the mapper and write "
            "--combiner sum --reducer sum"
        )
    raise JobSpecError(
        f"{name} is no combiner, because {name} of several {name}s is not {name} of all: leave the "
        f"combiner out (combiners are {', '.join(COMBINABLE)})"
    )


def can_fold(name: str) -> bool:
    """Whether the sort buffer may fold values by this name as they come: sum, min, max."""
    return name in COMBINABLE
