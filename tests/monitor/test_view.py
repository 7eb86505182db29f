"""The folds: counts against a slow oracle, sentences, and deltas that give the snapshot."""

from __future__ import annotations

import json

import pytest
from events_strategy import JOB, events
from hypothesis import example, given, settings
from hypothesis import strategies as st
from job_oracle import W1, W2, W3, Oracle, accepted, finished, fold, joined, started, texts

from mrkernel.ids import TaskId, WorkerId, map_task, reduce_task
from mrkernel.monitor import events as ev
from mrkernel.monitor.cluster_view import GONE_KEPT
from mrkernel.monitor.picture import FEED_LIMIT, Json, apply
from mrkernel.monitor.setbacks import TROUBLES_KEPT
from mrkernel.monitor.view import BANNER_S, ClusterView, JobView
from mrkernel.monitor.workers import BEATS_KEPT

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


def test_a_deaths_story_is_one_growing_sentence() -> None:
    view = fold(
        accepted(),
        started(map_task(0), W2, at=1.1),
        finished(map_task(0), W2, at=2.0),
        started(map_task(1), W2, at=2.0),
        started(map_task(2), W1, at=2.0),
        ev.WorkerLost(at=3.0, worker=W2, cause="connection reset"),
    )
    view.take_delta()
    first = view.snapshot()
    assert first["feed"][-1]["text"] == "w2 died (connection reset): map-1 lost; cost 1.0 s of work"
    lost = ev.AttemptLost(
        at=3.0, job=JOB, task=map_task(1), attempt=1, worker=W2, cause="worker w2 died"
    )
    view.fold(lost)  # the manager's word for what the view knows
    view.fold(ev.OutputLost(at=3.0, job=JOB, worker=W2, tasks=(map_task(0),)))
    view.fold(started(map_task(1), W1, attempt=2, at=3.1))
    delta = view.take_delta()
    assert delta is not None
    after = apply(first, delta)
    assert after["feed"][-1]["text"] == (
        "w2 died (connection reset): map-1 → w1; 1 finished task runs again; cost 2.0 s of work"
    )
    assert len(after["feed"]) == len(first["feed"])
    assert (after["lost_workers"], after["moved"], after["redone"]) == (1, 1, 1)
    assert after["map"] == {"total": 4, "done": 0, "running": 2, "part": 0.0, "retry": 2}
    assert after["troubles"]["map-1/1"]["next"] == "w1"
    assert after["workers"]["w2"]["state"] == "dead"
    assert after["workers"]["w2"]["tasks"] == []
    # The death's line of the first snapshot is what it was.
    assert first["feed"][-1]["text"].endswith("map-1 lost; cost 1.0 s of work")


def test_the_managers_word_may_come_before_the_death() -> None:
    view = fold(
        accepted(),
        started(map_task(1), W2),
        ev.AttemptLost(
            at=3.0, job=JOB, task=map_task(1), attempt=1, worker=W2, cause="worker w2 died"
        ),
        ev.WorkerLost(at=3.0, worker=W2, cause="no beat for 5.0 s"),
    )
    assert texts(view)[-1] == "w2 died (no beat for 5.0 s): map-1 lost; cost 1.0 s of work"


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


def test_the_clusters_workers_and_jobs() -> None:
    view = ClusterView()
    for event in (
        joined(W1),
        joined(W2),
        accepted(),
        started(map_task(0), W1),
        started(map_task(1), W2),
        ev.WorkerBeat(at=2.0, worker=W1, cpu_percent=98.4, memory_bytes=1000),
        ev.WorkerLost(at=3.0, worker=W2, cause="connection reset"),
    ):
        view.fold(event)
    picture = view.snapshot()
    assert (picture["slots"], picture["busy"]) == (2, 1)
    view.fold(started(map_task(2), W1))
    view.fold(finished(map_task(2), W1))
    assert (view.snapshot()["busy"], view.snapshot()["workers"]["w1"]["maps"]) == (1, 1)
    assert picture["workers"]["w1"]["tasks"] == [{"task": "count map-0", "attempt": 1}]
    assert picture["workers"]["w1"]["cpu"] == 98
    assert picture["workers"]["w2"]["state"] == "dead"
    assert list(view.workers()) == ["w1"]
    view.fold(ev.JobEnded(at=4.0, job=JOB, outcome="done", sentence=""))
    assert view.snapshot()["busy"] == 0
    assert view.snapshot()["jobs"][JOB]["state"] == "done"
    view.fold(ev.JobForgotten(at=4.0, job=JOB))
    assert view.snapshot()["jobs"] == {}


def test_of_workers_that_come_and_go_the_newest_are_kept_and_all_are_counted() -> None:
    view, seen = ClusterView(), ClusterView().snapshot()
    view.fold(joined(WorkerId("w0")))
    for number in range(1, 2 * GONE_KEPT + 1):
        view.fold(joined(WorkerId(f"w{number}")))
        view.fold(ev.WorkerLost(at=3.0, worker=WorkerId(f"w{number}"), cause="connection reset"))
        view.fold(ev.WorkerCause(at=3.1, worker=WorkerId("w1"), cause="was killed (SIGKILL)"))
        if (delta := view.take_delta()) is not None:
            seen = apply(seen, delta)
    picture = view.snapshot()
    assert list(picture["workers"]) == ["w0", *(f"w{n}" for n in range(101, 201))]
    assert picture["lost"] == 200
    assert seen["workers"] == picture["workers"]


def test_who_worked_before_a_restart_is_no_worker_of_the_cluster() -> None:
    view = ClusterView()
    for event in (
        accepted(),
        finished(map_task(0), W1),
        joined(W2),
        ev.StoreAdopted(at=3.0, worker=W1, by=W2, back=True, tasks=1),
    ):
        view.fold(event)
    assert list(view.snapshot()["workers"]) == ["w2"]


def test_suspect_and_back() -> None:
    view = fold(accepted(), ev.WorkerSuspect(at=2.0, worker=W1, silent_s=0.4))
    assert view.snapshot()["workers"]["w1"]["cause"] == "no heartbeat for 0.4 s"
    view.fold(ev.WorkerAlive(at=2.5, worker=W1))
    row = view.snapshot()["workers"]["w1"]
    assert (row["state"], row["cause"]) == ("alive", "")
    assert texts(view)[-2:] == ["w1 is suspect: no heartbeat for 0.4 s", "w1 beats again"]


def lost(worker: WorkerId = W2, at: float = 3.0, cause: str = "connection reset") -> ev.WorkerLost:
    return ev.WorkerLost(at=at, worker=worker, cause=cause)


def test_the_reason_of_a_death_replaces_its_first_sign() -> None:
    view = fold(accepted(), started(map_task(3), W2), lost())
    before = view.snapshot()
    assert before["workers"]["w2"]["end"] == "died"
    view.take_delta()
    view.fold(started(map_task(3), W1, attempt=2))
    view.fold(ev.WorkerCause(at=3.1, worker=W2, cause="was killed (SIGKILL)"))
    delta = view.take_delta()
    assert delta is not None
    after = apply({**before, "seq": delta["seq"] - 1}, delta)
    assert after["feed"][-1]["text"] == "w2 was killed (SIGKILL): map-3 → w1; cost 1.0 s of work"
    assert len(after["feed"]) == len(before["feed"])
    row = after["workers"]["w2"]
    assert (row["state"], row["end"], row["cause"]) == ("dead", "was killed (SIGKILL)", "")


@pytest.mark.parametrize(
    ("cause", "why", "sentence"),
    [
        ("connection reset", "was killed (SIGKILL)", "w2 was killed (SIGKILL)"),
        ("connection reset", "ended with status 3", "w2 ended with status 3"),
        ("was killed (SIGKILL)", "", "w2 was killed (SIGKILL)"),
        ("connection reset", "", "w2 died (connection reset)"),
        ("no heartbeat for 2.0 s", "", "w2 died (no heartbeat for 2.0 s)"),
    ],
)
@pytest.mark.parametrize("early", [False, True])
def test_each_way_to_die_has_its_sentence_in_both_pictures(
    cause: str, why: str, sentence: str, early: bool
) -> None:
    events = [lost(cause=cause)]
    if why:
        events.insert(0 if early else 1, ev.WorkerCause(at=3.0, worker=W2, cause=why))
    cluster = ClusterView()
    for event in [joined(W2), *events]:
        cluster.fold(event)
    assert cluster.snapshot()["feed"][-1]["text"] == sentence
    assert texts(fold(accepted(), *events))[-1] == sentence


def test_a_worker_that_gets_no_work_says_why_until_it_does() -> None:
    view = fold(
        accepted(), ev.WorkerBarred(at=2.0, worker=W1, cause="its disk is full", seconds=60.0)
    )
    row = view.snapshot()["workers"]["w1"]
    assert (row["state"], row["cause"]) == ("barred", "no new work for 60 s: its disk is full")
    assert texts(view)[-1] == "w1 gets no new work for 60 s: its disk is full"
    view.fold(ev.WorkerSuspect(at=3.0, worker=W1, silent_s=0.31))
    assert view.snapshot()["workers"]["w1"]["state"] == "suspect"
    view.fold(ev.WorkerAlive(at=3.1, worker=W1))
    assert view.snapshot()["workers"]["w1"]["state"] == "barred"
    view.fold(ev.WorkerBarred(at=62.0, worker=W1, cause=""))
    row = view.snapshot()["workers"]["w1"]
    assert (row["state"], row["cause"]) == ("alive", "")
    assert texts(view)[-1] == "w1 gets work again"


def test_a_backup_is_one_line_that_says_whether_it_won() -> None:
    def backup(task: TaskId) -> ev.AttemptStarted:
        return ev.AttemptStarted(
            at=3.0, job=JOB, task=task, attempt=2, worker=W3, input="a.txt", backup=True
        )

    view = fold(accepted(), *(started(map_task(n), W2) for n in range(3)))
    for n in range(3):
        view.fold(backup(map_task(n)))
    assert texts(view)[-3:] == [f"backup of map-{n} on w3" for n in range(3)]
    assert [task["backup"] for task in view.snapshot()["workers"]["w3"]["tasks"]] == [True] * 3
    view.fold(finished(map_task(0), W3, attempt=2, saved_s=14.0))
    view.fold(finished(map_task(1), W2))
    view.fold(finished(map_task(2), W3, attempt=2))
    assert texts(view)[-3:] == [
        "backup of map-0 on w3 won: saved 14.0 s",
        "backup of map-1 on w3: w2 was faster",
        "backup of map-2 on w3 won",
    ]
    assert view.snapshot()["moved"] == 0


def test_map_output_that_outlives_its_worker_is_told_with_the_death() -> None:
    kept = ev.StoreAdopted(at=3.1, worker=W2, by=W1, tasks=12)
    view = fold(accepted(), started(map_task(3), W2), lost(), kept)
    assert texts(view)[-1] == (
        "w2 died (connection reset): map-3 lost; 12 finished tasks kept: w1 serves their output; "
        "cost 1.0 s of work"
    )
    alone = ClusterView()
    alone.fold(kept)
    assert alone.snapshot()["feed"][-1]["text"] == (
        "12 finished tasks of w2 kept: w1 serves its map output"
    )
    none = fold(accepted(), ev.StoreAdopted(at=3.1, worker=W2, by=W1))
    assert not any("kept" in text for text in texts(none))


def test_adopted_output_may_still_be_lost() -> None:
    view = fold(
        accepted(),
        finished(map_task(0), W2),
        lost(),
        ev.StoreAdopted(at=3.0, worker=W2, by=W1, tasks=1),
        ev.OutputLost(at=4.0, job=JOB, worker=W2, tasks=(map_task(0),)),
    )
    assert texts(view)[-1] == (
        "w2 died (connection reset); 1 finished task runs again; cost 1.0 s of work"
    )


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


def test_a_wait_is_said_to_everybody_until_it_is_over() -> None:
    why = "waiting for map-4 on w2: no record for 10 s"
    view = fold(accepted(), ev.JobWaits(at=12.0, job=JOB, sentence=why))
    assert view.snapshot()["banner"] == {"kind": "waits", "level": "warning", "text": why}
    assert texts(view)[-1] == why
    view.fold(ev.JobWaits(at=15.0, job=JOB, sentence=""))
    assert view.snapshot()["banner"] is None
    assert texts(view)[-1] == f"{why}; it went on after 3.0 s"


def test_skipped_records_are_counted_and_named_by_task() -> None:
    view = fold(accepted(), finished(map_task(0), W1, bad=2), finished(map_task(1), W2, bad=1))
    assert view.snapshot()["bad"] == 3
    assert texts(view)[-1] == "3 bad records skipped: map-0, map-1"
    view.fold(ev.OutputLost(at=4.0, job=JOB, worker=W2, tasks=(map_task(1),)))
    assert view.snapshot()["bad"] == 2


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


def test_a_workers_heartbeats_failures_and_what_it_served() -> None:
    def beat(at: float, shuffled: int = 0) -> ev.WorkerBeat:
        return ev.WorkerBeat(
            at=at, worker=W1, cpu_percent=1.0, memory_bytes=1, shuffled_bytes=shuffled
        )

    view = fold(accepted(), beat(0.5), beat(1.0), beat(1.75, shuffled=4000))
    view.fold(
        ev.AttemptFailed(at=2.0, job=JOB, task=map_task(0), attempt=1, worker=W1, sentence="x")
    )
    row = view.snapshot()["workers"]["w1"]
    assert (row["beats"], row["shuffled"], row["failed"]) == ([500, 750], 4000, 1)
    for n in range(100):
        view.fold(beat(2.0 + n))
    assert len(view.snapshot()["workers"]["w1"]["beats"]) == BEATS_KEPT


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
