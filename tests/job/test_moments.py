"""States are put together to exactly what all values give; roots are rounded once."""

from __future__ import annotations

import math
import statistics
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mrkernel.job.moments import (
    FLOATS,
    MEAN_FLOATS,
    MEAN_WHOLES,
    WHOLES,
    addends,
    exact_sum,
    mean_of,
    mean_states,
    root,
    stats_of,
    stats_states,
)

finite = st.floats(allow_nan=False, allow_infinity=False)
numbers = st.integers() | finite | st.booleans()


@given(st.lists(st.floats(), min_size=1, max_size=20))
@example([1e16, 1.0, -1e16])
@example([1e300, 1e-300, 5e-324, -1e300])
@example([1e308, 1e308, -1e308])
@example([math.inf, -math.inf, 2.0])
def test_addends_have_the_sum_of_the_values(values: list[float]) -> None:
    short = addends(values)
    if all(map(math.isfinite, values)):
        assert sum(map(Fraction, short)) == sum(map(Fraction, values))
    else:
        assert repr(exact_sum(short)) == repr(exact_sum(values))


def test_many_floats_have_few_addends() -> None:
    assert len(addends([math.ldexp(1 + i / 7, i % 50) for i in range(10_000)])) <= 4


@given(st.integers(0, 10**40), st.integers(1, 10**40))
@example(1, 1)
@example(2, 1)
@example(1, 10**40)
@example(2**106 + 1, 1)
@example(2**2200, 1)
@settings(max_examples=200)
def test_roots_are_rounded_once(top: int, bottom: int) -> None:
    number = Fraction(top, bottom)
    got = root(number)
    if got == math.inf:
        assert number > Fraction(2) ** 2047
        return
    below, above = math.nextafter(got, -1.0), math.nextafter(got, math.inf)
    middle = (Fraction(got) + Fraction(above)) / 2
    assert number <= middle * middle
    if got:
        middle = (Fraction(got) + Fraction(below)) / 2
        assert number >= middle * middle


@given(st.lists(st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6), min_size=2, max_size=8))
@example([1e9, 1e9 + 1e-7])
@example([0.1] * 3)
def test_the_deviation_is_that_of_statistics(values: list[Any]) -> None:
    exact = list(map(Fraction, values))
    std = stats_of(stats_states(values))["std"]
    assert abs(std - statistics.stdev(exact)) <= math.ulp(std)


def test_the_deviation_of_large_and_small_numbers() -> None:
    assert stats_of(stats_states([1e200, -1e200]))["std"] == 1e200 * math.sqrt(2)
    assert stats_of(stats_states([5e-324, 0.0]))["std"] > 0
    assert math.isnan(stats_of(stats_states([math.inf, 1.0]))["std"])
    assert stats_of(stats_states([2**600, -(2**600)]))["std"] == 2.0**600 * math.sqrt(2)
    assert stats_of(stats_states([1.0]))["std"] is None


def test_exotic_values_are_as_python_has_them() -> None:
    values = [Decimal("1.5"), Decimal(2), 4]
    got = stats_of([*stats_states(values[:2]), *stats_states(values[2:])])
    assert got["sum"] == Decimal("7.5")
    assert got["mean"] == Decimal("2.5")
    assert got["std"] == (Decimal("3.5") / 2).sqrt()
    assert mean_of(mean_states([Fraction(1, 3), 1])) == Fraction(2, 3)
    with pytest.raises(TypeError):
        mean_of(mean_states([b"x" * MEAN_WHOLES.size]))


@given(st.lists(numbers, min_size=1, max_size=30))
def test_states_are_few(values: list[Any]) -> None:
    types = set(map(type, values))
    if types == {int}:
        assert len(stats_states(values)) == len(mean_states(values)) == 1
    if types == {bool}:
        assert len(mean_states(values)) == 1
        assert len(stats_states(values)) <= 4


def test_sizes_tell_what_is_in_a_state() -> None:
    sizes = {each.size for each in (FLOATS, WHOLES, MEAN_FLOATS, MEAN_WHOLES)}
    assert len(sizes) == 4
    assert [len(state) for state in stats_states([1, 2])] == [WHOLES.size]
    assert [len(state) for state in stats_states([1.0, 2.0])] == [FLOATS.size]
