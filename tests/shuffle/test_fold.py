"""Folding pairs as they come: nothing of them is lost, and keys keep their spelling."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import exactly, group
from pairs_strategy import numbers

from mrkernel.errors import KeyTypeError
from mrkernel.job.builtins import builtin_reducer
from mrkernel.shuffle import fold as fold_module
from mrkernel.shuffle.block import Block
from mrkernel.shuffle.columns import pack
from mrkernel.shuffle.fold import Fold, make_fold
from mrkernel.shuffle.fold_block import finisher, fold_block
from mrkernel.shuffle.key_column import KeyColumn

Pairs = list[tuple[Any, Any]]
NAMES = ["sum", "count", "min", "max", "mean", "first", "set", "top:2"]


def made(name: str) -> Fold:
    fold = make_fold(name)
    assert fold is not None
    return fold


def states_in(blocks: list[Block]) -> Iterator[tuple[Any, Any]]:
    for block in blocks:
        values = iter(block.columns[0].to_list())
        for key, count in zip(block.keys.to_list(), block.count_list(), strict=True):
            for _ in range(count):
                yield key, next(values)


def folded(name: str, batches: list[Pairs]) -> Pairs:
    """Fold as `SortBuffer` does: once a batch is refused, all others are grouped."""
    fold = made(name)
    blocks: list[Block] = []
    for number, batch in enumerate(batches):
        if not fold.add(batch):
            blocks = fold.drain()
            for key, value in (pair for rest in batches[number:] for pair in rest):
                blocks.append(fold_block(Block(KeyColumn.of([key]), [1], [pack([value])]), name))
            break
    else:
        blocks = fold.drain()
    finish = finisher(name) or builtin_reducer(name)
    return [(key, finish(states)) for key, states in group(states_in(blocks))]


some_keys = st.sampled_from(["a", "b", "c"]) | st.sampled_from(["a", 1, 1.0, True, ("x", 1), None])


@given(
    st.sampled_from(NAMES),
    st.lists(st.lists(st.tuples(some_keys, st.integers(-3, 3)), min_size=1, max_size=8)),
    st.sampled_from([2, 1 << 16]),
)
@settings(max_examples=300)
def test_any_keys(name: str, batches: list[Pairs], gather: int) -> None:
    reduce = builtin_reducer(name)
    want = [(key, reduce(some)) for key, some in group(p for batch in batches for p in batch)]
    before, fold_module._GATHER = fold_module._GATHER, gather
    try:
        assert exactly(folded(name, batches)) == exactly(want)
    finally:
        fold_module._GATHER = before


@given(
    st.sampled_from(["min", "max", "sum", "count", "first"]),
    st.lists(st.lists(st.tuples(st.sampled_from("ab"), numbers), min_size=1, max_size=8)),
)
@settings(max_examples=200)
def test_any_numbers(name: str, batches: list[Pairs]) -> None:
    reduce = builtin_reducer(name)
    want = [(key, reduce(some)) for key, some in group(p for batch in batches for p in batch)]
    assert exactly(folded(name, batches)) == exactly(want)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [Decimal(1), Fraction(1, 3), np.int64(1), (1,), 1.5, math.inf])
def test_other_values_come_out_as_they_are(name: str, value: Any) -> None:
    pairs = [("a", 1), ("a", value)]
    reduce = builtin_reducer(name)
    try:
        want = reduce([1, value])
    except TypeError:
        fold = made(name)
        assert not fold.add(pairs) or fold.drain()[0].pairs == 2  # left to the reducer, which says
        return
    assert exactly(folded(name, [pairs])) == exactly([("a", want)])


@pytest.mark.parametrize("name", NAMES)
def test_values_shrink_to_little(name: str) -> None:
    fold = made(name)
    for start in range(0, 200_000, 10_000):
        assert fold.add([(f"k{i % 5}", float(i % 3)) for i in range(start, start + 10_000)])
    assert fold.nbytes < 64_000 * 60
    assert sum(block.pairs for block in fold.drain()) <= 200
    assert fold.drain() == []


@pytest.mark.parametrize("name", ["set", "top:90000"])
def test_what_does_not_shrink_is_not_folded_again_and_again(name: str) -> None:
    fold = made(name)
    taken = 0
    for start in range(0, 400_000, 10_000):
        pairs = [("a", i) for i in range(start, start + 10_000)]
        if not fold.add(pairs):
            break
        taken += len(pairs)
    assert taken < 100_000
    assert sum(block.pairs for block in fold.drain()) == taken


def test_many_keys_are_left_to_columns() -> None:
    for name in ("sum", "count", "max"):
        fold = made(name)
        batches = [[(f"k{i}", 1) for i in range(s, s + 5000)] for s in range(0, 500_000, 5000)]
        taken = next(place for place, batch in enumerate(batches) if not fold.add(batch))
        assert taken < len(batches)
        assert sum(block.pairs for block in fold.drain()) == taken * 5000
        assert not fold.add([("a", 1)])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("other", [1.0, True, ("x", 1)])
def test_equal_keys_of_other_types_never_meet_in_one_dict(name: str, other: Any) -> None:
    same = ("x", 1.0) if isinstance(other, tuple) else 1
    batches: list[Pairs] = [
        [("a", 1), (same, 2)],
        [("a", 6), (other, 2)],
        [("b", 5), (same, 1)],
    ]
    fold = made(name)
    done = [fold.add(batch) for batch in batches]
    spelled = [repr(key) for key, _ in states_in(fold.drain())]
    assert done[0]
    assert (repr(other) in spelled) == done[1]
    assert exactly([key for key, _ in folded(name, batches)]) == exactly(
        [key for key, _ in group(pair for batch in batches for pair in batch)]
    )


@pytest.mark.parametrize(("name", "want"), [("sum", 2), ("max", 1), ("count", 2), ("first", 1)])
def test_a_text_batch_with_another_key_is_taken_back(name: str, want: int) -> None:
    batches: list[Pairs] = [[("a", 1)], [("b", 1), ("a", 1), (2, 5), (2, 6)]]
    fold = made(name)
    assert [fold.add(batch) for batch in batches] == [True, True]
    assert {key for key, _ in states_in(fold.drain())} == {"a", "b", 2}
    assert ("a", want) in folded(name, batches)


@pytest.mark.parametrize("name", NAMES)
def test_numpys_text_is_made_plain(name: str) -> None:
    fold = made(name)
    fold.add([("a", 1), (np.str_("b"), 1), (np.str_("a"), 1)])
    keys = {key for key, _ in states_in(fold.drain())}
    assert keys == {"a", "b"}
    assert {type(key) for key in keys} == {str}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("first", ["a", 1])
def test_a_bad_key_is_told_with_its_index(name: str, first: Any) -> None:
    for bad in ([1], object(), {"a"}):
        with pytest.raises(KeyTypeError) as caught:
            made(name).add([(first, 1), (first, 1), (bad, 1)])
        assert caught.value.index == 2


def test_a_list_is_not_folded() -> None:
    assert make_fold("list") is None
