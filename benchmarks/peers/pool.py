"""What somebody would write by hand for this one job: a pool of two processes.

No cluster, no failures, no splits that anybody else chose; the reduce tasks find the map output in
files whose names they know. Variants, joined by ``+``:

* ``""``: the plain way. Few keys: each task returns a dict, the caller merges. Many: dicts of the
  groups, pickled into one file per partition;
* ``shuffle``: word count through such files instead of through the caller;
* ``shufflec``: the same, but two columns per partition through marshal;
* ``col``: no grouping in the map task, columns of pairs through marshal's files; ``colc``: the same
  in one write and one read and without marshal's references;
* ``nogc``: its processes collect no garbage.
"""

from __future__ import annotations

import gc
import marshal
import multiprocessing
import os
import pickle
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, groupby
from operator import itemgetter
from typing import Any
from zlib import crc32

from benchmarks.jobs import JOBS, Job, places
from benchmarks.spans import Span, bundles, lines, spans, whole

NEEDS: tuple[str, ...] = ()
PROCESSES = 2
PARTITIONS = 2

Pairs = list[tuple[Any, Any]]


def versions() -> str:
    return f"Python {platform.python_version()}"


class Session:
    """A pool, warm."""

    def __init__(self, job: Job, variant: str) -> None:
        flags = set(filter(None, variant.split("+")))
        self._job, self._way = job, next(iter(flags - {"nogc"}), "")
        context = multiprocessing.get_context("fork")
        self._pool = context.Pool(PROCESSES, gc.disable if "nogc" in flags else None)
        self._pool.map(abs, range(2 * PROCESSES), 1)

    def run(self, files: Sequence[str], out: str) -> Pairs | None:
        """Run the job; return pairs, or None where it wrote part files."""
        os.makedirs(out)
        name, way = self._job.name, self._way
        inputs: list[Any] = bundles(files) if name == "inv" else spans(files)
        if name in ("wc", "grep") and not way:
            return self._merged(inputs, count, _add)
        if name == "stats":
            merged = self._merged(inputs, summarise, _widen)
            return [(year, (lo, hi, total / n)) for year, (lo, hi, total, n) in merged]
        write: Callable[..., None]
        read: Callable[..., Any]
        if name == "sort":
            write, read = _write_sorted, _read_sorted
        elif way == "shuffle":
            write, read = partial(_write_dicts, count), _read_counts
        elif way == "shufflec":
            write, read = _write_count_columns, _read_count_columns
        elif way in ("col", "colc"):
            write = partial(_write_columns, way == "colc")
            read = partial(_read_columns, way == "colc")
        else:
            write, read = partial(_write_dicts, invert if name == "inv" else collect), _read_dicts
        tasks = [(name, each, f"{out}/.{number}") for number, each in enumerate(inputs)]
        self._pool.map(write, tasks, 1)
        parts = [(name, len(tasks), out, partition) for partition in range(PARTITIONS)]
        answers: list[Any] = self._pool.map(read, parts, 1)
        for number in range(len(tasks)):
            for partition in range(PARTITIONS):
                os.unlink(f"{out}/.{number}-{partition}")
        if self._job.writes:
            return None
        if way == "shufflec":
            columns = map(marshal.loads, answers)
            return [pair for keys, values in columns for pair in zip(keys, values, strict=True)]
        return list(chain.from_iterable(answers))

    def close(self) -> None:
        self._pool.terminate()

    def _merged(self, inputs: list[Any], task: Any, merge: Any) -> Pairs:
        merged: dict[Any, Any] = {}
        tasks = [(self._job.name, each) for each in inputs]
        for table in self._pool.imap_unordered(_apply, [(task, *each) for each in tasks]):
            merge(merged, table)
        return list(merged.items())


def _apply(task: tuple[Callable[..., Any], str, Any]) -> Any:
    function, name, piece = task
    return function(name, piece)


# --- map tasks: dicts -----------------------------------------------------------------------------


def count(name: str, span: Span) -> dict[str, int]:
    """Fold what the job's mapper yields over a span into sums."""
    mapper = JOBS[name].mapper
    table: dict[str, int] = {}
    get = table.get
    for line in lines(span):
        for key, value in mapper(line):
            table[key] = get(key, 0) + value
    return table


def summarise(name: str, span: Span) -> dict[str, list[Any]]:
    """Fold into least, most, sum and number."""
    mapper = JOBS[name].mapper
    table: dict[str, list[Any]] = {}
    for line in lines(span):
        for key, value in mapper(line):
            row = table.get(key)
            if row is None:
                table[key] = [value, value, value, 1]
            else:
                if value < row[0]:
                    row[0] = value
                if value > row[1]:
                    row[1] = value
                row[2] += value
                row[3] += 1
    return table


def collect(name: str, span: Span) -> dict[str, list[Any]]:
    """Collect values in lists."""
    mapper = JOBS[name].mapper
    table: dict[str, list[Any]] = {}
    for line in lines(span):
        for key, value in mapper(line):
            if key in table:
                table[key].append(value)
            else:
                table[key] = [value]
    return table


def invert(name: str, bundle: Sequence[str]) -> dict[str, set[str]]:
    """Collect the names of the files that have a word."""
    table: dict[str, set[str]] = {}
    for path in bundle:
        file = os.path.basename(path)
        for line in whole(path):
            for word, where in places(file, line):
                if word in table:
                    table[word].add(where)
                else:
                    table[word] = {where}
    return table


def _add(merged: dict[str, int], table: dict[str, int]) -> None:
    if not merged:
        merged.update(table)
        return
    get = merged.get
    for key, value in table.items():
        merged[key] = get(key, 0) + value


def _widen(merged: dict[str, list[Any]], table: dict[str, list[Any]]) -> None:
    for key, row in table.items():
        old = merged.get(key)
        merged[key] = row if old is None else widened(old, row)


def widened(one: Sequence[Any], two: Sequence[Any]) -> list[Any]:
    """Merge two rows of least, most, sum and number."""
    return [min(one[0], two[0]), max(one[1], two[1]), one[2] + two[2], one[3] + two[3]]


def absorb(groups: dict[Any, Any], table: dict[Any, Any]) -> None:
    """Merge dicts of lists or of sets."""
    if not groups:
        groups.update(table)
        return
    for key, held in table.items():
        old = groups.get(key)
        if old is None:
            groups[key] = held
        elif type(old) is list:
            old.extend(held)
        else:
            old.update(held)


def partition_of(key: str) -> int:
    return crc32(key.encode()) % PARTITIONS


def dealt(table: dict[str, Any]) -> list[dict[str, Any]]:
    """Deal a dict out to the partitions."""
    parts: list[dict[str, Any]] = [{} for _ in range(PARTITIONS)]
    for key, held in table.items():
        parts[partition_of(key)][key] = held
    return parts


def _write_dicts(fold: Callable[[str, Any], dict[str, Any]], task: tuple[str, Any, str]) -> None:
    name, piece, path = task
    for partition, part in enumerate(dealt(fold(name, piece))):
        with open(f"{path}-{partition}", "wb") as file:
            pickle.dump(part, file, 5)


# --- map tasks: columns ---------------------------------------------------------------------------


def _write_count_columns(task: tuple[str, Span, str]) -> None:
    name, span, path = task
    _deal(count(name, span).items(), path)


def _write_columns(fast: bool, task: tuple[str, Any, str]) -> None:
    name, piece, path = task
    pairs: Iterable[tuple[str, Any]]
    if name == "inv":
        pairs = (
            pair
            for file in piece
            for line in whole(file)
            for pair in places(os.path.basename(file), line)
        )
    else:
        pairs = chain.from_iterable(map(JOBS[name].mapper, lines(piece)))
    _deal(pairs, path, fast)


def _deal(pairs: Iterable[tuple[str, Any]], path: str, fast: bool = True) -> None:
    keys: list[list[str]] = [[] for _ in range(PARTITIONS)]
    values: list[list[Any]] = [[] for _ in range(PARTITIONS)]
    checksum = crc32
    for key, value in pairs:
        partition = checksum(key.encode()) % PARTITIONS
        keys[partition].append(key)
        values[partition].append(value)
    for partition in range(PARTITIONS):
        with open(f"{path}-{partition}", "wb") as file:
            if fast:  # version 2 has no references: nothing is looked up for each object
                file.write(marshal.dumps((keys[partition], values[partition]), 2))
            else:
                marshal.dump((keys[partition], values[partition]), file)


def _write_sorted(task: tuple[str, Span, str]) -> None:
    name, span, path = task
    mapper = JOBS[name].mapper
    parts: list[Pairs] = [[] for _ in range(PARTITIONS)]
    for line in lines(span):
        for pair in mapper(line):
            parts[pair[0] >= "P"].append(pair)  # the keys' characters are even: half of them
    for partition, pairs in enumerate(parts):
        pairs.sort(key=itemgetter(0))
        with open(f"{path}-{partition}", "wb") as file:
            pickle.dump(pairs, file, 5)


# --- reduce tasks ---------------------------------------------------------------------------------

Part = tuple[str, int, str, int]  #: job, map tasks, folder, partition


def _pickles(part: Part) -> Iterator[Any]:
    _, number, out, partition = part
    for index in range(number):
        with open(f"{out}/.{index}-{partition}", "rb") as file:
            yield pickle.load(file)


def _read_counts(part: Part) -> Pairs:
    table: dict[str, int] = {}
    for each in _pickles(part):
        _add(table, each)
    return list(table.items())


def _read_count_columns(part: Part) -> bytes:
    _, number, out, partition = part
    table: dict[str, int] = {}
    get = table.get
    for index in range(number):
        with open(f"{out}/.{index}-{partition}", "rb") as file:
            keys, values = marshal.loads(file.read())
        for key, value in zip(keys, values, strict=True):
            table[key] = get(key, 0) + value
    return marshal.dumps((list(table), list(table.values())), 2)


def _read_dicts(part: Part) -> Pairs:
    groups: dict[str, Any] = {}
    for each in _pickles(part):
        absorb(groups, each)
    return reduced(part[0], groups, part[2], part[3])


def _read_columns(fast: bool, part: Part) -> Pairs:
    groups: dict[str, list[Any]] = {}
    get = groups.get
    _, number, out, partition = part
    for index in range(number):
        with open(f"{out}/.{index}-{partition}", "rb") as file:
            keys, values = marshal.loads(file.read()) if fast else marshal.load(file)
        for key, value in zip(keys, values, strict=True):
            held = get(key)
            if held is None:
                groups[key] = [value]
            else:
                held.append(value)
    return reduced(part[0], groups, part[2], part[3])


def reduced(name: str, groups: dict[str, Any], out: str, partition: int) -> Pairs:
    """Reduce groups into a part file, or into pairs where the job writes none."""
    reducer = JOBS[name].reducer
    if not JOBS[name].writes:
        return [pair for key, held in groups.items() for pair in reducer(key, iter(held))]
    with open(f"{out}/part-{partition}", "w") as file:
        for key, held in groups.items():
            for word, value in reducer(key, iter(held)):
                file.write(f"{word}\t{value}\n")
    return []


def _read_sorted(part: Part) -> Pairs:
    name, _, out, partition = part
    reducer = JOBS[name].reducer
    pairs: Pairs = []
    for each in _pickles(part):
        pairs += each
    pairs.sort(key=itemgetter(0))  # finds the runs
    with open(f"{out}/part-{partition}", "w") as file:
        for key, group in groupby(pairs, itemgetter(0)):
            for word, value in reducer(key, map(itemgetter(1), group)):
                file.write(f"{word}\t{value}\n")
    return []
