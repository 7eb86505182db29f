"""A job's picture: counts against a slow oracle, and deltas that give the snapshot."""

from __future__ import annotations

import json

import pytest
from events_strategy import JOB, events
from hypothesis import example, given, settings
from hypothesis import strategies as st
from job_oracle import W1, W2, W3, Oracle, accepted, finished, fold, joined, started, texts

from mrkernel.ids import WorkerId, map_task, reduce_task
from mrkernel.monitor import events as ev
from mrkernel.monitor.picture import FEED_LIMIT, Json, apply
from mrkernel.monitor.setbacks import TROUBLES_KEPT
from mrkernel.monitor.view import BANNER_S, ClusterView, JobView

#: A worker that came back under another name before its end was told.
BACK_AT_ONCE = [
    started(map_task(0), W2),
    ev.StoreAdopted(at=3.0, worker=W2, by=W1, back=True, tasks=0),
    ev.WorkerLost(at=4.0, worker=W2, cause="connection reset"),
]


@settings(max_examples=300)
@given(events)
@example(BACK_AT_ONCE)
@example([ev.WorkerSuspect(at=1.0, worker=W2, silent_s=0.4), BACK_AT_ONCE[1], BACK_AT_ONCE[0]])
def test_counts_are_exact_in_any_order(story: list[ev.Event]) -> None:
    view, oracle = JobView(JOB), Oracle()
    for event in story:
        view.fold(event)
        oracle.fold(event)
    picture = view.snapshot()
    bar = {
        phase: (picture[phase]["done"], picture[phase]["running"], picture[phase]["retry"])
        for phase in ("map", "reduce")
    }
    running = {name: len(row["tasks"]) for name, row in picture["workers"].items() if row["tasks"]}
    names = ("records", "bytes", "pairs", "groups", "bad")
    assert {
        **{name: picture[name] for name in names},
        "fetched": picture["shuffle"]["done"],
        **bar,
        "on": running,
    } == oracle.counts()


@settings(max_examples=200)
@given(events, st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)), st.booleans())
def test_deltas_give_the_snapshot(
    story: list[ev.Event], takes: set[int], looks: set[int], cluster: bool
) -> None:
    """Readers that joined at different times all see the same; snapshots may fall anywhere."""
    view = ClusterView(wall=5.0) if cluster else JobView(JOB, wall=5.0)
    readers: list[Json] = [view.snapshot()]
    for number, event in enumerate(story):
        view.fold(event)
        if number in looks:
            readers.append(view.snapshot())
        if number in takes and (delta := view.take_delta()) is not None:
            delta = json.loads(json.dumps(delta))
            readers = [apply(picture, delta) for picture in readers]
    if (delta := view.take_delta()) is not None:
        readers = [apply(picture, delta) for picture in readers]
    assert view.take_delta() is None
    final = json.loads(json.dumps(view.snapshot()))
    assert all(picture == final for picture in readers)


def test_output_lost_is_taken_out_of_the_sums_until_it_is_done_again() -> None:
    view = fold(accepted(maps=2), finished(map_task(0), W2), finished(map_task(1), W1))
    view.fold(ev.OutputLost(at=4.0, job=JOB, worker=W2, tasks=(map_task(0),)))
    picture = view.snapshot()
    assert (picture["records"], picture["shuffle"]["total"], picture["map"]["done"]) == (10, 500, 1)
    view.fold(finished(map_task(0), W1, attempt=2, records=11))
    picture = view.snapshot()
    assert (picture["records"], picture["shuffle"]["total"]) == (21, 1000)
    assert picture["map"]["retry"] == 0


def test_the_runner_up_of_a_race_and_a_cancelled_attempt_are_no_losses() -> None:
    view = fold(
        accepted(),
        started(map_task(0), W1),
        started(map_task(0), W2, attempt=2),
        finished(map_task(0), W2, attempt=2),
        ev.AttemptLost(at=3.0, job=JOB, task=map_task(0), attempt=1, worker=W1, cause="w2 won"),
        started(map_task(1), W1),
        ev.AttemptLost(at=3.0, job=JOB, task=map_task(1), attempt=1, worker=W1, cause="cancelled"),
    )
    picture = view.snapshot()
    assert picture["troubles"] == {}
    assert (picture["moved"], picture["failed"], picture["map"]["retry"]) == (0, 0, 0)
    assert not [line for line in picture["feed"] if line["level"] == "error"]


def test_progress_moves_bars_and_the_newest_word_counts() -> None:
    view = fold(accepted(), started(map_task(0), W1), started(reduce_task(0), W2))
    for size in (200, 700, 500):
        view.fold(
            ev.Progress(
                at=2.5, job=JOB, task=map_task(0), attempt=1, worker=W1, records=size, bytes=size
            )
        )
    view.fold(
        ev.Progress(at=2.5, job=JOB, task=reduce_task(0), attempt=1, worker=W2, records=0, bytes=30)
    )
    picture = view.snapshot()
    assert picture["map"]["part"] == 0.5  # of 4,000 bytes in 4 tasks
    assert picture["workers"]["w1"]["tasks"][0]["part"] == 0.5
    assert (picture["bytes"], picture["records"]) == (500, 500)
    assert picture["shuffle"]["done"] == 30


def test_the_shuffle_expects_what_the_maps_to_come_will_give() -> None:
    view = fold(accepted(maps=4), finished(map_task(0), W1))
    assert view.snapshot()["shuffle"] == {"total": 500, "expected": 2000, "done": 0}


def test_a_map_only_job_gives_out_what_its_maps_do_and_shuffles_nothing() -> None:
    picture = fold(accepted(maps=1, reduces=0), finished(map_task(0), W1)).snapshot()
    assert (picture["pairs_out"], picture["bytes_out"]) == (100, 500)
    assert picture["shuffle"] == {"total": 0, "expected": 0, "done": 0}


def test_the_rate_is_that_of_the_last_seconds_and_in_the_end_of_the_whole() -> None:
    view = fold(accepted(maps=100, at=0.0))
    for second in range(1, 11):
        size = 1000 if second <= 5 else 3000
        view.fold(finished(map_task(second), W1, at=float(second), bytes_in=size))
    assert view.snapshot()["bytes_per_s"] == pytest.approx(3000, rel=0.4)
    view.fold(ev.JobEnded(at=10.0, job=JOB, outcome="done", sentence=""))
    assert view.snapshot()["bytes_per_s"] == 2000


def test_a_failure_and_its_second_try() -> None:
    view = fold(accepted(), started(map_task(3), W1))
    view.fold(
        ev.AttemptFailed(
            at=3.0, job=JOB, task=map_task(3), attempt=1, worker=W1, sentence="SIGSEGV"
        )
    )
    view.fold(started(map_task(3), W2, attempt=2))
    picture = view.snapshot()
    assert picture["feed"][-1]["text"] == "map-3 failed on w1: SIGSEGV"
    assert picture["troubles"] == {
        "map-3/1": {
            "task": "map-3",
            "attempt": 1,
            "worker": "w1",
            "at": 3.0,
            "state": "failed",
            "sentence": "SIGSEGV",
            "next": "w2",
        }
    }
    assert (picture["failed"], picture["moved"]) == (1, 1)


def test_after_the_end_nothing_moves() -> None:
    view = fold(
        accepted(),
        started(map_task(0), W1),
        ev.JobEnded(at=4.0, job=JOB, outcome="cancelled", sentence="interrupted"),
    )
    before = view.snapshot()
    assert before["workers"]["w1"]["tasks"] == []
    assert before["map"]["running"] == 0
    view.fold(finished(map_task(0), W1))
    view.fold(ev.WorkerLost(at=9.0, worker=W1, cause="retired"))
    assert view.snapshot() == before
    view.fold(ev.JobForgotten(at=9.0, job=JOB))
    assert view.snapshot()["forgotten"] is True


def test_rows_and_lines_are_bounded_and_say_how_many_there_were() -> None:
    view = fold(accepted(maps=300))
    for index in range(300):
        view.fold(
            ev.AttemptFailed(
                at=2.0, job=JOB, task=map_task(index), attempt=1, worker=W1, sentence="x"
            )
        )
    picture = view.snapshot()
    assert len(picture["troubles"]) == TROUBLES_KEPT
    assert len(picture["feed"]) == FEED_LIMIT
    assert picture["older"] == 301 - FEED_LIMIT
    assert picture["failed"] == 300


def test_dropped_rows_leave_the_readers_picture_too() -> None:
    view = fold(accepted(maps=300))
    picture = view.snapshot()
    for index in range(TROUBLES_KEPT + 20):
        view.fold(
            ev.AttemptFailed(
                at=2.0, job=JOB, task=map_task(index), attempt=1, worker=W1, sentence="x"
            )
        )
        if index == TROUBLES_KEPT - 5:
            delta = view.take_delta()
            assert delta is not None
            picture = apply(picture, delta)
    delta = view.take_delta()
    assert delta is not None
    assert delta["drop"] == {"troubles": [f"map-{index}/1" for index in range(20)]}
    assert apply(picture, delta) == view.snapshot()


def test_a_field_that_changed_and_came_back_is_told_to_who_saw_it_changed() -> None:
    view = fold(accepted())
    view.take_delta()
    view.fold(started(map_task(0), W1))
    seen = view.snapshot()
    assert seen["map"]["running"] == 1
    view.fold(
        ev.AttemptLost(at=2.0, job=JOB, task=map_task(0), attempt=1, worker=W1, cause="cancelled")
    )
    delta = view.take_delta()
    assert delta is not None
    assert apply(seen, delta)["map"]["running"] == 0


def test_a_line_that_left_the_feed_may_still_grow_unseen() -> None:
    view = fold(
        accepted(), started(map_task(0), W2), ev.WorkerLost(at=2.0, worker=W2, cause="reset")
    )
    for _ in range(FEED_LIMIT + 5):
        view.fold(ev.Noted(at=3.0, job=JOB, level="info", sentence="hello"))
    view.fold(started(map_task(0), W1, attempt=2))
    assert view.snapshot()["moved"] == 1


def test_after_a_restart_the_picture_is_as_before_but_for_what_ran() -> None:
    before = fold(
        accepted(), finished(map_task(0), W1), finished(map_task(1), W2), started(map_task(2), W1)
    )
    # A new manager knows no worker until it comes back under a new name.
    again = fold(accepted(), finished(map_task(0), W1), finished(map_task(1), W2), workers=())
    again.fold(ev.ManagerRestarted(at=4.0, job=JOB, maps_kept=2, maps=4, down_s=0.4))
    again.fold(joined(W3))
    again.fold(ev.StoreAdopted(at=4.1, worker=W1, by=W3, back=True, tasks=1))
    old, new = before.snapshot(), again.snapshot()
    sums = ("records", "bytes", "pairs", "started", "name", "shuffle")
    assert {name: new[name] for name in sums} == {name: old[name] for name in sums}
    assert new["map"] == {**old["map"], "running": 0}
    assert new["restarts"] == 1
    text = "manager restarted after 0.40 s: 2 of 4 maps kept"
    assert new["banner"] == {"kind": "restarted", "level": "info", "text": text}
    assert texts(again)[-3:] == [
        text, "w3 joined with 2 slots", "w1 is back as w3: 1 finished task of w1 kept",
    ]  # fmt: skip
    states = {name: (row["state"], row["end"]) for name, row in new["workers"].items()}
    assert states == {"w1": ("retired", "is w3 now"), "w2": ("unknown", ""), "w3": ("alive", "")}
    assert (new["slots"], new["lost_workers"]) == (2, 0)
    again.fold(finished(map_task(2), W3, at=4.0 + BANNER_S))
    assert again.snapshot()["banner"] is None


def test_what_waits_for_a_slot_does_not_count_as_running() -> None:
    view = fold(accepted(maps=5), *(started(map_task(n), W1) for n in range(3)))
    picture = view.snapshot()
    assert picture["map"]["running"] == 2
    assert len(picture["workers"]["w1"]["tasks"]) == 3
    view.fold(finished(map_task(0), W1))
    assert view.snapshot()["map"]["running"] == 2
    cluster = ClusterView()
    cluster.fold(joined(W1))
    for n in range(3):
        cluster.fold(started(map_task(n), W1))
    assert cluster.snapshot()["busy"] == 2


def test_a_death_is_told_at_once_however_many_workers_there_are() -> None:
    names = [WorkerId(f"w{n}") for n in range(200)]
    view = fold(accepted(), *(joined(name) for name in names), workers=())
    for _ in range(5):
        for name in names:
            view.fold(ev.WorkerBeat(at=2.0, worker=name, cpu_percent=1.0, memory_bytes=1))
        view.take_delta()
    view.fold(ev.WorkerLost(at=3.0, worker=names[150], cause="was killed (SIGKILL)"))
    delta = view.take_delta()
    assert delta is not None
    assert len(delta["put"]["workers"]) < 10
    assert delta["put"]["workers"]["w150"]["state"] == "dead"
