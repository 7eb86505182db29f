from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrkernel.shuffle.columns import pack
from mrkernel.shuffle.group_batch import GroupBatch
from mrkernel.shuffle.key_column import KeyColumn
from mrkernel.shuffle.values import Values


def batch_of(counts: list[int] | None, size: int) -> tuple[GroupBatch, list[tuple[str, list[int]]]]:
    cuts = list(accumulate(counts if counts is not None else [1] * size, initial=0))
    groups = [(f"{i:05}", list(range(a, b))) for i, (a, b) in enumerate(pairwise(cuts))]
    keys = KeyColumn.of([key for key, _ in groups], least=0)
    return GroupBatch(keys, counts, pack(list(range(cuts[-1])), least=0)), groups


@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.booleans(), st.integers(1, 12))
def test_pieces_are_the_batch(counts: list[int], ones: bool, pairs: int) -> None:
    batch, groups = batch_of(None if ones else counts, len(counts))
    pieces = list(batch.pieces(pairs))
    opened = [piece.opened() for piece in pieces]
    found = [pair for some in opened for pair in zip(some.keys, some.items, strict=True)]
    assert found == groups
    if len(pieces) > 1:
        assert all(piece.pairs <= pairs or len(piece) == 1 for piece in pieces)


def test_values_of_opened_groups_end_one_after_the_other() -> None:
    batch, groups = batch_of([2, 1, 3], 0)
    opened = batch.opened()
    assert [type(values) for values in opened.values] == [Values] * 3
    assert [list(values) for values in opened.values] == [items for _, items in groups]
    close = opened.close()
    next(close)
    with pytest.raises(ValueError, match="ended with the reducer's call"):
        list(opened.values[0])
    assert len(opened.values[1]) == 1
    opened.reopen(0)
    assert list(opened.values[0]) == [0, 1]


def test_a_batch_without_counts_has_one_value_a_group() -> None:
    batch, _ = batch_of(None, 3)
    assert [list(values) for values in batch.opened().values] == [[0], [1], [2]]


def test_nothing_is_opened_to_nothing() -> None:
    empty: list[Any] = []
    batch = GroupBatch(KeyColumn.of([]), None, pack(empty))
    assert batch.opened().values == []
    assert [len(piece) for piece in batch.pieces()] == [0]
