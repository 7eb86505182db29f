"""The keys that a map names are its own, with their numbers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrkernel.shuffle.run import RunWriter
from mrkernel.shuffle.sort_buffer import SortBuffer
from mrkernel.shuffle.top_keys import LONGEST, NAMED

WORDS = ["the"] * 900 + ["a"] * 500 + ["of"] * 300 + [f"w{n}" for n in range(400)]


def named(
    tmp_path: Path, pairs: list[Any], fold: str | None, limit: int = 1 << 30, partitions: int = 3
) -> dict[str, float]:
    buffer = SortBuffer(
        partitions,
        writer=RunWriter(str(tmp_path / "run"), partitions),
        limit_bytes=limit,
        fold=fold,
    )
    for start in range(0, len(pairs), 100):
        buffer.add(pairs[start : start + 100])
    buffer.close()
    rows = buffer.top.named()
    assert len(rows) <= NAMED
    return dict(rows)


@pytest.mark.parametrize("fold", ["count", "sum"])
@pytest.mark.parametrize("limit", [1 << 30, 20_000], ids=["one segment", "many"])
def test_of_what_adds_up_all_segments_count(tmp_path: Path, fold: str, limit: int) -> None:
    found = named(tmp_path, [(word, 1) for word in WORDS], fold, limit)
    assert (found["the"], found["a"], found["of"]) == (900, 500, 300)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-50, 50)), min_size=1))
@pytest.mark.parametrize(("fold", "choose"), [("min", min), ("max", max)])
def test_of_extremes_the_outermost_counts(
    tmp_path_factory: pytest.TempPathFactory, fold: str, choose: Any, pairs: list[tuple[str, int]]
) -> None:
    found = named(tmp_path_factory.mktemp("run"), pairs, fold)
    keys = {key for key, _ in pairs}
    assert found == {key: choose(n for k, n in pairs if k == key) for key in keys}


def test_without_a_fold_keys_that_repeat_are_counted(tmp_path: Path) -> None:
    pairs = [(word, [1]) for word in WORDS[:1700]]
    found = named(tmp_path, pairs, None)
    expected = Counter(word for word, _ in pairs)
    assert found
    assert all(number <= expected[key] for key, number in found.items())
    assert found["the"] == max(found.values())


@pytest.mark.parametrize("many", [300, 30_000], ids=["lists", "columns"])
def test_a_sum_of_floats_is_told_though_it_is_kept_as_several_numbers(
    tmp_path: Path, many: int
) -> None:
    pairs = [(key, 0.1 * n) for n in range(many) for key in ("a", "b", "b")]
    pairs += [("c", 1e300), ("c", 1e-300), ("c", 1.0)]
    found = named(tmp_path, pairs, "sum")
    total = 0.1 * many * (many - 1) / 2
    assert found == pytest.approx({"c": 1e300, "b": 2 * total, "a": total})


@pytest.mark.parametrize("many", [1, 30], ids=["lists", "columns"])
@pytest.mark.parametrize("values", [1, 1.5, 10**30], ids=["ints", "floats", "large ints"])
@pytest.mark.parametrize("fold", ["mean", "stats"])
def test_of_means_it_is_told_how_many_values_they_are_of(
    tmp_path: Path, fold: str, values: float, many: int
) -> None:
    pairs = [(word, values + n) for n, word in enumerate(WORDS * many)]
    found = named(tmp_path, pairs, fold)
    if values == 10**30:  # only Python has their states
        assert found == {}
    else:
        expected = (900 * many, 500 * many, 300 * many)
        assert (found["the"], found["a"], found["of"]) == expected


def test_of_the_largest_the_first_is_told(tmp_path: Path) -> None:
    pairs = [(key, n) for n in range(400) for key in ("a", "b")] + [("b", 1000), ("c", 5)]
    assert named(tmp_path, pairs, "top:3") == {"b": 1000, "a": 399, "c": 5}


@pytest.mark.parametrize("fold", ["first", "set"])
def test_other_folds_say_nothing_of_their_keys(tmp_path: Path, fold: str) -> None:
    assert named(tmp_path, [(word, 1) for word in WORDS], fold) == {}


def test_lists_are_not_folded_and_the_longest_are_told(tmp_path: Path) -> None:
    pairs = [(word, number) for number, word in enumerate(WORDS)]
    assert max(named(tmp_path, pairs, None).items(), key=lambda row: row[1])[0] == "the"


def test_numbers_past_the_floats_are_passed_over(tmp_path: Path) -> None:
    pairs = [("huge", 10**400), ("small", 3), ("huge", 1)]
    assert named(tmp_path, pairs, "sum") == {"small": 3}


def test_keys_are_told_as_short_text(tmp_path: Path) -> None:
    pairs = [((1, "a"), 5), ("x" * 500, 4), (b"b", 3), (7, 2), (None, 1)]
    found = named(tmp_path, pairs, "sum")
    assert list(found) == ["(1, 'a')", "x" * (LONGEST - 1) + "…", "b'b'", "7", "None"]


@pytest.mark.parametrize("key", ["\ud800", b"\xff", ("\udfff", None), float("nan")])
def test_every_key_can_be_told_in_a_message(tmp_path: Path, key: Any) -> None:
    [text] = named(tmp_path, [(key, 1)] * 10, "count")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(text)) == text
