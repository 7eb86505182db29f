"""csv, jsonl and parquet: one sorted file, or parts that are tables of their own."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mrkernel
from mrkernel.errors import JobError, JobSpecError, OutputExistsError

ENDINGS = ["csv", "jsonl", "parquet"]
YEARS = [(2000 + n % 5, n % 7) for n in range(1000)]


def as_it_is(pair: Any) -> Iterator[Any]:
    yield pair


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, by the readers of others."""
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    if path.suffix == ".jsonl":
        return list(map(json.loads, path.read_text().splitlines()))
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def strings(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The same as a csv reader sees them."""
    return [{k: "" if v is None else str(v) for k, v in row.items()} for row in rows]


def run(place: Any, records: Any, output: Path, reducer: Any = "first", **options: Any) -> Any:
    options.setdefault("reduce_tasks", 3)
    return mrkernel.run(as_it_is, iter(records), reducer, on=place, output=output, **options)


@pytest.mark.parametrize("ending", ENDINGS)
def test_one_file_with_all_pairs_in_order(place: Any, tmp_path: Path, ending: str) -> None:
    output = tmp_path / "folder" / f"years.{ending}"
    result = run(place, YEARS, output, "stats")
    assert (result.output, result.paths) == (output, [output])
    assert list(output.parent.iterdir()) == [output]
    rows = read(output)
    expected = [{"key": key} | value for key, value in result]
    assert [row["key"] for row in expected] == [2000, 2001, 2002, 2003, 2004]
    assert list(rows[0]) == ["key", "count", "sum", "min", "max", "mean", "std"]
    assert rows == (strings(expected) if ending == "csv" else expected)
    assert repr(result).endswith(f": 5 pairs, written to {output}>")
    assert f"5 pairs, written to {output}<" in result._repr_html_()


def test_one_text_file(place: Any, tmp_path: Path) -> None:
    result = run(place, YEARS, tmp_path / "years.txt", "count")
    assert (tmp_path / "years.txt").read_text() == "".join(f"{2000 + n}\t200\n" for n in range(5))
    assert result.paths == [tmp_path / "years.txt"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_part_is_a_table_of_its_own(place: Any, tmp_path: Path, ending: str) -> None:
    output = tmp_path / "out"
    # Of five keys in nine parts some have nothing, and the same columns all the same.
    options = {"output_format": ending, "columns": "year,days", "reduce_tasks": 9}
    result = run(place, YEARS, output, "count", **options)
    names = [f"part-{number:05d}.{ending}" for number in range(9)]
    assert [path.name for path in result.paths] == names
    assert sorted(path.name for path in output.iterdir()) == ["_SUCCESS", *names]
    assert json.loads((output / "_SUCCESS").read_text())["columns"] == ["year", "days"]
    for number, path in enumerate(result.paths):
        rows = [{"year": key, "days": value} for key, value in result.part(number)]
        assert read(path) == (strings(rows) if ending == "csv" else rows)
    if ending == "csv":
        assert {path.read_text().splitlines()[0] for path in result.paths} == {"year,days"}
    if ending == "parquet":
        import pyarrow.parquet as pq

        assert len({str(pq.read_schema(path)) for path in result.paths}) == 1
    assert result.output == output


@pytest.mark.parametrize("ending", ENDINGS)
def test_tuples_are_columns(place: Any, tmp_path: Path, ending: str) -> None:
    records = [((city, year), (year / 4, None)) for city in "ab" for year in (2001, 2002)]
    output = tmp_path / f"out.{ending}"
    run(place, records, output)
    names = ["key_1", "key_2", "value_1", "value_2"]
    rows = [dict(zip(names, (*key, *value), strict=True)) for key, value in records]
    assert read(output) == (strings(rows) if ending == "csv" else rows)
    run(place, records, output, columns=["city", "year", "a", "b"], overwrite=True)
    assert list(read(output)[0]) == ["city", "year", "a", "b"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("output_is", ["one file", "parts"])
def test_what_the_first_block_does_not_know(
    place: Any, tmp_path: Path, ending: str, output_is: str
) -> None:
    """A field, and in parquet a type, that only the very last pairs have."""
    records: list[Any] = [(n, {"n": n, "text": "x" * 30}) for n in range(9_000)]
    records += [(9_000, {"n": 0.5, "late": True}), (9_001, None)]
    single = output_is == "one file"
    output = tmp_path / (f"out.{ending}" if single else "out")
    options = {} if single else {"output_format": ending}
    result = run(place, records, output, partitioner="range", **options)
    rows = [row for path in result.paths for row in read(path)]
    expected = [
        {"key": key} | {name: (value or {}).get(name) for name in ("n", "text", "late")}
        for key, value in records
    ]
    if ending == "csv":
        expected[9_000]["late"] = "true"
    assert rows == (strings(expected) if ending == "csv" else expected)
    assert len(list(tmp_path.iterdir())) == 1


def test_map_only_files_are_in_input_order(place: Any, tmp_path: Path) -> None:
    records = [(n * 7 % 10, n) for n in range(10)]
    result = run(place, records, tmp_path / "out.csv", "none", reduce_tasks=None)
    rows = "".join(f"{key},{value}\n" for key, value in records)
    assert (tmp_path / "out.csv").read_text() == "key,value\n" + rows
    assert list(result) == records


@pytest.mark.parametrize("ending", [*ENDINGS, "txt"])
def test_little_or_nothing_is_a_file_too(place: Any, tmp_path: Path, ending: str) -> None:
    result = run(place, [], tmp_path / f"out.{ending}", "sum")
    assert result.paths == [tmp_path / f"out.{ending}"]
    if ending == "csv":
        assert result.paths[0].read_text() == "key,value\n"
        run(place, [], tmp_path / "named.csv", "sum", columns="a,b,c")
        assert (tmp_path / "named.csv").read_text() == "a,b,c\n"
    else:
        assert ending == "txt" or read(result.paths[0]) == []


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize(
    ("ending", "records", "options", "said"),
    [
        (
            "csv",
            [(n, {"min": 1}) for n in range(30)] + [(30, {"max": 2})],
            {"columns": "key,min"},
            r"^--columns has 2 names and the rows have 3 columns \(key, min, max\): give 3 names$",
        ),
        (
            "jsonl",
            [("a", 1), ("b", b"x")],
            {},
            "^column value of key 'b' cannot be written as JSON \\(JSON has no bytes\\): yield ",
        ),
        (
            "jsonl",
            [(n, 0.5) for n in range(9000)] + [(9000, float("nan"))],
            {},
            "^column value of key 9000 cannot be written as JSON ",
        ),
        (
            "parquet",
            [(n, n) for n in range(9000)] + [(9000, "text")],
            {},
            r"^column value has no one Parquet type \(.*\): yield values of one type, such as str",
        ),
    ],
)
def test_what_does_not_fit_is_told_and_nothing_is_left(
    place: Any,
    tmp_path: Path,
    single: bool,
    ending: str,
    records: Any,
    options: dict[str, Any],
    said: str,
) -> None:
    output = tmp_path / (f"out.{ending}" if single else "out")
    if not single:
        options = options | {"output_format": ending}
    with pytest.raises(JobError, match=said) as caught:
        run(place, records, output, **options)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    # What the job found is not lost to who has no --output: it can be written otherwise.
    result = mrkernel.run(as_it_is, iter(records), "first", on=place)
    with pytest.raises(JobSpecError, match=said):
        result.save(output, **options)
    assert list(tmp_path.iterdir()) == []
    assert result.save(tmp_path / "out.txt") == [tmp_path / "out.txt"]


def test_overwrite_of_one_file(place: Any, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    output.write_text("by hand")
    with pytest.raises(OutputExistsError, match="exists already: pass --overwrite"):
        run(place, YEARS, output)
    with pytest.raises((JobError, JobSpecError)):
        run(place, YEARS, output, overwrite=True, columns="one")
    assert output.read_text() == "by hand"
    run(place, YEARS, output, "count", overwrite=True)
    assert output.read_text() == "key,value\n" + "".join(f"{2000 + n},200\n" for n in range(5))
    assert list(tmp_path.iterdir()) == [output]


def test_a_file_that_appears_meanwhile_is_left_alone(place: Any, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"

    def mapper(number: int) -> Iterator[tuple[int, int]]:
        if number == 5:
            output.write_text("precious")
        yield number, 1

    with pytest.raises(OutputExistsError):
        mrkernel.run(mapper, iter([*[0] * 30, 5]), "sum", on=place, output=output)
    assert output.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"output": "a.csv", "output_format": "text"}, "leave --output-format text out"),
        ({"output": "out", "output_format": "xml"}, "write text, jsonl, csv or parquet"),
        ({"output": "out", "columns": "a,b"}, "text has none: add --output-format csv"),
        ({"output": "a.csv", "columns": "a,a"}, "--columns has a twice"),
        ({"columns": "a,b"}, "--columns names the columns of --output, so give that as well"),
        ({"output": 7}, "write the path of a file or directory"),
    ],
)
def test_slips_are_told_before_anything_runs(
    place: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: Any, said: str
) -> None:
    monkeypatch.chdir(tmp_path)

    def mapper(record: Any) -> None:
        raise AssertionError("it ran")

    with pytest.raises(JobSpecError, match=said):
        mrkernel.run(mapper, iter(YEARS), "sum", on=place, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_setting_without_output_does_nothing(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRKERNEL_OUTPUT_FORMAT", "csv")
    assert mrkernel.run(as_it_is, iter(YEARS), "count", on=place).output is None


@pytest.mark.parametrize("ending", [*ENDINGS, "txt"])
def test_save_takes_the_same(place: Any, tmp_path: Path, ending: str) -> None:
    run(place, YEARS, tmp_path / f"job.{ending}", "mean")
    result = mrkernel.run(as_it_is, iter(YEARS), "mean", on=place)
    assert result.save(tmp_path / f"saved.{ending}") == [tmp_path / f"saved.{ending}"]
    saved = (tmp_path / f"saved.{ending}").read_bytes()
    assert saved == (tmp_path / f"job.{ending}").read_bytes()
    if ending != "txt":
        files = result.save(tmp_path / "parts", output_format=ending, columns=["y", "m"])
        assert {path.suffix for path in files} == {f".{ending}"}


@pytest.mark.parametrize("values", ["floats", "few texts", "many texts", "bools"])
def test_many_typed_pairs_are_the_same_as_pair_by_pair(
    place: Any, tmp_path: Path, values: str
) -> None:
    """Blocks long enough for columns, keys repeated, and text that csv must quote."""
    kinds = {"floats": lambda n: n / 8, "few texts": lambda n: "ab,"[n % 3]}
    kinds |= {"many texts": lambda n: f"{n}\n", "bools": lambda n: n % 5 == 0}
    records = [(f'key, "{n % 9000}"', kinds[values](n)) for n in range(20_000)]

    def reducer(key: str, values: Any) -> Iterator[tuple[str, Any]]:
        for value in values:
            yield key, value

    result = run(place, records, tmp_path / "out.csv", reducer)
    expected = sorted(records, key=lambda pair: pair[0])
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    texts = [str(value) if values != "bools" else json.dumps(value) for _, value in expected]
    keys = [key for key, _ in expected]
    assert rows == [["key", "value"], *map(list, zip(keys, texts, strict=True))]
    assert b"".join(map(bytes, result.lines())) == b"".join(
        f"{key}\t{text}\n".encode() for key, text in zip(keys, texts, strict=True)
    )
    assert result.to_arrow().to_pydict() == {
        "key": keys,
        "value": [value for _, value in expected],
    }


def test_a_wrong_number_of_names_is_told_before_a_cluster_runs_it(
    cluster: Any, tmp_path: Path
) -> None:
    """The first records, tried here, give rows that no further pair will make narrower."""

    def mapper(number: int) -> Iterator[tuple[int, Any]]:
        (tmp_path / f"ran-{number}").touch()
        yield number, {"low": number, "high": number}

    for columns in ("n", "n,low"):
        said = "--columns has . names? and the rows have 3 columns .key, low, high.: give 3 names"
        with pytest.raises(JobSpecError, match=said):
            mrkernel.run(
                mapper,
                range(100),
                "first",
                on=cluster,
                output=tmp_path / "out.csv",
                columns=columns,
            )
        assert len(list(tmp_path.iterdir())) == 20  # the records that were tried


@pytest.mark.parametrize("reducer", ["first", "none"])
def test_fields_that_are_objects_are_columns_by_name(
    place: Any, tmp_path: Path, reducer: str
) -> None:
    records = [(n, {("a", n): n}) for n in range(3)]
    run(place, records, tmp_path / "out.csv", reducer, reduce_tasks=None)
    assert list(read(tmp_path / "out.csv")[0]) == ["key", "('a', 0)", "('a', 1)", "('a', 2)"]


def test_a_fault_in_one_of_many_files_ends_all(place: Any, tmp_path: Path) -> None:
    class Unshowable:
        def __repr__(self) -> str:
            raise IndexError("no text")

    records = [(n, Unshowable() if n == 777 else n) for n in range(3000)]
    with pytest.raises(JobError, match=r"cannot be made into text .*IndexError: no text"):
        run(place, records, tmp_path / "out", reduce_tasks=30, output_format="csv")
    assert list(tmp_path.iterdir()) == []


def test_a_small_job_imports_no_arrow(tmp_path: Path) -> None:
    program = (
        "import sys, mrkernel\n"
        "for name in ('a.csv', 'a.jsonl', 'a.txt', 'parts'):\n"
        "    mrkernel.run(lambda n: [(n, (n, 1.5))], range(9), 'first', on='inline', output=name)\n"
        "print(sorted({'pyarrow', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
