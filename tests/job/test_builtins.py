from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrkernel.errors import JobSpecError
from mrkernel.job.builtins import builtin_combiner, builtin_reducer, exact_sum, folding

numbers = st.one_of(
    st.integers(-(10**20), 10**20), st.booleans(), st.floats(allow_nan=False, allow_infinity=False)
)


@given(st.lists(numbers, min_size=1), st.integers(1, 5))
def test_sum_is_within_an_ulp_of_the_exact_sum_also_in_parts(values: list[Any], parts: int) -> None:
    exact = sum(map(Fraction, values))
    whole = exact_sum(values)
    if all(type(v) is not float for v in values):
        assert whole == sum(values)
        assert type(whole) is int
        return
    try:
        assert whole == float(exact)
    except OverflowError:
        assert whole == (math.inf if exact > 0 else -math.inf)


@pytest.mark.parametrize(
    "values",
    [
        [1, True, 2],
        [10**30, 1],
        [0.5, math.nan],
        [math.inf, 1.0],
        [math.inf, -math.inf],
        [math.inf, 10**30],
        [Decimal("1.5"), Decimal(2)],
        [Fraction(1, 3), 1],
        [1j, 2.0],
        [],
    ],
)
def test_sum_equals_pythons(values: list[Any]) -> None:
    got, expected = exact_sum(values), sum(values)
    assert type(got) is type(expected)
    assert got == expected or (got != got and expected != expected)


def test_sum_overflows_only_where_the_exact_sum_does() -> None:
    assert exact_sum([1e308, 1e308, -1e308]) == 1e308
    assert exact_sum([1e308, 1e308]) == math.inf
    assert exact_sum([-1e308, -1e308]) == -math.inf


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("count", [3, None, 3], 3),
        ("min", [3, 1, 2], 1),
        ("max", ["a", "b"], "b"),
        ("mean", [1, 2], 1.5),
        ("mean", [Decimal(1), Decimal(2)], Decimal("1.5")),
        ("first", [7, 8], 7),
        ("list", (3, 1), [3, 1]),
        ("set", [1, 1, 2], {1, 2}),
        ("top:2", [3, 9, 4], [9, 4]),
        ("top:9", [3, 9, 4], [9, 4, 3]),
        ("top:2", [math.inf, math.nan, 4.0], [math.inf, 4.0]),
        ("stats", [4], {"count": 1, "sum": 4, "min": 4, "max": 4, "mean": 4.0, "std": None}),
        ("stats", [1, 3], {"count": 2, "sum": 4, "min": 1, "max": 3, "mean": 2.0, "std": 2**0.5}),
    ],
)
def test_built_ins(name: str, values: Any, expected: Any) -> None:
    assert builtin_reducer(name)(values) == expected


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("men", "there is no built-in reducer 'men': did you mean 'mean'?"),
        ("zzz", "there are sum, count, min, max, mean, stats, first, list, set, top:10, identity"),
        ("top", "write top:N"),
        ("top:x", "write top:N"),
        ("sum:3", "did you mean 'sum'?"),
    ],
)
def test_unknown_names(name: str, sentence: str) -> None:
    with pytest.raises(JobSpecError) as caught:
        builtin_reducer(name)
    assert sentence in str(caught.value)


def test_combiners() -> None:
    names = ("sum", "min", "max", "first")
    assert [builtin_combiner(name)([2, 1]) for name in names] == [3, 1, 2, 2]
    for name in ("count", "mean", "stats", "list", "set", "top:3"):
        with pytest.raises(JobSpecError, match=r"is no combiner.*leave the combiner out"):
            builtin_combiner(name)


@pytest.mark.parametrize(
    ("reducer", "combiner", "sort_values", "expected"),
    [
        ("sum", None, False, ("sum", "sum", False)),
        ("sum", "sum", False, ("sum", "sum", False)),
        ("count", None, False, ("count", "count", True)),
        ("stats", None, False, ("stats", "stats", True)),
        ("mean", "sum", False, ("sum", None, False)),  # the mean of partial sums, as ever
        ("mean", len, False, (None, None, False)),
        ("min", len, False, (None, "min", False)),
        (len, "sum", False, ("sum", None, False)),
        (len, None, False, (None, None, False)),
        (None, None, False, (None, None, False)),
        ("list", None, False, (None, "list", False)),
        ("first", None, False, ("first", "first", False)),
        ("first", None, True, (None, None, False)),  # the first when sorted
        ("mean", None, True, (None, None, False)),
        ("sum", "sum", True, ("sum", "sum", False)),
        ("top:3", None, False, ("top:3", "top:3", False)),
    ],
)
def test_what_a_job_folds(
    reducer: Any, combiner: Any, sort_values: bool, expected: tuple[Any, Any, bool]
) -> None:
    assert folding(reducer, combiner, sort_values=sort_values) == expected


def test_a_set_has_one_nan() -> None:
    (only,) = builtin_reducer("set")([math.nan, float("nan")])
    assert math.isnan(only)
