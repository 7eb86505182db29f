from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from data.csv_oracle import read, split_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mrkernel.data import csv_reader
from mrkernel.data.csv_types import NULLS, MisfitError, type_of, values_of
from mrkernel.data.schemas import CsvSchema
from mrkernel.errors import InputError


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "-2", " 3 ", "007"], "int"),
        (["1", str(2**70)], "int"),
        (["1", "", "NA"], "int"),
        (["1", "2.5"], "float"),
        (["1e3", ".5", "5.", "-inf", "+1"], "float"),
        (["true", "FALSE", ""], "bool"),
        (["1", "0"], "int"),
        (["true", "1"], "str"),
        (["1", "x"], "str"),
        (["1_000", "2"], "str"),
        (["0x1F"], "str"),
        (["１"], "str"),
        (["1\n2"], "str"),
        (["1,5"], "str"),
        (["2024-01-31"], "str"),
        (["", "NA"], "str"),
        ([], "str"),
    ],
)
def test_types(texts: list[str], kind: str) -> None:
    assert type_of(texts) == kind


def test_values() -> None:
    assert values_of(["1", "NA", " 07 ", str(10**30)], "int") == [1, None, 7, 10**30]
    assert values_of(["1", "", "2e3"], "float") == [1.0, None, 2000.0]
    assert values_of(["true", "null", "FALSE"], "bool") == [True, None, False]
    assert values_of(["", "NA"], "str") == ["", "NA"]
    with pytest.raises(MisfitError) as caught:
        values_of(["1", "NA", "x"], "int")
    assert caught.value.index == 2
    with pytest.raises(MisfitError):
        values_of(["1\n2", "3"], "int")


cells = st.one_of(
    st.sampled_from(
        [*NULLS, "true", "False", "TRUE", "inf", "-Infinity", "nAn", "0x1F", "-0", "+1"]
    ),
    st.integers().map(str),
    st.integers(-(2**66), 2**66).map(str),
    st.floats().map(repr),
    st.from_regex(
        r"[ \t]?[-+]?[0-9]{0,25}\.?[0-9]{0,25}([eE][-+]?[0-9]{1,3})?[ \t]?", fullmatch=True
    ),
    st.text("1.eE-+ x_０\t", max_size=5),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(cells, min_size=1, max_size=5), st.sampled_from(["int", "float", "bool"]))
def test_arrow_and_python_read_the_same_values(tmp_path: Path, texts: list[str], kind: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x,c\n" + "".join(f"-,{text}\n" for text in texts))
    schema = CsvSchema(("x", "c"), ("str", kind))
    answers: list[Any] = []
    for small in (0, 1 << 30):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(csv_reader, "_SMALL", small)
            try:
                values = [record["c"] for _, record in read(split_of(path), schema)]
                answers.append([(type(value), repr(value)) for value in values])
            except InputError as error:
                answers.append(str(error))
    assert answers[0] == answers[1]
