"""Keys of every kind, and how they meet."""

from __future__ import annotations

import enum
import math
from collections import namedtuple
from collections.abc import Iterator
from typing import Any

from jobs import Job, each, pairs_of


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 3


class Colour(enum.StrEnum):
    RED = "red"


class Word(str):
    __slots__ = ()


Point = namedtuple("Point", "x y")

EVERY = [
    *(None, False, True, 0, 1, -1, 0.0, -0.0, 1.0, 0.5, math.nan, -math.nan, math.inf, -math.inf),
    *(2**53, 2.0**53, 2**53 + 1, 2**63, -(2**63), 2**70, -(2**70), 2**1100, 1e308, 5e-324),
    *("", "a", "a\x00", "a\x00b", "ab", "é", "\ud800", "\U0001f600", "1", "None", "x" * 300),
    *(b"", b"a", b"\x00", b"\xff", b"1"),
    *((), (1,), (1.0,), (True,), (1, 2), ("a",), ("a", ()), ("a", (None, math.nan)), ("a", b"")),
    *(((),), (("a", 1), ("a", 1.0)), (-0.0,), (0,), (2**70, "\ud800")),
    *(Size.SMALL, Size.LARGE, Colour.RED, "red", Word("a"), Point(1, 2), Point("a", b"")),
]


def every_key(turn: int) -> Iterator[tuple[Any, Any]]:
    """All keys, each time from another one on: what comes first differs from task to task."""
    for place in range(len(EVERY)):
        at = (place + 7 * turn) % len(EVERY)
        yield EVERY[at], (turn, at)


def numpy_keys(turn: int) -> Iterator[tuple[Any, Any]]:
    import numpy as np

    ours = [1, 0.5, True, "a", b"a", math.nan, (1, 0.5), -0.0]
    theirs = [np.int64(1), np.float32(0.5), np.bool_(True), np.str_("a"), np.bytes_(b"a")]
    theirs += [np.float64("nan"), (np.uint8(1), np.float64(0.5)), np.float16(0)]
    for at, pair in enumerate(zip(ours, theirs, strict=True)):
        yield pair[turn % 2], at


def own_keys(key: Any, values: Any) -> Iterator[tuple[Any, Any]]:
    """A reducer whose keys are not its groups': the place of a pair is still its group's."""
    for value in values:
        yield (str(type(key)), value), key
        yield key, value


def numpy_own_keys(key: int, values: Any) -> Iterator[tuple[Any, Any]]:
    import numpy as np

    yield np.int64(-key), sum(values)
    yield np.str_(f"k{key}"), 0


def many(kind: Any) -> list[tuple[Any, int]]:
    """Pairs enough for typed columns, in no order, three values to a key."""
    return [(kind(n * 7919 % 1500), n) for n in range(4500)]


ints, floats = many(int), many(float)


def jobs() -> dict[str, Job]:
    ints, floats = many(int), many(float)
    return {
        "every kind": Job(every_key, each(0, 1, 2, 3)),
        "every kind, combined": Job(every_key, each(0, 1, 2, 3), "max", {"combiner": "max"}),
        "every kind, one part": Job(every_key, each(0, 1, 2), "list", {"reduce_tasks": 1}),
        "every kind, five parts": Job(every_key, each(0, 1, 2), "list", {"reduce_tasks": 5}),
        "every kind, map only": Job(every_key, each(0, 1, 2), "none"),
        "of numpy": Job(numpy_keys, each(0, 1, 2)),
        "of the reducer's own": Job(every_key, each(0, 1), own_keys),
        "of the reducer's own, of numpy": Job(pairs_of, each([(1, 2), (2, 3)]), numpy_own_keys),
        "ints": Job(pairs_of, each(ints, ints[:99])),
        "floats": Job(pairs_of, each(floats, [(0.5, 0), (-0.0, 1)])),
        "negative zeros": Job(pairs_of, each([(-0.0, 1), (0.5, 2)], [(-0.0, 3)])),
        "negative zeros, many": Job(pairs_of, each([(-float(n % 9), n) for n in range(4500)])),
        "ints here, floats there": Job(pairs_of, each(floats, ints, [(True, -1), (math.nan, -2)])),
        "big ints there": Job(pairs_of, each(ints, [(2**64, 1), (1.0, 2)])),
        "texts": Job(pairs_of, each(many(str), many("key-{:09d}".format))),
        "texts, a lone surrogate there": Job(pairs_of, each(many(str), [("1", 0), ("\udfff", 1)])),
        "bytes": Job(pairs_of, each(many(lambda n: b"%d" % n), [("1", 0), (b"1", 1)])),
        "tuples": Job(pairs_of, each(many(lambda n: ("k", n)), [(("k", 1.0), 0), (("k",), 1)])),
    }
