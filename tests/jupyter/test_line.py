"""A magic's line: shell words and expressions."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.core.error import UsageError

from mrkernel.jupyter.line import Expression, split_line

text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8) | st.text(
    "{}[]'\" :\\#a", max_size=8
)
things: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("  a.txt\tb.txt ", ["a.txt", "b.txt"]),
        ("'a b.txt' --name \"my job\"", ["a b.txt", "--name", "my job"]),
        ("a# #b", ["a#", "#b"]),
        ("*.txt dir/ ~/x", ["*.txt", "dir/", "~/x"]),
        ("{lines}", [Expression("lines")]),
        ("{ lines } --into x", [Expression("lines"), "--into", "x"]),
        ("{f(a, b)} {[x for x in y]}", [Expression("f(a, b)"), Expression("[x for x in y]")]),
        ("{{'a': {1: 2} }}", [Expression("{'a': {1: 2} }")]),
        ("{ {1: 2} | {3: 4} } a", [Expression("{1: 2} | {3: 4}"), "a"]),
        ("{'} '}", [Expression("'} '")]),
        ("--name={x}", ["--name={x}"]),
        # A brace with more to it is part of a path, which expands later.
        ("{x}/data.txt", ["{x}/data.txt"]),
        ("{x}/{y} {z}", ["{x}/{y}", Expression("z")]),
        ("data/{x}.txt", ["data/{x}.txt"]),
        ("'{x} y'", ["{x} y"]),
        ("a=*.csv b={counts}", ["a=*.csv", Expression("counts", "b")]),
        ("b={ f({1: 2}) } c", [Expression("f({1: 2})", "b"), "c"]),
        ("b={x}/data.txt", ["b={x}/data.txt"]),
    ],
)
def test_words(line: str, words: list[Any]) -> None:
    assert split_line(line) == words


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{lines", "{lines opens a brace that is never closed"),
        ("a 'b", "'b: No closing quotation"),
        ("{x for x in y} b", "{x for x in y} is not an expression of Python: invalid syntax"),
        ("{[x } b", "{[x} is not an expression of Python: "),
    ],
)
def test_what_is_neither_is_one_sentence(line: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        split_line(line)
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


@given(things, things)
@settings(max_examples=150)
def test_any_expression_is_found_whole(first: Any, second: Any) -> None:
    line = f"--mapper {{{first!r}}} {{ {second!r} }} a.txt"
    assert split_line(line) == [
        "--mapper",
        Expression(repr(first)),
        Expression(repr(second)),
        "a.txt",
    ]


@given(st.lists(text.filter(lambda word: not word.startswith("{")), max_size=4))
@settings(max_examples=150)
def test_quoted_words_come_back(words: list[str]) -> None:
    assert split_line(shlex.join(words)) == words
