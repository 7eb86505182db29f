"""Values of every kind: they come back as they were, type and all."""

from __future__ import annotations

import datetime
import enum
import math
from collections import Counter, OrderedDict, namedtuple
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

from jobs import Job, each


@dataclass
class Visit:
    who: str
    pages: list[str] = field(default_factory=list)


@dataclass(frozen=True, order=True)
class Version:
    major: int
    minor: int = 0


class Slotted:
    __slots__ = ("x",)

    def __init__(self, x: Any) -> None:
        self.x = x

    def __repr__(self) -> str:
        return f"Slotted({self.x!r})"


class Knot:
    """Shows whether its two ends are one object; without ends it is its own."""

    def __init__(self, one: Any = None, other: Any = None) -> None:
        self.ends = (one, other) if one else (self, self)

    def __repr__(self) -> str:
        one, other = self.ends
        return f"Knot({one is other}, {'itself' if one is self else one})"


class Level(enum.Enum):
    LOW = 1
    HIGH = 2


class Flagged(int):
    """An int that is not one: it must not become one."""


Point = namedtuple("Point", "x y")


def kinds() -> dict[str, list[Any]]:
    """Columns of values, by what they have in common."""
    shared = ["shared"]
    return {
        "bool": [True, False, True],
        "int": [0, -1, 2**63 - 1, -(2**63)],
        "big int": [2**63, -(2**64), 2**1100],
        "float": [0.0, -0.0, 1.5, math.nan, math.inf, -math.inf, 5e-324],
        "bool, int and float": [True, 1, 1.0, False, 0, -0.0],
        "str": ["", "a", "é", "\U0001f600", "a\x00b", "x" * 5000],
        "lone surrogates": ["\ud800", "a\udcffb"],
        "bytes": [b"", b"\x00\xff", b"x" * 5000],
        "none": [None, None],
        "tuples": [(), (1,), (1, "a", None), (1.0,), ((),)],
        "lists": [[], [1, [2, [3]]], [None]],
        "dicts": [{}, {"a": 1, 2: [3]}, {(1, 2): {"x": -0.0}}],
        "sets": [set(), {1}, frozenset(), frozenset({"a"})],
        "mixed": [None, 1, "a", b"a", [1], (1,), {"a": 1}, 1.0, True],
        "numbers": [Decimal("1.10"), Fraction(1, 3), 1j, complex(math.nan, -0.0)],
        "times": [datetime.date(2024, 2, 29), datetime.timedelta(1), datetime.datetime(2024, 1, 1)],
        "collections": [Counter("aab"), OrderedDict(b=1, a=2), bytearray(b"x"), range(3)],
        "classes": [Visit("ann", ["a"]), Version(3, 11), Slotted([1]), Level.HIGH, Point(1, (2,))],
        "subclasses": [Flagged(3), Flagged(-1)],
        "types": [int, Visit, len, Ellipsis, ValueError("no")],
        "shared": [shared, [shared, shared], Knot(shared, shared), Knot([1], [1])],
        "loop": [Knot()],
    }


def every_value(turn: int) -> Iterator[tuple[str, Any]]:
    for name, column in kinds().items():
        for value in column if turn % 2 else reversed(column):
            yield name, value


def many(kind: str) -> Iterator[tuple[int, Any]]:
    """Values enough for typed columns."""
    for n in range(4500):
        value: Any = {"int": n, "float": n / 8, "str": f"v{n}", "bytes": b"%d" % n}.get(kind)
        if kind == "bool":
            value = n % 3 == 0
        if kind == "odd one" and n == 4400:
            value = True
        elif kind == "odd one":
            value = n
        yield n % 7, value


def as_they_are(key: str, values: Any) -> Iterator[tuple[str, Any]]:
    for value in values:
        yield key, value


def together(key: str, values: Any) -> tuple[Any, ...]:
    return tuple(values)


def jobs() -> dict[str, Job]:
    return {
        "every kind": Job(every_value, each(0, 1, 2), as_they_are),
        "every kind, as tuples": Job(every_value, each(0, 1, 2), together),
        "every kind, map only": Job(every_value, each(0, 1), "none"),
        "every kind, first": Job(every_value, each(0, 1), "first"),
        **{
            f"many, {kind}": Job(many, each(kind, kind), as_they_are)
            for kind in ("int", "float", "str", "bytes", "bool", "odd one")
        },
        "many, of two types": Job(many, each("int", "float"), as_they_are),
        "many, sorted": Job(many, each("int", "float", "int"), "list", {"sort_values": True}),
    }
