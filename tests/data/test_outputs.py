from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from mrkernel.data import outputs
from mrkernel.data.outputs import OutputWriter, check_output
from mrkernel.errors import JobSpecError, OutputExistsError


def write(target: Path, *parts: list[bytes], overwrite: bool = False) -> None:
    with OutputWriter(check_output(target, overwrite), job="j-1", overwrite=overwrite) as writer:
        for index, lines in enumerate(parts):
            writer.write_part(index, lines)
        writer.commit()


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_parts_and_manifest(tmp_path: Path) -> None:
    write(tmp_path / "new" / "out", [b"a\t1\n", b"b\t2\n"], [])
    out = tmp_path / "new" / "out"
    assert (out / "part-00000").read_bytes() == b"a\t1\nb\t2\n"
    assert (out / "part-00001").read_bytes() == b""
    manifest = json.loads((out / "_SUCCESS").read_text())
    assert manifest["job"] == "j-1"
    assert manifest["parts"][0] == {
        "name": "part-00000",
        "records": 2,
        "bytes": 8,
        "sha256": hashlib.sha256(b"a\t1\nb\t2\n").hexdigest(),
    }
    assert left_behind(tmp_path / "new") == ["out"]


def test_nothing_is_there_before_the_commit_nor_after_an_error(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with pytest.raises(ZeroDivisionError), OutputWriter(target, job="j") as writer:
        writer.write_part(0, [b"x\n"])
        assert not target.exists()
        raise ZeroDivisionError
    assert left_behind(tmp_path) == []


def test_existing_output_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "out"
    write(target, [b"old\n"])
    with pytest.raises(OutputExistsError, match="exists already: pass --overwrite to replace it"):
        check_output(target, overwrite=False)
    (tmp_path / "file").touch()
    with pytest.raises(OutputExistsError, match="is no directory"):
        check_output(tmp_path / "file", overwrite=True)


@pytest.mark.parametrize("exchange", [True, False])
def test_overwrite_replaces_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(outputs, "_renameat2", lambda new, old: False)
    target = tmp_path / "out"
    write(target, [b"old\n"], [b"old\n"])
    write(target, [b"new\n"], overwrite=True)
    assert left_behind(target) == ["_SUCCESS", "part-00000"]
    assert (target / "part-00000").read_bytes() == b"new\n"
    assert left_behind(tmp_path) == ["out"]


def test_overwrite_leaves_other_things_alone(tmp_path: Path) -> None:
    target = tmp_path / "thesis"
    target.mkdir()
    (target / "chapter1.tex").touch()
    with pytest.raises(OutputExistsError, match="was not written by mrkernel"):
        check_output(target, overwrite=True)
    (target / "_SUCCESS").touch()  # Hadoop's is empty
    with pytest.raises(OutputExistsError, match="was not written by mrkernel"):
        check_output(target, overwrite=True)
    write(tmp_path / "out", [b"x\n"])
    (tmp_path / "out" / "notes.txt").touch()
    with pytest.raises(OutputExistsError, match=r"also holds notes\.txt"):
        check_output(tmp_path / "out", overwrite=True)


def test_output_that_appears_meanwhile(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with pytest.raises(OutputExistsError), OutputWriter(target, job="j") as writer:
        writer.write_part(0, [b"x\n"])
        target.mkdir()
        (target / "theirs").touch()
        writer.commit()
    assert left_behind(tmp_path) == ["out"]
    assert left_behind(target) == ["theirs"]


@pytest.mark.parametrize("name", ["counts.csv", "counts.JSONL", "c.parquet", "c.txt"])
def test_single_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(JobSpecError, match=r"looks like a file.*write --output c"):
        check_output(name, overwrite=False, cwd=tmp_path)


def test_places_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JobSpecError, match="file is a file, choose another directory"):
        check_output(tmp_path / "file" / "out", overwrite=False)
    with pytest.raises(JobSpecError, match="is a URL"):
        check_output("s3://bucket/out", overwrite=False)

    def refuse(self: Path, *args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(JobSpecError, match=r"refuses it \(Permission denied\)"):
        check_output(tmp_path / "out", overwrite=False)


def test_the_probe_leaves_nothing(tmp_path: Path) -> None:
    assert check_output("a/b/out", overwrite=False, cwd=tmp_path) == tmp_path / "a/b/out"
    assert left_behind(tmp_path) == []
