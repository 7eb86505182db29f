"""Shares of a result part as records: any range, in order, and damage noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrkernel.data.splits import PartSplit
from mrkernel.errors import CorruptRunError, InputError
from mrkernel.ids import JobId
from mrkernel.shuffle.key_column import KeyColumn
from mrkernel.shuffle.pairs import pair_batches
from mrkernel.shuffle.part import PairWriter, PartWriter
from mrkernel.shuffle.run import file_read, memory_index, memory_read, read_index


def split(first: int, count: int, pairs: int, source: str = "") -> PartSplit:
    return PartSplit("counts", JobId("j1"), 2, first, count, pairs, 1000, source)


def part(groups: int, each: int) -> tuple[bytes, list[Any]]:
    """A part in several blocks, whose groups have several pairs; and its pairs."""
    writer = PartWriter("/nowhere", inline=1 << 30)
    for start in range(0, groups, 7):
        keys = list(range(start, min(start + 7, groups)))
        writer.add(
            KeyColumn.of(keys), [each] * len(keys), [[k] * 2 for k in keys for _ in range(each)]
        )
        writer._flush()
    writer.close()
    assert writer.data is not None
    return writer.data, [(k, [k] * 2) for k in range(groups) for _ in range(each)]


@given(st.integers(1, 40), st.integers(1, 5), st.data())
def test_any_range_has_its_pairs(groups: int, each: int, data: st.DataObject) -> None:
    packed, pairs = part(groups, each)
    first = data.draw(st.integers(0, len(pairs) - 1))
    count = data.draw(st.integers(1, len(pairs) - first))
    batches = list(
        pair_batches(split(first, count, len(pairs)), memory_read(packed), memory_index(packed))
    )
    assert [pair for batch in batches for pair in batch.records] == pairs[first : first + count]
    places = [batch.where(n) for batch in batches for n in range(len(batch))]
    assert places == [f"counts part 2[{n}]" for n in range(first, first + count)]
    assert sum(batch.nbytes for batch in batches) <= 1000


def test_what_a_mapper_does_to_a_pair_can_be_undone() -> None:
    packed, pairs = part(3, 1)
    (batch,) = pair_batches(split(1, 2, 3), memory_read(packed), memory_index(packed))
    keys, values = batch.arguments(0, 2)
    values[0].clear()
    assert (keys, batch.records[0]) == ([1, 2], (1, []))
    assert batch.anew(0, 2) == pairs[1:]
    assert batch.mark(0) is None
    assert batch.table().column_names == ["key", "value"]


def test_a_named_part_tells_its_name() -> None:
    packed, pairs = part(3, 1)
    (batch,) = pair_batches(split(0, 3, 3, "left"), memory_read(packed), memory_index(packed))
    assert batch.arguments(1, 3) == (["left", "left"], pairs[1:])
    assert batch.mark(0) == "left"
    assert batch.where(2) == "counts part 2[2]"


def test_map_only_output_keeps_the_order_of_its_yields() -> None:
    writer = PairWriter("/nowhere", inline=1 << 20)
    pairs = [(5, "a"), (3, "b"), (5, "c")]
    writer.add(pairs)
    writer.close()
    assert writer.data is not None
    read, index = memory_read(writer.data), memory_index(writer.data)
    (batch,) = pair_batches(split(0, 3, 3), read, index)
    assert batch.records == pairs


def test_a_part_that_was_made_again_otherwise_is_refused() -> None:
    packed, _ = part(3, 1)
    with pytest.raises(InputError, match="made again with 3 pairs, where it had 4: make its"):
        list(pair_batches(split(0, 4, 4), memory_read(packed), memory_index(packed)))


def test_a_damaged_block_is_noticed(tmp_path: Path) -> None:
    packed, _ = part(30, 1)
    path = tmp_path / "part-2.1"
    path.write_bytes(packed[:60] + bytes([packed[60] ^ 1]) + packed[61:])
    with pytest.raises(CorruptRunError, match="counts part 2 is damaged at byte"):
        list(pair_batches(split(0, 30, 30), file_read(path), read_index(path)))
