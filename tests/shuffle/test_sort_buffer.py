from __future__ import annotations

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
from mrkernel.shuffle.merge import merge_groups
from mrkernel.shuffle.partition import partition_of
from mrkernel.shuffle.run import RunWriter, SegmentReader
from mrkernel.shuffle.sort_buffer import SortBuffer


def groups(segments: list[SegmentReader]) -> list[tuple[Any, list[Any]]]:
    return [(key, list(some)) for batch in merge_groups(segments) for key, some in batch]


@given(map_outputs, st.integers(1, 4), st.sampled_from([1, 1 << 30]))
@settings(max_examples=80)
def test_every_partition_gets_its_groups(
    outputs: list[list[tuple[Any, Any]]], partitions: int, limit: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
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
@pytest.mark.parametrize("limit", [200_000, 1 << 30])
def test_many_pairs(kind: str, limit: int, tmp_path: Path) -> None:
    outputs = [many(kind, 6_000), many(kind, 1_000)]
    segments = shuffled(outputs, tmp_path, partitions=2, batch=1000, limit_bytes=limit)
    every = outputs[0] + outputs[1]
    for part, readers in enumerate(segments):
        assert len(readers) == 2 if limit > 200_000 else len(readers) > 4
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
