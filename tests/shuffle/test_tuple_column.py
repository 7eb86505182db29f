from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import exactly
from pairs_strategy import rows

from mrkernel.shuffle.assembly import concat, load
from mrkernel.shuffle.columns import Column, ListColumn, kind_of, pack
from mrkernel.shuffle.growing import GrowingColumn
from mrkernel.shuffle.tuple_column import TupleColumn, width_of

either = st.sampled_from([0, 10**9])


def column_of(some: list[tuple[Any, ...]], least: int) -> TupleColumn:
    return TupleColumn([pack(list(place), least=least) for place in zip(*some, strict=True)])


@given(st.lists(rows, min_size=1, max_size=30), either, st.data())
@settings(max_examples=150)
def test_tuples_are_values_like_any(some: list[Any], least: int, data: st.DataObject) -> None:
    column = column_of(some, least)
    cut = data.draw(st.integers(0, len(some)))
    order = data.draw(st.permutations(range(len(some))))
    other = pack([*some, "x"])
    pairs: list[tuple[Column, list[Any]]] = [
        (column, some),
        (load(column.dump()), some),
        (column.slice(0, cut), some[:cut]),
        (column.take(order), [some[i] for i in order]),
        (load(column.take(order).slice(cut, len(some)).dump()), [some[i] for i in order][cut:]),
        (
            concat([column, column.slice(0, cut), column_of(some, 10**9 - least)]),
            some + some[:cut] + some,
        ),
        (concat([column, column_of([(1,)], least)]), [*some, (1,)]),
        (concat([other, column]), [*some, "x", *some]),
    ]
    for left, right in pairs:
        assert exactly(left.to_list()) == exactly(right)
        assert len(left) == len(right)
        assert exactly([left.at(i) for i in range(len(left))]) == exactly(right)
    assert column.nbytes > 0


@pytest.mark.parametrize(
    ("some", "width"),
    [
        ([(1, "a"), (2.0, None)], 2),
        ([], 0),
        ([()], 0),
        ([(1,), (1, 2)], 0),
        ([(1, (2,))], 0),
        ([(1, [2])], 0),
        ([[1, 2]], 0),
        ([(1, 2), None], 0),
        ([tuple(range(99))], 0),
    ],
)
def test_only_tuples_of_one_width_and_plain_items_are(some: list[Any], width: int) -> None:
    assert width_of(some) == width


def test_tuples_grow_place_by_place_until_one_is_different() -> None:
    grown = GrowingColumn()
    some: list[Any] = [(i, f"{i % 3}") for i in range(1_000)]
    every: list[Any] = []
    for _ in range(6):
        grown.add(some, "object")
        every += some
    column = grown.build()
    assert isinstance(column, TupleColumn)
    assert exactly(column.to_list()) == exactly(every)
    assert len(column.dump()) < 6_000 * 10
    grown.add([(1, 2, 3)], "object")
    grown.add(some, kind_of(some))
    column = grown.build()
    assert isinstance(column, ListColumn)
    assert exactly(column.to_list()) == exactly([*every, (1, 2, 3), *some])
