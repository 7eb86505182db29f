from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from data.csv_oracle import read, split_of

from mrkernel.data import csv_files
from mrkernel.data.csv_dialect import CsvDialect
from mrkernel.data.csv_files import plan_csv
from mrkernel.data.schemas import CsvSchema
from mrkernel.errors import InputError


def plan(*paths: Path, text: bool = False, encoding: str = "utf-8") -> CsvSchema:
    return plan_csv(
        [split_of(p) for p in paths],
        encoding=encoding,
        errors="strict",
        dialect=CsvDialect(text=text),
    )


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_names_and_types(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "name,year,score,left\nBo,1999,1.5,true\nAl,2001,2,\n")
    schema = plan(path)
    assert schema.names == ("name", "year", "score", "left")
    assert schema.types == ("str", "int", "float", "bool")
    assert plan(path, text=True).types == ("str",) * 4
    assert [record for _, record in read(split_of(path), schema)] == [
        {"name": "Bo", "year": 1999, "score": 1.5, "left": True},
        {"name": "Al", "year": 2001, "score": 2.0, "left": None},
    ]


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("a,b\n1,2\n", ","),
        ("a;b\n1,5;2\n", ";"),
        ("a\tb\n1\t2\n", "\t"),
        ("a;x,b\n1,2\n", ","),
        ("a\n1\n", ","),
    ],
)
def test_the_delimiter_is_what_the_header_has(tmp_path: Path, text: str, delimiter: str) -> None:
    assert plan(write(tmp_path / "a.csv", text)).delimiter == delimiter


def test_tabs_in_a_file_called_tsv(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "a,b\tc\n1\t2\n")
    schema = plan(path)
    assert [record for _, record in read(split_of(path), schema)] == [{"a,b": 1, "c": 2}]


def test_types_come_from_beginning_middle_and_end_of_all_files(tmp_path: Path) -> None:
    lines = [f"{n},x" for n in range(60_000)]
    first = write(tmp_path / "a.csv", "n,s\n" + "\n".join(lines))
    assert plan(first).types == ("int", "str")
    for place in (0, len(lines) // 2, -1):
        changed = list(lines)
        changed[place] = "1.5,x"
        other = write(tmp_path / "b.csv", "n,s\n" + "\n".join(changed))
        assert plan(first, other).types == ("float", "str"), place


def test_the_sample_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.csv", "n\n" + "".join(f"{n}\n" for n in range(300_000)))
    taken = 0
    real = csv_files.read_at

    def counted(file: Any, at: int, size: int) -> bytes:
        nonlocal taken
        taken += size
        return real(file, at, size)

    monkeypatch.setattr(csv_files, "read_at", counted)
    assert plan(path).types == ("int",)
    assert taken <= 2 * csv_files.SAMPLE < path.stat().st_size


def test_a_value_that_does_not_fit_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "year,name\n1999,a\n2000,b\n")
    schema = plan(path)
    path = write(tmp_path / "b.csv", "year,name\r\n1999,a\r\n\r\nunknown,b\r\n")
    sentence = (
        r"b\.csv has 'unknown' in column 'year' at byte 21, but the files' sample had only int "
        r"there: repair it, or pass --format csv:text and convert yourself"
    )
    with pytest.raises(InputError, match=sentence) as caught:
        read(split_of(path), schema)
    assert (caught.value.path, caught.value.offset) == (str(path), 21)
    assert [r["year"] for _, r in read(split_of(path), plan(path, text=True))][1] == "unknown"


def test_columns_in_another_order(tmp_path: Path) -> None:
    first = write(tmp_path / "a.csv", "a,b\n1,x\n")
    other = write(tmp_path / "b.csv", "b,a\ny,2\n")
    schema = plan(first, other)
    assert schema.types == ("int", "str")
    (record,) = [record for _, record in read(split_of(other), schema)]
    assert list(record.items()) == [("a", 2), ("b", "y")]


def test_another_header(tmp_path: Path) -> None:
    first = write(tmp_path / "a.csv", "a,b\n1,x\n")
    other = write(tmp_path / "b.csv", "a,c\n1,x\n")
    sentence = r"b\.csv has the columns a, c, but a\.csv has a, b: give all files of one input the"
    with pytest.raises(InputError, match=sentence):
        plan(first, other)
    with pytest.raises(InputError, match=sentence):
        read(split_of(other), plan(first))


def test_headers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", '\ufeff\r\n"a\nb","c ""x"""\r\n1,2')
    schema = plan(path)
    assert schema.names == ("a\nb", 'c "x"')
    assert read(split_of(path), schema) == [(22, {"a\nb": 1, 'c "x"': 2})]
    with pytest.raises(InputError, match=r"has two columns called 'a'.* --format csv:noheader"):
        plan(write(tmp_path / "b.csv", "a,b,a\n"))
    path = write(tmp_path / "c.csv", "a,b\r1,2\r3,4\r")
    assert read(split_of(path), plan(path)) == [(4, {"a": 1, "b": 2}), (8, {"a": 3, "b": 4})]


@pytest.mark.parametrize("text", ["", "\n\r\n", "\ufeff", "a,b", "a,b\n\n"])
def test_files_without_records(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "a.csv", text)
    assert read(split_of(path), plan(path)) == []


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "utf-16-le", "shift_jis"])
@pytest.mark.parametrize("block", [5, 1 << 20])
def test_encodings(tmp_path: Path, encoding: str, block: int) -> None:
    letter = "é" if encoding == "latin-1" else "の"
    text = (
        f'näme,n\n{letter},1\n\n"{letter}\n,",2\nz,3'
        if encoding != "shift_jis"
        else (f'name,n\n{letter},1\n\n"{letter}\n,",2\nz,3')
    )
    path = write(tmp_path / "a.csv", text, encoding)
    schema = plan(path, encoding=encoding)
    found = read(split_of(path), schema, encoding=encoding, block=block)
    name = schema.names[0]
    assert [record for _, record in found] == [
        {name: letter, "n": 1},
        {name: f"{letter}\n,", "n": 2},
        {name: "z", "n": 3},
    ]
    data = path.read_bytes()
    bare = encoding + "-le" if encoding == "utf-16" else encoding
    starts = [data[offset:].decode(bare)[:1] for offset, _ in found]
    assert starts == [letter, '"', "z"]
