"""CSV files as ``--format csv:...`` says they are written, read as Python's ``csv`` reads them."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mrkernel.data.csv_dialect import CsvDialect, read_dialect
from mrkernel.data.inputs import resolve
from mrkernel.data.records import open_split
from mrkernel.errors import InputError


def read(path: Path, format: str, block: int = 1 << 20, **options: Any) -> list[dict[str, Any]]:
    found = resolve([path], format=format, **options)
    records: list[dict[str, Any]] = []
    for split in found.splits:
        with open_split(split, schemas=found.schemas, block=block) as reader:
            for batch in reader:
                assert batch.table().to_pylist() == batch.records
                records += batch.records
    return records


@pytest.mark.parametrize(
    ("format", "dialect"),
    [
        ("csv", CsvDialect()),
        ("csv:text", CsvDialect(text=True)),
        ("csv:sep=|", CsvDialect("|")),
        ("csv:sep=tab,text", CsvDialect("\t", text=True)),
        ("csv:sep=comma,quote=none,noheader", CsvDialect(",", "", header=False)),
        ("csv:quote=single,sep=;", CsvDialect(";", "'")),
    ],
)
def test_what_it_says(format: str, dialect: CsvDialect) -> None:
    assert read_dialect(format) == dialect


@pytest.mark.parametrize(
    ("format", "said"),
    [
        ("csv:txt", r"there is no 'txt': csv: takes sep=\| .* noheader and text$"),
        ("csv:sep=ab", "sep=ab is not one ASCII character: write sep=X, or one of tab,"),
        ("csv:sep=", "is not one ASCII character"),
        ("csv:sep=none", "is not one ASCII character"),
        ("csv:quote=«", "is not one ASCII character"),
        ("csv:sep='", None),
        ("csv:sep=single,quote=single", "sep and quote are one character: choose two"),
    ],
)
def test_what_makes_no_sense(format: str, said: str | None) -> None:
    if said is None:
        assert read_dialect(format).delimiter == "'"
        return
    with pytest.raises(InputError, match=said):
        read_dialect(format)


@settings(
    deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(st.tuples(*[st.text("ab1 '\"|;,\t", max_size=6)] * 3), min_size=1, max_size=40),
    sep=st.sampled_from("|;,\t"),
    quote=st.sampled_from(["'", '"', ""]),
    header=st.booleans(),
    split_size=st.integers(1, 100) | st.none(),
    block=st.integers(1, 200),
)
def test_any_dialect_gives_what_the_csv_module_gives(
    tmp_path: Path,
    rows: list[tuple[str, str, str]],
    sep: str,
    quote: str,
    header: bool,
    split_size: int | None,
    block: int,
) -> None:
    if quote:
        rows = [(f"{a}\n" if len(b) > 3 else a, b, f"{c}x") for a, b, c in rows]
    else:
        rows = [
            (a.replace(sep, ""), b.replace(sep, ""), f"{c.replace(sep, '')}x") for a, b, c in rows
        ]
    text = io.StringIO()
    quoting = csv.QUOTE_ALL if quote else csv.QUOTE_NONE
    writer = csv.writer(
        text, delimiter=sep, quotechar=quote or None, quoting=quoting, lineterminator="\n"
    )
    names = ("p", "q", "r") if header else ("c1", "c2", "c3")
    writer.writerows([names, *rows] if header else rows)
    path = tmp_path / "a.csv"
    path.write_text(text.getvalue(), newline="")
    named = {"\t": "tab", ",": "comma"}.get(sep, sep)
    format = f"csv:text,sep={named},quote={quote or 'none'}" + ("" if header else ",noheader")
    try:
        found = read(path, format, block, split_size=split_size)
    except InputError as error:
        # Text in quotes that looks like records is refused where it is cut, not misread.
        assert "cannot be cut at byte" in str(error)
        return
    assert found == [dict(zip(names, row, strict=True)) for row in rows]


def test_without_a_header_types_are_told_and_columns_numbered(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("\ufeff1,x\n2,y\n")
    assert (
        read(tmp_path, "csv:noheader")
        == [
            {"c1": 1, "c2": "x"},
            {"c1": 2, "c2": "y"},
        ]
        * 2
    )
    assert read(tmp_path, "csv:noheader", columns=("c2",)) is not None
    (tmp_path / "b.csv").write_text("1,x,z\n")
    with pytest.raises(InputError, match=r"3 fields .*the first record of the input has 2: repair"):
        read(tmp_path, "csv:noheader")
    assert resolve([tmp_path / "a.csv"], format="csv:noheader").notes == ()
