from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracle import exactly, group
from pairs_strategy import numbers

from mrkernel.errors import KeyTypeError
from mrkernel.shuffle.block import Block
from mrkernel.shuffle.columns import pack
from mrkernel.shuffle.fold import Fold, exact_sum, fold_block, make_fold
from mrkernel.shuffle.key_column import KeyColumn

NAMES: list[Any] = ["sum", "min", "max"]
PYTHON: dict[str, Callable[[Any], Any]] = {"sum": sum, "min": min, "max": max}


def folded(fold: Fold, batches: list[list[tuple[Any, Any]]]) -> list[tuple[Any, Any]]:
    """Fold as `SortBuffer` does: once a batch is refused, all others are kept as they are."""
    left: list[tuple[Any, Any]] = []
    refused = False
    for batch in batches:
        if not refused and not fold.add(batch):
            refused = True
            left = list(zip(*fold.drain(), strict=True))
        if refused:
            left += batch
    return left + list(zip(*fold.drain(), strict=True))


@given(
    st.sampled_from(["min", "max"]),
    st.lists(st.lists(st.tuples(numbers | st.sampled_from("ab"), numbers), min_size=1)),
)
@settings(max_examples=150)
def test_min_and_max_are_pythons(name: Any, batches: list[list[tuple[Any, Any]]]) -> None:
    best = PYTHON[name]
    want = [(key, best(some)) for key, some in group(p for batch in batches for p in batch)]
    got = [(key, best(some)) for key, some in group(folded(make_fold(name), batches))]
    assert exactly(got) == exactly(want)


whole_numbers = st.integers() | st.booleans()


@given(
    st.lists(st.lists(st.tuples(st.sampled_from(["a", "b", "c", 1]), whole_numbers), min_size=1))
)
def test_sums_of_ints_are_exact(batches: list[list[tuple[Any, Any]]]) -> None:
    want = [(key, sum(some)) for key, some in group(p for batch in batches for p in batch)]
    got = [(key, sum(some)) for key, some in group(folded(make_fold("sum"), batches))]
    assert exactly(got) == exactly(want)


moderate = st.floats(-1e300, 1e300) | st.integers(-(2**60), 2**60)


@given(st.lists(moderate, max_size=20))
@example([1e16, 1.0, -1e16])
@example([1e300, 1e-300, 5e-324, -1e300])
@example([0.1] * 10)
def test_what_is_left_of_floats_has_exactly_their_sum(values: list[Any]) -> None:
    short = exact_sum(values)
    assert sum(map(Fraction, short)) == sum(map(Fraction, values))
    assert len([value for value in short if type(value) is int]) <= 1
    assert {type(value) for value in short} == {type(value) for value in values}


def test_what_is_left_of_many_floats_is_little() -> None:
    values = [math.ldexp(1 + i / 7, i % 50) for i in range(10_000)]
    assert len(exact_sum(values)) <= 4


@pytest.mark.parametrize(
    "values",
    [
        [math.inf, 1.0, math.inf],
        [math.inf, -math.inf, 2.0],
        [math.nan, 1.0],
        [-math.inf, 3, 4.0],
        [1e308, 1e308, -1e308, 1.0],
    ],
)
def test_strange_floats_add_up_as_before(values: list[Any]) -> None:
    short = exact_sum(values)
    assert repr(sum(short)) == repr(sum(values))


few_keys = st.lists(st.tuples(st.sampled_from("abc"), numbers), min_size=1, max_size=30)


def fold_all(name: Any, pairs: list[tuple[Any, Any]], typed_from: int) -> list[tuple[Any, Any]]:
    """Fold as one block, as a spill does."""
    groups = group(pairs)
    values = pack([value for _, some in groups for value in some], typed_from=typed_from)
    counts = [len(some) for _, some in groups]
    block = fold_block(Block(KeyColumn.of([key for key, _ in groups]), counts, [values]), name)
    left = iter(block.columns[0].to_list())
    return [
        (key, [next(left) for _ in range(count)])
        for key, count in zip(block.keys.to_list(), block.count_list(), strict=True)
    ]


@given(st.sampled_from(["min", "max"]), few_keys, st.sampled_from([0, 10**9]))
@settings(max_examples=200)
def test_blocks_fold_to_pythons_min_and_max(
    name: Any, pairs: list[tuple[Any, Any]], typed_from: int
) -> None:
    best = PYTHON[name]
    want = [(key, best(some)) for key, some in group(pairs)]
    got = [(key, best(some)) for key, some in fold_all(name, pairs, typed_from)]
    assert exactly(got) == exactly(want)


one_kind = st.sampled_from(
    [st.integers(-9, 9), st.integers(-(2**63), 2**63 - 1), st.floats(-1e300, 1e300), moderate]
).flatmap(lambda kind: st.lists(st.tuples(st.sampled_from("abc"), kind), min_size=1, max_size=30))


@given(one_kind, st.sampled_from([0, 10**9]), st.sampled_from(NAMES))
@settings(max_examples=200)
def test_blocks_fold_to_exactly_the_same(
    pairs: list[tuple[Any, Any]], typed_from: int, name: Any
) -> None:
    def exact(values: list[Any]) -> Any:
        return sum(map(Fraction, values)) if name == "sum" else PYTHON[name](values)

    want = [(key, exact(some), set(map(type, some))) for key, some in group(pairs)]
    folded = fold_all(name, pairs, typed_from)
    got = [(key, exact(some), set(map(type, some))) for key, some in folded]
    assert [triple[:2] for triple in got] == [triple[:2] for triple in want]
    if name == "sum":
        assert [kinds for *_, kinds in got] == [kinds for *_, kinds in want]
    whole = all(type(value) is int for _, value in pairs)
    assert not whole or all(len(some) == 1 for _, some in folded)


@pytest.mark.parametrize("value", [Decimal(1), [1], None, "a", np.int64(2)])
def test_blocks_of_other_values_stay(value: Any) -> None:
    assert fold_all("sum", [("a", value), ("a", 1)], 0) == [("a", [value, 1])]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [Decimal(1), Fraction(1, 3), np.int64(1), [1], None, (1,), 1j])
def test_other_values_are_left_alone(name: Any, value: Any) -> None:
    fold = make_fold(name)
    assert not fold.add([("a", 1), ("a", value)])
    assert fold.drain() == ([], [])


def test_nan_is_left_to_python() -> None:
    assert not make_fold("min").add([("a", 1.0), ("a", math.nan)])


@pytest.mark.parametrize("name", NAMES)
def test_spellings_are_never_lost(name: Any) -> None:
    fold = make_fold(name)
    assert fold.add([("a", 1), ("b", 2)])
    assert fold.add([("c", 1), (1, 2)])
    assert not fold.add([("d", 5), ("a", 6), (True, 2)])
    assert not fold.add([(("x", 1.0), 2)])
    assert dict(zip(*fold.drain(), strict=True)) == {"a": 1, "b": 2, "c": 1, 1: 2}


def test_a_text_batch_with_one_other_key_is_taken_back() -> None:
    fold = make_fold("sum")
    fold.add([("a", 1)])
    assert fold.add([("b", 1), ("a", 1), (2, 5), (2, 6)])
    assert not fold.add([("a", 1), ("c", 1), (1.0, 5), (True, 6)])
    assert dict(zip(*fold.drain(), strict=True)) == {"a": 2, "b": 1, 2: 11}


def test_numpys_text_is_made_plain() -> None:
    fold = make_fold("sum")
    fold.add([("a", 1), (np.str_("b"), 1), (np.str_("a"), 1)])
    keys, values = fold.drain()
    assert sorted(zip(keys, values, strict=True)) == [("a", 2), ("b", 1)]
    assert {type(key) for key in keys} == {str}


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_key_is_told_with_its_index(name: Any) -> None:
    for bad in ([1], object(), {"a"}):
        with pytest.raises(KeyTypeError) as caught:
            make_fold(name).add([("a", 1), ("b", 1), (bad, 1)])
        assert caught.value.index == 2
