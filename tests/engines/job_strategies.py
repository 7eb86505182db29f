"""Jobs as Hypothesis draws them: pairs of every kind, dealt to map tasks, and how to reduce."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st
from jobs import Job, functions, keys, pairs_of, values
from jobs.values import Flagged, Knot, Slotted, Version, Visit

numbers = (
    st.integers(-3, 3)
    | st.booleans()
    | st.integers(-3, 3).map(float)
    | st.floats()
    | st.integers(-(2**70), 2**70)
    | st.sampled_from(
        [-0.0, math.nan, math.inf, 2**53, 2**53 + 1, 2.0**53, 2**63, 2.0**63, 2**1100]
    )
)
texts = (
    st.sampled_from(["", "a", "b", "a\x00", "ab", "abcdefgh", "abcdefghi"])
    | st.text(max_size=10)
    | st.text(st.characters(categories=["Cs", "Ll"]), max_size=3)
)
of_numpy = (
    st.integers(-3, 3).map(np.int64)
    | st.integers(0, 3).map(np.uint8)
    | st.floats(width=32).map(np.float32)
    | st.booleans().map(np.bool_)
    | st.sampled_from(["a", "b"]).map(np.str_)
    | st.sampled_from([b"a", b""]).map(np.bytes_)
)
strange = st.sampled_from([keys.Size.SMALL, keys.Colour.RED, keys.Word("a"), keys.Point(1, "a")])
scalars = st.none() | numbers | texts | st.binary(max_size=4) | of_numpy | strange
any_keys = st.recursive(scalars, lambda one: st.lists(one, max_size=3).map(tuple), max_leaves=5)

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.binary()
others = (
    st.sampled_from([Decimal("1.50"), Fraction(1, 3), 1j, range(3), Ellipsis, int, len])
    | st.dates()
    | st.datetimes(timezones=st.just(datetime.UTC))
    | st.integers().map(Flagged)
    | st.sampled_from(values.Level)
    | st.builds(Version, st.integers(0, 3), st.integers(0, 3))
    | st.builds(Visit, st.text(max_size=3), st.lists(st.text(max_size=2), max_size=2))
    | st.lists(st.integers(), max_size=2).map(lambda one: Knot(one, one))
    | of_numpy
)
any_values = st.recursive(
    plain | others,
    lambda one: (
        st.lists(one, max_size=3)
        | st.tuples(one, one)
        | st.dictionaries(st.text(max_size=3), one, max_size=2)
        | st.builds(Slotted, one)
        | st.lists(one, max_size=2).map(lambda shared: [shared, shared])
    ),
    max_leaves=5,
)
#: What one map task gives: keys of one type mostly, as in life, and values likewise.
outputs = st.tuples(
    st.sampled_from(
        [
            *(any_keys, numbers, texts, scalars, st.binary(max_size=1)),
            *(st.integers(0, 4), st.integers(0, 4).map(float)),
            st.tuples(st.sampled_from("ab"), numbers),
        ]
    ),
    st.sampled_from([any_values, plain, st.integers(), st.floats(), st.text(max_size=5)]),
).flatmap(lambda kinds: st.lists(st.tuples(*kinds) | st.tuples(*kinds).map(list), max_size=12))


def own_key(key: Any, some: Any) -> Any:
    for value in some:
        yield (key, "own"), value
        yield key, value


@st.composite
def any_job(draw: Any) -> Job:
    splits = [[pairs] for pairs in draw(st.lists(outputs, min_size=1, max_size=4))]
    reducers = ["list", "count", "first", functions.each_value, values.together, own_key, "none"]
    reducer = draw(st.sampled_from(reducers))
    options: dict[str, Any] = {"slot_memory": draw(st.sampled_from([None, 1, 3000]))}
    if reducer != "none":
        options["reduce_tasks"] = draw(st.integers(1, 4))
        if draw(st.booleans()):
            options["combiner"] = functions.each_value
        if draw(st.booleans()):
            options["partitioner"] = functions.last_part
    return Job(pairs_of, splits, reducer, options)
