from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from mrkernel.data.splits import MIB, FileSplit, MemorySplit, Split, plan_splits


@given(
    st.lists(st.integers(0, 10**9), max_size=20),
    st.none() | st.integers(10**6, 10**9),
    st.integers(0, 64),
)
def test_ranges_cover_each_file_without_gaps(
    sizes: list[int], split_size: int | None, slots: int
) -> None:
    for size, ranges in zip(sizes, plan_splits(sizes, split_size, slots), strict=True):
        at = 0
        for start, end in ranges:
            assert start == at < end
            assert split_size is None or end - start <= split_size
            at = end
        assert at == size


def test_a_small_file_is_one_split_and_an_empty_one_none() -> None:
    assert plan_splits([10_000, 0], None, 8) == [[(0, 10_000)], []]


def test_big_input_gives_a_few_tasks_per_slot_of_at_most_64_mb() -> None:
    pieces = plan_splits([90 * MIB], None, 4)[0]
    assert 8 <= len(pieces) <= 16
    huge = plan_splits([100_000 * MIB], None, 4)[0]
    assert max(end - start for start, end in huge) <= 1.11 * 64 * MIB


def test_a_rest_below_a_tenth_is_no_split_of_its_own() -> None:
    assert len(plan_splits([int(1.05 * MIB)], None, 64)[0]) == 1


def test_an_asked_size_cuts_at_its_multiples() -> None:
    assert plan_splits([10], 4, 1) == [[(0, 4), (4, 8), (8, 10)]]


def test_splits_travel() -> None:
    for split in (FileSplit("/a", 0, 5, 9, 1), MemorySplit("w", 3, 2, b"x", "", 1)):
        data = msgspec.msgpack.encode(split)
        assert msgspec.msgpack.decode(data, type=Split) == split


def test_labels_are_for_people() -> None:
    assert FileSplit("/d/a.txt", 0, 16_000_000, 32_000_000, 0).label == "a.txt 0–16 MB"
    assert FileSplit("/d/a.txt", 0, 120, 120, 0).label == "a.txt 0–120 B"
    assert MemorySplit("words", 100, 50, b"", "", 7).label == "words[100:150]"
    assert MemorySplit("words", 100, 50, None, "ab", 7).nbytes == 7
