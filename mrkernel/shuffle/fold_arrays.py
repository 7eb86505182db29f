"""Folding typed numbers group by group in numpy: exactly, or saying which groups failed. Pure.

Sums of floats are taken apart into sums on a coarse grid, which have no rounding error, and what is
left, again and again (Rump, Ogita, Oishi: Accurate floating-point summation, 2008). Three times is
enough for values that differ by 16 orders of magnitude; other groups are left to Python.

Groups are given by ``starts`` (int64: where each begins; none is empty) and ``counts``. "Failed" is
a bool array: groups whose results here mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: Beyond these sizes the arithmetic here would overflow, or lose bits below the smallest float.
LARGE, _SMALL = 2.0**450, 2.0**-450
_SPLIT = 134217729.0  # 2 ** 27 + 1: halves a double (Dekker 1971)
_UPPER = ~0x7FFFFFF  # all but 27 bits of it


def sum_whole(values: Any, starts: Any) -> tuple[Any, Any]:
    """Sum int64: (sums, failed: those beyond 64 bits)."""
    import numpy as np

    low = np.add.reduceat(values & 0xFFFFFFFF, starts)
    high = np.add.reduceat(values >> 32, starts)
    high += low >> 32
    failed = (high >= 1 << 31) | (high < -(1 << 31))
    with np.errstate(over="ignore"):
        sums = (high << 32) + (low & 0xFFFFFFFF)
    return sums, failed


def sum_floats(values: Any, starts: Any, counts: Any) -> tuple[list[Any], Any]:
    """Sum float64: (three addends each, most significant first; failed)."""
    import numpy as np

    with np.errstate(all="ignore"):
        bound = np.maximum.reduceat(np.abs(values), starts)
        parts, left = _extracted(values, starts, counts, bound, 3)
        failed = ~(bound < LARGE)
        if left is not None:
            failed |= np.maximum.reduceat(np.abs(left), starts) > 0
        return _normalised(parts), failed


def sum_threes(parts: Sequence[Any], starts: Any, counts: Any) -> tuple[list[Any], Any]:
    """Sum float64 that are given as three addends each, as `sum_floats` does."""
    import numpy as np

    return sum_floats(np.stack(parts, 1).reshape(-1), starts * 3, counts * 3)


def rounded(parts: Sequence[Any]) -> Any:
    """Round the sum of three addends once, to the nearest float, as `math.fsum` does."""
    import numpy as np

    total, second, third = parts
    # Half a unit more and a rest on the same side: the sum was rounded the wrong way.
    with np.errstate(all="ignore"):
        twice = second * 2
        other = total + twice
        wrong = (second * third > 0) & (other - total == twice)
        return np.where(wrong, other, total) + 0.0


def best(values: Any, starts: Any, greatest: bool) -> tuple[Any, Any]:
    """Find the least or greatest number: (numbers, failed: where NaN or -0.0 are Python's)."""
    import numpy as np

    found = (np.maximum if greatest else np.minimum).reduceat(values, starts)
    failed = np.zeros(len(found), bool)
    if values.dtype.kind == "f":
        failed |= found != found
        zeros = found == 0
        if zeros.any() and (np.signbit(values) & (values == 0)).any():
            failed |= zeros
    return found, failed


def squares_whole(values: Any, starts: Any, counts: Any) -> tuple[Any, Any]:
    """Sum the squares of int64: (sums, failed: those that might be beyond 64 bits)."""
    import numpy as np

    low = np.minimum.reduceat(values, starts).astype(np.float64)
    high = np.maximum.reduceat(values, starts).astype(np.float64)
    bound = np.maximum(-low, high)
    failed = bound * bound * counts >= 2.0**62
    with np.errstate(over="ignore"):
        return np.add.reduceat(values * values, starts), failed


def deviations(values: Any, starts: Any, counts: Any, parts: Sequence[Any]) -> tuple[Any, Any, Any]:
    """Sum squared deviations from the mean of float64.

    Args:
        parts: the sums of the groups, as `sum_floats` gives them.

    Returns:
        (sums, what is missing to them, failed).
    """
    import numpy as np

    with np.errstate(all="ignore"):
        size = counts.astype(np.float64)
        mean = parts[0] / size
        away = np.repeat(-mean, counts)
        far, rest = _two_sum(values, away)
        # (far + rest)**2 as the square of the upper half of far, which is exact, and what is
        # missing to it, which is 2**-26 of it and may be rounded.
        upper = (far.view(np.int64) & _UPPER).view(np.float64)
        lower = far - upper
        squares = upper * upper
        rest *= far
        rest += rest
        upper += far
        upper *= lower
        rest += upper
        bound = np.maximum.reduceat(squares, starts)
        found, left = _extracted(squares, starts, counts, bound, 1)
        if left is not None:
            rest += left
        total, lost = _two_sum(found[0], np.add.reduceat(rest, starts))
        # The mean was rounded: what all values are off it together, squared, is too much.
        off = _off(parts, size, mean)
        more, some = _quotient(_product(off, off), size)
        total, lost = _added((total, lost), (-more, -some))
        return total, lost, _beyond(bound, far, starts)


def joined(counts: Any, parts: Sequence[Any], squares: Sequence[Any], starts: Any) -> Any:
    """Join states of floats to groups of states.

    Args:
        counts: values of each state, int64, none of them 0.
        parts: three addends of the sum of each.
        squares: two addends of the sum of the squared deviations of each.
        starts: where each group of states begins.

    Returns:
        (counts, parts, squares) of the groups, and failed.
    """
    import numpy as np

    with np.errstate(all="ignore"):
        each = np.diff(starts, append=len(counts))
        totals, failed = sum_threes(parts, starts, each)
        count = np.add.reduceat(counts, starts)
        size = counts.astype(np.float64)
        mean = _quotient((parts[0], parts[1]), size)
        whole = _quotient((totals[0], totals[1]), count.astype(np.float64))
        away = _added(mean, (-np.repeat(whole[0], each), -np.repeat(whole[1], each)))
        moved = _product(_product(away, away), (size, np.zeros(len(size))))
        lead, rest = _added((squares[0], squares[1]), moved)
        bound = np.maximum.reduceat(lead, starts)
        found, left = _extracted(lead, starts, each, bound, 2)
        total, lost = _two_sum(found[0], found[1])
        lost += np.add.reduceat(rest if left is None else rest + left, starts)
        failed |= _beyond(bound, away[0], starts)
        return count, totals, _two_sum(total, lost), failed


def roots(number: Sequence[Any], by: Any) -> Any:
    """Give the square root of a number of two addends by another, rounded once; NaN by zero."""
    import numpy as np

    with np.errstate(all="ignore"):
        lead, rest = _quotient((number[0], number[1]), by.astype(np.float64))
        root = np.sqrt(lead)
        square, more = _two_product(root, root)
        root = root + ((lead - square) - more + rest) / (2 * root)
        return np.where(number[0] == 0, 0.0, root)


def _beyond(squares: Any, values: Any, starts: Any) -> Any:
    """Say where the largest squares of ``values`` are too large, or so small that bits are lost."""
    import numpy as np

    failed = ~(squares < LARGE)
    small = squares <= _SMALL
    if small.any():
        failed |= small & (np.maximum.reduceat(np.abs(values), starts) > 0)
    return failed


def _extracted(
    values: Any, starts: Any, counts: Any, bound: Any, times: int
) -> tuple[list[Any], Any | None]:
    """Take sums on finer and finer grids: (sums, what is left of the values, None if nothing).

    Args:
        bound: the largest absolute value of each group.
    """
    import numpy as np

    _, bits = np.frexp((counts + 2).astype(np.float64))
    _, exponent = np.frexp(bound)
    exponent = exponent + bits
    found: list[Any] = []
    left: Any | None = values
    for _ in range(times):
        if left is None:
            found.append(np.zeros(len(starts)))
            continue
        grid = np.repeat(np.ldexp(1.0, exponent), counts)
        coarse = grid + left
        coarse -= grid
        found.append(np.add.reduceat(coarse, starts))
        left = left - coarse
        exponent = exponent + bits - 53
        if not left.any():
            left = None
    return found, left


def _normalised(parts: list[Any]) -> list[Any]:
    """Let no addend be more than half a unit in the last place of the one before it."""
    first, second, third = parts
    for _ in range(2):
        second, third = _two_sum(second, third)
        first, second = _two_sum(first, second)
        second, third = _two_sum(second, third)
    return [first, second, third]


def _off(parts: Sequence[Any], size: Any, mean: Any) -> tuple[Any, Any]:
    """Give sum - size * mean, as two addends."""
    much, little = _two_product(size, mean)
    lead, rest = _two_sum(parts[0], -much)
    second, more = _two_sum(parts[1], -little)
    lead, second = _two_sum(lead, second)
    return _two_sum(lead, second + (rest + more + parts[2]))


def _two_sum(one: Any, other: Any) -> tuple[Any, Any]:
    """Give the sum and its rounding error (Knuth TAOCP vol. 2, 4.2.2)."""
    total = one + other
    part = total - one
    return total, (one - (total - part)) + (other - part)


def _two_product(one: Any, other: Any) -> tuple[Any, Any]:
    """Give the product and its rounding error (Dekker 1971)."""
    product = one * other
    high, low = _halves(one)
    top, bottom = (high, low) if other is one else _halves(other)
    return product, ((high * top - product) + high * bottom + low * top) + low * bottom


def _halves(number: Any) -> tuple[Any, Any]:
    scaled = _SPLIT * number
    high = scaled - (scaled - number)
    return high, number - high


def _added(one: tuple[Any, Any], other: tuple[Any, Any]) -> tuple[Any, Any]:
    lead, rest = _two_sum(one[0], other[0])
    second, more = _two_sum(one[1], other[1])
    lead, rest = _two_sum(lead, rest + second)
    return _two_sum(lead, rest + more)


def _product(one: tuple[Any, Any], other: tuple[Any, Any]) -> tuple[Any, Any]:
    lead, rest = _two_product(one[0], other[0])
    return _two_sum(lead, rest + (one[0] * other[1] + one[1] * other[0]))


def _quotient(number: tuple[Any, Any], by: Any) -> tuple[Any, Any]:
    lead = number[0] / by
    product, lost = _two_product(lead, by)
    return _two_sum(lead, ((number[0] - product) - lost + number[1]) / by)


def as_struct(count: Any, fields: Sequence[Any], kinds: str) -> Any:
    """Lay arrays out as structs: bytes, as ``struct.pack`` would make one after the other.

    Args:
        count: int64, the first field.
        kinds: "q" or "d" for each of ``fields``.
    """
    import numpy as np

    out = np.empty((len(count), 1 + len(fields)), np.int64)
    out[:, 0] = count
    for place, (field, kind) in enumerate(zip(fields, kinds, strict=True)):
        out[:, 1 + place] = field if kind == "q" else np.asarray(field, np.float64).view(np.int64)
    return out.astype("<i8", copy=False).reshape(-1).view(np.uint8)


def of_struct(data: Any, kinds: str) -> list[Any]:
    """Read what `as_struct` laid out: the first field and all others, as arrays."""
    import numpy as np

    table = np.frombuffer(data, "<i8").reshape(-1, 1 + len(kinds))
    columns = [np.ascontiguousarray(table[:, 0])]
    for place, kind in enumerate(kinds):
        column = np.ascontiguousarray(table[:, 1 + place])
        columns.append(column if kind == "q" else column.view(np.float64))
    return columns
