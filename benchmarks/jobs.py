"""What is computed: the same functions for mrkernel and for whatever it is measured beside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import FunctionType
from typing import Any, cast


def ten_lines(number: int) -> list[str]:
    """Give the lines of a small job; others for each number, of the same length."""
    return [
        f"the quick brown fox jumps over the lazy dog number {number:06}-{n}" for n in range(10)
    ]


def words(line: str) -> Iterator[tuple[str, int]]:
    """Mapper: each word of a line, once."""
    for word in line.split():
        yield word, 1


def total(word: str, ones: Iterable[int]) -> Iterator[tuple[str, int]]:
    """Reducer: how often."""
    yield word, sum(ones)


def nothing(record: object) -> Iterator[tuple[str, int]]:
    """Mapper that yields nothing: what is left is the cost of a task."""
    yield from ()


def as_in_a_cell(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function as a notebook's cell would have defined it: it travels by value.

    Functions of this module would travel as (module, name) with the module's source beside them.
    """
    whole = cast(FunctionType, function)
    copy = FunctionType(whole.__code__, {"__name__": "__main__"}, whole.__name__)
    copy.__module__ = "__main__"
    return copy
