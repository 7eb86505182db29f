"""``--sample N``: the first records of some splits, here and now."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mrkernel
from mrkernel.data.splits import FileSplit
from mrkernel.engines import choose
from mrkernel.engines.sample import Sample, take_sample
from mrkernel.errors import JobSpecError


@pytest.fixture(autouse=True)
def _nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a cluster was started")

    monkeypatch.setattr(choose, "embedded_cluster", refuse)
    monkeypatch.setattr(choose, "connect", refuse)


def numbers(folder: Path) -> Path:
    """A file of 1000 lines of 8 bytes."""
    path = folder / "numbers.txt"
    path.write_text("".join(f"{number:07d}\n" for number in range(1000)))
    return path


def mapper(line: str) -> Iterator[tuple[int, int]]:
    yield os.getpid(), int(line)


def test_the_first_records_of_every_kth_split(tmp_path: Path) -> None:
    result = mrkernel.run(mapper, numbers(tmp_path), "list", sample=3, split_size=400)
    # 20 splits of 50 lines: every second one.
    expected = [100 * split + number for split in range(10) for number in range(3)]
    assert result.to_dict() == {os.getpid(): expected}
    said = "the first 3 records of 10 of 20 splits, 3% of the input"
    assert result.sample == said
    assert repr(result) == f"<JobResult 'mapper (sample)': 1 pair of a sample ({said})>"
    assert said in result._repr_html_()


def test_where_makes_no_difference(tmp_path: Path) -> None:
    for on in ("local", "127.0.0.1:1", None):
        result = mrkernel.run(mapper, numbers(tmp_path), "count", sample=5, on=on)
        assert next(iter(result))[0] == os.getpid()


def test_a_note_says_so_before(tmp_path: Path) -> None:
    job = mrkernel.submit(mapper, numbers(tmp_path), "count", sample=3, split_size=400)
    assert job.notes == ("a sample in this process: the first 3 records of 10 of 20 splits",)
    assert job.name == "mapper (sample)"


def test_more_than_there_is_is_all_of_it(tmp_path: Path) -> None:
    result = mrkernel.run(mapper, numbers(tmp_path), "count", sample=1000, split_size=1000)
    assert dict(result) == {os.getpid(): 1000}
    assert result.sample == "the first 1,000 records of every split, which is all of the input"


def test_items_in_memory_and_keys_of_records() -> None:
    def keyed(key: Any, record: int) -> Iterator[tuple[Any, int]]:
        yield key, record

    result = mrkernel.run(keyed, range(100, 200), "first", sample=2)
    assert dict(result) and all(number == 100 + index for (_, index), number in result)


def test_batch_mappers_get_no_more(tmp_path: Path) -> None:
    def tables(table: Any) -> Any:
        return [table.num_rows], [1]

    result = mrkernel.run(tables, numbers(tmp_path), "count", sample=7, split_size=400, batch=True)
    assert dict(result) == {7: 10}


def test_map_only_and_range(tmp_path: Path) -> None:
    result = mrkernel.run(mapper, numbers(tmp_path), "none", sample=2, split_size=4000)
    assert [number for _, number in result] == [0, 1, 500, 501]

    def swapped(line: str) -> Iterator[tuple[int, int]]:
        yield -int(line), 1

    result = mrkernel.run(
        swapped, numbers(tmp_path), "count", sample=9, split_size=4000, partitioner="range"
    )
    assert [key for number in range(2) for key, _ in result.part(number)] == [
        *range(-508, -499),
        *range(-8, 1),
    ]


def test_it_writes_nothing(tmp_path: Path) -> None:
    source = numbers(tmp_path)
    with pytest.raises(JobSpecError, match=r"^--sample .* writes nothing: leave --output out"):
        mrkernel.run(mapper, source, "count", sample=3, output=tmp_path / "out")
    result = mrkernel.run(mapper, source, "count", sample=3)
    assert result.save(tmp_path / "out.txt") == [tmp_path / "out.txt"]


@pytest.mark.parametrize("count", [0, -1, "many", 1.5])
def test_a_number_from_one(count: Any) -> None:
    with pytest.raises(JobSpecError, match=r"sample=.*a whole number from 1"):
        mrkernel.run(mapper, range(3), "count", sample=count)


@pytest.mark.parametrize(("of", "picked"), [(1, 1), (10, 10), (11, 6), (20, 10), (995, 10)])
def test_splits_are_spread_evenly(of: int, picked: int) -> None:
    splits = [FileSplit("/a", 10 * n, 10 * n + 10, 10 * of, 0) for n in range(of)]
    chosen, sample = take_sample(splits, 4)
    assert len(chosen) == picked
    starts = [split.start // 10 for split in chosen]  # type: ignore[union-attr]
    assert starts == list(range(0, of, -(-of // 10)))
    assert sample == Sample(4, picked, of, 10 * of)


def test_small_shares_have_digits() -> None:
    sample = Sample(10, 10, 500, 10**9)
    assert (
        sample.describe(4321) == "the first 10 records of 10 of 500 splits, 0.00043% of the input"
    )
    assert sample.describe() == "the first 10 records of 10 of 500 splits"
