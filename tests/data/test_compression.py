"""Compressed files give the records that their contents give, however they were made and read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from compressed import COMPRESS, in_pieces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mrkernel.data.compression import Unpacked, compression_of, unpacked_name
from mrkernel.data.inputs import resolve
from mrkernel.data.records import open_split
from mrkernel.data.splits import FileSplit, PackedSplit
from mrkernel.errors import InputError

TEXT = st.text(st.characters(exclude_characters="\r", codec="utf-8"), max_size=12)
CELL = st.text(st.characters(exclude_characters="\r\0", codec="utf-8"), max_size=8)


def as_lines(texts: list[str]) -> bytes:
    return "\n".join(texts).encode()


def as_csv(texts: list[str]) -> bytes:
    quoted = ('"' + text.replace('"', '""') + '"' for text in texts)
    return "".join(["a,b\n", *(f"{cell},x\n" for cell in quoted)]).encode()


def as_jsonl(texts: list[str]) -> bytes:
    return "".join(json.dumps({"a": text}) + "\n" for text in texts).encode()


def as_bytes(texts: list[str]) -> bytes:
    data = as_lines(texts)
    return data[: len(data) // 3 * 3]


FORMATS = {
    "lines": as_lines,
    "csv:text": as_csv,
    "jsonl": as_jsonl,
    "whole": as_lines,
    "fixed:3": as_bytes,
}


def read(path: Path, **options: Any) -> list[tuple[tuple[str, int], Any]]:
    """All records of a file with their keys, its path left out of them."""
    block = options.pop("block", 1 << 20)
    found = resolve([path], **options)
    records = []
    for split in found.splits:
        with open_split(split, schemas=found.schemas, block=block) as reader:
            for batch in reader:
                records += zip([("", at) for _, at in batch.keys()], batch.records, strict=True)  # noqa: SIM118
    return records


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=st.lists(TEXT, max_size=30),
    format=st.sampled_from(sorted(FORMATS)),
    ending=st.sampled_from(sorted(COMPRESS)),
    split_size=st.integers(1, 200) | st.none(),
    piece=st.integers(1, 300),
    block=st.integers(1, 300),
)
def test_records_are_those_of_the_plain_file(
    tmp_path: Path,
    texts: list[str],
    format: str,
    ending: str,
    split_size: int | None,
    piece: int,
    block: int,
) -> None:
    data = FORMATS[format](texts)
    plain, packed = tmp_path / "a.txt", tmp_path / f"a.txt{ending}"
    plain.write_bytes(data)
    packed.write_bytes(in_pieces(data, COMPRESS[ending], piece))
    expected = read(plain, format=format)
    assert read(plain, format=format, split_size=split_size, block=block) == expected
    assert read(packed, format=format, split_size=split_size, block=block) == expected


@pytest.mark.parametrize("ending", COMPRESS)
def test_a_name_says_what_is_in_a_compressed_file(tmp_path: Path, ending: str) -> None:
    for name, data, record in [
        ("a.csv", b"n,s\n1,x\n", {"n": 1, "s": "x"}),
        ("a.tsv", b"n\ts,t\n1\tx\n", {"n": 1, "s,t": "x"}),
        ("a.jsonl", b'{"n": 1}\n', {"n": 1}),
        ("a.log", b"one\n", "one"),
    ]:
        path = tmp_path / (name + ending.upper())
        path.write_bytes(COMPRESS[ending](data))
        assert [each for _, each in read(path)] == [record]
        assert unpacked_name(str(path)) == str(tmp_path / name)


@pytest.mark.parametrize("ending", COMPRESS)
def test_what_is_compressed_is_told_by_its_first_bytes(tmp_path: Path, ending: str) -> None:
    head = COMPRESS[ending](b"some text")[:10]
    assert compression_of("a", head) == compression_of(f"a{ending}", head) != ""
    assert compression_of("a", head, binary=True) == ""  # it may be any bytes
    assert compression_of(f"a{ending}", head, binary=True) != ""
    assert compression_of(f"a{ending}", b"") == ""
    with pytest.raises(InputError, match=rf"is not compressed, though its name ends in \{ending}"):
        compression_of(f"b/a{ending}", b"some text")
    other = ".xz" if ending == ".gz" else ".gz"
    with pytest.raises(InputError, match=r"is compressed with .*: rename it"):
        compression_of(f"a{other}", head)


def test_a_text_may_begin_like_bzip2() -> None:
    assert compression_of("a.txt", b"BZhou, the") == ""
    assert compression_of("a.txt", COMPRESS[".bz2"](b"")[:10]) == "bzip2"


@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize("format", ["lines", "csv", "jsonl", "whole", "fixed:1"])
def test_an_empty_one(tmp_path: Path, ending: str, format: str) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(COMPRESS[ending](b""))
    expected = [(("", 0), b"")] if format == "whole" else []
    assert read(path, format=format) == expected
    path.write_bytes(b"")
    assert read(path, format=format) == expected


@pytest.mark.fault(41)
@pytest.mark.parametrize("ending", COMPRESS)
def test_a_damaged_one_is_named_and_where_it_ends(tmp_path: Path, ending: str) -> None:
    lines = [f"line {n:06} {hash(str(n)):x}" for n in range(60_000)]
    whole = COMPRESS[ending]("".join(f"{line}\n" for line in lines).encode())
    path = tmp_path / f"a{ending}"
    for data in (whole[: len(whole) // 2], whole[:-3], whole[:-3] + b"\xff\xff\xff"):
        path.write_bytes(data)
        found = resolve([path])
        records: list[str] = []
        with (
            pytest.raises(InputError, match=r"is a damaged \w+ file: nothing can be read") as e,
            open_split(found.splits[0]) as reader,
        ):
            for batch in reader:
                records += batch.records
        assert e.value.path == str(path)
        assert records == lines[: len(records)]


def test_a_task_reads_as_many_bytes_as_the_file_has_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress("".join(f"line {n}\n" for n in range(200_000)).encode()))
    (split,) = resolve([path], slots=8).splits
    with open_split(split, block=1 << 16) as reader:
        weights = [batch.nbytes for batch in reader]
    assert split.nbytes * 0.9 < sum(weights) <= split.nbytes == path.stat().st_size
    assert len(weights) > 10


def test_one_file_is_one_split_and_small_ones_share_one(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number:02}.gz").write_bytes(gzip.compress(b"a line\n" * 5000))
    found = resolve([tmp_path], slots=2, split_size=10)
    assert [type(split) for split in found.splits] == [FileSplit] * 40
    packed = resolve([tmp_path], slots=2).splits
    assert len(packed) <= 7
    assert all(type(split) is PackedSplit for split in packed)


def test_a_large_one_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mrkernel.data.inputs.LARGEST_SPLIT", 100)
    path = tmp_path / "a.xz"
    path.write_bytes(COMPRESS[".xz"](b"x" * 100_000))
    assert path.stat().st_size > 100
    (note,) = resolve([path]).notes
    assert "is one map task, because xz files cannot be cut" in note
    (tmp_path / "a.txt").write_bytes(b"x\n" * 100)
    assert resolve([tmp_path / "a.txt"]).notes == ()


@pytest.mark.parametrize("ending", COMPRESS)
def test_reading_may_begin_anew(tmp_path: Path, ending: str) -> None:
    data = bytes(range(256)) * 2000
    path = tmp_path / "a"
    path.write_bytes(COMPRESS[ending](data))
    name = compression_of("a", path.read_bytes()[:10])
    with Unpacked(path.open("rb", buffering=0), name, "a") as file:  # type: ignore[arg-type]
        for at, size in [(0, 10), (5, 100), (300_000, 50), (0, 7), (511_990, 100), (3, -1)]:
            file.seek(at)
            assert file.read(size) == data[at:][: size if size >= 0 else None]
        assert file.read(10) == b""
