"""``batch=True``: the same answers as record by record, on every engine."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import mrkernel
from mrkernel.errors import InputError, JobSpecError, MRKernelError, TaskFailedError

if TYPE_CHECKING:
    import pandas as pd

HEADER = "student_id,name,batch_year,score\n"


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("students")
    chance = random.Random(7)
    for campus in range(3):
        rows = [
            f"{n},{n % 50:05d},{chance.randint(2000, 2004)},{chance.randint(0, 1000) / 10}\n"
            for n in range(4000)
        ]
        (folder / f"{campus}.csv").write_text(HEADER + "".join(rows))
    return folder


def by_record(row: dict[str, Any]) -> Iterator[tuple[int, float]]:
    yield row["batch_year"], row["score"]


@mrkernel.reads("batch_year", "score")
def by_table(table: Any) -> Iterator[Any]:
    assert table.column_names == ["batch_year", "score"]
    yield table["batch_year"], table["score"]


def by_frame(frame: pd.DataFrame) -> Any:
    return frame[["batch_year", "score"]]


def run(place: Any, mapper: Any, inputs: Any, reducer: Any, **options: Any) -> Any:
    return mrkernel.run(mapper, inputs, reducer, on=place, **options)


@pytest.mark.parametrize("reducer", ["stats", "mean", "min", "max", "count", "top:3"])
@pytest.mark.parametrize("mapper", [by_table, by_frame])
def test_a_batch_job_gives_what_records_give(
    place: Any, students: Path, mapper: Any, reducer: str
) -> None:
    inputs = [students / "*.csv"]
    expected = run(place, by_record, inputs, reducer, split_size=40_000).to_dict()
    assert run(place, mapper, inputs, reducer, batch=True, split_size=40_000).to_dict() == expected
    assert len(expected) == 5


def test_the_reducer_may_be_python(place: Any, students: Path) -> None:
    def spread(year: int, scores: Any) -> float:
        return max(scores) - min(scores)

    inputs = [students / "*.csv"]
    expected = run(place, by_record, inputs, spread).to_dict()
    for options in ({}, {"sort_values": True}, {"combiner": "max"}):
        found = run(place, by_table, inputs, spread, batch=True, **options).to_dict()
        assert found.keys() == expected.keys()
    assert run(place, by_table, inputs, spread, batch=True).to_dict() == expected


def test_a_map_only_batch_job_keeps_the_order(place: Any, students: Path) -> None:
    inputs = [students / "*.csv"]
    expected = list(run(place, by_record, inputs, "none", split_size=40_000))
    assert list(run(place, by_table, inputs, "none", batch=True, split_size=40_000)) == expected


def test_words_of_lines(place: Any, tmp_path: Path) -> None:
    def words(table: Any) -> Iterator[Any]:
        import pyarrow.compute as pc

        yield pc.list_flatten(pc.utf8_split_whitespace(table["line"])), 1

    (tmp_path / "a.txt").write_text("the quick fox\nthe end\n" * 1000)
    found = run(place, words, [tmp_path / "a.txt"], "sum", batch=True).to_dict()
    assert found == {"the": 2000, "quick": 1000, "fox": 1000, "end": 1000}


def test_rows_in_memory(place: Any) -> None:
    rows = [{"batch_year": 2000 + n % 3, "score": n / 4} for n in range(1000)]
    expected = run(place, by_record, rows, "mean").to_dict()
    assert run(place, by_table, rows, "mean", batch=True).to_dict() == expected


def test_records_have_only_the_columns_that_are_read(place: Any, students: Path) -> None:
    @mrkernel.reads("score")
    def mapper(row: dict[str, Any]) -> Iterator[tuple[str, int]]:
        yield ",".join(row), 1

    assert run(place, mapper, [students / "0.csv"], "sum").to_dict() == {"score": 4000}


def test_a_column_that_is_not_there(place: Any, students: Path) -> None:
    @mrkernel.reads("batch_yaer", "score")
    def mapper(table: Any) -> Any:
        return table

    with pytest.raises((JobSpecError, InputError), match=r"batch_yaer.*batch_year"):
        run(place, mapper, [students / "0.csv"], "mean", batch=True)


def test_what_the_mapper_gives_is_no_columns(place: Any, students: Path) -> None:
    def mapper(table: Any) -> Any:
        return table.select(["score"])

    with pytest.raises(TaskFailedError, match=r"gives a table of 1 columns.*0\.csv"):
        run(place, mapper, [students / "0.csv"], "mean", batch=True)


def test_a_key_that_cannot_be_one(place: Any, students: Path) -> None:
    def mapper(table: Any) -> Any:
        return [[1]] * table.num_rows, table["score"]

    with pytest.raises(MRKernelError, match="list"):
        run(place, mapper, [students / "0.csv"], "mean", batch=True)


def test_nothing_to_map(place: Any, tmp_path: Path) -> None:
    import pandas as pd

    nothing = pd.DataFrame({"batch_year": [], "score": []})
    for name in ("a.csv", "a.jsonl"):
        (tmp_path / name).touch()
        assert list(run(place, by_table, [tmp_path / name], "sum", batch=True)) == []
    nothing.to_parquet(tmp_path / "a.parquet")
    assert list(run(place, by_table, [tmp_path / "a.parquet"], "sum", batch=True)) == []
    assert list(run(place, by_table, nothing, "sum", batch=True)) == []
    assert list(run(place, by_table, iter([]), "sum", batch=True)) == []


def test_what_is_missing_is_told(place: Any) -> None:
    def mapper(table: Any) -> Any:
        return ["k"] * 2, [1, None]

    with pytest.raises(TaskFailedError, match="stats cannot use None: leave out what is missing"):
        run(place, mapper, [1, 2], "stats", batch=True)
