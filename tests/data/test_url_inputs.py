"""Inputs at URLs: web servers of all manners, and file systems that list what they have."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from file_server import FileServer, serving
from fsspec.implementations.memory import MemoryFileSystem
from msgspec.structs import replace

from mrkernel.data import file_systems, inputs, url_files
from mrkernel.data.records import open_split
from mrkernel.data.splits import FileSplit, PackedSplit
from mrkernel.errors import InputError, InputUnreachableError

LINES = [f"line {n} of a long text" for n in range(20_000)]
TEXT = "".join(f"{line}\n" for line in LINES).encode()
CSV = b"id,name\n" + b"".join(b"%d,n%d\n" % (n, n % 7) for n in range(5000))


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url_files, "PAUSES_S", (0.0, 0.0))


@pytest.fixture(params=["ranges", "whole files only", "no lengths"])
def web(request: pytest.FixtureRequest) -> Iterator[FileServer]:
    with serving(ranges=request.param == "ranges", lengths=request.param != "no lengths") as shop:
        yield shop


@pytest.fixture
def good() -> Iterator[FileServer]:
    with serving() as shop:
        yield shop


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    yield MemoryFileSystem()
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def read(*given: Any, **options: Any) -> list[Any]:
    found = inputs.resolve(list(given), **options)
    records = []
    for split in found.splits:
        with open_split(split, schemas=found.schemas) as reader:
            records += [record for batch in reader for record in batch.records]
    return records


def test_each_format_is_read_from_each_kind_of_server(web: FileServer) -> None:
    objects = [{"n": n} for n in range(3000)]
    web.files = {
        "/a.txt": TEXT,
        "/a.txt.gz": gzip.compress(TEXT),
        "/a.csv": CSV,
        "/a.jsonl": "".join(json.dumps(each) + "\n" for each in objects).encode(),
        "/a.utf16": TEXT.decode().encode("utf-16"),
        "/a.bin": bytes(range(200)),
        "/empty.txt": b"",
    }
    assert read(f"{web.url}/a.txt", split_size=100_000) == LINES
    assert read(f"{web.url}/a.txt.gz") == LINES
    rows = read(f"{web.url}/a.csv", split_size=20_000)
    assert rows == [{"id": n, "name": f"n{n % 7}"} for n in range(5000)]
    assert read(f"{web.url}/a.jsonl", split_size=10_000) == objects
    assert read(f"{web.url}/a.bin", format="fixed:20", split_size=50) == [
        bytes(range(at, at + 20)) for at in range(0, 200, 20)
    ]
    assert read(f"{web.url}/a.txt", format="whole") == [TEXT]
    assert read(f"{web.url}/empty.txt") == []
    found = inputs.resolve([f"{web.url}/a.utf16"], encoding="utf-16")
    batches = open_split(found.splits[0], encoding="utf-16")
    assert [line for batch in batches for line in batch.records] == LINES


def test_parquet_needs_places(web: FileServer, tmp_path: Path) -> None:
    table = pa.table({"x": list(range(40_000))})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=10_000)
    web.files = {"/t.parquet": (tmp_path / "t.parquet").read_bytes()}
    if not (web.ranges and web.lengths):
        with pytest.raises(InputError, match="its server sends only whole files: download it"):
            inputs.resolve([f"{web.url}/t.parquet"])
        return
    found = inputs.resolve([f"{web.url}/t.parquet"], split_size=1)
    assert len(found.splits) == 4
    assert read(f"{web.url}/t.parquet", split_size=1) == [{"x": n} for n in range(40_000)]


def test_a_file_is_cut_where_parts_of_it_can_be_had(web: FileServer) -> None:
    web.files = {"/a.txt": TEXT}
    splits = inputs.resolve([f"{web.url}/a.txt"], split_size=len(TEXT) // 4 + 1).splits
    assert len(splits) == (4 if web.ranges and web.lengths else 1)
    labels = {"a.txt"} if not web.lengths else {f"a.txt 0–{len(TEXT) / 1e3:.4g} kB"}
    assert len(splits) == 4 or {split.label for split in splits} == labels


def test_files_of_unknown_length_are_tasks_of_their_own() -> None:
    with serving(lengths=False, ranges=False) as shop:
        shop.files = {f"/{n}.txt": b"a\n" for n in range(9)}
        found = inputs.resolve([f"{shop.url}/*.txt"], slots=1).splits
    assert sum(len(s.files) if isinstance(s, PackedSplit) else 1 for s in found) == 9
    assert len(found) >= 3


def test_keys_and_errors_say_where(good: FileServer) -> None:
    good.files = {"/a.txt": b"one\ntwo\n", "/b.csv": b"a\n1\n" + b"2\n" * 50_000 + b"x\n"}
    good.files["/b.csv"] += b"2\n" * 150_000
    (split,) = inputs.resolve([f"{good.url}/a.txt?v=1"]).splits
    (batch,) = open_split(split)
    assert batch.key(1) == (f"{good.url}/a.txt?v=1", 4)
    assert batch.where(1) == f"{good.url}/a.txt?v=1, byte 4"
    with pytest.raises(InputError, match=r"/b\.csv has 'x' in column 'a' at byte 100004"):
        read(f"{good.url}/b.csv")


def test_files_of_a_page(good: FileServer) -> None:
    good.files = {f"/data/{name}": f"{name}\n".encode() for name in ("b.txt", "a.txt", "_x", ".y")}
    assert read(f"{good.url}/data/") == ["a.txt", "b.txt"]
    assert read(f"{good.url}/data/*.txt") == ["a.txt", "b.txt"]
    assert read(f"{good.url}/data/_*") == ["_x"]
    with pytest.raises(InputError, match=r"no file matches .*/\*\.csv: there are _x, a\.txt"):
        read(f"{good.url}/data/*.csv")
    good.files["/data/below/c.txt"] = b"c\n"
    with pytest.raises(InputError, match=r"holds a directory, below.*data/\*\* for all"):
        read(f"{good.url}/data/")
    assert read(f"{good.url}/data/**") == ["a.txt", "b.txt", "c"]


def test_files_of_a_store_that_lists(memory: MemoryFileSystem) -> None:
    for name in ("b.txt", "a.txt", "_SUCCESS", ".hidden", "below/c.txt"):
        memory.pipe_file(f"/bucket/data/{name}", f"{name}\n".encode())
    with pytest.raises(InputError, match="holds a directory, below"):
        read("memory://bucket/data")
    assert read("memory://bucket/data/*.txt") == ["a.txt", "b.txt"]
    assert read("memory://bucket/data/b*") == ["b.txt", "below/c.txt"]  # a folder as well
    assert read("memory://bucket/data/**") == ["a.txt", "b.txt", "below/c.txt"]
    assert read("memory://bucket/data/below/", "memory://bucket/data/a.txt") == [
        "below/c.txt",
        "a.txt",
    ]
    with pytest.raises(InputError, match=r"no file memory://bucket/data/a\.tx: did you mean a\."):
        read("memory://bucket/data/a.tx")
    memory.makedirs("/bucket/empty", exist_ok=True)
    with pytest.raises(InputError, match="memory://bucket/empty holds no files to read"):
        read("memory://bucket/empty")
    memory.pipe_file("/bucket/data/a[1].txt", b"odd\n")
    assert read("memory://bucket/data/a[1].txt") == ["odd"]


def test_another_name_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(TEXT)
    assert read(f"local://{tmp_path}/*.txt", split_size=50_000) == LINES
    (split,) = inputs.resolve([f"file://{tmp_path}/a.txt"]).splits
    assert isinstance(split, FileSplit)
    assert split.path == f"{tmp_path}/a.txt"  # read as ever


def test_a_url_that_cannot_be_read(good: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    good.files = {"/a.txt": b"a\n", "/c.txt": b"c\n"}
    with pytest.raises(InputError, match=r"there is no file http://.*/b\.txt: check the address"):
        read(f"{good.url}/b.txt")
    good.status["/a.txt"] = 403
    with pytest.raises(InputError, match=r"/a\.txt may not be read \(403 .*credentials"):
        read(f"{good.url}/a.txt")
    good.status["/a.txt"] = 400
    with pytest.raises(InputError, match=r"/a\.txt is refused by its server \(400 "):
        read(f"{good.url}/a.txt")
    good.status["/a.txt"] = 503
    with pytest.raises(InputUnreachableError, match=r"/a\.txt does not answer \(503 "):
        read(f"{good.url}/a.txt")
    with pytest.raises(InputUnreachableError, match=r"does not answer \(.*check the address and"):
        read("http://127.0.0.1:1/a.txt")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(
        InputError, match=r"s3://b/c needs the package s3fs.* pip install s3fs \(and"
    ):
        read("s3://b/c")
    found = inputs.resolve([f"{good.url}/c.txt"]).splits[0]
    assert isinstance(found, FileSplit)
    with pytest.raises(InputError, match="needs the package s3fs") as missing:
        open_split(replace(found, path="s3://b/c")).__iter__().__next__()
    assert isinstance(missing.value.__cause__, ModuleNotFoundError)  # another worker may have it
    with pytest.raises(InputError, match="nope://b/c cannot be reached: Protocol not known"):
        read("nope://b/c")
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(InputError, match="needs the package aiohttp"):
        read("https://127.0.0.1:1/c")


def test_secrets_are_shown_to_nobody(good: FileServer) -> None:
    good.files = {"/a.txt": b"a\n", "/b.txt": b"b\n"}
    host = good.url.removeprefix("http://")
    urls = [f"http://me:s3cr3t@{host}/{n}.txt?v=1&X-Amz-Signature=0123abcd" for n in "ab"]
    found = inputs.resolve([*urls, urls[0].replace("0123abcd", "4567efab")])
    shown = f"http://me:…@{host}/a.txt?v=1&X-Amz-Signature=…"
    paths = [split.path for split in found.splits if isinstance(split, FileSplit)]
    assert paths == [shown, shown.replace("a.txt", "b.txt"), shown.replace("…", "…2", 1)]
    assert dict(found.addresses)[shown] == urls[0]
    assert [b.records for split in found.splits for b in open_split(split)] == [["a"], ["b"], ["a"]]
    good.status["/a.txt"] = 403
    with pytest.raises(InputError) as refused:
        inputs.resolve([urls[0]])
    assert shown in str(refused.value)
    assert "s3cr3t" not in str(refused.value)
    assert "0123abcd" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_connection_that_is_cut(web: FileServer) -> None:
    web.files = {"/a.txt": TEXT}
    found = inputs.resolve([f"{web.url}/a.txt"], split_size=len(TEXT) // 3 + 1)
    web.cuts = range(web.bodies + 1, web.bodies + 3)
    lines = [line for s in found.splits for batch in open_split(s) for line in batch.records]
    assert lines == LINES
    web.cuts = range(1 << 20)
    with pytest.raises(InputUnreachableError, match=r"/a\.txt does not answer \(.*from the worker"):
        list(open_split(found.splits[0]))


def test_a_file_that_changes_or_goes(good: FileServer) -> None:
    good.files = {"/a.txt": TEXT}
    (split,) = inputs.resolve([f"{good.url}/a.txt"]).splits
    good.files["/a.txt"] = TEXT + b"more\n"
    with pytest.raises(InputError, match=f"changed after .*had {len(TEXT)} bytes, now"):
        list(open_split(split))
    good.files["/a.txt"] = TEXT.replace(b"line 7 ", b"line 8 ")
    with pytest.raises(InputError, match="same size, newer date or checksum"):
        list(open_split(split))
    good.files["/a.txt"] = TEXT
    with open_split(split, block=1 << 10) as reader:
        next(iter(reader))
        good.files["/a.txt"] = TEXT[::-1]
        with pytest.raises(InputError, match="changed after the job began"):
            list(reader)
    del good.files["/a.txt"]
    with pytest.raises(InputError, match="vanished after the job began") as gone:
        list(open_split(split))
    assert not isinstance(gone.value, InputUnreachableError)
    good.files["/a.txt"] = TEXT
    good.status["/a.txt"] = 403
    with pytest.raises(InputUnreachableError, match=r"may not be read from here .*the worker's"):
        list(open_split(split))


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("block", [1 << 10, 1 << 20])
def test_nothing_is_fetched_twice(good: FileServer, pieces: int, block: int) -> None:
    good.files = {"/a.txt": TEXT}
    found = inputs.resolve([f"{good.url}/a.txt"], split_size=len(TEXT) // pieces + 1)
    good.asked.clear()
    assert [x for s in found.splits for b in open_split(s, block=block) for x in b.records] == LINES
    # Beside the file itself, what lies past the end of a split, to finish its last line.
    assert good.sent("/a.txt") <= len(TEXT) + (pieces - 1) * ((64 << 10) + 2)
    assert sum(method == "GET" for method, _, _ in good.asked) <= 12 * pieces


def test_options_are_those_of_fsspec(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.config import conf

    monkeypatch.setitem(conf, "https", {"client_kwargs": {"headers": {"X-Me": "1"}}})
    fs, _ = file_systems.reach("https://127.0.0.1:1/a")
    assert fs.client_kwargs["headers"] == {"Accept-Encoding": "identity", "X-Me": "1"}
    assert fs.client_kwargs["trust_env"]
