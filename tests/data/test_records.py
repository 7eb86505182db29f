from __future__ import annotations

import os
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mrkernel.data.records import Batch, open_split, splittable
from mrkernel.data.splits import FileSplit, MemorySplit
from mrkernel.errors import InputError

Line = tuple[int, str]
pieces = st.lists(
    st.sampled_from(
        [b"\n", b"\r\n", b"\r", b"a", b"bc", "é€".encode(), b"\x85", b"\xef\xbb\xbf", b"\xff"]
    ),
    max_size=40,
)


def oracle(data: bytes, errors: str) -> list[Line]:
    """All records at once: (offset, line)."""
    lines, at = [], 0
    parts = data.split(b"\n")
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        body = part.removeprefix(b"\xef\xbb\xbf") if at == 0 else part
        if not last:
            lines.append((at, body.removesuffix(b"\r").decode("utf-8", errors)))
        elif body:
            lines.append((at, body.decode("utf-8", errors)))
        at += len(part) + 1
    return lines


def split_of(path: Path, start: int = 0, end: int | None = None) -> FileSplit:
    info = path.stat()
    end = info.st_size if end is None else end
    return FileSplit(str(path), start, end, info.st_size, info.st_mtime_ns)


def read(split: Any, **options: Any) -> list[Line]:
    with open_split(split, **options) as reader:
        return [
            (offset, record)
            for batch in reader
            for (_, offset), record in zip(batch.keys(), batch.records, strict=True)
        ]


@pytest.mark.fault(43)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces, st.lists(st.integers(0, 80), max_size=6), st.integers(1, 12))
def test_any_cut_gives_the_same_records_and_offsets(
    tmp_path: Path, parts: list[bytes], cuts: list[int], block: int
) -> None:
    data = b"".join(parts)
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    points = sorted({0, len(data), *(c for c in cuts if c < len(data))})
    found = []
    for start, end in pairwise(points):
        found += read(split_of(path, start, end), errors="backslashreplace", block=block)
    assert found == oracle(data, "backslashreplace")


@pytest.mark.fault(43)
@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\r\nb\r", ["a", "b\r"]),
        (b"\n\n", ["", ""]),
        (b"\xef\xbb\xbf", []),
        (b"\xef\xbb\xbfa\n", ["a"]),
        ("a\x0bb\x85c\u2028d\n".encode(), ["a\x0bb\x85c\u2028d"]),
    ],
)
def test_line_ends(tmp_path: Path, data: bytes, lines: list[str]) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    assert [line for _, line in read(split_of(path))] == lines


def test_where_names_file_and_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\r\ntwo\n")
    (batch,) = open_split(split_of(path))
    assert batch.where(1) == f"{path}, byte 5"
    assert batch.key(1) == (str(path), 5)
    assert batch.nbytes == 9


@pytest.mark.fault(43)
def test_a_bad_byte_is_named_with_file_and_offset(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfgood\nb\xe9d\n")
    with pytest.raises(InputError, match=r"a\.txt is not utf-8 text at byte 9 \(0xe9\)") as caught:
        read(split_of(path))
    assert (caught.value.path, caught.value.offset) == (str(path), 9)
    with pytest.raises(InputError, match="at byte 9"):
        read(split_of(path, 8, path.stat().st_size))
    assert read(split_of(path), encoding="latin-1")[1][1] == "béd"


@pytest.mark.fault(45)
def test_a_line_over_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"short\n" + b"x" * 5000 + b"\nend\n")
    assert len(read(split_of(path), block=64, record_limit=5001)) == 3
    for block in (64, 1 << 20):
        with pytest.raises(InputError, match=r"longer than .* at byte 6") as caught:
            read(split_of(path), block=block, record_limit=3000)
        assert caught.value.offset == 6


def test_a_long_line_is_skipped_by_the_splits_inside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 5000 + b"\nend\n")
    assert read(split_of(path, 100, 4000), block=64) == []
    assert read(split_of(path, 4000, 5002), block=64) == [(5001, "end")]


@pytest.mark.fault(42)
def test_a_vanished_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"a\n")
    split = split_of(path)
    path.unlink()
    with pytest.raises(InputError, match=r"a\.txt vanished after the job began"):
        read(split)


@pytest.mark.fault(42)
def test_a_changed_file_is_noticed_at_the_start_and_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"a\n")
    split = split_of(path)
    path.write_bytes(b"a\nb\n")
    with pytest.raises(InputError, match="it had 2 bytes, now 4"):
        read(split)
    split = split_of(path)
    os.utime(path, ns=(1, split.mtime_ns + 10**9))
    with pytest.raises(InputError, match="changed after the job began"):
        read(split)
    split = split_of(path)
    reader = iter(open_split(split, block=1))
    next(reader)
    with path.open("ab") as file:
        file.write(b"c\n")
    with pytest.raises(InputError, match="changed after the job began"):
        list(reader)


def test_a_truncated_file_never_loops(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"a\n" * 100)
    reader = iter(open_split(split_of(path), block=8))
    next(reader)
    os.truncate(path, 4)
    with pytest.raises(InputError, match="changed"):
        list(reader)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp037"])
@pytest.mark.parametrize("block", [3, 1 << 20])
def test_encodings_that_cannot_be_cut(tmp_path: Path, encoding: str, block: int) -> None:
    text = "one\r\nzwö Ā\n\nlast"
    if encoding == "cp037":
        text = text.replace("Ā", "A")
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode(encoding))
    assert not splittable(encoding)
    found = read(split_of(path), encoding=encoding, block=block)
    assert [line for _, line in found] == ["one", *text.split("\n")[1:]]
    data = path.read_bytes()
    for offset, line in found:
        width = len(line.encode(encoding.removesuffix("-sig")))
        assert (
            line == "" or data[offset : offset + width].decode(encoding, "replace")[:1] == line[:1]
        )


def test_utf_16_read_as_utf_8_gets_the_right_advice(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("hello\n".encode("utf-16"))
    with pytest.raises(InputError, match="pass --encoding utf-16"):
        read(split_of(path))


def test_multibyte_codecs_do_not_lose_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\x81\nb\n\x81\x40c\n")
    assert splittable("shift_jis")
    found = read(split_of(path), encoding="shift_jis", errors="replace")
    assert [offset for offset, _ in found] == [0, 2, 4]


@pytest.mark.parametrize("name", ["utf-9", "rot13", "base64"])
def test_an_unknown_encoding(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"a\n")
    with pytest.raises(InputError, match="there is no text encoding"):
        read(split_of(path), encoding=name)


def test_an_unknown_errors_handler(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xff\n")
    with pytest.raises(InputError, match="--errors strickt is unknown: write strict"):
        read(split_of(path), errors="strickt")


def test_items_from_memory() -> None:
    data = pickle.dumps(["a", "b"])
    split = MemorySplit("words", 10, 2, None, "digest", len(data))
    with pytest.raises(InputError, match="did not arrive"):
        list(open_split(split))
    (batch,) = open_split(split, data=data)
    assert isinstance(batch, Batch)
    assert batch.records == ["a", "b"]
    assert batch.keys() == [("words", 10), ("words", 11)]
    assert batch.where(1) == "words[11]"
    assert batch.nbytes == len(data)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces | st.lists(st.sampled_from([b"\n", b"a", b"\r\n", b'"', b"\x01", b","])))
def test_a_table_of_lines_has_the_same_lines(tmp_path: Path, parts: list[bytes]) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"".join(parts))
    for errors in ("strict", "replace"):
        for block in (7, 1 << 20):
            lines, from_tables, counted = [], [], 0
            try:
                for batch in open_split(split_of(path), errors=errors, block=block):
                    counted += len(batch)
                    from_tables += batch.table()["line"].to_pylist()
                    lines += batch.records
            except InputError:
                assert errors == "strict"
                continue
            assert from_tables == lines
            assert counted == len(lines)
