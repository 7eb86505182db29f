"""CSV, JSON lines, Parquet, frames and Arrow tables, from the file to the result."""

from __future__ import annotations

import csv
import gzip
import json
import lzma
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mrkernel
from mrkernel.errors import InputError, JobSpecError, MRKernelError

ROWS = [
    {
        "student": f'No. {n} "the\n{n}th"' if n % 7 == 0 else f"student{n}",
        "year": 2000 + n % 5,
        "score": n % 100 + 0.5,
    }
    for n in range(3000)
]
EXPECTED = {
    year: (len(scores := [r["score"] for r in ROWS if r["year"] == year]), max(scores))
    for year in range(2000, 2005)
}


def mapper(row: dict[str, Any]) -> Iterator[Any]:
    yield row["year"], row["score"]


@mrkernel.reads("year", "score")
def narrow(row: dict[str, Any]) -> Iterator[Any]:
    assert list(row) == ["year", "score"]
    yield row["year"], row["score"]


@mrkernel.reads("year", "score")
def columns(table: Any) -> Iterator[Any]:
    assert table.column_names == ["year", "score"]
    yield table["year"], table["score"]


def reducer(year: int, scores: Any) -> Iterator[Any]:
    yield year, (len(scores), max(scores))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rows in every format, in two files each; the CSV headers in different orders."""
    folder = tmp_path_factory.mktemp("formats")
    for number, rows in enumerate((ROWS[:2000], ROWS[2000:])):
        names = list(rows[0]) if number else list(rows[0])[::-1]
        with (folder / f"{number}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{number}.jsonl").write_text(text)
        table = pa.Table.from_pylist(rows)
        pq.write_table(table, folder / f"{number}.parquet", row_group_size=300)
    return folder


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("split_size", [None, 5000])
def test_files(place: Any, folder: Path, format: str, split_size: int | None) -> None:
    for function, options in ((mapper, {}), (narrow, {}), (columns, {"batch": True})):
        found = mrkernel.run(
            function,
            [str(folder / f"*.{format}")],
            reducer,
            on=place,
            split_size=split_size,
            **options,
        )
        assert found.to_dict() == EXPECTED


def test_many_small_files_in_one_task(place: Any, tmp_path: Path) -> None:
    for number, row in enumerate(ROWS[:60]):
        (tmp_path / f"{number:02}.csv").write_text(f"score,year\n{row['score']},{row['year']}\n")
    found = mrkernel.run(mapper, [tmp_path], "sum", on=place).to_dict()
    assert sum(found.values()) == sum(row["score"] for row in ROWS[:60])


def test_inputs_of_several_formats_and_headers(place: Any, tmp_path: Path, folder: Path) -> None:
    (tmp_path / "names.csv").write_text("student;born\nBo;1999\nAl;2001\n")
    inputs = [tmp_path / "names.csv", folder / "1.csv", folder / "1.parquet", [{"born": 1}]]
    found = mrkernel.run(lambda row: [(", ".join(sorted(row)), 1)], inputs, "sum", on=place)
    assert found.to_dict() == {"born": 1, "born, student": 2, "score, student, year": 2000}


@pytest.mark.parametrize("kind", ["arrow", "pandas", "polars"])
def test_tables_in_memory(place: Any, kind: str) -> None:
    table: Any = pa.Table.from_pylist(ROWS)
    if kind != "arrow":
        library = pytest.importorskip(kind)
        table = library.from_arrow(table) if kind == "polars" else table.to_pandas()
    for function, options in ((mapper, {}), (narrow, {}), (columns, {"batch": True})):
        found = mrkernel.run(function, table, reducer, on=place, **options)
        assert found.to_dict() == EXPECTED


def test_keys_are_places(place: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('n,s\n1,x\n\n2,"y\nz"\n3,w\n')
    found = mrkernel.run(lambda key, row: [(row["n"], key)], [path], "first", on=place)
    assert found.to_dict() == {1: (str(path), 4), 2: (str(path), 9), 3: (str(path), 17)}


def test_a_csv_file_as_lines_and_as_text(place: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("n\n007\n")
    for format, record in (
        ("auto", {"n": 7}),
        ("csv", {"n": 7}),
        ("csv:text", {"n": "007"}),
        ("lines", "n"),
    ):
        found = mrkernel.run(lambda r: [(repr(r), 1)], [path], "sum", on=place, format=format)
        assert repr(record) in found.to_dict(), format


def test_a_late_value_that_does_not_fit_ends_the_job(place: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = ["year,score"] + ["1999,1.5"] * 60_000
    lines[12_000] = "n.k.,1.5"  # between the places that the types are told from
    path.write_text("\n".join(lines))
    with pytest.raises(
        MRKernelError, match=r"has 'n\.k\.' in column 'year' at byte 108002.*csv:te"
    ):
        mrkernel.run(mapper, [path], "count", on=place)


def test_what_makes_no_sense_is_told_before_the_job(place: Any, folder: Path) -> None:
    sentence = "format='xml': write auto, lines, csv, csv:..., jsonl, parquet, whole or fixed:N"
    with pytest.raises(JobSpecError, match=sentence):
        mrkernel.run(mapper, [folder / "0.csv"], "sum", on=place, format="xml")
    wrong = mrkernel.reads("yaer")(lambda row: [(row["yaer"], 1)])
    for name in ("0.csv", "0.jsonl", "0.parquet"):
        with pytest.raises(InputError, match=r"has no column 'yaer'.*did you mean 'year'\?"):
            mrkernel.run(wrong, [folder / name], "sum", on=place)
    with pytest.raises(InputError, match="read as lines, which have no columns"):
        mrkernel.run(wrong, [folder / "0.csv"], "sum", on=place, format="lines")


def test_the_command_line_knows_the_format(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("year;score\n1999;2\n1999;5\n")
    (tmp_path / "mapper.py").write_text("def mapper(row): yield row['year'], row['score']\n")
    command = [sys.executable, "-m", "mrkernel.submit", "--input", "a.txt", "--output", "out"]
    command += ["--map", "mapper.py", "--reduce", "sum", "--format", "csv", "--on", "inline"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = "".join(path.read_text() for path in sorted((tmp_path / "out").glob("part-*")))
    assert text == "1999\t7\n"


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet", "arrow"])
def test_runners_import_no_more_of_arrow_than_they_need(
    cluster: Any, folder: Path, format: str
) -> None:
    def costly(table: Any) -> Iterator[Any]:
        found = {"pandas", "pyarrow.dataset", "pyarrow.acero"} & set(sys.modules)
        yield ", ".join(sorted(found)) or "none", 1

    def costly_rows(row: dict[str, Any]) -> Iterator[Any]:
        return costly(row)

    given = pa.Table.from_pylist(ROWS) if format == "arrow" else folder / f"*.{format}"
    for function, batch in ((costly_rows, False), (costly, True)):
        found = mrkernel.run(function, given, "count", on=cluster, batch=batch).to_dict()
        assert list(found) == ["none"]


def sizes(record: Any) -> Any:
    yield type(record).__name__, len(record)


def test_compressed_whole_and_fixed_files(place: Any, tmp_path: Path) -> None:
    data = "".join(f"line {n}\n" for n in range(5_000)).encode()
    (tmp_path / "a.txt").write_bytes(data)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(data))
    (tmp_path / "c.txt.xz").write_bytes(lzma.compress(data))
    lines = mrkernel.run(sizes, tmp_path, "sum", on=place, split_size="10K")
    assert lines.to_dict() == {"str": 3 * (len(data) - 5_000)}
    whole = mrkernel.run(sizes, tmp_path, "list", on=place, format="whole")
    assert whole.to_dict() == {"bytes": [len(data)] * 3}
    packed = tmp_path / "b.txt.gz"
    fixed = mrkernel.run(sizes, packed, "count", on=place, format="fixed:10")
    assert fixed.to_dict() == {"bytes": len(data) // 10}
    table = mrkernel.run(lambda table: (table["line"], 1), packed, "count", on=place, batch=True)
    assert len(table) == 5_000


def test_a_csv_dialect(place: Any, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("'x|y'|1\n'z'|2\n")
    result = mrkernel.run(
        lambda row: [(row["c1"], row["c2"])],
        tmp_path / "a.csv",
        "sum",
        on=place,
        format="csv:sep=pipe,quote=single,noheader",
    )
    assert result.to_dict() == {"x|y": 1, "z": 2}
    with pytest.raises(JobSpecError, match="there is no 'nohead': csv: takes"):
        mrkernel.run(sizes, tmp_path / "a.csv", "sum", on=place, format="csv:nohead")
