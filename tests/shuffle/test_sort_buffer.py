from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import exactly, group
from pairs_strategy import map_outputs, shuffled

from mrkernel.errors import KeyTypeError
from mrkernel.job.failure import UserCodeError
from mrkernel.shuffle import columns
from mrkernel.shuffle.columns import pack
from mrkernel.shuffle.merge import merge_groups
from mrkernel.shuffle.partition import partition_of
from mrkernel.shuffle.run import RunWriter, SegmentReader, file_read, segment_readers
from mrkernel.shuffle.sort_buffer import SortBuffer


def groups(segments: list[SegmentReader]) -> list[tuple[Any, list[Any]]]:
    return [(key, list(some)) for batch in merge_groups(segments) for key, some in batch]


@given(map_outputs, st.integers(1, 4), st.sampled_from([1, 1 << 30]), st.sampled_from([1, 512]))
@settings(max_examples=120)
def test_every_partition_gets_its_groups(
    outputs: list[list[tuple[Any, Any]]], partitions: int, limit: int, typed_from: int
) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        # Short columns are lists; as arrays all of them take the other paths.
        patch.setattr(columns, "_TYPED_FROM_WARM", typed_from)
        segments = shuffled(outputs, Path(folder), partitions=partitions, limit_bytes=limit)
        every = [pair for pairs in outputs for pair in pairs]
        for part, readers in enumerate(segments):
            mine = [(key, v) for key, v in every if partition_of(key, partitions) == part]
            assert exactly(groups(readers)) == exactly(group(mine))


def many(kind: str, size: int) -> list[tuple[Any, Any]]:
    """Pairs enough for the typed paths; keys repeat, in no order."""
    key: Any = {
        "str": lambda i: f"key-{i * 7919 % 997}",
        "int": lambda i: i * 7919 % 997 - 500,
        "float": lambda i: (i * 7919 % 997) / 4 - 50,
        "bytes": lambda i: b"%d" % (i * 7919 % 997),
        "tuple": lambda i: ("w", i * 7919 % 997),
        "mixed": lambda i: [i % 97, float(i % 97), f"{i % 97}", None][i % 4],
    }[kind]
    return [(key(i), i) for i in range(size)]


@pytest.mark.parametrize("kind", ["str", "int", "float", "bytes", "tuple", "mixed"])
@pytest.mark.parametrize("limit", [60_000, 1 << 30])
def test_many_pairs(kind: str, limit: int, tmp_path: Path) -> None:
    outputs = [many(kind, 6_000), many(kind, 1_000)]
    segments = shuffled(outputs, tmp_path, partitions=2, batch=1000, limit_bytes=limit)
    every = outputs[0] + outputs[1]
    for part, readers in enumerate(segments):
        assert len(readers) == 2 if limit > 60_000 else len(readers) > 4
        mine = [pair for pair in every if partition_of(pair[0], 2) == part]
        assert exactly(groups(readers)) == exactly(group(mine))


def test_numbers_of_two_maps_meet(tmp_path: Path) -> None:
    ints = [(i, "int") for i in range(6000)]
    floats = [(float(i), "float") for i in range(6000)]
    (readers,) = shuffled([floats, ints], tmp_path, batch=500)
    assert exactly(groups(readers)) == exactly(group(floats + ints))


@pytest.mark.parametrize("name", ["sum", "min", "max"])
@pytest.mark.parametrize("limit", [20_000, 1 << 30])
def test_folds_leave_what_the_reducer_needs(name: Any, limit: int, tmp_path: Path) -> None:
    best: Any = {"sum": sum, "min": min, "max": max}[name]
    outputs = [many("str", 9000), many("mixed", 500), many("str", 9000)]
    (readers,) = shuffled(outputs, tmp_path, batch=700, limit_bytes=limit, fold=name)
    want = [(key, best(some)) for key, some in group(p for pairs in outputs for p in pairs)]
    assert exactly([(key, best(some)) for key, some in groups(readers)]) == exactly(want)
    if limit > 20_000:
        assert sum(place.pairs for reader in readers for place in reader.blocks) < 4000


def test_a_fold_that_does_not_shorten_is_given_up(tmp_path: Path) -> None:
    pairs = [(f"{i}", 1) for i in range(50_000)]
    (readers,) = shuffled([pairs], tmp_path, batch=8192, fold="sum")
    assert groups(readers) == group(pairs)


def test_a_combiner_is_asked_for_each_group(tmp_path: Path) -> None:
    asked = []

    def combine(key: Any, values: Any) -> list[Any]:
        asked.append(key)
        return [] if key == "b" else [sum(values), len(values)]

    pairs = [("b", 1), ("a", 1), ("c", 5), ("a", 2), ("c", 6)]
    (readers,) = shuffled([pairs], tmp_path, combine=combine)
    assert asked == ["a", "b", "c"]
    assert groups(readers) == [("a", [3, 2]), ("c", [11, 2])]


def test_a_combiner_may_leave_nothing(tmp_path: Path) -> None:
    (readers,) = shuffled([many("str", 100)], tmp_path, combine=lambda key, values: [])
    assert readers == []
    assert list(tmp_path.iterdir()) == []


def test_the_users_partitioner_deals_out_groups(tmp_path: Path) -> None:
    for size in (50, 10_000):
        pairs = many("int", size)
        segments = shuffled(
            [pairs], tmp_path, partitions=3, batch=1000, partitioner=lambda key, count: key % count
        )
        for part, readers in enumerate(segments):
            assert groups(readers) == group(pair for pair in pairs if pair[0] % 3 == part)


def test_one_partition_still_asks_the_partitioner(tmp_path: Path) -> None:
    with pytest.raises(UserCodeError, match="must return an int from 0 to 0"):
        shuffled([[("a", 1)]], tmp_path, partitioner=lambda key, count: 1)


def test_a_bad_key_is_told_with_its_index(tmp_path: Path) -> None:
    buffer = SortBuffer(1, writer=RunWriter(tmp_path / "run", 1), limit_bytes=1 << 20)
    buffer.add([("a", 1)])
    with pytest.raises(KeyTypeError, match=r"write tuple\(key\)") as caught:
        buffer.add([("a", 1), ([1], 2)])
    assert caught.value.index == 1


def test_a_value_that_cannot_be_sent_is_told_with_its_key(tmp_path: Path) -> None:
    pairs = [("b", 1), ("a", (i for i in "xy")), ("b", 2)]
    with pytest.raises(UserCodeError, match="the value of key 'a' is a generator") as caught:
        shuffled([pairs], tmp_path)
    assert caught.value.failure.where == "the value of key 'a'"


def test_values_added_are_not_shared_between_groups(tmp_path: Path) -> None:
    shared = ["x"]
    (readers,) = shuffled([[("a", shared), ("b", shared)]], tmp_path)
    seen = []
    for batch in merge_groups(readers):
        for _, some in batch:
            seen.append([list(value) for value in some])
    assert seen == [[["x"]], [["x"]]]


def test_it_counts_pairs_and_spills(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", 1)
    buffer = SortBuffer(1, writer=writer, limit_bytes=30_000)
    for start in range(0, 2000, 100):
        buffer.add([(i, "x" * 100) for i in range(start, start + 100)])
        assert buffer.nbytes < 30_000
    index = buffer.close()
    assert buffer.pairs == index.pairs == 2000
    assert buffer.spills >= 5
    assert len(index.partitions[0].segments) in (buffer.spills, buffer.spills + 1)
    assert buffer.nbytes == 0


def test_a_few_huge_strings_count(tmp_path: Path) -> None:
    buffer = SortBuffer(1, writer=RunWriter(tmp_path / "run", 1), limit_bytes=6_000_000)
    buffer.add([(i, "x" * 5_000_000 if i == 333 else "y") for i in range(1000)])
    assert buffer.spills == 1
    buffer.close()


@pytest.mark.parametrize("kind", ["str", "int", "float", "bytes", "tuple", "mixed"])
@pytest.mark.parametrize("limit", [60_000, 1 << 30])
def test_columns_and_pairs_mix(kind: str, limit: int, tmp_path: Path) -> None:
    pairs = many(kind, 9_000)
    buffers = [
        SortBuffer(2, writer=RunWriter(tmp_path / f"run-{number}", 2), limit_bytes=limit)
        for number in range(2)
    ]
    for start in range(0, 9_000, 1_500):
        some = pairs[start : start + 1_500]
        buffers[0].add(some)
        if start % 2_000:
            buffers[1].add(some)
        else:
            keys, values = map(list, zip(*some, strict=True))
            buffers[1].add_columns(pack(keys, least=1), pack(values, least=1))
    indexes = [buffer.close() for buffer in buffers]
    assert buffers[1].pairs == 9_000
    for part in range(2):
        both = [
            groups(segment_readers(file_read(path), str(path), index, part))
            for path, index in zip((tmp_path / "run-0", tmp_path / "run-1"), indexes, strict=True)
        ]
        assert exactly(both[0]) == exactly(both[1])


@pytest.mark.parametrize("name", ["sum", "min", "max"])
def test_columns_are_folded(name: Any, tmp_path: Path) -> None:
    best: Any = {"sum": sum, "min": min, "max": max}[name]
    path = tmp_path / "run"
    buffer = SortBuffer(1, writer=RunWriter(path, 1), limit_bytes=1 << 30, fold=name)
    pairs = [(f"{i % 7}", i * 31 % 1009) for i in range(12_000)]
    buffer.add(pairs[:2_000])
    for start in range(2_000, 12_000, 5_000):
        keys, values = map(list, zip(*pairs[start : start + 5_000], strict=True))
        buffer.add_columns(pack(keys), pack(values))
    index = buffer.close()
    assert index.pairs == 7
    readers = segment_readers(file_read(path), str(path), index, 0)
    assert groups(readers) == [(key, [best(some)]) for key, some in group(pairs)]


def test_columns_of_keys_are_checked(tmp_path: Path) -> None:
    buffer = SortBuffer(1, writer=RunWriter(tmp_path / "run", 1), limit_bytes=1 << 30)
    with pytest.raises(KeyTypeError) as caught:
        buffer.add_columns(pack(["a", ["b"]]), pack([1, 2]))
    assert caught.value.index == 1
    zeros = pack([0.0, -0.0, math.nan, 1.0], least=1)
    buffer.add_columns(zeros, pack([1, 2, 3, 4]))
    readers = segment_readers(file_read(tmp_path / "run"), "run", buffer.close(), 0)
    assert exactly(groups(readers)) == exactly([(0.0, [1, 2]), (1.0, [4]), (math.nan, [3])])
