"""Partition by ranges of keys, so that the parts themselves are in order. Pure.

A boundary is an encoded key: all keys from it on, up to the next boundary, are one partition. Typed
columns of keys are compared with boundaries in their own terms (whole numbers, doubles, eight bytes
of text at a time); the answer is always that of comparing the encodings.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from mrkernel.shuffle import keys as _keys
from mrkernel.shuffle.columns import ArrowColumn
from mrkernel.shuffle.key_column import KeyColumn
from mrkernel.shuffle.order import first_digits

_LEAST, _LARGEST = -(1 << 63), (1 << 63) - 1


class RangePartitioner:
    """Deals keys out to partitions by boundaries; picklable.

    Called with a key it is a partitioner as a user would write one.

    Args:
        boundaries: encoded keys, ascending and distinct; boundary i is the first key of partition
            i + 1. Fewer than partitions leave the last ones empty, more are cut off.
    """

    __slots__ = ("boundaries",)

    def __init__(self, boundaries: Sequence[bytes]) -> None:
        self.boundaries = tuple(boundaries)

    def __reduce__(self) -> tuple[Any, ...]:
        return RangePartitioner, (self.boundaries,)

    def __repr__(self) -> str:
        return f"<RangePartitioner of {len(self.boundaries) + 1} ranges>"

    def __call__(self, key: Any, partitions: int) -> int:
        """Number the partition of a key, from 0.

        Raises:
            KeyTypeError: it is none of the types a key may have.
        """
        return min(bisect_right(self.boundaries, _keys.encode(key)), partitions - 1)

    def of_column(self, keys: KeyColumn, partitions: int) -> Any:
        """Number the partition of every key of a column: a list, or a numpy array of integers."""
        column = keys.column
        if not isinstance(column, ArrowColumn):
            encoded: Iterable[bytes] = column.to_list()
            if keys.kind != "encoded":
                encoded = map(_keys.encode, encoded)
            own, last = self.boundaries, partitions - 1
            return [min(bisect_right(own, key), last) for key in encoded]
        import numpy as np

        bounds: list[Any]
        if keys.kind == "int":
            below, bounds = self._numbers(_first_int)
            parts = np.searchsorted(np.array(bounds, np.int64), column.numpy(), "right") + below
        elif keys.kind == "float":
            below, bounds = self._numbers(_first_float)
            parts = np.searchsorted(np.array(bounds, np.float64), column.numpy(), "right") + below
        else:
            below, bounds = self._binaries(keys.kind)
            parts = _search_binaries(bounds, column) + below
        return np.minimum(parts, partitions - 1)

    def _numbers(self, first: Any) -> tuple[int, list[Any]]:
        """Give boundaries among the numbers: how many lie below them all, and the first number of
        the column's type that is not below each.
        """
        lower = bisect_right(self.boundaries, bytes([_keys.NONE]) + b"\xff")
        firsts = []
        for boundary in self.boundaries[lower:]:
            if boundary[0] not in (_keys.NEGATIVE, _keys.POSITIVE):
                break  # NaN, which a typed column has not, and what is no number
            least = first(_number(boundary))
            if least is None:
                break
            firsts.append(least)
        return lower, firsts

    def _binaries(self, kind: str) -> tuple[int, list[bytes]]:
        """Give boundaries among texts, binaries or encodings: how many lie below, and the others
        as such keys are stored.
        """
        if kind == "encoded":
            return 0, list(self.boundaries)
        tag = _keys.TEXT if kind == "str" else _keys.BINARY
        lower = sum(boundary[0] < tag for boundary in self.boundaries)
        return lower, [boundary[1:] for boundary in self.boundaries if boundary[0] == tag]


def choose_boundaries(weighted: Sequence[tuple[bytes, float]], partitions: int) -> list[bytes]:
    """Choose boundaries that give each partition about the same weight.

    Args:
        weighted: a sample of encoded keys, each with the weight of the pairs it stands for; in any
            order, repeats and all.
        partitions: how many there are to be.

    Returns:
        Up to ``partitions`` - 1 keys, ascending and distinct: fewer where the sample has few. A key
        that fills more than one share has a partition to itself.
    """
    boundaries: list[bytes] = []
    left = sum(weight for _, weight in weighted)
    share = 0.0
    for key, same in groupby(sorted(weighted), itemgetter(0)):
        weight = sum(each for _, each in same)
        # Whichever side of the end of a share most of the key lies on, there it goes.
        if share and share + weight / 2 > left / (partitions - len(boundaries)):
            if len(boundaries) == partitions - 1:
                break
            boundaries.append(key)
            left -= share
            share = 0.0
        share += weight
    return boundaries


def _number(encoded: bytes) -> int | float:
    """Give the exact number of an encoding."""
    value: Any = _keys.decode(encoded, b"\x02")
    if _keys.encode(value) != encoded:  # an int beyond 53 bits
        value = _keys.decode(encoded, b"\x01")
    return value  # type: ignore[no-any-return]


def _first_int(bound: int | float) -> int | None:
    """Give the first int of 64 bits that is not below ``bound``; None: there is none."""
    if bound == math.inf:
        return None
    least = _LEAST if bound == -math.inf else max(_LEAST, math.ceil(bound))
    return least if least <= _LARGEST else None


def _first_float(bound: int | float) -> float:
    """Give the first double that is not below ``bound``."""
    if isinstance(bound, float):
        return bound
    try:
        nearest = float(bound)
    except OverflowError:
        return math.inf if bound > 0 else -_LARGEST_DOUBLE
    return nearest if nearest >= bound else math.nextafter(nearest, math.inf)


_LARGEST_DOUBLE = float.fromhex("0x1.fffffffffffffp+1023")


def _search_binaries(bounds: list[bytes], column: ArrowColumn) -> Any:
    """Count for each string of a column how many ``bounds`` (ascending) are not above it.

    The first eight bytes as a number settle nearly all; only strings that agree in them with a
    boundary are compared whole.
    """
    import numpy as np

    heads = np.array([int.from_bytes(b[:8].ljust(8, b"\0"), "big") for b in bounds], np.uint64)
    firsts = first_digits(column)
    parts = np.searchsorted(heads, firsts, "left")
    upto = np.searchsorted(heads, firsts, "right")
    unsettled = np.flatnonzero(parts != upto)
    if len(unsettled):
        whole = column.take(unsettled).binaries()
        parts[unsettled] = [bisect_right(bounds, string) for string in whole]
    return parts
