from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import pytest

from mrkernel.data.head import head
from mrkernel.data.records import Batch, ItemBatch

BATCHES = [
    ItemBatch(list("abc"), "x", 0, 30),
    ItemBatch([], "x", 3),
    ItemBatch(list("de"), "x", 3, 20),
]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 100])
def test_the_first_records_with_their_places(count: int) -> None:
    batches = list(head(BATCHES, count))
    wanted = "abcde"[:count]
    assert [record for batch in batches for record in batch.records] == list(wanted)
    assert [len(batch) for batch in batches] == [len(batch.records) for batch in batches]
    keys = [batch.keys() for batch in batches]
    assert list(chain.from_iterable(keys)) == [("x", index) for index in range(len(wanted))]
    assert sum(batch.nbytes for batch in batches) == 10 * len(wanted)
    last = batches[-1]
    assert (last.key(len(last) - 1), last.where(len(last) - 1)) == (
        ("x", len(wanted) - 1),
        f"x[{len(wanted) - 1}]",
    )


def test_no_more_is_read_than_needed() -> None:
    def batches() -> Iterator[Batch]:
        yield BATCHES[0]
        raise AssertionError("read on")

    assert len(next(iter(head(batches(), 2)))) == 2
    assert [len(batch) for batch in head(batches(), 3)] == [3]


def test_tables_are_cut_too() -> None:
    pytest.importorskip("pyarrow")
    (batch,) = head([ItemBatch([{"a": n} for n in range(9)], "x")], 2)
    assert batch.table().to_pydict() == {"a": [0, 1]}
