from __future__ import annotations

import math
import pickle
from bisect import bisect_right
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrkernel.shuffle.columns import ArrowColumn
from mrkernel.shuffle.key_column import KeyColumn
from mrkernel.shuffle.keys import encode, normalise
from mrkernel.shuffle.partition import partitions_of
from mrkernel.shuffle.range_partition import RangePartitioner, choose_boundaries

edges = st.sampled_from(
    [
        *(0, -0.0, 1, -1, 0.5, math.inf, -math.inf, math.nan, 1 << 53, (1 << 53) + 1, 2.0**53),
        *((1 << 63) - 1, 1 << 63, -(1 << 63), -(1 << 63) - 1, 1 << 2000, -(1 << 2000), 2.0**63),
        *("", "a", "a\0", "a\0\0\0\0\0\0\0", "aaaaaaaa", "aaaaaaaab", b"", b"a", b"\xff" * 9, ()),
    ]
)
longs = st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-5, 5)
texts = st.text("ab\0é", max_size=12)
scalars = edges | longs | st.floats() | texts | st.binary(max_size=10) | st.none() | st.booleans()
any_key = scalars | st.lists(scalars, max_size=3).map(tuple)
of_one_kind = st.one_of(
    *(st.lists(kind, min_size=1, max_size=20) for kind in (longs, st.floats(), texts)),
    st.lists(st.binary(max_size=12), min_size=1, max_size=20),
    st.lists(any_key, min_size=1, max_size=20),
)


def plain(keys: list[Any], boundaries: list[bytes], partitions: int) -> list[int]:
    """The rule itself: count the boundaries that are not above the key."""
    return [min(sum(bound <= encode(key) for bound in boundaries), partitions - 1) for key in keys]


@given(of_one_kind, st.lists(any_key, max_size=8), st.integers(1, 9), st.booleans())
def test_columns_agree_with_the_order_of_encodings(
    keys: list[Any], bounds: list[Any], partitions: int, own: bool
) -> None:
    # Boundaries that are keys, or nearly, find more than those that are not.
    boundaries = sorted({encode(key) for key in bounds + (keys[::2] if own else [])})
    partitioner = RangePartitioner(boundaries)
    expected = plain(keys, boundaries, partitions)
    assert [partitioner(key, partitions) for key in keys] == expected
    for typed_from in (0, 1000):
        column = KeyColumn.of([normalise(key) for key in keys], least=typed_from)
        assert column.typed == (typed_from == 0)
        assert list(map(int, partitions_of(column, partitions, partitioner))) == expected


@given(of_one_kind, st.integers(1, 9))
def test_parts_are_in_order_whatever_the_boundaries(keys: list[Any], partitions: int) -> None:
    partitioner = RangePartitioner(choose_boundaries([(encode(k), 1.0) for k in keys], partitions))
    ordered = sorted(keys, key=encode)
    parts = [partitioner(key, partitions) for key in ordered]
    assert parts == sorted(parts)
    assert set(parts) <= set(range(partitions))


def test_long_typed_columns_are_not_asked_key_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"{n:06d} and more" for n in range(10_000)]
    column = KeyColumn.of(keys)
    assert isinstance(column.column, ArrowColumn)
    boundaries = [encode(key) for key in ("002500", "005000 and more", "0075")]

    def refuse(*_: Any) -> int:
        raise AssertionError("one by one")

    monkeypatch.setattr(RangePartitioner, "__call__", refuse)
    parts = partitions_of(column, 4, RangePartitioner(boundaries))
    assert Counter(map(int, parts)) == {0: 2500, 1: 2500, 2: 2500, 3: 2500}
    assert [int(parts[n]) for n in (0, 2499, 2500, 4999, 5000, 7499, 7500, 9999)] == [
        *(0, 0, 1, 1, 2, 2, 3, 3)
    ]


def test_it_travels() -> None:
    partitioner = RangePartitioner([encode("a"), encode("b")])
    other = pickle.loads(pickle.dumps(partitioner))
    assert [other(key, 3) for key in ("", "a", "aa", "b")] == [0, 1, 1, 2]


def shares(keys: list[Any], partitions: int, weights: list[float] | None = None) -> list[int]:
    weighted = list(zip(map(encode, keys), weights or [1.0] * len(keys), strict=True))
    boundaries = choose_boundaries(weighted, partitions)
    assert boundaries == sorted(set(boundaries))
    assert len(boundaries) < partitions
    counts = Counter(bisect_right(boundaries, encode(key)) for key in keys)
    return [counts[number] for number in range(partitions)]


def test_boundaries_give_equal_shares() -> None:
    assert shares(list(range(1000, 0, -1)), 4) == [250, 250, 250, 250]
    assert shares([f"{n}" for n in range(30)] * 10, 3) == [100, 100, 100]


def test_heavier_keys_fill_a_share_with_fewer() -> None:
    assert shares(list(range(100)), 2, [9.0] * 10 + [1.0] * 90) == [10, 90]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([], [0, 0, 0, 0]),
        ([7] * 50, [50, 0, 0, 0]),
        ([1, 2], [1, 1, 0, 0]),
        ([1] * 90 + [2] * 5 + [3] * 5, [90, 5, 5, 0]),
        ([1] * 5 + [2] * 90 + [3] * 5, [5, 90, 5, 0]),
    ],
)
def test_few_or_skewed_keys(keys: list[Any], expected: list[int]) -> None:
    assert shares(keys, 4) == expected
