from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mrkernel.data.output_writers import OutputWriter
from mrkernel.data.outputs import Output, check_output, column_names
from mrkernel.errors import JobSpecError, OutputExistsError

FILES = ["counts.csv", "counts.JSONL", "c.parquet", "c.txt"]


def write(target: Path, *parts: bytes, **options: Any) -> None:
    with OutputWriter(check_output(target, **options), job="j-1") as writer:
        for index, data in enumerate(parts):
            writer.open(index).write(data)
            writer.finish(index)
        writer.commit()


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", FILES)
def test_one_file_by_its_ending(tmp_path: Path, name: str) -> None:
    output = check_output(name, cwd=tmp_path)
    wanted = {"csv": "csv", "jsonl": "jsonl", "parquet": "parquet", "txt": "text"}
    kind = wanted[name.rpartition(".")[2].lower()]
    assert output == Output(tmp_path / name, single=True, format=kind)
    assert check_output(name, cwd=tmp_path, format=kind) == output


@pytest.mark.parametrize("kind", [None, "text", "csv", "jsonl", "parquet"])
@pytest.mark.parametrize("name", ["out", "counts.d", "v1.2", "out.csv.d"])
def test_any_other_path_is_a_directory(tmp_path: Path, name: str, kind: str | None) -> None:
    output = check_output(name, True, tmp_path, format=kind)
    assert output == Output(tmp_path / name, format=kind or "text", overwrite=True)


def test_a_file_of_another_kind_is_told(tmp_path: Path) -> None:
    said = r"c\.csv is one file, written as csv: leave --output-format {} out, or name it c\.{}$"
    for kind, ending in [("jsonl", "jsonl"), ("text", "txt"), ("parquet", "parquet")]:
        with pytest.raises(JobSpecError, match=said.format(kind, ending)):
            check_output("c.csv", cwd=tmp_path, format=kind)
    for name in ("c.json", "c.tsv", "c.csv.gz", "c.XLSX"):
        with pytest.raises(JobSpecError, match=r"looks like a file: one file may end in \.csv"):
            check_output(name, cwd=tmp_path)
    (tmp_path / "c.json").mkdir()
    with pytest.raises(OutputExistsError):  # as directories go
        check_output("c.json", cwd=tmp_path)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (None, None),
        ("a", ("a",)),
        ("year, min,max ", ("year", "min", "max")),
        (["a,b", "c"], ("a,b", "c")),
        (("ä",), ("ä",)),
    ],
)
def test_column_names(tmp_path: Path, given: Any, names: Any) -> None:
    assert column_names(given) == names
    if names:
        assert check_output(tmp_path / "a.csv", columns=given).columns == names


@pytest.mark.parametrize("given", ["", "a,,b", "a,", [], [1, 2], [""], ["a", None]])
def test_what_is_no_names(given: Any) -> None:
    with pytest.raises(JobSpecError, match=r"write names with commas between, such as a,b,c$"):
        column_names(given)


def test_names_twice() -> None:
    with pytest.raises(JobSpecError, match="--columns has b twice"):
        column_names("a,b,c,b")


@pytest.mark.parametrize(
    ("name", "advice"), [("out", "add --output-format csv"), ("out.txt", "end --output in .csv")]
)
def test_text_has_no_columns(tmp_path: Path, name: str, advice: str) -> None:
    with pytest.raises(JobSpecError, match=f"^--columns names .* text has none: {advice}$"):
        check_output(name, cwd=tmp_path, columns="a,b")


def test_existing_output_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "out"
    write(target, b"old\n")
    with pytest.raises(OutputExistsError, match="exists already: pass --overwrite to replace it"):
        check_output(target)
    (tmp_path / "file").touch()
    with pytest.raises(OutputExistsError, match="is no directory"):
        check_output(tmp_path / "file", overwrite=True)


def test_overwrite_leaves_other_directories_alone(tmp_path: Path) -> None:
    target = tmp_path / "thesis"
    target.mkdir()
    (target / "chapter1.tex").touch()
    with pytest.raises(OutputExistsError, match="was not written by mrkernel"):
        check_output(target, overwrite=True)
    (target / "_SUCCESS").touch()  # Hadoop's is empty
    with pytest.raises(OutputExistsError, match="was not written by mrkernel"):
        check_output(target, overwrite=True)
    write(tmp_path / "out", b"x\n")
    (tmp_path / "out" / "notes.txt").touch()
    with pytest.raises(OutputExistsError, match=r"also holds notes\.txt"):
        check_output(tmp_path / "out", overwrite=True)


@pytest.mark.parametrize("name", FILES)
def test_overwrite_replaces_the_file_that_is_named(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    target.write_text("anybody's")
    with pytest.raises(OutputExistsError, match="exists already: pass --overwrite to replace it"):
        check_output(target)
    assert check_output(target, overwrite=True).overwrite


def test_overwrite_replaces_no_directory_link_or_device_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "spark.csv").mkdir()
    (tmp_path / "file.csv").touch()
    (tmp_path / "link.csv").symlink_to("file.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    found = [("spark.csv", "a directory"), ("link.csv", "a link"), ("pipe.csv", "no plain file")]
    for name, what in found:
        said = rf"{name} exists and is {what}, and a path ending in \.csv is written as one file"
        with pytest.raises(OutputExistsError, match=said):
            check_output(tmp_path / name, overwrite=True)


def test_places_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for name in ("out", "out.csv"):
        with pytest.raises(JobSpecError, match="file is a file, choose another directory"):
            check_output(tmp_path / "file" / name)

    def refuse(self: Path, *args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    for name in ("out", "out.csv"):
        with pytest.raises(JobSpecError, match=r"refuses it \(Permission denied\)"):
            check_output(tmp_path / name)


def test_the_probe_leaves_nothing(tmp_path: Path) -> None:
    assert check_output("a/b/out", cwd=tmp_path).path == tmp_path / "a/b/out"
    assert left_behind(tmp_path) == []
