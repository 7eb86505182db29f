from __future__ import annotations

import gzip
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mrkernel.data import inputs
from mrkernel.data.records import open_split
from mrkernel.data.splits import FileSplit, MemorySplit, Split
from mrkernel.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("b.txt", "a.txt", ".hidden.txt", "_SUCCESS"):
        (data / name).write_text(f"{name}\n")
    return tmp_path


def resolve(given: list[Any], **options: Any) -> list[Split]:
    return inputs.resolve(given, **options).splits


def names(folder: Path, *given: Any) -> list[str]:
    found = resolve(list(given), cwd=folder)
    return [os.path.relpath(each.path, folder) for each in found if isinstance(each, FileSplit)]


def records(split: Any) -> list[Any]:
    return [record for batch in open_split(split) for record in batch.records]


def test_files_globs_and_directories_in_order(folder: Path) -> None:
    both = ["data/a.txt", "data/b.txt"]
    assert names(folder, "data") == both
    assert names(folder, "data/") == both
    assert names(folder, "data/*") == both
    assert names(folder, Path("data/b.txt"), "data/a.txt") == both[::-1]
    assert names(folder, str(folder / "data")) == both
    assert names(folder, "data/_*") == ["data/_SUCCESS"]
    assert names(folder, "data/.hidden.txt") == ["data/.hidden.txt"]


def test_a_file_whose_name_looks_like_a_glob(folder: Path) -> None:
    (folder / "a[1].txt").write_text("x\n")
    assert names(folder, "a[1].txt") == ["a[1].txt"]


def test_a_recursive_glob(folder: Path) -> None:
    below = folder / "data" / "2024"
    below.mkdir()
    (below / "c.txt").write_text("c\n")
    (folder / "data" / "_tmp").mkdir()
    (folder / "data" / "_tmp" / "d.txt").write_text("d\n")
    assert names(folder, "data/**") == ["data/2024/c.txt", "data/a.txt", "data/b.txt"]
    assert names(folder, "data/*/c.txt") == ["data/2024/c.txt"]


def test_a_directory_in_a_directory_is_refused(folder: Path) -> None:
    (folder / "data" / "2024").mkdir()
    with pytest.raises(InputError, match=r"holds a directory, 2024.*\*\* for all files below"):
        names(folder, "data")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("data/aa.txt", r"there is no file data/aa\.txt in .*did you mean data/a\.txt\?"),
        ("dat/a.txt", r"did you mean data/a\.txt\?"),
        ("data/A.TXT", r"did you mean data/a\.txt\?"),
        ("data/*.csv", r"no file matches data/\*\.csv in .*holds _SUCCESS, a\.txt, b\.txt"),
        ("memory://nowhere/x", "there is no file memory://nowhere/x: check the address"),
        (Path("https://host/x"), "no file https:/host/x: write a URL as a text, for a Path takes"),
        ("", "an input path is empty"),
        ("the cat\nsat on the mat", r"pass a list of its lines, text\.splitlines\(\)"),
    ],
)
def test_what_matches_nothing(folder: Path, given: str | Path, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        names(folder, given)


def test_an_empty_directory(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no files to read"):
        names(folder, "empty")


def test_no_input_at_all() -> None:
    with pytest.raises(InputError, match="the job has no input"):
        resolve([])


def test_files_that_are_no_text(folder: Path) -> None:
    packed = gzip.compress(b"PAR1\x15\x04....")
    for name in ("a.zip", "b.tar", "b.tar.gz", "b.tgz", "c.parquet.gz"):
        (folder / name).write_bytes(packed if name.endswith("gz") else b"....")
    (folder / "t").write_bytes(b"PAR1\x15\x04....")
    with pytest.raises(InputError, match=r"a\.zip is a zip file, not text: unpack it first"):
        names(folder, "a.zip")
    for name in ("b.tar", "b.tar.gz", "b.tgz"):
        with pytest.raises(InputError, match="is a tar file, not text: unpack it first"):
            names(folder, name)
    with pytest.raises(InputError, match="is a Parquet file in a gzip file: decompress it"):
        names(folder, "c.parquet.gz")
    with pytest.raises(InputError, match=r"t is a Parquet file, not text: pass --format parquet"):
        names(folder, "t")


def test_unreadable_and_odd_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(InputError, match="pipe is not a regular file"):
        names(folder, "pipe")
    (folder / "link").symlink_to(folder / "gone")
    with pytest.raises(InputError, match="link is a link to nothing"):
        names(folder, "link")

    def refuse(path: str, flags: int) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "open", refuse)  # root may read anything, so chmod proves nothing
    with pytest.raises(InputError, match=r"a\.txt cannot be read \(Permission denied\)"):
        names(folder, "data/a.txt")


@pytest.mark.fault(46)
def test_empty_files_give_no_task_unless_there_is_nothing_else(folder: Path) -> None:
    (folder / "e1.txt").touch()
    (folder / "e2.txt").touch()
    assert names(folder, "e1.txt", "data/a.txt") == ["data/a.txt"]
    (split,) = resolve(["e1.txt", "e2.txt"], cwd=folder)
    assert records(split) == []


def test_the_file_size_rules_the_split_size(folder: Path) -> None:
    (folder / "big.txt").write_bytes(b"0123456789\n" * 400_000)
    splits = resolve(["big.txt", "data/a.txt"], slots=2, cwd=folder)
    assert len(splits) == 6
    asked = resolve(["big.txt"], split_size=1_000_000, cwd=folder)
    assert len(asked) == 5
    assert (
        sum(len(records(s)) for s in asked) == sum(len(records(s)) for s in splits[:5]) == 400_000
    )
    assert len(resolve(["big.txt"], split_size=1_000_000, encoding="utf-16", cwd=folder)) == 1


def test_items() -> None:
    splits = resolve([[1, 2, 3, 4, 5]], slots=2, names=["numbers"])
    assert [record for split in splits for record in records(split)] == [1, 2, 3, 4, 5]
    assert [split.label for split in splits] == ["numbers[0:2]", "numbers[2:4]", "numbers[4:5]"]
    assert len(resolve([range(10_000)], split_size=1)) == 10_000


def test_a_generator_and_two_inputs() -> None:
    splits = resolve([(i * i for i in range(3)), ["x"]], slots=1)
    assert [split.label for split in splits] == ["input 1[0:2]", "input 1[2:3]", "input 2[0:1]"]


@pytest.mark.fault(46)
def test_an_empty_iterable_is_one_split_without_records() -> None:
    (split,) = resolve([[]])
    assert isinstance(split, MemorySplit)
    assert (split.count, records(split)) == (0, [])


def test_split_size_counts_pickled_bytes() -> None:
    items = ["x" * 1000] * 50 + ["y" * 10_000 for _ in range(50)]
    splits = resolve([items], split_size=20_000)
    assert max(split.nbytes for split in splits) <= 25_000
    assert [record for split in splits for record in records(split)] == items


def test_tables_give_rows_as_dicts() -> None:
    pandas = pytest.importorskip("pandas")
    import pyarrow as pa

    rows = [{"year": 1990, "t": 1.5}, {"year": 1991, "t": None}]
    frame = pandas.DataFrame({"year": [1990, 1991], "t": [1.5, 2.5]})
    (split,) = resolve([frame], split_size=10**6)
    assert records(split) == [{"year": 1990, "t": 1.5}, {"year": 1991, "t": 2.5}]
    assert type(records(split)[0]["year"]) is int
    (split,) = resolve([pa.Table.from_pylist(rows)], split_size=10**6)
    assert records(split) == rows
    (split,) = resolve([pa.array([1, None])], split_size=10**6)
    assert records(split) == [1, None]
    with pytest.raises(InputError, match="two columns called 'a'"):
        resolve([pandas.DataFrame([[1, 2]], columns=["a", "a"])])


def lines() -> Iterator[str]:
    yield "a"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"a": 1}, r"words is a dict: write \{words\.items\(\)\}"),
        (b"abc", "words is bytes, neither a path nor a list of records"),
        (7, r"words \(int\) has no items: pass a path, a list or a DataFrame"),
        (lines, r"words is the function lines: call it, \{lines\(\)\}"),
    ],
)
def test_what_is_no_input(given: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        resolve([given], names=["words"])


def test_an_open_file_is_named(folder: Path) -> None:
    with (
        (folder / "data" / "a.txt").open() as file,
        pytest.raises(InputError, match="pass its path"),
    ):
        resolve([file])


def test_an_item_that_cannot_be_sent() -> None:
    import threading

    with pytest.raises(
        InputError, match=r"words\[2\] is a _thread\.lock and cannot be sent"
    ) as caught:
        resolve([[1, 2, threading.Lock(), 4]], names=["words"], slots=1)
    assert caught.value.offset == 2


def test_classes_of_the_notebook_travel_by_value() -> None:
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("class Point:\n    def __init__(self, x): self.x = x", space)
    (split,) = resolve([[space["Point"](3)]])
    assert isinstance(split, MemorySplit)
    assert split.data is not None
    (point,) = pickle.loads(split.data)
    assert point.x == 3


def test_a_header_that_looks_like_data_is_told(folder: Path) -> None:
    (folder / "a.tsv").write_text("key1\t10\nkey2\t20\n")
    (folder / "b.csv").write_text("key,2024\nx,y\n")
    found = inputs.resolve(["a.tsv"], cwd=folder)
    assert found.notes == (
        "the first line of a.tsv (key1, 10) was read as its header: if it is data, pass "
        "--format csv:noheader",
    )
    assert inputs.resolve(["b.csv"], cwd=folder).notes == ()
    assert inputs.resolve(["a.tsv"], cwd=folder, format="lines").notes == ()


def test_formats_by_name(folder: Path) -> None:
    for name, format in (
        ("a.CSV", "csv"),
        ("a.tsv", "csv"),
        ("a.ndjson", "jsonl"),
        ("a.jsonl", "jsonl"),
        ("a.parquet", "parquet"),
        ("a.txt", "lines"),
        ("a.csv.txt", "lines"),
        ("part-0", "lines"),
    ):
        assert inputs.format_of(name) == format, name
        assert inputs.format_of(name, "csv:text") == "csv"
    (folder / "a.log").write_text('{"a": 1}\n')
    (split,) = resolve(["a.log"], cwd=folder, format="jsonl")
    assert records(split) == [{"a": 1}]


def test_each_input_has_a_schema_of_its_own(folder: Path) -> None:
    (folder / "a.csv").write_text("a\n1\n")
    (folder / "b.csv").write_text("b\n1.5\n")
    found = inputs.resolve(["a.csv", "data/a.txt", "b.csv"], cwd=folder)
    assert [(schema.names, schema.types) for schema in found.schemas] == [
        (("a",), ("int",)),
        (("b",), ("float",)),
    ]
    with pytest.raises(InputError, match=r"b\.csv has the columns b, but a\.csv has a"):
        resolve(["*.csv"], cwd=folder)


def test_the_plan_of_many_files_travels_small(folder: Path) -> None:
    """What every map task's order carries: no schema, and nothing for lines."""
    import msgspec

    line = FileSplit("/a.txt", 0, 1000, 1000, 1)
    table = FileSplit("/a.csv", 0, 1000, 1000, 1, "csv", 3)
    assert b"format" not in msgspec.msgpack.encode(line)
    assert len(msgspec.msgpack.encode(table)) < len(msgspec.msgpack.encode(line)) + 25
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(table), type=Split) == table
