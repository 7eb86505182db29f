"""Inputs that cannot be read, or change while they are: one sentence on every engine."""

from __future__ import annotations

import gzip
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from refusals import matches, pair, refused

import mrkernel
from mrkernel.errors import InputError, JobSpecError, TaskFailedError


def fifo(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def dangling(folder: Path) -> Path:
    (folder / "link").symlink_to(folder / "nowhere")
    return folder / "link"


def nested(folder: Path) -> Path:
    (folder / "a.txt").write_text("a")
    (folder / "below").mkdir()
    return folder


def written(name: str, data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def misspelt(folder: Path) -> Path:
    (folder / "words.txt").touch()
    return folder / "wrods.txt"


INPUTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a pipe": (fifo, "is not a regular file: copy what it gives into one"),
    "a link to nothing": (dangling, "is a link to nothing: restore its target or remove it"),
    "nothing there": (misspelt, r"there is no file .*wrods\.txt.*did you mean .*words\.txt"),
    "no match": (lambda folder: folder / "*.txt", r"no file matches .*\*\.txt: .* is empty"),
    "an empty folder": (lambda folder: folder, "holds no files to read"),
    "a folder in a folder": (nested, "holds a directory, below"),
    "unreadable, even for root": (lambda _: "/proc/self/mem", "cannot be read .*Input/output"),
    "damaged gzip": (
        written("a.gz", gzip.compress(b"a\n")[:-2]),
        r"a\.gz is a damaged gzip file: nothing can be read after byte 0 .*get it anew",
    ),
    "not UTF-8": (written("a.txt", b"ok\nb\xe9\n"), r"is not utf-8 text at byte 4 \(0xe9\)"),
    "UTF-16": (written("a.txt", "é".encode("utf-16")), "begins like UTF-16, so pass --encoding"),
    "a name that is not UTF-8": (
        lambda folder: written(os.fsdecode(b"a\xff.txt"), b"a")(folder),
        r"the file name b'.*a\\xff\.txt' is not UTF-8: rename it",
    ),
    "no path": (lambda _: "", "an input path is empty"),
    "a URL": (lambda _: "local:///nowhere/x", "there is no file local:///nowhere/x: check the"),
    "text instead of a path": (lambda _: "a line\nanother", "to read text in memory, pass"),
    "a number": (lambda _: 5, "has no items: pass a path, a list or a DataFrame"),
    "a dict": (lambda _: {"a": 1}, r"is a dict: write \{input\.items\(\)\}"),
    "bytes": (lambda _: b"text", "is bytes, neither a path nor a list of records"),
    "an open file": (lambda folder: (folder / "x").open("w+"), "is an open file: pass its path"),
    "a function": (lambda _: misspelt, "is the function misspelt: call it"),
    "nothing": (lambda _: None, "has no input: give a path, a glob, or an iterable"),
    "what cannot be sent": (lambda _: [threading.Lock()], r"input\[0\] is a _thread\.lock and"),
}


@pytest.mark.parametrize("what", INPUTS)
def test_an_input_that_cannot_be_read(place: Any, tmp_path: Path, what: str) -> None:
    make, said = INPUTS[what]
    given = make(tmp_path)
    try:
        assert matches(said, refused(place, JobSpecError, pair, given, "sum"))
    finally:
        if hasattr(given, "close"):
            given.close()


class Odd:
    """An item that cannot be made again where it arrives."""

    def __reduce__(self) -> Any:
        return int, ("not a number",)


def test_items_that_cannot_be_made_again(place: Any) -> None:
    error = TaskFailedError if place.in_process else InputError  # which tries the first of them
    said = refused(place, error, pair, [Odd()], "sum")
    assert matches(r"the items of input\[0:1\] cannot be made again .*ValueError.*plain data", said)


@pytest.mark.fault(42)
def test_a_file_that_changes_while_it_is_read(place: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("".join(f"{n}\n" for n in range(60)))

    def mapper(line: str) -> list[tuple[str, int]]:
        if line == "50":
            with path.open("a") as file:
                file.write("more\n")
        return [(line, 1)]

    said = refused(place, TaskFailedError, mapper, path, "sum")
    assert matches(r"a\.txt changed after the job began.*run the job again", said)


@pytest.mark.fault(42)
def test_a_file_that_vanishes_before_it_is_read(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text("".join(f"{n}\n" for n in range(60)))

    def mapper(line: str) -> list[tuple[str, int]]:
        (tmp_path / "b").unlink(missing_ok=True)
        return [(line, 1)]

    said = refused("inline", TaskFailedError, mapper, tmp_path, "sum")
    assert matches(r"b vanished after the job began: put it back and run the job again", said)


@pytest.mark.fault(43)
def test_bytes_that_cannot_be_decoded_late_in_a_file(place: Any, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"line\n" * 20_000 + b"b\xe9d\n")
    said = refused(place, TaskFailedError, pair, tmp_path, "sum", split_size="30K")
    assert matches(r"is not utf-8 text at byte 100001 \(0xe9\): pass its --encoding", said)
    result = mrkernel.run(pair, tmp_path, "sum", on=place, encoding="latin-1")
    assert result.to_dict() == {"line": 20_000, "béd": 1}
    result = mrkernel.run(pair, tmp_path, "sum", on=place, errors="surrogateescape")
    assert result.to_dict() == {"line": 20_000, "b\udce9d": 1}
