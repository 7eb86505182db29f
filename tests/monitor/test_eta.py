"""Time left: jobs whose end is known are asked about it all the way."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from mrkernel.ids import JobId, TaskId, WorkerId, map_task, reduce_task
from mrkernel.monitor import events as ev
from mrkernel.monitor.eta import Durations, Phase, Range, Running, rounded, time_left
from mrkernel.monitor.view import JobView

JOB, W1 = JobId("j-1"), WorkerId("w1")


class Task(NamedTuple):
    name: TaskId
    seconds: float
    bytes: int


def run(maps: list[Task], reduces: list[Task], slots: int = 4) -> Iterator[ev.Event]:
    """A job on one worker that takes its tasks in order, each in the first free slot."""
    names = {"job": JOB, "attempt": 1, "worker": W1}
    size = sum(task.bytes for task in maps)
    shuffled = sum(task.bytes for task in reduces)
    yield ev.WorkerJoined(at=0.0, worker=W1, host="h", pid=1, slots=slots)
    yield ev.JobAccepted(
        at=0.0, job=JOB, name="x", maps=len(maps), reduces=len(reduces), input_bytes=size,
        functions="",
    )  # fmt: skip
    told: list[tuple[float, int, ev.Event]] = []
    now = 0.0
    for tasks in (maps, reduces):
        free = [now] * slots
        for task in tasks:
            begin = heapq.heappop(free)
            end = begin + task.seconds
            heapq.heappush(free, end)
            start = ev.AttemptStarted(at=begin, task=task.name, input="", **names)  # type: ignore[arg-type]
            told.append((begin, 1, start))
            told += [
                (
                    begin + task.seconds * part / 10,
                    1,
                    ev.Progress(
                        at=begin + task.seconds * part / 10, task=task.name,
                        records=0, bytes=task.bytes * part // 10, **names,  # type: ignore[arg-type]
                    ),
                )
                for part in range(1, 10)
            ]  # fmt: skip
            done = ev.AttemptFinished(
                at=end, task=task.name, records=1, pairs=1, bytes_in=task.bytes,
                bytes_out=shuffled // max(1, len(maps)), seconds=task.seconds, **names,  # type: ignore[arg-type]
            )  # fmt: skip
            told.append((end, 0, done))
        now = max([now, *free])
    told.sort(key=lambda row: row[:2])
    yield from (event for _, _, event in told)
    yield ev.JobEnded(at=now, job=JOB, outcome="done", sentence="")


def asked(story: Iterator[ev.Event]) -> tuple[list[tuple[float, list[float] | None]], JobView]:
    """What the picture said, once a second: when, and the range."""
    view = JobView(JOB)
    said: list[tuple[float, list[float] | None]] = []
    second = 1.0
    for event in story:
        view.fold(event)
        if event.at >= second:
            second = event.at + 1.0
            said.append((event.at, view.fields()["eta"]))
    return said, view


def tasks(
    count: int, seconds: float, spread: float, seed: int, *, reduces: bool = False
) -> list[Task]:
    chance = random.Random(seed)
    return [
        Task(
            (reduce_task if reduces else map_task)(n),
            seconds * chance.lognormvariate(0.0, spread),
            1000,
        )
        for n in range(count)
    ]


@pytest.mark.parametrize("spread", [0.05, 0.3, 0.6])
@pytest.mark.parametrize("count", [12, 60, 200])
def test_the_end_lies_in_the_range_nearly_always(spread: float, count: int) -> None:
    right = asked_times = 0
    for seed in range(10):
        said, view = asked(run(tasks(count, 2.0, spread, seed), []))
        end = view.fields()["ended"]
        for at, found in said[:-1]:
            if found is not None:
                asked_times += 1
                right += found[0] - 0.1 <= end - at <= found[1] + 0.1
    assert asked_times > 10
    # Where single tasks take four times as long as most, one of them at the end is a surprise.
    assert right / asked_times >= (0.9 if spread < 0.5 else 0.8)


@pytest.mark.parametrize("cost", [0.3, 1.0])
def test_with_reduces_to_come_the_range_is_wide_and_right(cost: float) -> None:
    right = asked_times = 0
    for seed in range(5):
        maps = tasks(60, 2.0, 0.3, seed)
        reduces = tasks(8, 2.0 * 60 / 8 * cost / 4, 0.2, seed, reduces=True)
        said, view = asked(run(maps, [task._replace(bytes=1875) for task in reduces]))
        end = view.fields()["ended"]
        for at, found in said[:-1]:
            if found is not None:
                asked_times += 1
                right += found[0] - 0.1 <= end - at <= found[1] + 0.1
    assert right / asked_times >= 0.9


def test_it_narrows_towards_the_end_and_is_silent_after_it() -> None:
    said, view = asked(run(tasks(100, 2.0, 0.2, 1), []))
    known = [found for _, found in said if found is not None]
    widths = [high - low for low, high in known]
    assert widths[-1] < widths[len(widths) // 2] < widths[0]
    assert widths[0] < 0.5 * known[0][1]
    assert view.fields()["eta"] is None


def test_unknown_until_enough_is_known() -> None:
    durations = Durations()
    maps = Phase(durations, total=100, done=0, size=0, read=0)
    none = Phase(Durations(), 0, 0, 0, 0)
    assert time_left(maps, none, 4) is None
    durations.add(1.0, 0)
    durations.add(1.0, 0)
    assert time_left(maps._replace(done=2), none, 4) is None
    assert time_left(maps._replace(done=2, total=10), none, 4) is not None
    durations.add(1.0, 0)
    assert time_left(maps._replace(done=3), none, 0) is None  # nobody works
    found = time_left(maps._replace(done=3), none, 4)
    assert found is not None
    assert found.low < 97 / 4 < found.high


def test_by_bytes_where_they_are_known() -> None:
    durations = Durations()
    for size in (100, 300, 500):
        durations.add(size / 100, size)
    maps = Phase(durations, total=6, done=3, size=9900, read=900)
    found = time_left(maps, Phase(Durations(), 0, 0, 0, 0), 1)
    assert found is not None
    assert found.low < 90 < found.high


def test_the_last_one_that_runs_decides() -> None:
    durations = Durations()
    for _ in range(20):
        durations.add(10.0, 100)
    maps = Phase(durations, 21, 20, 2100, 2000, running=(Running(4.0, 0.0),))
    none = Phase(Durations(), 0, 0, 0, 0)
    assert time_left(maps, none, 8) == pytest.approx((4.8, 6.7), abs=0.1)
    # Its own pace is better to go by; and one that is late may be late for long.
    own = time_left(maps._replace(running=(Running(4.0, 0.5),)), none, 8)
    assert own == pytest.approx((2.7, 5.2), abs=0.1)
    late = time_left(maps._replace(running=(Running(30.0, 0.0),)), none, 8)
    assert late is not None
    assert late.low < 2
    assert late.high == 15


def test_a_job_that_waits_for_something_says_nothing() -> None:
    view = JobView(JOB)
    for event in run(tasks(20, 2.0, 0.1, 3), []):
        if event.at > 6:
            break
        view.fold(event)
    assert view.fields()["eta"] is not None
    view.fold(ev.JobWaits(at=6.0, job=JOB, sentence="waiting for map-4"))
    assert view.fields()["eta"] is None


def test_written_no_finer_than_it_is_known() -> None:
    assert rounded(None) is None
    assert rounded(Range(1.234, 5.678)) == [1.2, 5.7]
    assert rounded(Range(61.2, 99.7)) == [61, 100]
