from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from mrkernel.data import output_writers
from mrkernel.data.output_writers import OutputWriter
from mrkernel.data.outputs import Output, check_output
from mrkernel.errors import JobSpecError, OutputExistsError


def write(output: Output, *parts: bytes, columns: tuple[str, ...] | None = None) -> list[Path]:
    with OutputWriter(output, job="j-1") as writer:
        for index, data in enumerate(parts):
            file = writer.open(index)
            file.write(data)
            file.records = data.count(b"\n")
            writer.finish(index)
        return writer.commit(columns)


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_parts_and_manifest(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    files = write(check_output(out), b"a\t1\nb\t2\n", b"")
    assert files == [out / "part-00000", out / "part-00001"]
    assert [file.read_bytes() for file in files] == [b"a\t1\nb\t2\n", b""]
    manifest = json.loads((out / "_SUCCESS").read_text())
    assert (manifest["job"], manifest["content"], manifest["columns"]) == ("j-1", "text", None)
    assert manifest["parts"][0] == {
        "name": "part-00000",
        "records": 2,
        "bytes": 8,
        "sha256": hashlib.sha256(b"a\t1\nb\t2\n").hexdigest(),
    }
    assert left_behind(tmp_path / "new") == ["out"]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_parts_of_other_formats_have_its_ending(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    (file,) = write(check_output(out, format=kind), b"x", columns=("a", "b"))
    assert file == out / f"part-00000.{kind}"
    manifest = json.loads((out / "_SUCCESS").read_text())
    assert (manifest["content"], manifest["columns"]) == (kind, ["a", "b"])
    write(check_output(out, True), b"new")  # which is ours to replace
    assert left_behind(out) == ["_SUCCESS", "part-00000"]


def test_one_file(tmp_path: Path) -> None:
    target = tmp_path / "new" / "out.csv"
    assert write(check_output(target), b"a,1\n") == [target]
    assert target.read_bytes() == b"a,1\n"
    assert left_behind(tmp_path / "new") == ["out.csv"]


@pytest.mark.parametrize("name", ["out", "out.csv"])
def test_nothing_is_there_before_the_commit_nor_after_an_error(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    with pytest.raises(ZeroDivisionError), OutputWriter(check_output(target), job="j") as writer:
        writer.open(0).write(b"x\n")
        assert not target.exists()
        raise ZeroDivisionError
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("name", ["out", "out.csv"])
def test_a_part_may_be_begun_again(tmp_path: Path, name: str) -> None:
    output = check_output(tmp_path / name)
    with OutputWriter(output, job="j") as writer:
        for data in (b"too long for this", b"right"):
            writer.open(0).write(data)
        writer.finish(0)
        (file,) = writer.commit()
    assert file.read_bytes() == b"right"


@pytest.mark.parametrize("exchange", [True, False])
def test_overwrite_replaces_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(output_writers, "_renameat2", lambda new, old: False)
    target = tmp_path / "out"
    write(check_output(target), b"old\n", b"old\n")
    write(check_output(target, True), b"new\n")
    assert left_behind(target) == ["_SUCCESS", "part-00000"]
    assert (target / "part-00000").read_bytes() == b"new\n"
    assert left_behind(tmp_path) == ["out"]


def test_a_file_is_old_until_it_is_new(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    target.write_text("old")
    with OutputWriter(check_output(target, True), job="j") as writer:
        writer.open(0).write(b"new")
        assert target.read_text() == "old"
        writer.finish(0)
        writer.commit()
        assert target.read_text() == "new"
    assert left_behind(tmp_path) == ["out.csv"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_directory_that_appears_meanwhile(tmp_path: Path, overwrite: bool) -> None:
    target = tmp_path / "out"
    output = check_output(target, overwrite)
    with pytest.raises(OutputExistsError), OutputWriter(output, job="j") as writer:
        writer.open(0).write(b"x\n")
        writer.finish(0)
        target.mkdir()
        (target / "theirs").touch()
        writer.commit()
    assert left_behind(tmp_path) == ["out"]
    assert left_behind(target) == ["theirs"]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """Also in the last moment, after the last look."""
    target = tmp_path / "out.csv"
    real = os.link

    def link(*paths: Any) -> None:
        if not links:
            raise PermissionError(errno.EPERM, "no links here")
        target.write_text("theirs")
        real(*paths)

    monkeypatch.setattr(os, "link", link)
    with OutputWriter(check_output(target), job="j") as writer:
        writer.open(0).write(b"ours")
        writer.finish(0)
        if links:
            with pytest.raises(OutputExistsError, match="appeared while the job ran"):
                writer.commit()
        else:
            writer.commit()
    assert target.read_text() == ("theirs" if links else "ours")
    assert left_behind(tmp_path) == ["out.csv"]


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    for name in ("out", "out.csv"):
        output = check_output(tmp_path / "gone" / name)
        (tmp_path / "gone").touch()
        with pytest.raises(JobSpecError, match="cannot be written"):
            OutputWriter(output, job="j")
        (tmp_path / "gone").unlink()
