from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mrkernel.data.inputs import resolve
from mrkernel.data.records import open_split
from mrkernel.data.splits import FileSplit
from mrkernel.errors import InputError


def split_of(path: Path, start: int = 0, end: int | None = None) -> FileSplit:
    info = path.stat()
    end = info.st_size if end is None else end
    return FileSplit(str(path), start, end, info.st_size, info.st_mtime_ns, "jsonl")


def read(split: Any, **options: Any) -> list[tuple[int, Any]]:
    with open_split(split, **options) as reader:
        return [
            (offset, record)
            for batch in reader
            for (_, offset), record in zip(batch.keys(), batch.records, strict=True)
        ]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=6,
)
lines = st.one_of(
    values.map(json.dumps),
    values.map(lambda value: json.dumps(value, ensure_ascii=False)),
    st.sampled_from(
        ["", " ", "\t", "\x0b", "1e400", '"\\ud800"', '{"a":1,"a":2}', "-0", "NaN", str(2**70)]
    ),
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(lines, max_size=8),
    st.lists(st.integers(0, 80), max_size=4),
    st.sampled_from([1, 20, 1 << 20]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_any_cut_gives_what_json_gives(
    tmp_path: Path, texts: list[str], cuts: list[int], block: int, end: str
) -> None:
    data = end.join(texts).encode("utf-8", "replace")
    path = tmp_path / "a.jsonl"
    path.write_bytes(data)
    points = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    found = []
    for start, stop in pairwise(points):
        found += read(split_of(path, start, stop), block=block)
    expected, at = [], 0
    for line in data.split(b"\n"):
        if line.decode().strip():
            expected.append((at, json.loads(line)))
        at += len(line) + 1
    assert repr(found) == repr(expected)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"a": 1', "Expecting ',' delimiter"),
        ("{'a': 1}", "Expecting property name enclosed in double quotes"),
        ('{"a": 1} {"a": 2}', "Extra data"),
        ("[1,\n2]", "Expecting value"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_what_is_no_json(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'\n{{"a": 0}}\n{line}\n')
    with pytest.raises(InputError, match=rf"a\.jsonl is not JSON at byte 10.*{reason}") as caught:
        read(split_of(path))
    assert (caught.value.path, caught.value.offset) == (str(path), 10)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": "\xe9"}\n')
    with pytest.raises(InputError, match="is not utf-8 text at byte 7"):
        read(split_of(path))
    assert read(split_of(path), encoding="latin-1") == [(0, {"a": "é"})]
    path.write_bytes('{"a": "é"}\n\n2\n'.encode("utf-16"))
    assert read(split_of(path), encoding="utf-16") == [(2, {"a": "é"}), (26, 2)]


def test_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"year": 1, "b": 2}\n{"year": 3, "c": 4}\n')
    assert [r for _, r in read(split_of(path), columns=("b", "year"))] == [
        {"b": 2, "year": 1},
        {"b": None, "year": 3},
    ]
    with pytest.raises(InputError, match=r"a\.jsonl has no column 'yeer'.*did you mean 'year'\?"):
        resolve([path], columns=("yeer",))
    path.write_text('{"year": 1}\n[1]\n')
    with pytest.raises(InputError, match=r"a\.jsonl has a list at byte 12, which has no columns"):
        read(split_of(path), columns=("year",))


def test_tables(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n\n{"a": 2, "b": ["x"]}\n')
    (batch,) = open_split(split_of(path))
    assert batch.table().to_pylist() == [{"a": 1, "b": None}, {"a": 2, "b": ["x"]}]
    assert batch.where(1) == f"{path}, byte 10"
    path.write_text('1\n"x"\n')
    (batch,) = open_split(split_of(path))
    with pytest.raises(InputError, match=r"no Arrow column can be made of 'item' from .*, byte 0"):
        batch.table()
