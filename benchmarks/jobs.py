"""What is computed: the same functions for mrkernel and for whatever it is measured beside.

The first few are the small jobs of the figures; the rest are the six jobs (``JOBS``), each one as
somebody would write it for one record at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any, cast

Pair = tuple[Any, Any]


def ten_lines(number: int) -> list[str]:
    """Give the lines of a small job; others for each number, of the same length."""
    return [
        f"the quick brown fox jumps over the lazy dog number {number:06}-{n}" for n in range(10)
    ]


def nothing(record: object) -> Iterator[tuple[str, int]]:
    """Mapper that yields nothing: what is left is the cost of a task."""
    yield from ()


def as_in_a_cell(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function as a notebook's cell would have defined it: it travels by value.

    Functions of this module would travel as (module, name) with the module's source beside them.
    """
    whole = cast(FunctionType, function)
    known = whole.__globals__
    used = {name: known[name] for name in whole.__code__.co_names if name in known}
    copy = FunctionType(whole.__code__, {"__name__": "__main__", **used}, whole.__name__)
    copy.__module__ = "__main__"
    return copy


# --- the six jobs ---------------------------------------------------------------------------------


def words(line: str) -> Iterator[tuple[str, int]]:
    """Mapper: each word of a line, once."""
    for word in line.split():
        yield word, 1


def total(word: str, ones: Iterable[int]) -> Iterator[tuple[str, int]]:
    """Reducer: how often."""
    yield word, sum(ones)


#: What grep counts: ``return -EINVAL`` and the like in C, ``raise ValueError`` in Python.
WANTED = re.compile(r"return -E[A-Z]+|raise [A-Z][A-Za-z]+")


def matches(line: str) -> Iterator[tuple[str, int]]:
    """Mapper: each match of the pattern, once."""
    for match in WANTED.findall(line):
        yield match, 1


def scores(line: str) -> Iterator[tuple[str, float]]:
    """Mapper of a line ``student_id,name,batch_year,score``: the year's score."""
    fields = line.split(",")
    if fields[0] != "student_id":
        yield fields[2], float(fields[3])


def extremes(year: str, scores: Iterable[float]) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Reducer: smallest, largest and mean score."""
    held = list(scores)
    yield year, (min(held), max(held), sum(held) / len(held))


def record(line: str) -> Iterator[tuple[str, str]]:
    """Mapper of a record: ten characters of key, a tab, the rest."""
    yield line[:10], line[11:]


def same(key: str, values: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Reducer: what came in."""
    for value in values:
        yield key, value


def places(name: str, line: str) -> Iterator[tuple[str, str]]:
    """Mapper: each word of a line, with the name of its file."""
    for word in line.split():
        yield word, name


def index(word: str, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Reducer: the files that have the word, in order."""
    yield word, " ".join(sorted(set(names)))


def key_value(line: str) -> Iterator[tuple[str, int]]:
    """Mapper of a line ``key TAB value``, but the header."""
    key, value = line.split("\t")
    if key != "key":
        yield key, int(value)


def middle(key: str, values: Iterable[int]) -> Iterator[tuple[str, int]]:
    """Reducer: the upper median. Not algebraic: it needs the whole group."""
    ordered = sorted(values)
    yield key, ordered[len(ordered) // 2]


def _as_it_is(pair: Pair) -> Pair:
    return pair


def _rounded(pair: Pair) -> Pair:
    """One spelling of a year's statistics, whoever computed them."""
    year, found = pair
    if isinstance(found, dict):
        found = (found["min"], found["max"], found["mean"])
    least, most, mean = found
    return str(year), (float(least), float(most), round(float(mean), 6))


@dataclass(frozen=True)
class Job:
    """One of the six.

    Attributes:
        name: as on the command line.
        title: as in the table.
        data: the name of its input, see ``benchmarks.data``.
        mapper: over (name of the file, line) for the inverted index, else over lines.
        reducer: over a key and an iterable of its values.
        writes: whether its answer is a folder of ``key TAB value`` lines, else pairs in the
            caller's hands.
        ordered: whether the folder's files, by name, must be in the order of the keys.
        tidy: gives a pair of the answer in the one spelling that is compared.
    """

    name: str
    title: str
    data: str
    mapper: Callable[..., Iterator[Pair]]
    reducer: Callable[..., Iterator[Pair]]
    writes: bool = False
    ordered: bool = False
    tidy: Callable[[Pair], Pair] = _as_it_is


JOBS = {
    job.name: job
    for job in (
        Job("wc", "word count", "text", words, total),
        Job("grep", "grep count", "text", matches, total),
        Job("stats", "min, max, mean by batch year", "students", scores, extremes, tidy=_rounded),
        Job("sort", "sort of 100-byte records", "records", record, same, True, True),
        Job("inv", "inverted index", "small", places, index, True),
        Job("group", "group-by with median", "pairs", key_value, middle, True),
        Job("group-large", "group-by with median, large", "pairs-large", key_value, middle, True),
    )
}
