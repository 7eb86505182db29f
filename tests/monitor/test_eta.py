"""Time left, by what is known; ``test_eta_judged`` says how often it is right."""

from __future__ import annotations

import random

import pytest
from histories import JOB, Plan, Work, asked, history

from mrkernel.ids import map_task
from mrkernel.monitor import events as ev
from mrkernel.monitor.eta import Durations, Phase, Range, Running, rounded, time_left
from mrkernel.monitor.view import JobView


def plan(count: int, spread: float) -> Plan:
    chance = random.Random(1)
    return Plan(
        tuple(
            Work(map_task(n), 1000, 2.0 * chance.lognormvariate(0.0, spread)) for n in range(count)
        )
    )


def test_it_narrows_towards_the_end_and_is_silent_after_it() -> None:
    events = history(plan(100, 0.2))
    known = [said.range for said in asked(events) if said.range is not None]
    widths = [high - low for low, high in known]
    assert widths[-1] < widths[len(widths) // 2] < widths[0]
    assert widths[len(widths) // 2] < 0.35 * known[len(widths) // 2][1]
    view = JobView(JOB)
    for event in events:
        view.fold(event)
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
    assert time_left(maps, none, 8) == pytest.approx((5.2, 7.0), abs=0.1)
    # Its own pace is better to go by; and one that is late may be late for long.
    own = time_left(maps._replace(running=(Running(4.0, 0.5),)), none, 8)
    assert own == pytest.approx((2.7, 5.0), abs=0.1)
    late = time_left(maps._replace(running=(Running(30.0, 0.0),)), none, 8)
    assert late == (0.0, 15.0)


def test_tasks_that_ended_say_how_long_others_take_that_run_for_long() -> None:
    durations = Durations()
    for seconds in [1.0] * 60 + [10.0] * 20 + [20.0] * 20:
        durations.add(seconds, 0)
    maps = Phase(durations, 101, 100, 0, 0, running=(Running(8.0, 0.0),))
    found = time_left(maps, Phase(Durations(), 0, 0, 0, 0), 4)
    assert found is not None
    assert found.low <= 2.5
    assert 11 <= found.high <= 14


def test_partitions_are_not_alike() -> None:
    maps = Durations()
    maps.add(1.0, 100)
    done = Phase(maps, 1, 1, 100, 100)
    reduces = Phase(Durations(), 5, 0, 5_000_000_000, 0, waiting=(4e9, 2.5e8, 2.5e8, 2.5e8, 2.5e8))
    alike = time_left(done, reduces._replace(waiting=()), 5)
    skewed = time_left(done, reduces, 5)
    assert alike is not None
    assert skewed is not None
    assert skewed.low > 3 * alike.low  # the largest decides
    assert skewed.high > 3 * alike.high


def test_before_a_reduce_runs_what_maps_do_for_a_byte_tells_how_much_it_may_be() -> None:
    quick, slow = Durations(), Durations()
    quick.add(0.1, 100_000_000)
    slow.add(60.0, 100_000_000)
    reduces = Phase(Durations(), 2, 0, 1_000_000_000, 0)
    least, most = (
        time_left(Phase(maps, 1, 1, 100, 100), reduces, 2) for maps in (quick, slow)
    )  # fmt: skip
    assert least is not None
    assert most is not None
    assert least.low == most.low == pytest.approx(2.0)
    assert (least.high, most.high) == pytest.approx((15.1, 60.1))


def test_running_maps_say_enough_when_none_has_ended() -> None:
    maps = Phase(Durations(), 4, 0, 400, 120, running=(Running(30.0, 0.3),) * 4)
    none = Phase(Durations(), 0, 0, 0, 0)
    found = time_left(maps, none, 4)
    assert found is not None
    assert found.low < 70 < found.high < 100
    begun = maps._replace(read=8, running=(Running(2.0, 0.02),) * 4)
    assert time_left(begun, none, 4) is None


def test_a_job_that_waits_for_something_says_nothing() -> None:
    view = JobView(JOB)
    for event in history(plan(40, 0.1)):
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
