"""``--partitioner range``: the parts, one after the other, are in order."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mrkernel
from mrkernel.engines import key_sample
from mrkernel.errors import JobSpecError, TaskFailedError
from mrkernel.shuffle.keys import encode

WORDS = [f"word {number * 7919 % 1000:03d}" for number in range(3000)]


def one(word: Any) -> Iterator[tuple[Any, int]]:
    yield word, 1


def parts_of(result: mrkernel.JobResult, count: int) -> list[list[Any]]:
    return [[key for key, _ in result.part(number)] for number in range(count)]


@pytest.mark.parametrize("sort_values", [False, True])
@pytest.mark.parametrize("reducer", ["sum", "list", lambda key, values: len(values)])
def test_parts_are_in_total_order(
    place: Any, tmp_path: Path, reducer: Any, sort_values: bool
) -> None:
    output = tmp_path / "out"
    result = mrkernel.run(
        one,
        iter(WORDS),
        reducer,
        on=place,
        partitioner="range",
        reduce_tasks=4,
        sort_values=sort_values,
        output=output,
    )
    parts = parts_of(result, 4)
    assert [key for part in parts for key in part] == sorted(set(WORDS))
    # A sample of a thousandth would do for shares within a half; here it is a good part of all.
    assert all(150 < len(part) < 350 for part in parts)
    lines = b"".join(path.read_bytes() for path in result.paths).decode().splitlines()
    assert [line.partition("\t")[0] for line in lines] == sorted(set(WORDS))
    expected = {"sum": "3", "list": "[1, 1, 1]"}.get(reducer if type(reducer) is str else "", "3")
    assert {line.partition("\t")[2] for line in lines} == {expected}


def test_files_in_any_order(place: Any, tmp_path: Path) -> None:
    chance = random.Random(5)
    for number in range(3):
        lines = [f"{chance.randrange(10**9):09d} {number}" for _ in range(4000)]
        (tmp_path / f"{number}.txt").write_text("".join(line + "\n" for line in sorted(lines)))

    def mapper(line: str) -> Iterator[tuple[int, str]]:
        yield int(line.split()[0]), line

    result = mrkernel.run(
        mapper,
        str(tmp_path / "*.txt"),
        "first",
        on=place,
        partitioner="range",
        reduce_tasks=5,
        split_size=20_000,
        output=tmp_path / "sorted",
    )
    lines = [line for path in result.paths for line in path.read_text().splitlines()]
    numbers = [int(line.partition("\t")[0]) for line in lines]
    assert numbers == sorted(numbers)
    assert len(numbers) > 11_900
    assert all(1200 < len(part) < 4800 for part in parts_of(result, 5))


def test_keys_of_every_type(place: Any) -> None:
    keys = [None, True, 2, 2.5, -7, 1 << 70, float("inf"), "a", "b\0", b"a", (), ("a", 1), (1, "a")]
    result = mrkernel.run(
        lambda key: [(key, 1)],
        iter(keys * 30),
        "sum",
        on=place,
        partitioner="range",
        reduce_tasks=6,
    )
    parts = parts_of(result, 6)
    assert [key for part in parts for key in part] == sorted(keys, key=encode)
    assert all(parts)


@pytest.mark.parametrize("keys", [["same"] * 100, [], ["a", "b"]])
def test_fewer_keys_than_parts(place: Any, keys: list[str]) -> None:
    result = mrkernel.run(one, iter(keys), "sum", on=place, partitioner="range", reduce_tasks=5)
    assert [key for part in parts_of(result, 5) for key in part] == sorted(set(keys))
    assert result.to_dict() == {key: keys.count(key) for key in keys}


def test_one_part_needs_no_sample(place: Any) -> None:
    result = mrkernel.run(one, iter(WORDS), "sum", on=place, partitioner="range", reduce_tasks=1)
    assert parts_of(result, 1) == [sorted(set(WORDS))]


class Counting:
    """Gives its pairs at the end of the task only."""

    def __init__(self) -> None:
        self.words: dict[str, int] = {}

    def __call__(self, word: str) -> Iterator[tuple[str, int]]:
        self.words[word] = self.words.get(word, 0) + 1
        yield from ()

    def finish(self) -> Iterator[tuple[str, int]]:
        yield from self.words.items()


def test_pairs_of_finish_are_sampled_too(place: Any) -> None:
    result = mrkernel.run(
        Counting, iter(WORDS), "sum", on=place, partitioner="range", reduce_tasks=3
    )
    parts = parts_of(result, 3)
    assert [key for part in parts for key in part] == sorted(set(WORDS))
    assert all(parts)


@pytest.mark.parametrize("limit", [0.0, 0.3])
def test_without_a_sample_it_is_right_all_the_same(
    place: Any, monkeypatch: pytest.MonkeyPatch, limit: float
) -> None:
    """The mapper of the sample has no time at all, or does not come back from its first record."""
    monkeypatch.setattr(key_sample, "LIMIT_S", limit)
    here = time.monotonic

    def stuck(word: str) -> Iterator[tuple[str, int]]:
        began = here()
        # In a fork of the test's own process only: a worker's parent is another.
        while word == "word 000" and limit and sampling() and here() - began < 5:
            pass
        yield word, 1

    monkeypatch.setattr(key_sample, "BUDGET_S", limit)
    result = mrkernel.run(stuck, iter(WORDS), "sum", on=place, partitioner="range", reduce_tasks=3)
    assert [key for part in parts_of(result, 3) for key in part] == sorted(set(WORDS))


def sampling() -> bool:
    """Whether this is the process of the sample, whose output goes nowhere."""
    import inspect

    return any(frame.function == "_compute" for frame in inspect.stack(0))


def test_what_the_mapper_raises_is_told_by_the_job(place: Any) -> None:
    def mapper(word: str) -> Iterator[tuple[str, int]]:
        yield word, 1 // (word != "word 919")

    with pytest.raises(TaskFailedError, match="ZeroDivisionError"):
        mrkernel.run(mapper, iter(WORDS), "sum", on=place, partitioner="range", reduce_tasks=3)


def test_the_sample_leaves_no_trace(place: Any) -> None:
    """Its records are not counted, and it runs in a process of its own."""

    def mapper(word: str) -> Iterator[tuple[str, int]]:
        mrkernel.counter("records").add()
        SEEN.append(word)
        yield word, 1

    SEEN.clear()
    result = mrkernel.run(mapper, iter(WORDS), "sum", on=place, partitioner="range", reduce_tasks=3)
    assert result.counters["records"] == len(WORDS)
    assert SEEN in ([], WORDS)


SEEN: list[str] = []


def test_a_map_only_job_has_no_ranges(place: Any) -> None:
    with pytest.raises(JobSpecError, match="leave --partitioner out"):
        mrkernel.run(one, iter(WORDS), "none", on=place, partitioner="range")


def test_batch_mappers(place: Any) -> None:
    def mapper(table: Any) -> Any:
        return table.column(0), 1

    result = mrkernel.run(
        mapper, iter(WORDS), "sum", on=place, partitioner="range", reduce_tasks=4, batch=True
    )
    parts = parts_of(result, 4)
    assert [key for part in parts for key in part] == sorted(set(WORDS))
    assert all(150 < len(part) < 350 for part in parts)


def test_csv_records_with_line_ends_in_them(place: Any, tmp_path: Path) -> None:
    """The sample looks in the middle of splits, where it is not plain what a record is."""
    rows = [f'{n * 7919 % 5000:05d},"two\n{n} lines, one comma"\n' for n in range(5000)]
    (tmp_path / "data.csv").write_text("number,text\n" + "".join(rows))

    def mapper(record: dict[str, Any]) -> Iterator[tuple[int, str]]:
        yield record["number"], record["text"]

    result = mrkernel.run(
        mapper, tmp_path / "data.csv", "first", on=place, partitioner="range", reduce_tasks=4
    )
    parts = parts_of(result, 4)
    assert [key for part in parts for key in part] == list(range(5000))
    assert all(600 < len(part) < 2500 for part in parts)
