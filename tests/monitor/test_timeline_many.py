"""The timeline: how few bars there are however many tasks, and lanes in any order of events."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from typing import ClassVar

import cost
import pytest
from events_strategy import JOB, events
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mrkernel.ids import WorkerId, map_task
from mrkernel.monitor import events as ev
from mrkernel.monitor import job_fold
from mrkernel.monitor.picture import Changes, Json, Pace, apply
from mrkernel.monitor.timeline import BARS_KEPT, SPECIAL_KEPT, Timeline
from mrkernel.monitor.view import JobView

W1 = WorkerId("w1")
M0, M1 = map_task(0), map_task(1)


@pytest.fixture(scope="module")
def many() -> JobView:
    """A hundred thousand tasks, some of them lost."""
    view = JobView(cost.JOB)
    for event in cost.story(cost.Load(tasks=100_000, workers=20, fails=1000)):
        view.fold(event)
    return view


def test_a_hundred_thousand_tasks_are_a_few_thousand_bars(many: JobView) -> None:
    picture = many.snapshot()
    assert len(picture["bars"]) <= BARS_KEPT
    rows = list(picture["bars"].values())
    assert sum(row[6] for row in rows if row[3] == "done") == picture["map"]["done"] == 100_000
    assert sum(row[7] for row in rows) == picture["records"]
    lost = [row for row in rows if row[3] == "lost"]
    assert len(lost) == 100
    bars = picture["bars"]
    assert all(bars[f"{row[4]}/{row[5] + 1}"][6] == 1 for row in lost)  # each arrow has its end
    check_lanes(picture)
    size = len(json.dumps(bars, ensure_ascii=False, separators=(",", ":")).encode())
    assert size / len(bars) < 110


def test_bars_are_thinned_seldom() -> None:
    """Doubling: so often that a hundred thousand tasks cost a few passes over some thousands."""
    passes = 0

    class Counted(Timeline):
        def _put_together(self) -> float:
            nonlocal passes
            passes += 1
            return super()._put_together()

    timeline = Counted(Changes(), kept=600)
    for event in cost.story(cost.Load(tasks=20_000)):
        if isinstance(event, ev.WorkerJoined):
            timeline.announced(event.worker, event.slots)
        elif isinstance(event, ev.AttemptStarted):
            timeline.started(event)
        elif isinstance(event, ev.AttemptFinished):
            timeline.finished(event)
    assert passes <= 10
    assert len(timeline.bars) <= 600


def test_more_lanes_than_bars_may_be() -> None:
    timeline = Timeline(Changes(), kept=20, special=5)
    for n in range(100):
        names = {"job": JOB, "task": map_task(n), "attempt": 1, "worker": WorkerId(f"w{n}")}
        timeline.started(ev.AttemptStarted(at=float(n), input="", **names))  # type: ignore[arg-type]
        timeline.finished(
            ev.AttemptFinished(
                at=n + 0.5,
                records=1,
                pairs=1,
                bytes_in=1,
                bytes_out=1,
                seconds=0.5,
                **names,  # type: ignore[arg-type]
            )
        )
        assert len(timeline.bars) <= 20
    assert timeline.dropped == 100 - len(timeline.bars)
    assert f"map-{99}/1" in timeline.bars


def test_a_flood_of_bars_reaches_the_reader_bit_by_bit_the_newest_first() -> None:
    view = JobView(cost.JOB)
    reader: Json = view.snapshot()
    story = list(cost.story(cost.Load(tasks=5000)))
    for event in story[:-1]:
        view.fold(event)
    burst = job_fold._BARS_PACE.burst
    sizes = []
    while (delta := view.take_delta()) is not None:
        reader = apply(reader, delta)
        sizes.append(len(delta.get("put", {}).get("bars", {})))
        if len(sizes) == 1:
            assert "map-4999/1" in reader["bars"]
        if len(sizes) == 5:
            view.fold(story[-1])  # at the end, everything goes at once
    assert sizes[0] == burst
    assert sizes[1:5] == [job_fold._BARS_PACE.each] * 4
    assert len(sizes) == 6
    assert reader == view.snapshot()


def test_under_pressure_a_reader_sees_too_little_and_nothing_wrong() -> None:
    """Twice as many changes as deltas may carry, all the time: what it has is as it is."""
    view = JobView(cost.JOB)
    reader: Json = view.snapshot()
    next_delta = 0.1
    load = cost.Load(tasks=4000, workers=50, per_s=400.0)
    checks = 0
    for event in cost.story(load):
        view.fold(event)
        if event.at < next_delta or (delta := view.take_delta()) is None:
            continue
        next_delta = event.at + 0.1
        reader = apply(reader, delta)
        now = view.snapshot()["bars"] if checks % 10 == 0 else None
        checks += 1
        if now is not None:
            assert len(reader["bars"]) > 100
            wrong = [key for key, row in reader["bars"].items() if now[key] != row]
            assert wrong == []
    assert checks > 50
    while (delta := view.take_delta()) is not None:
        reader = apply(reader, delta)
    assert reader == view.snapshot()


def check_lanes(picture: Json) -> None:
    """No lane has two bars at a time, by more than the step."""
    lanes = defaultdict(list)
    for row in picture["bars"].values():
        end = float("inf") if row[2] is None else row[2]
        assert row[1] <= end
        lanes[row[0]].append((row[1], end))
    slack = picture["timeline"]["step"] + 0.002
    for spans in lanes.values():
        spans.sort()
        assert all(first[1] <= second[0] + slack for first, second in pairwise(spans))


def check_running(view: JobView, picture: Json) -> None:
    """Each attempt that has a slot has one bar that runs, and there are no others."""
    running = sorted(key for key, row in picture["bars"].items() if row[2] is None)
    attempts = sorted(
        f"{attempt.task}/{attempt.attempt}"
        for row in view._workers.values()
        for attempt in row.in_slots()
    )
    assert running == attempts
    assert all(picture["bars"][key][3].startswith("running") for key in running)


LATE_FINISH: list[ev.Event] = [
    ev.AttemptStarted(at=0.0, job=JOB, task=M0, attempt=1, worker=W1, input=""),
    ev.WorkerJoined(at=0.0, worker=W1, host="h", pid=1, slots=1),
    ev.AttemptStarted(at=0.0, job=JOB, task=M1, attempt=1, worker=W1, input=""),
    ev.AttemptFinished(
        at=9.0, job=JOB, task=M1, attempt=1, worker=W1, records=1, pairs=1, bytes_in=1, bytes_out=1,
        seconds=0.5,
    ),
]  # fmt: skip


@settings(max_examples=300)
@given(events, st.sampled_from([None, 1, 2, 4]), st.sampled_from([None, 1, 3]))
@example(LATE_FINISH, None, None)
def test_any_order_of_events_gives_lanes_and_each_running_attempt_a_bar(
    story: list[ev.Event], kept: int | None, special: int | None
) -> None:
    view = JobView(JOB)
    if kept is not None:
        timeline = Timeline(view._touched["bars"], kept=kept, special=special or SPECIAL_KEPT)
        view._timeline = timeline
    reader = view.snapshot()
    for number, event in enumerate(story):
        view.fold(event)
        picture = view.snapshot()
        check_running(view, picture)
        check_lanes(picture)
        if not picture["timeline"]["dropped"]:
            done = sum(row[6] for row in picture["bars"].values() if row[3].rstrip("+") == "done")
            assert done == picture["map"]["done"] + picture["reduce"]["done"]
        if number % 3 == 0 and (delta := view.take_delta()) is not None:
            reader = apply(reader, delta)
    while (delta := view.take_delta()) is not None:
        reader = apply(reader, delta)
    assert reader == view.snapshot()


@settings(max_examples=100)
@given(events, st.sets(st.integers(0, 40)))
def test_deltas_that_carry_one_bar_at_a_time_give_the_snapshot_all_the_same(
    story: list[ev.Event], looks: set[int]
) -> None:
    class Narrow(JobView):
        paces: ClassVar[dict[str, Pace]] = {
            name: pace._replace(each=1, burst=1) for name, pace in JobView.paces.items()
        }

    view = Narrow(JOB)
    readers = [view.snapshot()]
    for number, event in enumerate(story):
        view.fold(event)
        if (delta := view.take_delta()) is not None:
            readers = [apply(reader, delta) for reader in readers]
        if number in looks:
            readers.append(view.snapshot())
    while (delta := view.take_delta()) is not None:
        readers = [apply(reader, delta) for reader in readers]
    assert all(reader == view.snapshot() for reader in readers)
