from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from data.csv_oracle import read, rows_of, split_of, texts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mrkernel.data import csv_reader, csv_records
from mrkernel.data.inputs import resolve
from mrkernel.data.records import open_split
from mrkernel.data.schemas import CsvSchema
from mrkernel.errors import InputError

quick = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])

field = st.lists(
    st.sampled_from(["a", "bc", '"', "\n", "\r\n", ",", "é", " ", "1", "\r", "", "\ufeff"]),
    max_size=5,
).map("".join)


def quoted(text: str, always: bool) -> str:
    if always or set(text) & set('",\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


@st.composite
def tables(draw: Any) -> bytes:
    """A well-formed file: any text in quotes, some fields without need, some with inch marks."""
    width = draw(st.integers(1, 3))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    lines = [",".join(f"c{n}" for n in range(width))]
    for row in draw(st.lists(st.tuples(*[field] * width), max_size=12)):
        cells = [quoted(cell, draw(st.booleans())) for cell in row]
        if draw(st.integers(0, 9)) == 0:
            cells[-1] = '5" disk'
        lines.append(",".join(cells) or '""')
        if draw(st.integers(0, 9)) == 0:
            lines.append("")
    text = end.join(lines) + (end if draw(st.booleans()) else "")
    return (b"\xef\xbb\xbf" if draw(st.booleans()) else b"") + text.encode()


def columns(data: bytes) -> tuple[str, ...]:
    return tuple(re.findall(r"c\d", data.decode().splitlines()[0]))


@quick
@given(
    tables(),
    st.lists(st.integers(0, 200), max_size=6),
    st.sampled_from([1, 7, 30, 1 << 20]),
    st.booleans(),
)
def test_any_cut_gives_what_csv_gives_for_the_whole_file(
    tmp_path: Path, data: bytes, cuts: list[int], block: int, arrow: bool
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    points = sorted({0, len(data), *(c for c in cuts if c < len(data))})
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_reader, "_SMALL", 0 if arrow else 1 << 30)
        for start, end in pairwise(points):
            found += read(split_of(path, start, end), texts(*columns(data)), block=block)
    expected = rows_of(data)
    assert [record for _, record in found] == expected
    for offset, record in found:
        # A record reads the same from its first byte on.
        (first, *_) = rows_of(",".join(record).encode() + b"\n" + data[offset:]) or [None]
        assert first == record


def refused(data: bytes) -> bool:
    """Whether a file may be refused as a whole: ragged, or a quote never closed."""
    width = len(columns(data))
    quotes = csv_records.turns(data, csv_records.Marks(ord(",")))
    return len(quotes) % 2 == 1 or rows_of(data) is None or width == 0


@quick
@given(
    st.lists(
        st.sampled_from([b'"', b",", b"\n", b"a", b'"a"', b'","', b'"\n"', b"\r", b"\xef\xbb\xbf"]),
        max_size=40,
    ),
    st.lists(st.integers(1, 60), max_size=4),
    st.integers(1, 3),
    st.sampled_from([3, 12, 1 << 16]),
    st.sampled_from([0, 10, 1 << 16]),
)
def test_no_cut_changes_an_answer_in_silence(
    tmp_path: Path, parts: list[bytes], cuts: list[int], width: int, window: int, near: int
) -> None:
    """Any bytes at all, and guesses that are often wrong: the right records, or an error."""
    header = ",".join(f"c{n}" for n in range(width)).encode() + b"\n"
    data = header + b"".join(parts)
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    ends = {len(header) + cut for cut in cuts if len(header) + cut < len(data)}
    points = sorted({0, len(data), *ends})
    found = []
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(csv_records, "WINDOW", window)
            patch.setattr(csv_records, "NEAR", near)
            for start, end in pairwise(points):
                found += read(split_of(path, start, end), texts(*columns(data)), block=9)
    except InputError as error:
        assert refused(data) or ("cannot be cut" in str(error) and near < 1 << 16)
        return
    assert [record for _, record in found] == rows_of(data)


@quick
@given(st.lists(st.sampled_from([b'"', b",", b"\n", b"\r", b"a"]), max_size=60), st.booleans())
def test_quotes_counted_and_quotes_looked_at(parts: list[bytes], inside: bool) -> None:
    data = b"".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_records, "_MANY", 1)
        patch.setattr(csv_records, "_WORTH_NUMPY", 1)
        counted = list(csv_records.turns(data, csv_records.Marks(ord(",")), inside=inside))
    assert counted == list(csv_records.turns(data, csv_records.Marks(ord(",")), inside=inside))


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("small", [0, 1 << 30])
@pytest.mark.parametrize(
    ("text", "sentence", "offset"),
    [
        ("a,b\n1,2\n1\n", r"a\.csv has 1 field at byte 8, but its header has 2: repair that", 8),
        ("a,b\n1,2\n1,2,3\n", r"a\.csv has 3 fields at byte 8, but its header has 2", 8),
        ('a,b\n1,2\n1,"2\n3,4\n', r"a\.csv opens a quote at byte 10 that is never closed", 10),
        ("a,b\n1,2\n \n", r"a\.csv has 1 field at byte 8", 8),
    ],
)
def test_what_is_no_table(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small: int,
    text: str,
    sentence: str,
    offset: int,
) -> None:
    monkeypatch.setattr(csv_reader, "_SMALL", small)
    path = write(tmp_path / "a.csv", text)
    with pytest.raises(InputError, match=sentence) as caught:
        read(split_of(path), texts("a", "b"))
    assert (caught.value.path, caught.value.offset) == (str(path), offset)


@pytest.mark.parametrize("small", [0, 1 << 30])
def test_bytes_that_are_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: int
) -> None:
    monkeypatch.setattr(csv_reader, "_SMALL", small)
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n1,2\nb\xe9d,3\n")
    with pytest.raises(InputError, match=r"is not utf-8 text at byte 9 \(0xe9\)") as caught:
        read(split_of(path), texts("a", "b"))
    assert caught.value.offset == 9
    found = read(split_of(path), texts("a", "b"), errors="replace")
    assert found[1] == (8, {"a": "b\ufffdd", "b": "3"})
    found = read(split_of(path), texts("a", "b"), errors="surrogateescape")
    assert found[1][1]["a"] == "b\udce9d"


def test_fields_longer_than_the_csv_module_likes(tmp_path: Path) -> None:
    long = "x" * 300_000
    path = write(tmp_path / "a.csv", f'a,b\n"{long}\n{long}",1\nragged\n')
    schema = texts("a", "b")
    with pytest.raises(InputError, match="has 1 field"):
        read(split_of(path), schema)
    with pytest.raises(InputError, match=r"a record longer than 0 MB at byte 4"):
        read(split_of(path), schema, record_limit=100_000)


def test_only_the_columns_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b,c\n1,2,x\n3,4,y\n")
    schema = CsvSchema(("a", "b", "c"), ("int", "int", "int"), ",", "a.csv")
    found = read(split_of(path), schema, columns=("b", "a"))
    assert [list(record.items()) for _, record in found] == [
        [("b", 2), ("a", 1)],
        [("b", 4), ("a", 3)],
    ]
    sentence = r"first\.csv has no column 'yeer'; it has a, year; did you mean 'year'\?"
    with pytest.raises(InputError, match=sentence):
        read(split_of(path), texts("a", "year"), columns=("yeer",))


@pytest.mark.parametrize("small", [0, 1 << 30])
def test_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: int) -> None:
    import pyarrow as pa

    monkeypatch.setattr(csv_reader, "_SMALL", small)
    path = write(tmp_path / "a.csv", 'n,s\n1,x\n\n,"y\nz"\n')
    schema = CsvSchema(("n", "s"), ("int", "str"))
    (batch,) = open_split(split_of(path), schemas=[schema])
    table = batch.table()
    assert table.schema.types == [pa.int64(), pa.string()]
    assert table.to_pylist() == batch.records == [{"n": 1, "s": "x"}, {"n": None, "s": "y\nz"}]
    assert len(batch) == 2
    assert batch.where(0) == f"{path}, byte 4"
    assert batch.where(1) == f"{path}, byte 9"
    assert batch.key(0) == batch.keys()[0]


def test_whole_numbers_of_any_size(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", f"n\n1\n{2**64}\n")
    schema = CsvSchema(("n",), ("int",))
    assert [record["n"] for _, record in read(split_of(path), schema)] == [1, 2**64]
    (batch,) = open_split(split_of(path), schemas=[schema])
    sentence = rf"has {2**64} in column 'n' at byte 4, beyond the 64 bits .*--format csv:text"
    with pytest.raises(InputError, match=sentence):
        batch.table()


def test_a_guess_that_was_wrong_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A letter that quotes a table of its own: nobody can see it from the middle."""
    inner = "1,2\n" * 2000
    path = write(tmp_path / "a.csv", f'a,b\n1,2\n"{inner}",3\n4,5\n')
    schema = texts("a", "b")
    middle = path.stat().st_size // 2
    assert len(read(split_of(path), schema)) == 3
    assert read(split_of(path, middle), schema) == [(path.stat().st_size - 4, {"a": "4", "b": "5"})]
    monkeypatch.setattr(csv_records, "NEAR", 0)
    monkeypatch.setattr(csv_records, "WINDOW", 512)
    for split in (split_of(path, middle), split_of(path, 0, middle)):
        with pytest.raises(InputError, match=r"cannot be cut at byte \d+.*--split-size larger"):
            read(split, schema)
    monkeypatch.setattr(csv_records, "WINDOW", 64 << 10)
    assert len(read(split_of(path, middle), schema)) == 1  # the end of it shows what is what


def test_a_file_that_changed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b\n1,2\n")
    split = split_of(path)
    write(path, "a,b\n1,2\n3,4\n")
    with pytest.raises(InputError, match="changed after the job began"):
        read(split, texts("a", "b"))


def test_arrow_is_not_imported_for_little(tmp_path: Path) -> None:
    import subprocess
    import sys

    path = write(tmp_path / "a.csv", "a,b\n" + "1,x\n" * 5000)
    code = f"""
import sys, os
from mrkernel.data.inputs import resolve
from mrkernel.data.records import open_split
found = resolve([{str(path)!r}])
(split,) = found.splits
for name in (None, ("a",)):
    for batch in open_split(split, schemas=found.schemas, columns=name):
        batch.records, batch.keys()
print("pyarrow" in sys.modules, "numpy" in sys.modules, len(batch))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "5000"]


def test_what_arrow_s_reader_refuses_is_a_table_all_the_same(tmp_path: Path) -> None:
    """A tail number such as 0X in a file with a column of ints, and a column without a value."""
    path = tmp_path / "flights.csv"
    rows = [f"{n},0X{n},{'' if n else 'NA'},N10X{n}\n" for n in range(3000)]
    path.write_text("number,tail,gone,other\n" + "".join(rows))
    found = resolve([path], split_size=None, slots=1)
    (split,) = found.splits
    tables = [batch.table() for batch in open_split(split, schemas=found.schemas)]
    records = [row for batch in open_split(split, schemas=found.schemas) for row in batch.records]
    assert [row for table in tables for row in table.to_pylist()] == records
    assert records[1] == {"number": 1, "tail": "0X1", "gone": records[1]["gone"], "other": "N10X1"}
    assert len(records) == 3000


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('"a,x";b\n1;2\n', [{"a,x": 1, "b": 2}]),
        ('"a;x",b\n1,2\n', [{"a;x": 1, "b": 2}]),
        ("x\n+1\n-2\n", [{"x": 1}, {"x": -2}]),
    ],
)
def test_what_the_header_and_the_signs_mean(
    tmp_path: Path, text: str, wanted: list[dict[str, Any]]
) -> None:
    (tmp_path / "a.csv").write_text(text)
    found = resolve([tmp_path / "a.csv"], split_size=None, slots=1)
    (split,) = found.splits
    records = [r for batch in open_split(split, schemas=found.schemas) for r in batch.records]
    assert records == wanted
    assert [type(value) for r in records for value in r.values()] == [int] * len(wanted[0]) * len(
        wanted
    )
