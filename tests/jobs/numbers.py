"""The built-ins, as reducers and as combiners, on numbers that tell them from others."""

from __future__ import annotations

import math
import random
from decimal import Decimal
from fractions import Fraction
from typing import Any

from jobs import Job, each, pairs_of

BIG = 2**62
COLUMNS: dict[str, list[Any]] = {
    "ints": [3, -1, 2, 2],
    "overflow": [BIG, BIG, BIG, -BIG, BIG],
    "huge": [2**200, -1, 2**63, 2**63],
    "bools": [True, False, True],
    "ints and bools": [True, 5, False],
    "zeros": [0.0, -0.0, 0.0],
    "negative zeros": [-0.0, -0.0],
    "decimals": [Decimal("0.1"), Decimal("0.2")],
    "fractions": [Fraction(1, 3), Fraction(1, 6)],
    "nan first": [math.nan, 1.0, 2.0],
    "nan last": [1.0, 2.0, math.nan],
    "inf": [1.0, math.inf, 2.0],
    "both inf": [math.inf, 1.0, -math.inf],
    "cancel": [1e16, 1.0, -1e16, 1.0],
    "tenths": [0.1] * 10,
}
TEXTS: dict[str, list[Any]] = {
    "texts": ["b", "a", "c", "a"],
    "bytes": [b"b", b"", b"c"],
    "tuples": [(1, "b"), (1, "a"), (2, "")],
}


def dealt(columns: dict[str, list[Any]], tasks: int) -> list[list[Any]]:
    """The columns' values as pairs, in turn to each map task."""
    pairs = [(name, value) for name, column in columns.items() for value in column]
    return each(*(pairs[turn::tasks] for turn in range(tasks)))


def sampled(seed: int) -> list[tuple[str, float]]:
    """Floats whose naive sum depends on the order."""
    chance = random.Random(seed)
    return [(f"k{n % 3}", chance.uniform(-1, 1) * 10 ** chance.randint(-9, 9)) for n in range(4000)]


def mixed_keys(largest: int) -> list[tuple[float, int]]:
    """Ints under keys that are ints and floats in turn: no dict may fold them."""
    return [(n % 50 if n % 2 else float(n % 50), largest - n * 7919 % 1000) for n in range(4500)]


REAL = {name: values for name, values in COLUMNS.items() if name not in ("decimals", "fractions")}
WHOLE = {name: COLUMNS[name] for name in ("ints", "overflow", "huge", "bools", "ints and bools")}


def jobs() -> dict[str, Job]:
    floats = each(sampled(1), sampled(2), sampled(3))
    return {
        **{
            f"{name}{', combined' if combiner else ''}": Job(
                pairs_of, dealt(COLUMNS, 3), name, {"combiner": name} if combiner else {}
            )
            for name, combiner in [("min", 0), ("min", 1), ("max", 0), ("max", 1)]
        },
        **{
            name: Job(pairs_of, dealt(COLUMNS | TEXTS, 2), name)
            for name in ("count", "first", "list")
        },
        "top:2": Job(pairs_of, dealt(WHOLE | TEXTS, 2), "top:2"),
        "sum": Job(pairs_of, dealt(COLUMNS, 3), "sum"),
        "sum, combined": Job(pairs_of, dealt(COLUMNS, 3), "sum", {"combiner": "sum"}),
        "mean": Job(pairs_of, dealt(WHOLE, 3), "mean"),
        "set": Job(pairs_of, each([("a", 1), ("b", 2)], [("a", 1)]), "set"),
        "min of texts, combined": Job(pairs_of, dealt(TEXTS, 2), "min", {"combiner": "min"}),
        "max of texts, combined": Job(pairs_of, dealt(TEXTS, 2), "max", {"combiner": "max"}),
        "sum of floats": Job(pairs_of, floats, "sum"),
        "sum of floats, combined": Job(pairs_of, floats, "sum", {"combiner": "sum"}),
        **{
            f"{name} of {what} under mixed keys, combined": Job(
                pairs_of, each(mixed_keys(largest), mixed_keys(1)), name, {"combiner": name}
            )
            for name in ("sum", "min", "max")
            for what, largest in (("ints", 500), ("large ints", 2**62), ("huge ints", 2**80))
        },
        **{
            f"{name} of floats": Job(pairs_of, floats, name)
            for name in ("mean", "stats", "min", "count", "first", "top:2")
        },
        "stats": Job(pairs_of, dealt(REAL, 3), "stats"),
        "identity": Job(pairs_of, dealt(COLUMNS | TEXTS, 3), "identity"),
        "identity, sorted": Job(pairs_of, dealt(WHOLE, 2), "identity", {"sort_values": True}),
        "first, combined": Job(pairs_of, dealt(COLUMNS, 3), "first", {"combiner": "first"}),
        **{
            f"{name} under {len(set(keys))} keys": Job(
                pairs_of, each(*([(key, n / 7) for n, key in enumerate(keys)],) * 2), name
            )
            for name in ("sum", "mean", "stats", "count", "max", "first", "top:2")
            for keys in ([n % 9 for n in range(9000)], [f"k{n % 4999}" for n in range(9000)])
        },
        **{
            f"{name}, values sorted": Job(pairs_of, dealt(WHOLE, 2), name, {"sort_values": True})
            for name in ("first", "mean", "count")
        },
    }
