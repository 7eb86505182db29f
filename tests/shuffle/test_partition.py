from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs_strategy import key_kinds

from mrkernel.job.failure import UserCodeError
from mrkernel.shuffle.key_column import KeyColumn
from mrkernel.shuffle.partition import partition_of, partitions_of

partitions = st.integers(1, 9)


@given(key_kinds.flatmap(lambda kind: st.lists(kind, min_size=1, max_size=20)), partitions)
@settings(max_examples=150)
def test_columns_agree_with_single_keys(keys: list[Any], count: int) -> None:
    expected = [partition_of(key, count) for key in keys]
    for typed_from in (0, 10**9):
        column = KeyColumn.of(keys, least=typed_from)
        assert list(map(int, partitions_of(column, count))) == expected
        assert list(map(int, partitions_of(column.encoded(), count))) == expected


@given(st.lists(st.floats(allow_nan=False), min_size=1), partitions)
def test_floats_agree(keys: list[float], count: int) -> None:
    column = KeyColumn.of(keys, least=0)
    assert list(map(int, partitions_of(column, count))) == [partition_of(k, count) for k in keys]


def test_the_users_partitioner_is_asked() -> None:
    column = KeyColumn.of(["a", "b", "z"])
    assert partitions_of(column, 3, lambda key, count: ord(key) % count) == [1, 2, 2]
    assert partitions_of(column, 3, lambda key, count: np.int64(2)) == [2, 2, 2]


@pytest.mark.parametrize("answer", [3, -1, 1.0, True, None, "1"])
def test_a_partitioner_out_of_range_is_told_the_range(answer: Any) -> None:
    with pytest.raises(UserCodeError, match="key 'a': it must return an int from 0 to 2"):
        partitions_of(KeyColumn.of(["a"]), 3, lambda key, count: answer)


def test_a_partitioner_that_raises_is_shown_with_its_line() -> None:
    with pytest.raises(UserCodeError, match="partitioner raised ZeroDivisionError") as caught:
        partitions_of(KeyColumn.of(["a"]), 3, lambda key, count: 1 // 0)
    failure = caught.value.failure
    assert failure.frames[-1].function.endswith("<lambda>")
    assert failure.where == "key 'a'"
