from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import exactly, group
from pairs_strategy import columns, keys, values

from mrkernel.errors import KeyTypeError
from mrkernel.shuffle import pickling
from mrkernel.shuffle.assembly import concat, load
from mrkernel.shuffle.block import Block
from mrkernel.shuffle.collector import BLOCK_PAIRS, Collector
from mrkernel.shuffle.columns import ArrowColumn, ListColumn, kind_of
from mrkernel.shuffle.dict_column import DictColumn
from mrkernel.shuffle.growing import GrowingColumn
from mrkernel.shuffle.keys import decode, encode, spelling

#: Slices as mappers give them: all values the same, of one kind, or of any.
one_value = st.tuples(st.lists(keys, min_size=1, max_size=60), values).map(
    lambda drawn: [(key, drawn[1]) for key in drawn[0]]
)
counted = st.tuples(
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=32, max_size=60),
    st.sampled_from(["x", b"x", 1, True, 2**70, 1.0]),
).map(lambda drawn: [(key, drawn[1]) for key in drawn[0]])
counted_numbers = st.lists(
    st.sampled_from([1, True, 1.0, 2, (1, "a"), (1.0, "a")]), min_size=32
).map(lambda some: [(key, "x") for key in some])
any_values = st.lists(st.tuples(keys, values), min_size=1, max_size=20)
slices = st.lists(st.one_of(one_value, counted, counted_numbers, any_values), max_size=6)


def collected(slices: Sequence[Sequence[tuple[Any, Any]]]) -> list[Block]:
    collector = Collector()
    blocks = [collector.add(some) for some in slices]
    blocks.append(collector.take())
    assert collector.take() is None
    assert collector.nbytes == 0
    return [block for block in blocks if block is not None]


def pairs_of(blocks: Sequence[Block]) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    for block in blocks:
        spread = chain.from_iterable(map(repeat, block.keys.to_list(), block.count_list()))
        found.extend(zip(spread, block.columns[0].to_list(), strict=True))
    return found


@given(slices)
@settings(max_examples=150)
def test_blocks_hold_the_groups_of_all_pairs(slices: list[list[tuple[Any, Any]]]) -> None:
    found = pairs_of(collected(slices))
    every = [(decode(encode(key), spelling(key)), value) for key, value in chain(*slices)]
    assert exactly(group(found)) == exactly(group(every))


def test_slices_of_one_value_are_counted() -> None:
    lines = [[(word, f"file {number}") for word in [*"abacadab"] * 64] for number in "12"]
    for size in (1, 20):
        (block,) = collected(lines * size)
        assert block.groups == 2 * 4 * size
        assert block.pairs == 2 * 512 * size
        assert isinstance(block.columns[0], DictColumn if size > 1 else DictColumn | ListColumn)
        assert pairs_of([block])[:256] == [("a", "file 1")] * 256


def test_numbers_spelled_differently_are_not_counted_together() -> None:
    some = [(key, "x") for key in [1, 1.0, True] * 30]
    (block,) = collected([some])
    assert block.groups == block.pairs == 90


def test_keys_that_do_not_repeat_are_counted_no_more() -> None:
    collector = Collector()
    collector.add([(f"{i}", 1) for i in range(100)])
    assert collector._pause
    block = collector.take()
    assert block is not None
    assert block.counts is None


def test_a_block_is_given_when_there_are_enough_pairs() -> None:
    collector = Collector()
    done = [collector.add([(f"{i % 7}-{j}", i) for i in range(1000)]) for j in range(100)]
    blocks = [block for block in done if block is not None]
    assert len(blocks) == 1
    assert BLOCK_PAIRS <= blocks[0].pairs < BLOCK_PAIRS + 1000


@pytest.mark.parametrize("value", [1, object()])
def test_a_bad_key_is_told_with_its_index(value: Any) -> None:
    pairs = [("a", value)] * 40 + [({"a"}, value)] + [("a", value)]
    with pytest.raises(KeyTypeError, match="sorted") as caught:
        Collector().add(pairs)
    assert caught.value.index == 40


@given(st.lists(columns, max_size=5), st.integers(1, 40))
@settings(max_examples=150)
def test_a_column_that_grew_is_the_same(slices: list[list[Any]], least: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mrkernel.shuffle.growing.typed_from", lambda: least)
        growing = GrowingColumn()
        for some in slices:
            growing.add(some, kind_of(some))
            assert growing.size == 0 or growing.nbytes > 0
        column = growing.build()
    assert exactly(column.to_list()) == exactly(list(chain(*slices)))
    assert growing.successor().size == 0


def test_one_kind_grows_typed_and_mixed_ones_do_not() -> None:
    grown = GrowingColumn()
    for _ in range(6):
        grown.add([1.5] * 1000, "float")
    assert isinstance(grown.build(), ArrowColumn)
    grown.add([None], "object")
    grown.add([2] * 1000, "int")
    column = grown.build()
    assert isinstance(column, ListColumn)
    assert exactly(column.to_list()) == exactly([1.5] * 6000 + [None] + [2] * 1000)


def test_strings_that_repeat_are_encoded() -> None:
    grown = GrowingColumn()
    for number in range(8):
        grown.add([f"name {number % 3}"] * 1000, "str")
    assert isinstance(grown.build(), DictColumn)
    assert isinstance(grown.build(repeats=False), ArrowColumn)


@given(st.lists(st.tuples(columns, st.booleans()), max_size=5), st.integers(1, 40), st.data())
@settings(max_examples=100)
def test_values_that_cannot_change_are_known(
    slices: list[tuple[list[Any], bool]], least: int, data: st.DataObject
) -> None:
    """What is said to be frozen is; and it comes back from a dump as it was."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mrkernel.shuffle.growing.typed_from", lambda: least)
        growing = GrowingColumn()
        every: list[Any] = []
        for some, wrapped in slices:
            given_values = [(value, "x") for value in some] if wrapped else some
            growing.add(given_values, kind_of(given_values))
            every += given_values
        column = growing.build()
    if isinstance(column, ListColumn) and column.frozen:
        assert pickling.is_frozen(every)
    order = data.draw(st.permutations(range(len(every))))
    back = load(concat([column.take(order), column]).dump())
    assert exactly(back.to_list()) == exactly([every[i] for i in order] + every)


def test_tuples_are_frozen_and_lists_are_not() -> None:
    shared = [1]
    grown = GrowingColumn()
    grown.add([(1, ("a", None))] * 3, "object")
    column = grown.build()
    assert isinstance(column, ListColumn)
    assert column.frozen
    grown.add([(shared, shared)], "object")
    column = grown.build()
    assert isinstance(column, ListColumn)
    assert not column.frozen
    pair = load(column.dump()).to_list()[-1]
    assert pair[0] is pair[1]
