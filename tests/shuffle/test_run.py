from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import exactly, group
from pairs_strategy import key_kinds, values

from mrkernel.errors import CorruptRunError
from mrkernel.shuffle import block as blocks
from mrkernel.shuffle.block import Block, load_block
from mrkernel.shuffle.columns import pack
from mrkernel.shuffle.key_column import KeyColumn
from mrkernel.shuffle.run import (
    RunIndex,
    RunWriter,
    file_read,
    memory_read,
    read_index,
    segment_readers,
)

pairs_of_any_kind = key_kinds.flatmap(
    lambda kind: st.lists(st.tuples(kind, values), min_size=1, max_size=20)
)


def block_of(pairs: list[tuple[Any, Any]], typed_from: int = 4096) -> Block:
    groups = group(pairs)
    counts = [len(some) for _, some in groups]
    column = pack([value for _, some in groups for value in some], least=typed_from)
    return Block(KeyColumn.of([key for key, _ in groups], least=typed_from), counts, [column])


def groups_of(several: list[Block]) -> list[tuple[Any, list[Any]]]:
    """Read blocks back as groups, joining those which continue."""
    found: list[tuple[Any, list[Any]]] = []
    going_on = False
    for block in several:
        values = iter(block.columns[0].to_list())
        for key, count in zip(block.keys.to_list(), block.count_list(), strict=True):
            some = [next(values) for _ in range(count)]
            if going_on:
                assert exactly(found[-1][0]) == exactly(key)
                found[-1][1].extend(some)
            else:
                found.append((key, some))
            going_on = False
        assert next(values, None) is None
        going_on = block.continues
    assert not going_on
    return found


@given(pairs_of_any_kind, st.sampled_from([0, 10**9]))
@settings(max_examples=80)
def test_blocks_come_back(pairs: list[tuple[Any, Any]], typed_from: int) -> None:
    data = block_of(pairs, typed_from).dump()
    assert exactly(groups_of([load_block(data)])) == exactly(group(pairs))


@given(pairs_of_any_kind, st.data())
@settings(max_examples=80)
def test_blocks_are_cut_anywhere(pairs: list[tuple[Any, Any]], data: st.DataObject) -> None:
    block = block_of(pairs)
    size = len(pairs)
    cuts = sorted({0, size, *data.draw(st.lists(st.integers(0, size), max_size=4))})
    parts = [block.cut(a, b) for a, b in pairwise(cuts)]
    assert [part.pairs for part in parts] == [b - a for a, b in pairwise(cuts)]
    assert exactly(groups_of(parts)) == exactly(group(pairs))
    assert exactly(groups_of([p for part in parts for p in part.split(1)])) == exactly(group(pairs))


def test_a_block_of_another_version_is_refused() -> None:
    data = bytearray(block_of([("a", 1)]).dump())
    data[0] += 1
    with pytest.raises(ValueError, match="version 2"):
        load_block(data)


def test_segments_of_partitions_are_found_again(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", 3)
    writer.write_block(0, block_of([("a", 1)]))
    writer.write_block(2, block_of([("b", 2), ("b", 3)]))
    writer.end_segment()
    writer.write_block(2, block_of([("a", 4)]))
    index = writer.close()
    assert read_index(tmp_path / "run") == index
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(index), type=RunIndex) == index
    assert index.nbytes == (tmp_path / "run").stat().st_size
    assert (index.groups, index.pairs) == (3, 4)
    assert [index.partition(part).pairs for part in range(5)] == [1, 0, 3, 0, 0]
    data = (tmp_path / "run").read_bytes()
    for read in (file_read(tmp_path / "run"), memory_read(data)):
        readers = segment_readers(read, "run", index, 2)
        assert [groups_of(list(reader)) for reader in readers] == [[("b", [2, 3])], [("a", [4])]]
        assert segment_readers(read, "run", index, 1) == []


def test_an_empty_run_has_no_file(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", 3)
    writer.end_segment()
    index = writer.close()
    assert index == RunIndex()
    assert index.partition(2).nbytes == 0
    assert list(tmp_path.iterdir()) == []


def test_an_aborted_run_leaves_nothing(tmp_path: Path) -> None:
    RunWriter(tmp_path / "none", 1).abort()
    writer = RunWriter(tmp_path / "run", 1)
    writer.write_block(0, block_of([("a", 1)]))
    writer.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault(28)
def test_a_wrong_byte_anywhere_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "run"
    writer = RunWriter(path, 1)
    writer.write_block(0, block_of([("a", [1]), ("b", [2])]))
    writer.end_segment()
    writer.write_block(0, block_of([("c", "x")]))
    index = writer.close()
    good = path.read_bytes()
    starts = [place.offset for segment in index.partitions[0].segments for place in segment]
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 0x10
        path.write_bytes(bad)
        with pytest.raises(CorruptRunError) as caught:
            for reader in segment_readers(file_read(path), str(path), read_index(path), 0):
                list(reader)
        assert caught.value.path == str(path)
        if starts[0] <= at < starts[1]:
            assert caught.value.offset == starts[0]
            assert "must run again" in str(caught.value)
    path.write_bytes(good[:-1])
    with pytest.raises(CorruptRunError, match="not a whole run"):
        read_index(path)


@pytest.mark.fault(28)
def test_a_truncated_file_is_noticed_by_its_readers(tmp_path: Path) -> None:
    path = tmp_path / "run"
    writer = RunWriter(path, 1)
    writer.write_block(0, block_of([("a", 1)]))
    index = writer.close()
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(CorruptRunError):
        list(segment_readers(file_read(path), str(path), index, 0)[0])


def test_blocks_stay_small_whatever_the_values(tmp_path: Path) -> None:
    few_huge = [(f"{i:05}", "x" * 3_000_000 if i % 500 == 7 else "y") for i in range(2000)]
    one_group = [("k", [i, "v" * 50]) for i in range(60_000)]
    for pairs in (few_huge, one_group):
        writer = RunWriter(tmp_path / "run", 1)
        writer.write_block(0, block_of(pairs))
        index = writer.close()
        (segment,) = index.partitions[0].segments
        assert len(segment) > 2
        assert all(place.pairs == 1 or place.length <= 4 * blocks.BLOCK_BYTES for place in segment)
        (reader,) = segment_readers(file_read(tmp_path / "run"), "run", index, 0)
        assert groups_of(list(reader)) == group(pairs)
