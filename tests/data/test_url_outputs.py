"""Output to URLs: names of its own for each try, and only the manifest commits."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from mrkernel.data.manifest import read_manifest
from mrkernel.data.outputs import Output, check_output
from mrkernel.data.url_writers import UrlWriter
from mrkernel.errors import JobError, JobSpecError, OutputExistsError


@pytest.fixture(autouse=True)
def _empty_memory() -> Iterator[None]:
    yield
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture(params=["memory", "local"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A URL to write below, of a store without directories, and of one with."""
    return "memory://bucket" if request.param == "memory" else f"local://{tmp_path}"


def below(url: str) -> dict[str, bytes]:
    """All that is below a URL."""
    fs, root = fsspec.core.url_to_fs(url)
    return {path.removeprefix(root): fs.cat_file(path) for path in fs.find(root)}


def result(url: str) -> list[bytes] | None:
    """What a reader takes for the result: the parts that a manifest lists; None: there is none."""
    files = below(url)
    if "/_SUCCESS" not in files:
        return None
    manifest = read_manifest(files["/_SUCCESS"])
    return None if manifest is None else [files[f"/{part.name}"] for part in manifest.parts]


def begin(writer: UrlWriter, *parts: bytes) -> None:
    for index, data in enumerate(parts):
        file = writer.open(index)
        file.write(data)
        file.records = data.count(b"\n")
        writer.finish(index)


def write(url: str, *parts: bytes, job: str = "j1", **options: Any) -> list[str]:
    with UrlWriter(check_output(url, **options), job=job) as writer:
        begin(writer, *parts)
        return writer.commit()


def test_parts_have_names_of_their_own_and_a_manifest(place: str) -> None:
    urls = write(f"{place}/out/", b"a\t1\nb\t2\n", b"")
    first, second = urls
    assert first.rpartition("-")[0] == second.rpartition("-")[0].replace("00001", "00000")
    assert first.rpartition("/")[2].startswith("part-00000-j1-")
    with fsspec.open(first) as file:
        assert file.read() == b"a\t1\nb\t2\n"
    manifest = json.loads(below(f"{place}/out")["/_SUCCESS"])
    assert (manifest["job"], manifest["content"]) == ("j1", "text")
    assert [(p["records"], p["bytes"]) for p in manifest["parts"]] == [(2, 8), (0, 0)]
    assert result(f"{place}/out") == [b"a\t1\nb\t2\n", b""]
    assert len(below(place)) == 3  # and no probe


def test_one_file(place: str) -> None:
    target = f"{place}/new/out.csv"
    output = check_output(target)
    assert (output.single, output.format, output.place) == (True, "csv", target)
    with UrlWriter(output, job="j1") as writer:
        begin(writer, b"a,1\n")
        assert "/new/out.csv" not in below(place)
        (url,) = writer.commit()
    assert below(place) == {"/new/out.csv": b"a,1\n"}
    with fsspec.open(url) as file:
        assert file.read() == b"a,1\n"
    with pytest.raises(OutputExistsError, match="exists already: pass --overwrite to replace it"):
        check_output(target)
    write(target, b"b,2\n", overwrite=True)
    assert below(place) == {"/new/out.csv": b"b,2\n"}


def test_a_file_url_is_a_path(tmp_path: Path) -> None:
    assert check_output(f"file://{tmp_path}/out") == Output(tmp_path / "out")


@pytest.mark.parametrize("name", ["out", "out.csv"])
def test_nothing_is_left_after_an_error(place: str, name: str) -> None:
    output = check_output(f"{place}/{name}")
    with pytest.raises(ZeroDivisionError), UrlWriter(output, job="j") as writer:
        begin(writer, b"x\n")
        writer.open(1 if name == "out" else 0).write(b"y")
        raise ZeroDivisionError
    assert below(place) == {}


def test_what_is_there_is_replaced_only_when_it_is_ours(place: str) -> None:
    url = f"{place}/out"
    write(url, b"old\n", b"old\n")
    with pytest.raises(OutputExistsError, match="exists already: pass --overwrite to replace it"):
        check_output(url)
    write(url, b"new\n", overwrite=True, job="j2")
    assert result(url) == [b"new\n"]
    assert len(below(url)) == 2
    fs, root = fsspec.core.url_to_fs(url)
    fs.pipe_file(f"{root}/notes.txt", b"mine")
    with pytest.raises(OutputExistsError, match=r"also holds notes\.txt, which mrkernel did not"):
        check_output(url, overwrite=True)
    fs.rm_file(f"{root}/_SUCCESS")
    with pytest.raises(OutputExistsError, match=r"holds notes\.txt, which mrkernel did not write"):
        check_output(url, overwrite=True)
    fs.pipe_file(f"{root}/_SUCCESS", b"")  # Hadoop's is empty
    fs.rm_file(f"{root}/notes.txt")
    with pytest.raises(OutputExistsError, match="holds _SUCCESS, which mrkernel did not write"):
        check_output(url, overwrite=True)
    fs.pipe_file(f"{root.rpartition('/')[0]}/file", b"")
    with pytest.raises(OutputExistsError, match="exists and is no directory"):
        check_output(f"{place}/file", overwrite=True)


def test_a_directory_is_not_replaced_by_a_file(place: str) -> None:
    write(f"{place}/x.csv/out", b"x")
    with pytest.raises(OutputExistsError, match=r"x\.csv exists and is a directory"):
        check_output(f"{place}/x.csv", overwrite=True)


def test_what_appears_meanwhile_is_left_alone(place: str) -> None:
    url = f"{place}/out"
    output = check_output(url)
    with pytest.raises(OutputExistsError, match="exists already"), UrlWriter(output, job="j1") as w:
        begin(w, b"ours")
        write(url, b"theirs", job="j2")
        w.commit()
    assert result(url) == [b"theirs"]
    assert len(below(url)) == 2


def test_parts_that_somebody_takes_away_are_missed(place: str) -> None:
    url = f"{place}/out"
    output = check_output(url)
    with (
        pytest.raises(JobError, match="was taken away or changed"),
        UrlWriter(output, job="j1") as w,
    ):
        begin(w, b"ours")
        write(url, b"theirs", job="j2", overwrite=True)  # who says so replaces what is begun
        fs, root = fsspec.core.url_to_fs(url)
        fs.rm_file(f"{root}/_SUCCESS")
        w.commit()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_mix_of_tries_leaves_one_whole_result_or_none(data: st.DataObject) -> None:
    """Writers that begin, write, commit, fail or are killed, one beside the other."""
    MemoryFileSystem.store.clear()
    url = "memory://bucket/out"
    writers: dict[int, tuple[UrlWriter, list[bytes]]] = {}
    numbers = itertools.count()
    contents: list[list[bytes]] = []  # of those that committed
    seen: set[str] = set()
    for _ in range(data.draw(st.integers(1, 12))):
        act = data.draw(st.sampled_from(["begin", "write", "commit", "abort", "kill"]))
        if act == "begin" or not writers:
            number = next(numbers)
            overwrite = data.draw(st.booleans())
            output = Output(Path("out"), overwrite=overwrite, url=url)
            writers[number] = UrlWriter(output, job=f"j{number}"), []
            continue
        number = data.draw(st.sampled_from(sorted(writers)))
        writer, parts = writers[number]
        before = result(url)
        if act == "write":
            piece = f"{number} {len(parts)}".encode()
            file = writer.open(len(parts))
            file.write(piece)
            writer.finish(len(parts))
            parts.append(piece)
            assert result(url) == before
            continue
        del writers[number]
        if act == "commit":
            try:
                names = writer.commit()
            except (OutputExistsError, JobError):
                writer.abort()
                assert result(url) == before
                continue
            assert not seen & set(names)
            seen |= set(names)
            contents.append(parts)
            assert result(url) == parts
        elif act == "abort":
            writer.abort()
            assert result(url) == before
    assert result(url) == (contents[-1] if contents else None)


KILLED = """
import os, signal, sys
from mrkernel.data.outputs import check_output
from mrkernel.data.url_writers import UrlWriter

writer = UrlWriter(check_output(sys.argv[1], True), job="j1")
for index in range(2):
    writer.open(index).write(b"x" * 100_000)
    if index < int(sys.argv[2]):
        writer.finish(index)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("finished", [0, 1, 2])
@pytest.mark.parametrize("before", [False, True])
def test_who_is_killed_leaves_nothing_readable(tmp_path: Path, finished: int, before: bool) -> None:
    url = f"local://{tmp_path}/out"
    if before:
        write(url, b"old")
    run = subprocess.run([sys.executable, "-c", KILLED, url, str(finished)], check=False)
    assert run.returncode == -signal.SIGKILL
    assert result(url) == ([b"old"] if before else None)
    assert len(below(url)) > 2 * before
    # The next one is not in its way, and clears what it left where that is said.
    write(url, b"new", overwrite=True)
    assert result(url) == [b"new"]
    assert len(below(url)) == 2


def test_what_was_only_begun_is_in_nobodys_way(tmp_path: Path) -> None:
    url = f"local://{tmp_path}/out"
    writer = UrlWriter(check_output(url), job="j1")
    begin(writer, b"begun")
    write(url, b"whole")
    assert result(url) == [b"whole"]
    assert len(below(url)) == 3


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://bucket/out", "needs the package s3fs|cannot be written"),
        ("nosuch://bucket/out", "Protocol not known: nosuch"),
        ("https://127.0.0.1:9/out", "needs the package aiohttp|written"),
    ],
)
def test_urls_that_cannot_be_written_are_refused_before_the_job(url: str, said: str) -> None:
    with pytest.raises(JobSpecError, match=rf"--output {url} .*({said})"):
        check_output(url)


def test_a_store_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", refuse)
    with pytest.raises(JobSpecError, match=r"cannot be written \(Access Denied\): check the addr"):
        check_output("memory://bucket/out")
