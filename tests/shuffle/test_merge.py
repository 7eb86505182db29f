from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import exactly, group
from pairs_strategy import map_outputs, shuffled

from mrkernel.errors import CorruptRunError
from mrkernel.shuffle import block, columns
from mrkernel.shuffle.merge import block_pairs, merge_blocks, merge_groups
from mrkernel.shuffle.part import PairWriter, PartWriter
from mrkernel.shuffle.run import SegmentReader, memory_read, segment_readers


def merge_pairs(parts: list[SegmentReader]) -> Iterator[tuple[Any, Any]]:
    """The pairs of result parts, in order."""
    return itertools.chain.from_iterable(map(block_pairs, merge_blocks(parts)))


@pytest.fixture
def tiny_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three pairs a block: groups go on over many."""
    monkeypatch.setattr(block.Block, "split", _in_threes)


def _in_threes(self: block.Block, target: int) -> Iterator[block.Block]:
    return self._slices([*range(0, self.pairs, 3), self.pairs])


def merged(segments: list[SegmentReader], **options: Any) -> list[tuple[Any, list[Any]]]:
    return [(key, list(some)) for batch in merge_groups(segments, **options) for key, some in batch]


@given(
    map_outputs,
    st.sampled_from([1, 10**9]),
    st.sampled_from([2, 3, 64]),
    st.booleans(),
    st.sampled_from([1, 512]),
)
@settings(max_examples=80)
def test_groups_are_the_oracles(
    outputs: list[list[tuple[Any, Any]]], limit: int, fan_in: int, tiny: bool, typed_from: int
) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(columns, "_TYPED_FROM_WARM", typed_from)
        if tiny:
            patch.setattr(block.Block, "split", _in_threes)
        (segments,) = shuffled(outputs, Path(folder), batch=4, limit_bytes=limit)
        scratch = Path(folder) / "scratch"
        scratch.mkdir()
        want = exactly(group(pair for pairs in outputs for pair in pairs))
        options: dict[str, Any] = {"fan_in": fan_in, "scratch": scratch, "limit_bytes": limit}
        assert exactly(merged(segments, **options)) == want
        assert list(scratch.iterdir()) == []
        lists = [
            (batch.key_list(), batch.count_list(), batch.value_list(), len(batch), batch.pairs)
            for batch in merge_groups(segments, **options)
        ]
    flat = []
    for keys, counts, values, groups, pairs in lists:
        assert (len(keys), len(values)) == (groups, pairs)
        rest = iter(values)
        for key, count in zip(keys, counts, strict=True):
            flat.append((key, [next(rest) for _ in range(count)]))
    assert exactly(flat) == want


@pytest.mark.parametrize("kinds", ["si", "ss", "ii", "if", "ft", "tt", "bb"])
def test_large_segments_of_any_kinds_merge(kinds: str, tmp_path: Path) -> None:
    make: dict[str, Any] = {
        "s": lambda i: f"key {i * 31 % 9001:05} of some length",
        "i": lambda i: i * 31 % 9001,
        "f": lambda i: i * 31 % 9001 / 2,
        "t": lambda i: (f"{i % 83}", i * 31 % 9001),
        "b": lambda i: b"%d" % (i * 31 % 9001),
    }
    outputs = [
        [(make[kind](i), f"{kind}{number}-{i}") for i in range(5_000)]
        for number, kind in enumerate(kinds * 2)
    ]
    (segments,) = shuffled(outputs, tmp_path, batch=4000)
    want = group(pair for pairs in outputs for pair in pairs)
    assert exactly(merged(segments)) == exactly(want)


def test_nothing_merges_to_nothing(tmp_path: Path) -> None:
    assert merged([]) == []
    assert merged([SegmentReader(memory_read(b""), "run", [])], scratch=tmp_path) == []
    assert list(merge_pairs([])) == []


def test_ten_thousand_segments_of_one_group(tmp_path: Path) -> None:
    (ones,) = shuffled([[("k", 1)]], tmp_path)
    many = [SegmentReader(ones[0]._read, "run", ones[0].blocks) for _ in range(10_000)]
    assert merged(many, scratch=tmp_path) == [("k", [1] * 10_000)]


@pytest.mark.fault(27)
@pytest.mark.usefixtures("tiny_blocks")
def test_a_group_larger_than_memory_comes_from_disk(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    outputs = [[("a", 0), *(("k", f"{m}-{i}" * 9) for i in range(200)), ("z", m)] for m in range(3)]
    (segments,) = shuffled(outputs, tmp_path, batch=50)
    want = [value for pairs in outputs for key, value in pairs if key == "k"]
    spilled = []
    for batch in merge_groups(segments, scratch=scratch, limit_bytes=4000):
        spilled.append(batch.spilled)
        for key, values in batch:
            if key == "k":
                assert batch.spilled
                assert len(values) == 600
                assert list(values) == list(values) == want
                assert list(scratch.iterdir()) != []
    assert sum(spilled) == 1
    assert list(scratch.iterdir()) == []


@pytest.mark.usefixtures("tiny_blocks")
def test_the_simplest_spelling_wins_in_a_long_group_too(tmp_path: Path) -> None:
    outputs = [[(key, i) for i in range(20)] for key in (1.0, True, 1)]
    (segments,) = shuffled(outputs, tmp_path, batch=50)
    assert exactly(merged(segments)) == exactly([(True, [*range(20)] * 3)])


@pytest.mark.fault(44)
def test_memory_holds_some_blocks_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = [[(f"{i:06}", m) for i in range(200_000)] for m in range(3)]
    (segments,) = shuffled(outputs, tmp_path, batch=50_000)
    assert min(len(reader.blocks) for reader in segments) > 5
    largest = max(len(batch) for batch in merge_groups(segments))
    per_block = max(place.groups for reader in segments for place in reader.blocks)
    assert largest <= 3 * per_block


def test_unread_values_do_not_disturb_the_next_group(tmp_path: Path) -> None:
    pairs = [(key, i) for i in range(9) for key in "abc"]
    (segments,) = shuffled([pairs], tmp_path)
    seen = []
    kept = []
    for batch in merge_groups(segments):
        for key, values in batch:
            seen.append((key, next(iter(values))))
            kept.append(values)
    assert seen == [("a", 0), ("b", 0), ("c", 0)]
    for values in kept:
        with pytest.raises(ValueError, match=r"list\(values\)"):
            list(values)


def test_leaving_early_leaves_no_files(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (segments,) = shuffled([[(i, m)] * 5 for i, m in enumerate("abcdef")], tmp_path)
    groups = merge_groups(segments, fan_in=2, scratch=scratch, limit_bytes=1)
    next(groups)
    assert list(scratch.iterdir()) != []
    groups.close()
    assert list(scratch.iterdir()) == []


def test_damage_is_told_with_file_and_offset(tmp_path: Path) -> None:
    (segments,) = shuffled([[("a", 1)], [("b", 1)]], tmp_path)
    place = segments[1].blocks[0]
    name = segments[1]._path
    data = bytearray(Path(name).read_bytes())
    data[place.offset + place.length // 2] ^= 4
    Path(name).write_bytes(data)
    with pytest.raises(CorruptRunError) as caught:
        merged(segments, scratch=tmp_path)
    assert (caught.value.path, caught.value.offset) == (name, place.offset)


def part(path: Path, groups: list[tuple[Any, list[tuple[Any, Any]]]]) -> list[SegmentReader]:
    writer = PartWriter(path)
    for key, pairs in groups:
        writer.add_group(key, pairs)
    index = writer.close()
    return segment_readers(memory_read(path.read_bytes() if index.nbytes else b""), "p", index, 0)


def test_result_parts_merge_by_reduce_key_then_yield_order(tmp_path: Path) -> None:
    parts = part(
        tmp_path / "0", [("a", [("a", 1), ("a", 2)]), ("c", [("other", 3), (("x", 1), 4)])]
    ) + part(tmp_path / "1", [("b", [("b", 5)]), ("d", [("d", 6)]), ("e", [])])
    assert list(merge_pairs(parts)) == [
        ("a", 1),
        ("a", 2),
        ("b", 5),
        ("other", 3),
        (("x", 1), 4),
        ("d", 6),
    ]


@given(map_outputs)
@settings(max_examples=60)
def test_result_pairs_come_back_identical(outputs: list[list[tuple[Any, Any]]]) -> None:
    numbers = itertools.count()
    with tempfile.TemporaryDirectory() as folder:
        groups = group(pair for pairs in outputs for pair in pairs)
        for reduce_tasks in (1, 3):
            parts = []
            for first in range(reduce_tasks):
                mine = [
                    (key, [(key, v) for v in some]) for key, some in groups[first::reduce_tasks]
                ]
                parts += part(Path(folder) / str(next(numbers)), mine)
            want = [(key, value) for key, some in groups for value in some]
            assert exactly(list(merge_pairs(parts))) == exactly(want)


@given(map_outputs)
@settings(max_examples=60)
def test_map_only_parts_keep_the_order_of_the_yields(
    outputs: list[list[tuple[Any, Any]]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        parts = []
        for number, pairs in enumerate(outputs):
            path = Path(folder) / str(number)
            writer = PairWriter(path)
            writer.add(pairs)
            index = writer.close()
            assert not index.sorted
            if pairs:
                parts += segment_readers(memory_read(path.read_bytes()), "p", index, 0)
        got = list(merge_pairs(parts))
    plain = [(merge_key(key), value) for pairs in outputs for key, value in pairs]
    assert exactly(got) == exactly(plain)


def merge_key(key: Any) -> Any:
    """A key as it comes back: -0.0 is 0.0."""
    ((back, _),) = group([(key, None)])
    return back


def test_long_parts_are_written_in_blocks(tmp_path: Path) -> None:
    groups = [(i, [(i, "x" * 1000), (i, "y")]) for i in range(20_000)]
    parts = part(tmp_path / "0", groups)
    assert len(parts) == 1
    assert len(parts[0].blocks) > 5
    assert list(merge_pairs(parts)) == [pair for _, pairs in groups for pair in pairs]
