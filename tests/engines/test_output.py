"""``output=``: a directory of parts that is there whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jobs import functions

import mrkernel
from mrkernel.errors import JobError, JobSpecError, OutputExistsError, TaskFailedError

LINES = ["the quick brown fox", "jumps over", "the end"] * 20


def run(place: Any, output: Path, **options: Any) -> mrkernel.JobResult:
    mapper = options.pop("mapper", functions.words)
    reducer = options.pop("reducer", "sum")
    return mrkernel.run(mapper, iter(LINES), reducer, on=place, output=output, **options)


def lines_of(output: Path) -> list[str]:
    parts = sorted(output.glob("part-*"))
    return [line for part in parts for line in part.read_text().splitlines()]


def test_parts_and_manifest(place: Any, tmp_path: Path) -> None:
    result = run(place, tmp_path / "a" / "out", reduce_tasks=3)
    names = [f"part-{n:05d}" for n in range(3)]
    assert result.paths == [tmp_path / "a" / "out" / name for name in names]
    assert sorted(path.name for path in (tmp_path / "a" / "out").iterdir()) == ["_SUCCESS", *names]
    manifest = json.loads((tmp_path / "a" / "out" / "_SUCCESS").read_text())
    assert manifest["job"] == result.job
    for number, part in enumerate(manifest["parts"]):
        data = result.paths[number].read_bytes()
        assert data == b"".join(b"%b\t%d\n" % (k.encode(), n) for k, n in result.part(number))
        assert part["sha256"] == hashlib.sha256(data).hexdigest()
        assert (part["name"], part["bytes"]) == (names[number], len(data))
        assert part["records"] == len(list(result.part(number)))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["out"]


@pytest.mark.parametrize(("records", "files"), [([1, 2], 6), ([], 6)])
def test_a_part_without_pairs_is_an_empty_file(
    place: Any, tmp_path: Path, records: list[int], files: int
) -> None:
    output = tmp_path / "out"
    result = mrkernel.run(
        lambda n: [(n, 1)], records, "sum", on=place, reduce_tasks=files, output=output
    )
    assert [path.name for path in result.paths] == [f"part-{n:05d}" for n in range(files)]
    assert lines_of(output) == [
        f"{key}\t{value}" for n in range(files) for key, value in result.part(n)
    ]
    assert sorted(result) == [(n, 1) for n in records]


def test_map_only_output_is_in_input_order(place: Any, tmp_path: Path) -> None:
    options = {"mapper": lambda line: [(line, len(line))], "reducer": "none"}
    result = run(place, tmp_path / "out", **options)
    assert lines_of(tmp_path / "out") == [f"{line}\t{len(line)}" for line in LINES]
    assert list(result) == [(line, len(line)) for line in LINES]


def test_text_is_as_it_is_and_all_else_as_json_or_repr(place: Any, tmp_path: Path) -> None:
    def mapper(line: str) -> Iterator[tuple[Any, Any]]:
        if line == "the end":
            yield from [("é\t", b"\xff"), (b"\x00", "x y"), (1, 1.5), (None, True)]
            yield from [(("a", 2), [1, {"k": None}]), (0.5, {3, 1, 2}), ("z", 1j)]

    run(place, tmp_path / "out", mapper=mapper, reducer="first", reduce_tasks=1)
    assert (tmp_path / "out" / "part-00000").read_bytes().split(b"\n") == [
        *(b"null\ttrue", b"0.5\t{1, 2, 3}", b"1\t1.5"),
        *(b"z\t1j", "é\t\t".encode() + b"\xff", b"\x00\tx y"),
        *(b'["a", 2]\t[1, {"k": null}]', b""),
    ]


@pytest.mark.fault(46)
@pytest.mark.parametrize("what", ["no lines", "no pairs", "an empty file", "more parts than keys"])
def test_little_or_nothing_is_an_output_too(place: Any, tmp_path: Path, what: str) -> None:
    (tmp_path / "empty.txt").touch()
    inputs: Any = {"no lines": [], "an empty file": tmp_path / "empty.txt"}.get(what, [["k"] * 7])
    mapper = (
        (lambda record: []) if what == "no pairs" else lambda record: [(record[0], len(record))]
    )
    output = tmp_path / "out"
    result = mrkernel.run(mapper, inputs, "sum", on=place, output=output, reduce_tasks=9)
    assert (output / "_SUCCESS").is_file()
    assert lines_of(output) == (["k\t7"] if what == "more parts than keys" else [])
    assert list(result) == ([("k", 7)] if what == "more parts than keys" else [])


class Unshowable:
    def __repr__(self) -> str:
        raise ZeroDivisionError("no text")


def fails_late(line: str) -> Iterator[tuple[str, int]]:
    mrkernel.counter("lines").add()
    yield line, 1 // (line != "last")


@pytest.mark.parametrize("fault", ["mapper", "reducer", "text"])
def test_a_job_that_fails_leaves_nothing(place: Any, tmp_path: Path, fault: str) -> None:
    def mapper(line: str) -> Iterator[tuple[str, int]]:
        yield line, 1 // (fault != "mapper" or line != "last")

    def reducer(key: str, values: Any) -> Any:
        value = 1 // (fault != "reducer" or key != "last")
        return Unshowable() if fault == "text" and key == "last" else value

    lines = [f"line {n}" for n in range(50)] + ["last"]
    error = JobError if fault == "text" else TaskFailedError
    said = "cannot be made into text for .*ZeroDivisionError" if fault == "text" else "ZeroDivision"
    with pytest.raises(error, match=said) as caught:
        mrkernel.run(mapper, iter(lines), reducer, on=place, output=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert run(place, tmp_path / "out").to_dict()["the"] == 40


@pytest.mark.fault(31)
def test_an_output_that_appears_meanwhile_is_left_alone(place: Any, tmp_path: Path) -> None:
    output = tmp_path / "out"

    def mapper(line: str) -> Iterator[tuple[str, int]]:
        if line == "last":
            output.mkdir()
            (output / "precious").touch()
        yield line, 1

    lines = [f"line {n}" for n in range(50)] + ["last"]
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError):
            options = {"output": output, "overwrite": overwrite}
            mrkernel.run(mapper, iter(lines), "sum", on=place, **options)
        assert [path.name for path in output.iterdir()] == ["precious"]
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        (output / "precious").unlink()
        output.rmdir()


@pytest.mark.fault(31)
def test_overwrite_replaces_only_what_is_ours(place: Any, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(place, output, reduce_tasks=5)
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    with pytest.raises(OutputExistsError, match="pass --overwrite to replace it"):
        run(place, output)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before
    run(place, output, overwrite=True, reduce_tasks=1)
    assert sorted(path.name for path in output.iterdir()) == ["_SUCCESS", "part-00000"]
    (output / "notes.txt").touch()
    with pytest.raises(OutputExistsError, match=r"holds notes\.txt, which mrkernel did not write"):
        run(place, output, overwrite=True)
    (output / "notes.txt").unlink()
    (output / "_SUCCESS").write_text("")
    with pytest.raises(OutputExistsError, match="was not written by mrkernel"):
        run(place, output, overwrite=True)
    assert (output / "part-00000").stat().st_size > 0


def test_a_job_that_fails_does_not_overwrite(place: Any, tmp_path: Path) -> None:
    run(place, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(TaskFailedError):
        options = {"output": tmp_path / "out", "overwrite": True}
        mrkernel.run(fails_late, iter([*LINES, "last"]), "sum", on=place, **options)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.fault(30)
@pytest.mark.parametrize("name", ["file/out", "file", "link", "out.json", "nosuch://there/out"])
def test_a_place_that_cannot_be_written_is_told_before_anything_runs(
    place: Any, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")

    def mapper(line: str) -> None:
        raise AssertionError("it ran")

    output = name if "://" in name else str(tmp_path / name)
    with pytest.raises((JobSpecError, OutputExistsError)) as caught:
        mrkernel.run(mapper, iter(LINES), "sum", on=place, output=output)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


@pytest.mark.fault(30)
def test_a_file_system_that_takes_nothing_is_told_before_anything_runs(place: Any) -> None:
    """Not even root may make a directory there."""
    with pytest.raises(JobSpecError, match=r"^--output /proc/self/out cannot be written: "):
        run(place, Path("/proc/self/out"))


KILLED = """
import sys
import mrkernel

class Slow:
    def __repr__(self):
        print("writing", flush=True)
        sys.stdin.read()
        return "slow"

def mapper(record):
    return [(record, Slow() if record == 3 else record)]

mrkernel.run(mapper, range(4), "first", on=sys.argv[1], output=sys.argv[2], reduce_tasks=2)
"""


@pytest.mark.parametrize("name", ["out", "out.csv"])
@pytest.mark.parametrize("on", ["inline", "local"])
def test_a_client_killed_while_it_writes_leaves_no_output(
    tmp_path: Path, on: str, name: str
) -> None:
    scratch, output = tmp_path / "tmp", tmp_path / "folder" / name
    scratch.mkdir()
    output.parent.mkdir()
    command = [sys.executable, "-c", KILLED, on, str(output)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=os.environ | {"TMPDIR": str(scratch)}, **pipes) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"writing\n"
        (staging,) = output.parent.iterdir()
        assert staging.name.startswith(f".{name}.")
        os.kill(client.pid, signal.SIGKILL)
    assert client.returncode == -signal.SIGKILL
    assert not output.exists()
    mrkernel.run(functions.words, iter(LINES), "sum", on="inline", output=output)
    assert (output if output.suffix else output / "_SUCCESS").is_file()


def test_output_to_a_url_is_there_when_its_manifest_is(place: Any, tmp_path: Path) -> None:
    url = f"local://{tmp_path}/bucket/out"
    result = mrkernel.run(
        functions.words, iter(["b a", "b"]), "sum", on=place, output=url, reduce_tasks=3
    )
    assert result.output == url
    manifest = json.loads((tmp_path / "bucket" / "out" / "_SUCCESS").read_text())
    paths = [Path(str(path).removeprefix("file://")) for path in result.paths]
    assert [path.name for path in paths] == [part["name"] for part in manifest["parts"]]
    assert sorted("".join(path.read_text() for path in paths).splitlines()) == ["a\t1", "b\t2"]
    with pytest.raises(OutputExistsError, match="exists already: pass --overwrite"):
        mrkernel.run(functions.words, iter("a"), "sum", on=place, output=url)
    (one,) = result.save(f"{url}.csv", columns="word,n")
    assert str(one).endswith("/bucket/out.csv")
    assert (tmp_path / "bucket" / "out.csv").read_text() == "word,n\na,1\nb,2\n"
