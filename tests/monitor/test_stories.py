"""What the feed tells: deaths, backups and waits, each in one line that grows."""

from __future__ import annotations

import pytest
from events_strategy import JOB
from job_oracle import W1, W2, W3, accepted, finished, fold, joined, started, texts

from mrkernel.ids import TaskId, WorkerId, map_task
from mrkernel.monitor import events as ev
from mrkernel.monitor.picture import apply
from mrkernel.monitor.view import ClusterView


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
