"""The hand-written program beside which mrkernel is measured: a pool of two processes.

It has no cluster, no failures, no splits at line ends of any kind, and its reduce tasks find the
map output in files whose names they know: what somebody would write for this one job. Three ways of
the shuffle, from the plain one to the best that plain Python has:

* ``pickle``: each map task folds into a dict and pickles one dict per partition;
* ``columns``: the same, but two lists per partition through marshal, and no garbage collection;
* ``pairs``: as ``columns``, without a combiner: every pair is shuffled, values are collected in
  lists and handed to the reducer.
"""

from __future__ import annotations

import gc
import marshal
import multiprocessing
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any
from zlib import crc32

from benchmarks.jobs import nothing, total, words
from benchmarks.spans import Span, lines, spans

PROCESSES = 2
PARTITIONS = 2

Pairs = list[tuple[Any, Any]]


class HandWrittenPool:
    """Make it before any thread exists: it forks.

    Args:
        collect: whether its processes collect garbage, as they do unless somebody thinks of it.
    """

    def __init__(self, *, collect: bool = True) -> None:
        context = multiprocessing.get_context("fork")
        before = set(multiprocessing.active_children())
        self._pool = context.Pool(PROCESSES, None if collect else gc.disable)
        self._pool.map(abs, range(2 * PROCESSES), 1)
        started = set(multiprocessing.active_children()) - before
        self.pids = tuple(process.pid or 0 for process in started)

    def __enter__(self) -> HandWrittenPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.terminate()
        self._pool.join()

    def count_lines(self, lines: Sequence[str]) -> Pairs:
        """Count the words of a few lines: two map tasks, two reduce tasks, all in memory."""
        half = len(lines) // 2
        mapped = self._pool.map(_map_lines, [lines[:half], lines[half:]], 1)
        reduced = self._pool.map(_reduce_dicts, list(zip(*mapped, strict=True)), 1)
        return list(chain.from_iterable(reduced))

    def empty_tasks(self, number: int) -> Pairs:
        """Run so many tasks that yield nothing, one by one."""
        return list(chain.from_iterable(self._pool.map(_map_nothing, range(number), 1)))

    def count_files(self, paths: Sequence[Path], shuffle: str) -> Pairs:
        """Count the words of files; see the module for the ways to shuffle."""
        write, read, unpack = _SHUFFLES[shuffle]
        folder = tempfile.mkdtemp(prefix="pool-", dir=paths[0].parent)
        try:
            pieces = spans([str(path) for path in paths])
            tasks = [(span, folder, number) for number, span in enumerate(pieces)]
            self._pool.map(write, tasks, 1)
            ends = [(folder, len(pieces), partition) for partition in range(PARTITIONS)]
            parts = self._pool.map(read, ends, 1)
        finally:
            shutil.rmtree(folder)
        return list(chain.from_iterable(map(unpack, parts)))


# --- tasks ----------------------------------------------------------------------------------------


def _fold(lines: Iterable[str]) -> dict[str, int]:
    table: dict[str, int] = {}
    get = table.get
    for line in lines:
        for word, one in words(line):
            table[word] = get(word, 0) + one
    return table


def _map_lines(lines: Sequence[str]) -> list[dict[str, int]]:
    parts: list[dict[str, int]] = [{} for _ in range(PARTITIONS)]
    for word, count in _fold(lines).items():
        parts[crc32(word.encode()) % PARTITIONS][word] = count
    return parts


def _reduce_dicts(tables: Iterable[dict[str, int]]) -> Pairs:
    groups: dict[str, list[int]] = {}
    for table in tables:
        for word, count in table.items():
            groups.setdefault(word, []).append(count)
    return [pair for word, counts in groups.items() for pair in total(word, counts)]


def _map_nothing(record: int) -> Pairs:
    return list(nothing(record))


def _write_pickle(task: tuple[Span, str, int]) -> None:
    span, folder, number = task
    parts: list[dict[str, int]] = [{} for _ in range(PARTITIONS)]
    for word, count in _fold(lines(span)).items():
        parts[crc32(word.encode()) % PARTITIONS][word] = count
    for partition, part in enumerate(parts):
        with open(f"{folder}/{number}-{partition}", "wb") as file:
            pickle.dump(part, file, 5)


def _read_pickle(task: tuple[str, int, int]) -> Pairs:
    folder, number, partition = task
    table: dict[str, int] = {}
    for index in range(number):
        with open(f"{folder}/{index}-{partition}", "rb") as file:
            part = pickle.load(file)
        if not table:
            table = part
            continue
        get = table.get
        for word, count in part.items():
            table[word] = get(word, 0) + count
    return list(table.items())


def _write_columns(task: tuple[Span, str, int]) -> None:
    span, folder, number = task
    _deal(_fold(lines(span)).items(), folder, number)


def _write_pairs(task: tuple[Span, str, int]) -> None:
    span, folder, number = task
    _deal(chain.from_iterable(map(words, lines(span))), folder, number)


def _deal(pairs: Iterable[tuple[str, int]], folder: str, number: int) -> None:
    keys: list[list[str]] = [[] for _ in range(PARTITIONS)]
    values: list[list[int]] = [[] for _ in range(PARTITIONS)]
    for key, value in pairs:
        partition = crc32(key.encode()) % PARTITIONS
        keys[partition].append(key)
        values[partition].append(value)
    for partition in range(PARTITIONS):
        with open(f"{folder}/{number}-{partition}", "wb") as file:
            file.write(marshal.dumps((keys[partition], values[partition]), 2))


def _read_columns(task: tuple[str, int, int]) -> bytes:
    folder, number, partition = task
    table: dict[str, int] = {}
    get = table.get
    for index in range(number):
        for word, count in _columns(folder, index, partition):
            table[word] = get(word, 0) + count
    return _packed(table)


def _read_pairs(task: tuple[str, int, int]) -> bytes:
    folder, number, partition = task
    groups: dict[str, list[int]] = {}
    get = groups.get
    for index in range(number):
        for word, one in _columns(folder, index, partition):
            ones = get(word)
            if ones is None:
                groups[word] = [one]
            else:
                ones.append(one)
    return _packed(dict(chain.from_iterable(map(total, groups, groups.values()))))


def _columns(folder: str, index: int, partition: int) -> Iterable[tuple[str, int]]:
    with open(f"{folder}/{index}-{partition}", "rb") as file:
        keys, values = marshal.loads(file.read())
    return zip(keys, values, strict=True)


def _packed(table: dict[str, int]) -> bytes:
    return marshal.dumps((list(table), list(table.values())), 2)


def _unpacked(data: bytes) -> Iterable[tuple[str, int]]:
    keys, values = marshal.loads(data)
    return zip(keys, values, strict=True)


#: Per way to shuffle: map task, reduce task, and what makes pairs of a reduce task's answer.
_SHUFFLES: dict[str, tuple[Callable[..., None], Callable[..., Any], Callable[[Any], Any]]] = {
    "pickle": (_write_pickle, _read_pickle, list),
    "columns": (_write_columns, _read_columns, _unpacked),
    "pairs": (_write_pairs, _read_pairs, _unpacked),
}
