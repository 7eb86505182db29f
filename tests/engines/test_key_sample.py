"""Where a sample of keys is taken, and that it is bounded."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mrkernel.data.records import open_split
from mrkernel.data.splits import FileSplit, MemorySplit
from mrkernel.engines import key_sample
from mrkernel.engines.key_sample import PAIRS, PLACES, RECORDS, choose_places, sample_boundaries
from mrkernel.job.functions import Functions
from mrkernel.shuffle.keys import decode


def split(start: int, end: int, path: str = "/a") -> FileSplit:
    return FileSplit(path, start, end, 10**6, 0)


def test_many_splits_are_visited_here_and_there() -> None:
    splits = [split(10 * n, 10 * n + 10) for n in range(1000)]
    places = choose_places(splits)
    assert len(places) == PLACES
    assert [place.start for place, _ in places] == list(range(250, 10_000, 500))  # type: ignore[union-attr]
    assert sum(weight for _, weight in places) == 10_000


@pytest.mark.parametrize("count", [1, 3, 7, 19])
def test_few_splits_are_visited_in_several_places(count: int) -> None:
    splits = [split(1000 * n, 1000 * n + 1000) for n in range(count)]
    places = choose_places(splits)
    assert len(places) == PLACES
    starts = [place.start for place, _ in places]  # type: ignore[union-attr]
    assert starts == sorted(starts)
    assert {start - start % 1000 for start in starts} == {1000 * n for n in range(count)}
    assert all(place.end == place.start - place.start % 1000 + 1000 for place, _ in places)  # type: ignore[union-attr]
    assert sum(weight for _, weight in places) == pytest.approx(1000 * count)


def test_what_cannot_be_cut_is_visited_once() -> None:
    memory = MemorySplit("items", 0, 5, b"", size=100)
    assert choose_places([memory, split(0, 0)]) == [(memory, 100.0), (split(0, 0), 0.0)]
    tiny = choose_places([split(0, 3)])
    assert [(place.start, weight) for place, weight in tiny] == [(0, 1.0), (1, 1.0), (2, 1.0)]  # type: ignore[union-attr]


def boundaries(path: Path, mapper: Any, partitions: int, pieces: int = 4) -> list[Any]:
    size = path.stat().st_size
    cuts = [size * n // pieces for n in range(pieces + 1)]
    splits = [FileSplit(str(path), a, b, size, 0) for a, b in pairwise(cuts)]
    read = partial(open_split, block=1 << 14)
    found = sample_boundaries(
        splits, read, lambda: nullcontext(Functions(mapper, "sum")), partitions
    )
    return [decode(bound, b"\x01") for bound in found]


def test_a_sorted_file_is_cut_where_its_quantiles_are(tmp_path: Path) -> None:
    path = tmp_path / "sorted.txt"
    path.write_text("".join(f"{n:08d}\n" for n in range(100_000)))
    found = boundaries(path, lambda line: [(int(line), 1)], 4)
    for bound, quantile in zip(found, (25_000, 50_000, 75_000), strict=True):
        assert abs(bound - quantile) < 5_000


def test_records_and_pairs_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("x\n" * 1_000_000)
    log = tmp_path / "log"

    def one(line: str) -> list[tuple[int, int]]:
        with log.open("a") as file:
            file.write(".")
        return [(len(log.read_text()), 1)]

    assert len(boundaries(path, one, 3)) == 2
    assert len(log.read_text()) == PLACES * RECORDS

    kept: list[int] = []
    chosen = key_sample.choose_boundaries
    monkeypatch.setattr(
        key_sample,
        "choose_boundaries",
        lambda sample, partitions: kept.append(len(sample)) or chosen(sample, partitions),
    )
    found = boundaries(path, lambda line: [(n, 1) for n in range(5000)], 2)
    assert PLACES * PAIRS <= kept[0] < 2 * PLACES * PAIRS
    assert abs(found[0] - 2500) < 100


def test_a_slow_mapper_gives_the_keys_it_had_time_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("".join(f"{n}\n" for n in range(10_000)))
    monkeypatch.setattr(key_sample, "BUDGET_S", 0.0)
    # The clock has run out before the first place.
    assert boundaries(path, lambda line: [(int(line), 1)], 3) == []
    monkeypatch.setattr(key_sample, "BUDGET_S", 60.0)
    assert len(boundaries(path, lambda line: [(int(line), 1)], 3)) == 2


def test_one_bad_place_does_not_spoil_the_others(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("".join(f"{n:06d}\n" for n in range(100_000)))

    def mapper(line: str) -> list[tuple[int, int]]:
        return [(int(line), 1 // (not 10_000 < int(line) < 90_000))]

    found = boundaries(path, mapper, 2)
    assert found and (found[0] <= 10_300 or found[0] >= 90_000)
