"""Counts, sums and deviations that can be put together again: what mean and stats fold to. Pure.

A *state* stands for some values of a group. States of one group, however its values were dealt out
to tasks and spills, give exactly what all values give: sums are kept exactly (ints as they are,
floats as three addends, Shewchuk 1997) and rounded once, at the end; so are deviations, to 2**-90.

A state is ``bytes`` of a length that tells what is in it (see the structs here), so that a column
of states is typed and numpy reads it in place, or, for values that do not fit in one, a tuple:
``(value, times)``, or ``(count, least, greatest, sum, sum of squares)`` of large ints.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

#: Of floats, for stats: count, least, greatest, three addends of the sum, and two of the sum of
#: squared deviations from their mean. NaN is least and greatest where there is nothing else.
FLOATS = struct.Struct("<q2d3d2d")
#: Of ints, for stats: count, least, greatest, sum, sum of squares.
WHOLES = struct.Struct("<5q")
#: Of floats, for mean: count and three addends of the sum.
MEAN_FLOATS = struct.Struct("<q3d")
#: Of ints, for mean: count and sum.
MEAN_WHOLES = struct.Struct("<2q")

State = bytes | tuple[Any, ...]

_WHOLE = frozenset({int, bool})
REAL = _WHOLE | {float}
#: Squares are kept as floats between these; beyond, all values are.
_SMALL, _LARGE = Fraction(2) ** -900, Fraction(2) ** 900


def exact_sum(values: Iterable[Any]) -> Any:
    """``sum(values)``, but floats are rounded once, at the end, instead of at every step.

    Ints stay exact at any size; a mix of ints and floats is a float; nan and inf are as Python has
    them; other types (Decimal, Fraction, complex, NumPy) are added by Python's ``sum``.
    """
    held = values if isinstance(values, (list, tuple)) else list(values)
    types = set(map(type, held))
    if float not in types or not types <= REAL:
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
        return sum(value for value in floats if not math.isfinite(value))
    exact = sum(map(Fraction, floats), Fraction(whole))
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def addends(values: Sequence[float]) -> list[float]:
    """Shorten floats to few whose exact sum is the same.

    Returns:
        At least one, most significant first, then each kind of infinity and NaN once, so that
        adding them up gives what it gave before. All values where an intermediate sum is beyond
        the largest float.
    """
    finite = [value for value in values if math.isfinite(value)]
    special: list[float] = []
    if len(finite) < len(values):
        strange = [value for value in values if not math.isfinite(value)]
        special = [each for each in (math.inf, -math.inf) if each in strange]
        if True in map(math.isnan, strange):
            special.append(math.nan)
        if not finite:
            return special
    try:
        parts = [math.fsum(finite)]
        while parts[-1]:
            finite.append(-parts[-1])
            parts.append(math.fsum(finite))
    except OverflowError:
        return list(values)
    if len(parts) > 1:
        parts.pop()  # the zero that ends the expansion
    return parts + special


def mean_states(values: Sequence[Any]) -> list[State]:
    """Fold the values of one group for `mean_of`."""
    types = set(map(type, values))
    if not types <= REAL:
        return [(value, 1) for value in values]
    states: list[State] = []
    whole: Sequence[Any] = values
    if float in types:
        real = [value for value in values if type(value) is float]
        whole = [value for value in values if type(value) is not float]
        parts = addends(real)
        for start in range(0, len(parts), 3):
            some = (*parts[start : start + 3], 0.0, 0.0)[:3]
            states.append(MEAN_FLOATS.pack(0 if start else len(real), *some))
    if whole:
        total = sum(whole)
        fits = -(1 << 63) <= total < 1 << 63
        states.append(MEAN_WHOLES.pack(len(whole), total) if fits else (len(whole), 0, 0, total, 0))
    return states


def mean_of(states: Sequence[State]) -> Any:
    """Give the mean of all values that some states of `mean_states` stand for."""
    count, terms = 0, []
    for state in states:
        if type(state) is tuple:
            times, term = (state[0], state[3]) if len(state) == 5 else (state[1], state[0])
            terms.append(term)
        elif len(state) == MEAN_WHOLES.size:
            times, term = MEAN_WHOLES.unpack(state)  # type: ignore[arg-type]
            terms.append(term)
        else:
            times, *parts = MEAN_FLOATS.unpack(state)  # type: ignore[arg-type]
            terms += parts
        count += times
    return exact_sum(terms) / count


def stats_states(values: Sequence[Any]) -> list[State]:
    """Fold the values of one group for `stats_of`."""
    types = set(map(type, values))
    if types == {float}:
        return _float_states(values)
    if types == {int}:
        return [_whole_state(values)]
    if not types <= REAL or len(values) < 4:
        return [(value, 1) for value in values]
    # The first of the least wins, and 1 is not 1.0: what wins is told first, by its own type.
    rest = list(values)
    told = [rest.pop(0)] if rest[0] != rest[0] else []
    ordered = [value for value in rest if value == value]
    for best in (min, max):
        if ordered:
            value = best(ordered)
            told.append(value)
            for some in (ordered, rest):
                del some[next(i for i, each in enumerate(some) if each is value)]
    states: list[State] = [(value, 1) for value in told]
    real = [value for value in rest if type(value) is float]
    if real:
        states += _float_states(real)
    whole = [value for value in rest if type(value) is int]
    if whole:
        states.append(_whole_state(whole))
    for truth in (False, True):
        times = sum(1 for value in rest if value is truth)
        if times:
            states.append((truth, times))
    return states


def stats_of(states: Sequence[State]) -> dict[str, Any]:
    """Give the stats of all values that some states of `stats_states` stand for."""
    count = 0
    terms: list[Any] = []
    least: list[Any] = []
    greatest: list[Any] = []
    other: list[Any] = []  # values of no plain type
    groups: list[tuple[int, Any, Any]] = []  # count, exact sum, exact sum of squares
    for state in states:
        if type(state) is tuple and len(state) == 2:
            value, times = state
            count += times
            terms.append(value * times if times > 1 else value)
            least.append(value)
            greatest.append(value)
            if type(value) not in REAL:
                other.append(value)
            elif not math.isfinite(value):
                groups.append((times, math.nan, math.nan))
            else:
                exact = Fraction(value) if type(value) is float else int(value)
                groups.append((times, exact * times, exact * exact * times))
            continue
        if len(state) == FLOATS.size:
            each, low, high, *parts = FLOATS.unpack(state)  # type: ignore[arg-type]
            terms += parts[:3]
            if each:
                groups.append(_exactly(each, parts))
            elif groups:
                before, total, squares = groups[-1]  # more addends of the state before
                more = sum(map(Fraction, parts[:3])) if total == total else 0
                squares += more * (2 * total + more) / before if total == total else 0
                groups[-1] = (before, total + more, squares)
        else:
            whole = state if type(state) is tuple else WHOLES.unpack(state)  # type: ignore[arg-type]
            each, low, high, total, squares = whole
            terms.append(total)
            groups.append((each, total, squares))
        if each:
            least.append(low)
            greatest.append(high)
        count += each
    mean = exact_sum(terms) / count
    return {
        "count": count,
        "sum": exact_sum(terms),
        "min": min(least),
        "max": max(greatest),
        "mean": mean,
        "std": _deviation(count, mean, groups, other) if count > 1 else None,
    }


def _exactly(count: int, parts: Sequence[float]) -> tuple[int, Any, Any]:
    """Give count, sum and sum of squares of a state of floats."""
    if not all(map(math.isfinite, parts)):
        return count, math.nan, math.nan
    total = sum(map(Fraction, parts[:3]))
    return count, total, sum(map(Fraction, parts[3:])) + total * total / count


def _deviation(
    count: int, mean: Any, groups: Sequence[tuple[int, Any, Any]], other: Sequence[Any]
) -> Any:
    """Give the sample deviation; ``mean`` matters only where there are ``other`` values."""
    if other:
        # As Python has it, for Decimal, Fraction and the like.
        variance = exact_sum([(value - mean) ** 2 for value in other])
        for times, total, squares in groups:
            if type(total) is Fraction:
                total, squares = float(total), float(squares)
            variance += squares - 2 * mean * total + times * mean * mean
        variance /= count - 1
        return variance.sqrt() if hasattr(variance, "sqrt") else math.sqrt(variance)
    if any(each != each for _, each, _ in groups):
        return math.nan
    total = sum(each for _, each, _ in groups)
    squares = sum(each for _, _, each in groups)
    return root(Fraction(count * squares - total * total) / (count * (count - 1)))


def root(number: Fraction) -> float:
    """Give the square root, correctly rounded; inf beyond the largest float."""
    top, bottom = number.numerator, number.denominator
    if not top:
        return 0.0
    # 2 ** (2 * shift) times the number has a root of 55 bits or more; one bit more says that there
    # was a rest, so that the division by a power of two rounds it once and the right way.
    shift = max(0, (112 - top.bit_length() + bottom.bit_length()) // 2)
    whole, rest = divmod(top << 2 * shift, bottom)
    found = math.isqrt(whole)
    found = 2 * found + (rest != 0 or found * found != whole)
    try:
        return found / (1 << shift + 1)
    except OverflowError:
        return math.inf


def _whole_state(values: Sequence[int]) -> State:
    total, squares = sum(values), sum([value * value for value in values])
    fields = (len(values), min(values), max(values), total, squares)
    # Where the squares fit, so do all the others.
    return WHOLES.pack(*fields) if squares < 1 << 63 else fields


def _float_states(values: Sequence[float]) -> list[State]:
    first = values[0]
    if first != first and any(value == value for value in values):
        # min and max are NaN if the very first value is, and pass it over anywhere else.
        return [_special(1, first, first, first), *_float_states(values[1:])]
    parts = addends(values)
    ordered = [value for value in values if value == value]
    low, high = (min(ordered), max(ordered)) if ordered else (first, first)
    strange = [part for part in parts if not math.isfinite(part)]
    if strange:
        return [_special(len(values), low, high, exact_sum(strange))]
    ratios = [value.as_integer_ratio() for value in values]
    scale = max(bottom for _, bottom in ratios)  # all of them are powers of two
    scaled = [top * (scale // bottom) for top, bottom in ratios]
    total = sum(scaled)
    squared = len(values) * sum([each * each for each in scaled]) - total * total
    deviations = Fraction(squared, len(values) * scale * scale)
    if deviations and not _SMALL < deviations < _LARGE:
        return [(value, 1) for value in values]
    lead = float(deviations)
    rest = float(deviations - Fraction(lead))
    some = (*parts[:3], 0.0, 0.0)[:3]
    states: list[State] = [FLOATS.pack(len(values), low, high, *some, lead, rest)]
    for start in range(3, len(parts), 3):
        some = (*parts[start : start + 3], 0.0, 0.0)[:3]
        states.append(FLOATS.pack(0, math.nan, math.nan, *some, 0.0, 0.0))
    return states


def _special(count: int, low: float, high: float, total: float) -> bytes:
    """Make a state of floats not all of which are finite."""
    return FLOATS.pack(count, low, high, total, 0.0, 0.0, math.nan, 0.0)
