from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mrkernel.shuffle import order as ordering
from mrkernel.shuffle.columns import to_arrow

letters = st.text("a\x00bé\U0001f600", max_size=40)
#: Long common beginnings, and one string the beginning of another.
alike = st.tuples(st.sampled_from(["", "a", "abcdefgh", "x" * 47, "x" * 64]), letters).map("".join)
kinds = st.one_of(
    st.lists(alike, min_size=1).map(lambda some: ("str", some)),
    st.lists(st.sampled_from(["abcdefgh" * 9, "abcdefgh" * 9 + "\x00", "a"]), min_size=1).map(
        lambda some: ("str", some)
    ),
    st.lists(alike.map(str.encode), min_size=1).map(lambda some: ("bytes", some)),
    st.lists(st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1), min_size=1).map(
        lambda some: ("int", some)
    ),
    st.lists(st.floats(allow_nan=False), min_size=1).map(
        lambda some: ("float", [value + 0.0 for value in some])
    ),
)


@given(kinds)
@example(("str", ["abcdefgh\x00", "abcdefgh", "abcdefgh\x00\x00", "abcdefgh"]))
@example(("str", ["", "\x00", ""]))
@settings(max_examples=200)
def test_order_is_that_of_a_stable_sort(drawn: tuple[str, list[Any]]) -> None:
    kind, some = drawn
    column = to_arrow(some, kind)
    assert column is not None
    order, starts = ordering.group(column)
    expected = sorted(range(len(some)), key=some.__getitem__)
    assert order.tolist() == expected
    assert starts.tolist() == [
        place
        for place, index in enumerate(expected)
        if place == 0 or some[index] != some[expected[place - 1]]
    ]


def test_a_slice_is_ordered_by_its_own_values() -> None:
    column = to_arrow(["c", "b", "a", "b"], "str")
    assert column is not None
    order, starts = ordering.group(column.slice(1, 4))
    assert order.tolist() == [1, 0, 2]
    assert starts.tolist() == [0, 1]


@pytest.mark.parametrize("limit", [3, 70_000])
def test_small_numbers_are_ordered_stably(limit: int) -> None:
    codes = np.array([2, 0, 1, 0, 2, limit - 1, 0])
    assert ordering.counting_order(codes, limit).tolist() == sorted(
        range(7), key=codes.tolist().__getitem__
    )


def test_ranges_are_spelled_out() -> None:
    places = ordering.expand(np.array([5, 0, 9]), np.array([2, 3, 1]))
    assert places.tolist() == [5, 6, 0, 1, 2, 9]
