"""Reducers that look at what they are given, and mappers that look where it comes from."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any


def numbered(count: int) -> Iterator[tuple[str, int]]:
    """Groups of 1, 2, 3 ... values."""
    at = 0
    for size in range(1, count + 1):
        for _ in range(size):
            yield f"k{size}", at
            at += 1


def looked_at(key: str, values: Any) -> dict[str, Any]:
    return {
        "type": f"{type(values).__module__}.{type(values).__name__}",
        "length": len(values),
        "truth": bool(values),
        "again": list(values) == list(values),
        "in step": [a + b for a, b in zip(values, values, strict=True)],
        "nested": sum(a * b for a in values for b in values),
        "has": (next(iter(values)) in values, -1 in values),
        "shown": repr(values)[:8],
    }


def half_read(key: str, values: Any) -> list[int]:
    """Reads some of each group, and none of every third."""
    reading = iter(values)
    return [next(reading) for _ in range(len(values) // 2 * (len(values) % 3 > 0))]


class Keeps:
    """Tries to use the values of the group before."""

    before: Any = None

    def __call__(self, key: str, values: Any) -> list[str]:
        told = []
        for use in (list, len, repr, lambda kept: 1 in kept) if self.before is not None else ():
            try:
                told.append(f"gave {use(self.before)!r}")
            except ValueError as error:
                told.append(str(error))
        self.before = values
        return told


def index(key: str, values: Any) -> Any:
    return values[0]


def large(turn: int) -> Iterator[tuple[str, bytes]]:
    """One group of 1.5 MB from each task, between two small ones."""
    yield "a", b"%d" % turn
    for n in range(1500):
        yield "m", b"%d,%d" % (turn, n) + bytes(1000)
    yield "z", b"%d" % turn


def read_twice(key: str, values: Any) -> tuple[int, bytes, bytes, bool]:
    once = [value[:7] for value in values]
    whole = [value[:7] for value in values] == once and once[0] in {v[:7] for v in values}
    return len(values), once[0], once[-1], whole


def place_of(key: tuple[str, int], record: Any) -> Iterator[tuple[Any, Any]]:
    yield key, record


class PlaceOf:
    def __call__(self, key: tuple[str, int], record: Any, more: int = 0) -> list[tuple[Any, Any]]:
        return [(key, record)]


def chances(record: int) -> Iterator[tuple[int, Any]]:
    import numpy as np

    yield record, [random.random(), random.randrange(10**9), float(np.random.random())]


def chance(key: int, values: Any) -> list[Any]:
    return [*values, random.random()]
