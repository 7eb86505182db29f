"""Everything a mapper, reducer, combiner or partitioner may be."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from jobs import Job, each, pairs_of

LINES = [
    ["the quick brown fox", "", "jumps over the lazy dog", "the end"],
    ["a fox", "the fox the dog", "é"],
    ["over and over"],
]
FACTOR = 3


def words(line: str) -> Iterator[tuple[str, int]]:
    for word in line.split():
        yield word, 1


def words_as_lists(line: str) -> list[list[Any]]:
    return [[word, 1] for word in line.split()]


def words_or_none(line: str) -> Any:
    if "fox" in line:
        return ((word, 1) for word in line.split())
    return None


def total(key: Any, values: Any) -> Iterator[tuple[Any, int]]:
    yield key, sum(values)


def total_returned(key: Any, values: Any) -> int:
    return sum(values)


def total_or_none(key: str, values: Any) -> int | None:
    """None is a value like any other, but not for the first group of a task or of the trial."""
    return None if key == "dog" else sum(values)


def pair_returned(key: Any, values: Any) -> tuple[Any, int]:
    """A tuple that is returned is the value, also when it looks like a pair."""
    return key, sum(values)


def list_returned(key: Any, values: Any) -> list[tuple[Any, Any]]:
    return [(key, value) for value in values]


def some_groups(key: str, values: Any) -> Iterator[tuple[str, int]]:
    if len(key) > 3:
        yield key, len(values)
        yield key, len(key)


def other_order(key: str, values: Any) -> Iterator[tuple[str, int]]:
    yield f"z{key}", 1
    yield f"a{key}", 2


def other_order_of_any(key: Any, values: Any) -> Iterator[tuple[str, int]]:
    yield f"{9 - len(values)}{key}", 1
    yield f"0{key}", 2


def echo(key: Any, values: Any) -> Iterator[tuple[Any, Any]]:
    yield key, values


def each_value(key: Any, values: Any) -> Iterator[tuple[Any, Any]]:
    for value in values:
        yield key, value


def echo_returned(key: Any, values: Any) -> Any:
    return values


def multiplied(word_and_factor: int) -> Callable[[str], list[tuple[str, int]]]:
    def mapper(line: str) -> list[tuple[str, int]]:
        return [(word, word_and_factor * FACTOR) for word in line.split()]

    return mapper


def scaled(line: str, factor: int = 2, *, offset: int = 0) -> list[tuple[str, int]]:
    return [(word, factor + offset) for word in line.split()]


class CountsInTask:
    """A mapper that gathers, and gives at the end of its task."""

    def __init__(self) -> None:
        self.lines = 0
        self.counts: dict[str, int] = {}

    def __call__(self, line: str) -> None:
        self.lines += 1
        for word in line.split():
            self.counts[word] = self.counts.get(word, 0) + 1

    def finish(self) -> Iterator[tuple[str, int]]:
        yield from self.counts.items()
        yield "lines", self.lines


class CountsAndFinishes:
    """A mapper that does both."""

    last = ""

    def __call__(self, line: str) -> Iterator[tuple[str, int]]:
        self.last = line
        yield from words(line)

    def finish(self) -> list[tuple[str, int]]:
        return [("last", len(self.last))]


class Totals:
    """A reducer that gives each total, and at the end what it saw, out of order."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, key: str, values: Any) -> Iterator[tuple[str, int]]:
        self.seen.append(key)
        yield key, sum(values)

    def finish(self) -> Iterator[tuple[Any, Any]]:
        yield "zz", len(self.seen)
        yield "", self.seen
        yield 0, "a number"
        yield "", "again"
        yield "over", "beside the group of this key"


class OnlyFinish:
    def __init__(self) -> None:
        self.best: tuple[int, str] | None = None

    def __call__(self, key: str, values: Any) -> None:
        found = (sum(values), key)
        self.best = max(self.best or found, found)

    def finish(self) -> Any:
        return [("best", self.best)] if self.best else None


class Remembers:
    """A class without finish(): made once per task, called per group."""

    def __init__(self) -> None:
        self.before: list[str] = []

    def __call__(self, key: str, values: Any) -> tuple[int, list[str]]:
        self.before.append(key)
        return sum(values), self.before[:-1]


class Scaler:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, line: str) -> list[tuple[str, int]]:
        return [(word, self.factor) for word in line.split()]

    def method(self, line: str) -> list[tuple[str, int]]:
        return self(line)


def nested(depth: int) -> Any:
    """A tuple in a tuple in a tuple ..."""
    return (nested(depth - 1),) if depth else ()


def by_first_letter(key: str, partitions: int) -> int:
    return ord(key[0]) % partitions


def last_part(key: Any, partitions: int) -> int:
    return partitions - 1


def parted_by_numpy(key: str, partitions: int) -> Any:
    import numpy as np

    return np.int64(len(key) % partitions)


def jobs() -> dict[str, Job]:
    return {
        "generators": Job(words, LINES, total),
        "lists of lists": Job(words_as_lists, LINES, total),
        "generator or None": Job(words_or_none, LINES, total),
        "returned value": Job(words, LINES, total_returned),
        "returned None": Job(words, LINES, total_or_none, {"partitioner": last_part}),
        "returned tuple": Job(words, LINES, pair_returned),
        "returned list": Job(words, LINES, list_returned),
        "several pairs or none": Job(words, LINES, some_groups),
        "pairs out of order": Job(words, LINES, other_order),
        "the values themselves": Job(words, LINES, echo),
        "the values themselves, returned": Job(words, LINES, echo_returned),
        "closure": Job(multiplied(2), LINES, total),
        "lambdas": Job(
            lambda line: [(line[:1], len(line))], LINES, lambda key, values: max(values)
        ),
        "partial": Job(functools.partial(scaled, factor=5, offset=1), LINES, total),
        "default argument": Job(scaled, LINES, total),
        "object": Job(Scaler(4), LINES, total),
        "bound method": Job(Scaler(4).method, LINES, total),
        "class that gathers": Job(CountsInTask, LINES, total),
        "class that does both": Job(CountsAndFinishes, LINES, Totals),
        "class that only finishes": Job(words, LINES, OnlyFinish),
        "class that gathers, map only": Job(CountsInTask, LINES, "none"),
        "class without finish": Job(words, LINES, Remembers),
        "class, one part": Job(words, LINES, Totals, {"reduce_tasks": 1}),
        "combiner": Job(words, LINES, total, {"combiner": total}),
        "combiner that returns": Job(words, LINES, total, {"combiner": total_returned}),
        "combiner that keeps all": Job(words, LINES, total, {"combiner": each_value}),
        "partitioner": Job(
            words, LINES, total, {"partitioner": by_first_letter, "reduce_tasks": 4}
        ),
        "partitioner, one part full": Job(words, LINES, Totals, {"partitioner": last_part}),
        "partitioner of numpy": Job(words, LINES, total, {"partitioner": parted_by_numpy}),
        "partitioner and combiner": Job(
            words, LINES, total, {"partitioner": by_first_letter, "combiner": "sum"}
        ),
        "sorted values": Job(
            pairs_of, each([("a", 3), ("b", 1)], [("a", 1), ("a", 2)]), echo, {"sort_values": True}
        ),
        "sorted tuples": Job(
            pairs_of,
            each([("a", (2, "x")), ("a", (1, "z"))], [("a", (1, "y"))]),
            "first",
            {"sort_values": True},
        ),
        "no pairs": Job(lambda line: [], LINES, total),
        "no pairs, a class": Job(lambda line: [], LINES, Totals),
        "no lines": Job(words, [[]], total),
        "no lines, a class": Job(CountsInTask, [[]], Totals),
        "no lines, map only": Job(words, [[]], "none"),
        "more parts than keys": Job(words, LINES, total, {"reduce_tasks": 40}),
    }
