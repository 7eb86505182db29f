from __future__ import annotations

import datetime
import decimal
import json
import math
from typing import Any

import pytest

from mrkernel.data.rendering import render, render_csv, render_json


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ("the", b"the"),
        (b"\xff", b"\xff"),
        (3, b"3"),
        (1.5, b"1.5"),
        (math.nan, b"NaN"),
        (-math.inf, b"-Infinity"),
        (None, b"null"),
        (True, b"true"),
        (("a", 1), b'["a", 1]'),
        ([1, "é"], '[1, "é"]'.encode()),
        ({"b": 1}, b'{"b": 1}'),
        ({("a", "b"): 1}, b"{('a', 'b'): 1}"),
        ({"b", "a"}, b"{'a', 'b'}"),
        (frozenset(), b"frozenset()"),
        (frozenset({2, 1}), b"frozenset({1, 2})"),
        (set(), b"set()"),
        (1 + 2j, b"(1+2j)"),
        ("two\nlines, tab\there", b"two\nlines, tab\there"),
        (b"\xe9x".decode("utf-8", "surrogateescape"), b"\xe9x"),
        ("\ud800", b"\xed\xa0\x80"),
        (["\ud800"], b'["\xed\xa0\x80"]'),
    ],
)
def test_text(item: Any, text: bytes) -> None:
    assert render(item) == text


@pytest.mark.parametrize(
    ("item", "cell"),
    [
        (None, b""),
        ("", b'""'),
        (b"", b'""'),
        (True, b"true"),
        (False, b"false"),
        (-3, b"-3"),
        (1 << 70, b"1180591620717411303424"),
        (0.1, b"0.1"),
        (2.0, b"2.0"),
        (1e16, b"1e+16"),
        (math.nan, b"nan"),
        (-math.inf, b"-inf"),
        ("a,b", b'"a,b"'),
        ('say "x"', b'"say ""x"""'),
        ("two\nlines", b'"two\nlines"'),
        ("\r", b'"\r"'),
        ("tab\t and  spaces ", b"tab\t and  spaces "),
        (b"\xff,", b'"\xff,"'),
        ([1, "a"], b'"[1, ""a""]"'),
        ({"a": 1.5}, b'"{""a"": 1.5}"'),
        ({3, 1}, b'"{1, 3}"'),
        ((), b"[]"),
        (datetime.date(2020, 1, 2), b"2020-01-02"),
        (decimal.Decimal("1.50"), b"1.50"),
        (1 + 2j, b"(1+2j)"),
    ],
)
def test_csv_cells(item: Any, cell: bytes) -> None:
    assert render_csv(item) == cell


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (None, b"null"),
        (True, b"true"),
        (1 << 70, b"1180591620717411303424"),
        (1e16, b"1e+16"),
        ('é "\n\\', '"é \\"\\n\\\\"'.encode()),
        ("\ud800", b'"\\ud800"'),
        ([1, (2, None)], b"[1,[2,null]]"),
        ({"b": 1, 2: "a"}, b'{"b":1,"2":"a"}'),
        ({3, 1, 2}, b"[1,2,3]"),
        ([{"b", "a"}], b'[["a","b"]]'),
    ],
)
def test_json(item: Any, text: bytes) -> None:
    assert render_json(item) == text
    json.loads(text)


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (math.nan, "Out of range float"),
        ([math.inf], "Out of range float"),
        (b"x", "JSON has no bytes"),
        ({"k": object()}, "JSON has no object"),
        ({(1, 2): 3}, "keys must be str"),
    ],
)
def test_what_json_cannot_hold(item: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        render_json(item)


def test_nesting_without_end_is_told_and_not_hung_on() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deeply"):
        render_json(deep)


def test_numpy() -> None:
    numpy = pytest.importorskip("numpy")
    for number in (numpy.int64(3), numpy.int8(3), numpy.array(3)):
        assert render(number) == render_csv(number) == render_json(number) == b"3"
    assert render(numpy.arange(3)) == b"[0, 1, 2]"
    assert render_csv(numpy.float64(0.5)) == b"0.5"
    assert render_csv(numpy.bool_(True)) == b"true"
    assert render_csv(numpy.str_("a,b")) == b'"a,b"'
    assert render_json({"a": numpy.arange(2)}) == b'{"a":[0,1]}'
