from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrkernel.job.codec import render_pair, render_pairs


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("the", 3, b"the\t3\n"),
        (b"\xff", "é", b"\xff\t\xc3\xa9\n"),
        (1.5, None, b"1.5\tnull\n"),
        (("a", 1), [1, "é"], '["a", 1]\t[1, "é"]\n'.encode()),
        (True, {"b": 1}, b'true\t{"b": 1}\n'),
        ("k", {("a", "b"): 1}, b"k\t{('a', 'b'): 1}\n"),
        ("k", {"b", "a"}, b"k\t{'a', 'b'}\n"),
        ("k", frozenset(), b"k\tfrozenset()\n"),
        ("k", frozenset({2, 1}), b"k\tfrozenset({1, 2})\n"),
        ("k", set(), b"k\tset()\n"),
        ("k", 1 + 2j, b"k\t(1+2j)\n"),
        ("two\nlines", "tab\there", b"two\nlines\ttab\there\n"),
        (b"\xe9x".decode("utf-8", "surrogateescape"), 1, b"\xe9x\t1\n"),
        ("\ud800", 1, b"\xed\xa0\x80\t1\n"),
        ("k", ["\ud800"], b'k\t["\xed\xa0\x80"]\n'),
    ],
)
def test_lines(key: Any, value: Any, line: bytes) -> None:
    assert render_pair(key, value) == line


def test_numpy_scalars_and_arrays() -> None:
    numpy = pytest.importorskip("numpy")
    assert render_pair("k", numpy.int64(3)) == b"k\t3\n"
    assert render_pair("k", numpy.arange(3)) == b"k\t[0, 1, 2]\n"


things = st.one_of(st.text(), st.binary(), st.integers(), st.floats(), st.none(), st.booleans())


@given(st.lists(st.tuples(things, things)))
def test_many_are_rendered_like_one(pairs: list[tuple[Any, Any]]) -> None:
    assert list(render_pairs(pairs)) == [render_pair(key, value) for key, value in pairs]
