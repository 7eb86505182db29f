"""A task that is run twice leaves no trace: pairs, counters and chance are as if it ran once."""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sequential
from jobs import functions, looks
from oracle import exactly

import mrkernel
from mrkernel.errors import TaskFailedError
from mrkernel.job import randomness
from mrkernel.job.counters import MOST

RECORDS = list(range(40))


def once(path: Path) -> bool:
    """True the first time, for whoever comes first."""
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def counted(record: int) -> Iterator[tuple[int, float]]:
    mrkernel.counter("records").add()
    mrkernel.counter("sum").add(record)
    mrkernel.counter("negative").add(-1)
    yield record % 5, random.random()


def counted_sum(key: int, values: Any) -> Iterator[tuple[int, Any]]:
    mrkernel.counter("groups").add()
    mrkernel.counter("values").add(len(values))
    yield key, [*values, random.random()]


COUNTS = {"records": 40, "sum": 780, "negative": -40, "groups": 5, "values": 40}
OPTIONS: dict[str, Any] = {"split_size": 1, "reduce_tasks": 2}


def test_counters_are_exact(place: Any) -> None:
    job = mrkernel.submit(counted, RECORDS, counted_sum, on=place, **OPTIONS)
    assert job.result().counters == COUNTS
    assert job.counters == COUNTS


def test_counters_of_a_combiner_and_of_finish(place: Any) -> None:
    class Mapper:
        def __call__(self, record: int) -> list[tuple[int, int]]:
            return [(0, record)] * 3

        def finish(self) -> None:
            mrkernel.counter("map tasks").add()

    def combiner(key: int, values: Any) -> int:
        mrkernel.counter("combined").add(len(values))
        return sum(values)

    class Reducer:
        def __call__(self, key: int, values: Any) -> int:
            return sum(values)

        def finish(self) -> None:
            mrkernel.counter("reduce tasks").add()

    options = OPTIONS | {"combiner": combiner}
    result = mrkernel.run(Mapper, range(4), Reducer, on=place, **options)
    assert result.to_dict() == {0: 18}
    assert result.counters == {"map tasks": 4, "combined": 12, "reduce tasks": 2}


def test_counts_of_an_attempt_that_failed_are_forgotten(place: Any) -> None:
    """Also by the process which ran it, and which goes on with other tasks."""

    def mapper(record: int) -> Iterator[tuple[int, float]]:
        yield from counted(record)
        if record == 35:
            raise ValueError

    options = OPTIONS | {"split_size": "1M"}
    for _ in range(2):
        with pytest.raises(TaskFailedError):
            mrkernel.run(mapper, RECORDS, counted_sum, on=place, **options)
        assert mrkernel.run(counted, RECORDS, counted_sum, on=place, **options).counters == COUNTS


@pytest.mark.parametrize("phase", ["map", "reduce"])
def test_a_crashed_attempt_leaves_no_trace(cluster: Any, tmp_path: Path, phase: str) -> None:
    marker = tmp_path / "crashed"
    here = os.getpid()

    def mapper(record: int) -> Iterator[tuple[int, float]]:
        pairs = list(counted(record))
        if phase == "map" and record == 30 and once(marker):
            os._exit(7)
        yield from pairs

    def reducer(key: int, values: Any) -> Iterator[tuple[int, Any]]:
        yield from counted_sum(key, values)
        if phase == "reduce" and here not in (os.getpid(), os.getppid()) and once(marker):
            os._exit(7)

    undisturbed = mrkernel.run(counted, RECORDS, counted_sum, on="inline", **OPTIONS)
    result = cluster.run(mapper, RECORDS, reducer, **OPTIONS)
    assert marker.exists()
    assert exactly(list(result)) == exactly(list(undisturbed))
    assert result.counters == COUNTS


def test_an_attempt_that_crashed_late_is_repeated_as_it_was(cluster: Any, tmp_path: Path) -> None:
    """Also what it had drawn, counted and spilled before."""
    marker = tmp_path / "crashed"

    class Mapper:
        def __init__(self) -> None:
            self.seen = 0

        def __call__(self, record: int) -> list[tuple[int, Any]]:
            self.seen += 1
            mrkernel.counter("seen").add()
            return [(record % 3, (self.seen, random.random()))] * 50

        def finish(self) -> Iterator[tuple[int, Any]]:
            if self.seen > 20 and once(marker):  # more than the preflight tries
                os._exit(1)
            yield 0, ("finished", self.seen, random.random())

    options = {"reduce_tasks": 1, "slot_memory": "4K", "split_size": "1M"}
    marker.touch()
    undisturbed = mrkernel.run(Mapper, range(200), "list", on="inline", **options)
    marker.unlink()
    result = cluster.run(Mapper, range(200), "list", **options)
    assert marker.exists()
    assert exactly(list(result)) == exactly(list(undisturbed))
    assert result.counters == {"seen": 200}
    with randomness.seeded(0, "map-0"):
        assert result.lookup(0)[0][0] == (1, random.random())


def test_a_task_that_always_crashes_is_given_up_and_the_cluster_lives(cluster: Any) -> None:
    here = os.getpid()

    def mapper(record: int) -> list[tuple[int, int]]:
        if here not in (os.getpid(), os.getppid()):
            os._exit(3)
        return [(record, 1)]

    with pytest.raises(TaskFailedError, match=r"map-0 failed 2 times.* exit status 3"):
        cluster.run(mapper, [1], "sum", attempts=2)
    assert cluster.run(counted, RECORDS, counted_sum, **OPTIONS).counters == COUNTS


@pytest.mark.parametrize(
    ("name", "n", "error"),
    [
        ("c", 1.5, "whole numbers"),
        ("c", "1", "whole numbers"),
        (5, 1, "name is a str"),
        ("c", MOST + 1, "larger units"),
    ],
)
def test_what_is_no_count_is_refused(place: Any, name: Any, n: Any, error: str) -> None:
    def mapper(record: int) -> list[tuple[int, int]]:
        mrkernel.counter(name).add(n)
        return [(record, 1)]

    with pytest.raises(TaskFailedError, match=error):
        mrkernel.run(mapper, [1], "sum", on=place)


def test_large_counts_and_strange_names_travel(place: Any) -> None:
    def mapper(record: int) -> list[tuple[int, int]]:
        mrkernel.counter("größe \ud800").add(MOST // 20)  # the preflight counts twenty
        return [(record, 1)]

    result = mrkernel.run(mapper, range(8), "sum", on=place, **OPTIONS)
    assert result.counters == {"größe \\ud800": 8 * (MOST // 20)}


def test_one_job_from_many_threads(place: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Answers, counters and chance stay apart, and this process is afterwards as it was."""
    state, out, err = random.getstate(), sys.stdout, sys.stderr
    together = threading.Barrier(6)

    def submit(_: int) -> tuple[Any, dict[str, int]]:
        together.wait()
        result = mrkernel.run(counted, RECORDS, counted_sum, on=place, **OPTIONS)
        return exactly(list(result)), result.counters

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(submit, range(6)))
    alone = mrkernel.run(counted, RECORDS, counted_sum, on="inline", **OPTIONS)
    assert answers == [(exactly(list(alone)), COUNTS)] * 6
    assert random.getstate() == state
    assert (sys.stdout, sys.stderr) == (out, err)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(print, "abcdef"))
    assert sorted(capsys.readouterr().out.split()) == list("abcdef")


def test_different_jobs_at_once_do_not_mix(place: Any) -> None:
    lines = [line for split in functions.LINES for line in split]
    jobs = [
        mrkernel.submit(functions.words, iter(lines * times), "sum", on=place, reduce_tasks=2)
        for times in range(1, 6)
    ]
    for times, job in enumerate(jobs, 1):
        parts = sequential.parts(functions.words, [lines * times], "sum")
        assert dict(job.result()) == {pair[0]: pair[1] for part in parts for _, pair in part}


def test_a_nested_run_counts_for_itself() -> None:
    """A mapper may run a job of its own in its process, as a grader's helper does."""

    def outer(record: int) -> Iterator[tuple[int, int]]:
        mrkernel.counter("outer").add()
        inner = mrkernel.run(counted, range(record), "count", on="inline")
        mrkernel.counter("outer").add()
        yield record, inner.counters.get("records", 0)

    result = mrkernel.run(outer, [2, 3], "first", on="inline")
    assert result.to_dict() == {2: 2, 3: 3}
    assert result.counters == {"outer": 4}


def test_looks_are_the_same_from_a_thread() -> None:
    """Inline jobs in a thread other than the main one: nothing in them needs signals."""
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(mrkernel.run, looks.numbered, [3], "count", on="inline")
        assert job.result().to_dict() == {"k1": 1, "k2": 2, "k3": 3}


def test_the_trial_calls_a_mapper_once_for_each_record(place: Any) -> None:
    """One that remembers would refuse a record which it is given twice."""

    class Mapper:
        def __init__(self) -> None:
            self.seen: set[int] = set()

        def __call__(self, record: int) -> list[tuple[int, int]]:
            assert record not in self.seen
            self.seen.add(record)
            return [(record, 1)]

    assert len(mrkernel.run(Mapper, RECORDS, "sum", on=place)) == len(RECORDS)
