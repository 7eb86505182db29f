"""Attempts: which answers count, and whose counters."""

from __future__ import annotations

from typing import Any

import pytest
from desk import Desk, sent, two_workers

from mrkernel.ids import JobId, TaskId
from mrkernel.manager.events import Received
from mrkernel.manager.instructions import Close
from mrkernel.manager.transitions import (
    JobState,
    TaskState,
)
from mrkernel.monitor import events as public
from mrkernel.protocol.client_messages import Attach, CancelJob, Ended
from mrkernel.protocol.worker_messages import AttemptProgress, Beat, Finished


@pytest.mark.fault(48)
def test_counters_are_those_of_the_winners(desk: Desk) -> None:
    desk.join_hosts("h1", "h2")
    desk.submit()
    desk.finish("w1", "map-0", counters={"bad": 1})
    desk.finish("w2", "map-1", counters={"bad": 10})
    desk.lose_for_good("w1")  # map-0 is needed, and runs again
    assert desk.running() == {"w2": ["map-0"]}
    desk.finish("w2", "map-0", counters={"bad": 2})
    (ended,) = sent(desk.finish("w2", "reduce-0", counters={"groups": 3}), Ended)
    assert ended.counters == {"bad": 12, "groups": 3}


@pytest.mark.fault(49)
def test_answers_of_attempts_that_were_taken_away_are_dropped(desk: Desk) -> None:
    two_workers(desk)
    desk.submit()
    old = desk.peers["w1"]
    desk.lose("w1")
    desk.finish("w2", "map-1")
    assert desk.attempt("w2", "map-0") == 2
    # The zombie is another peer to us now, whatever it says.
    late = Finished(JobId("j1"), TaskId("map-0"), 1, 1, 1, 1, 1.0)
    assert desk.handle(Received(old, late)) == [Close(old)]
    # Nor does a living worker speak for another's attempt, or for an older one of its own.
    assert desk.finish("w2", "map-0", attempt=1) == []
    assert desk.fail("w2", "map-0", "user", attempt=1) == []
    assert desk.fail("w2", "map-0", "crash", attempt=7) == []
    assert desk.job().state is JobState.RUNNING
    assert desk.attempt("w2", "map-0") == 2


@pytest.mark.fault(22, 48)
def test_the_same_answer_twice_counts_once(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=2, reduces=1)
    desk.finish("w1", "map-0", attempt=1, counters={"n": 1})
    assert desk.finish("w1", "map-0", attempt=1, counters={"n": 1}) == []
    assert desk.fail("w1", "map-0", "user", attempt=1) == []
    assert len(desk.published(public.AttemptFinished)) == 1
    assert desk.job().maps_left == 1


def test_an_answer_that_no_such_task_can_give_costs_only_its_worker(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2, reduces=2)
    worker = desk.peers["w1"]
    assert desk.finish("w1", "map-0", sizes=(1,)) == [Close(worker)]
    nothing = Finished(JobId("j1"), TaskId("map-0"), 1, 0, 0, 0, 0.0)
    assert desk.tell("w1", nothing) == [Close(worker)]
    desk.finish("w2", "map-1")
    assert desk.starts(desk.lose("w1")) == [("w2", "map-0", 2)]
    desk.finish("w2", "map-0")
    assert desk.fetch_failed("w2", "reduce-0", 99) == [Close(desk.peers["w2"])]
    assert desk.fetch_failed("w2", "reduce-0", -1) == [Close(desk.peers["w2"])]


def test_progress_counts_only_for_what_runs_there(desk: Desk) -> None:
    desk.join()
    desk.submit()
    reports = tuple(
        AttemptProgress(JobId(job), TaskId(task), attempt, 5, 50)
        for job, task, attempt in [
            ("j1", "map-0", 1),
            ("j1", "map-0", 2),
            ("j1", "map-1", 1),
            ("j7", "map-0", 1),
        ]
    )
    desk.tell("w1", Beat(50.0, 1000, reports))
    assert [(e.task, e.attempt) for e in desk.published(public.Progress)] == [("map-0", 1)]
    assert desk.published(public.WorkerBeat)[-1].cpu_percent == 50.0


# --- a mapper that is not deterministic -----------------------------------------------------------


def lost_and_made_again(desk: Desk, digest: int, *, used: bool) -> list[Any]:
    """map-0 gave digest 7, is lost, and gives another; return what that leads to."""
    desk.join_hosts("h1", "h2")
    desk.submit(maps=2, reduces=2 if used else 1)
    desk.finish("w1", "map-0", digest=7)
    if used:
        desk.finish("w2", "map-1", digest=8)
        assert desk.running() == {"w1": ["reduce-0"], "w2": ["reduce-1"]}
        desk.lose_for_good("w1")
        desk.finish("w2", "reduce-1")
    else:
        desk.lose_for_good("w1")
        desk.finish("w2", "map-1", digest=8)
    return desk.finish("w2", "map-0", digest=digest)


@pytest.mark.parametrize("digest", [7, 0])
def test_the_same_pairs_again_are_what_was_used(desk: Desk, digest: int) -> None:
    assert sent(lost_and_made_again(desk, digest, used=True), Ended) == []
    assert sent(desk.finish("w2", "reduce-0"), Ended)[0].outcome == "done"


@pytest.mark.fault(40)
def test_other_pairs_than_were_used_fail_the_job_loudly(desk: Desk) -> None:
    (ended,) = sent(lost_and_made_again(desk, 9, used=True), Ended)
    assert ended.outcome == "failed"
    assert ended.sentence.startswith("the mapper is not deterministic: map-0 had to run again")
    assert ended.failure is not None
    assert ended.failure.role == "mapper"


def test_other_pairs_that_nobody_had_used_do_no_harm(desk: Desk) -> None:
    assert sent(lost_and_made_again(desk, 9, used=False), Ended) == []
    assert desk.job().state is JobState.RUNNING


# --- offered --------------------------------------------------------------------------------------


@pytest.mark.fault(8)
def test_what_was_reported_to_a_dying_manager_is_not_done_again(desk: Desk) -> None:
    desk.join_hosts("h1", "h2")
    desk.submit(maps=2, reduces=1)
    desk.finish("w2", "map-1")
    desk.restart()
    desk.ask(Attach(1, JobId("j1")))
    desk.return_of("w1")
    out = desk.offer("w3", desk.finished("map-0", 1, counters={"n": 1}))
    assert [task for _, task, _ in desk.starts(out)] == []  # half of its input is not here yet
    desk.return_of("w2")
    desk.offer("w4", desk.finished("map-1", 1))  # this one was written down
    worker = next(name for name, tasks in desk.running().items() if tasks)
    (ended,) = sent(desk.finish(worker, "reduce-0"), Ended)
    assert ended.counters == {"n": 1}
    assert [e.task for e in desk.published(public.AttemptFinished)] == [
        *("map-1", "map-0", "reduce-0")
    ]


def test_the_last_report_ends_the_job(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1, reduces=1)
    desk.finish("w1", "map-0")
    desk.restart()
    desk.ask(Attach(1, JobId("j1")))
    desk.return_of("w1")
    (ended,) = sent(desk.offer("w2", desk.finished("reduce-0", 1)), Ended)
    assert ended.outcome == "done"


def test_an_offer_of_what_nobody_wants_is_passed_over(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1)
    desk.ask(CancelJob(JobId("j1")))
    desk.lose("w1")
    desk.return_of("w1")
    reports = desk.finished("map-0", 1), desk.finished("map-0", 1, "j9")
    assert desk.offer("w2", *reports) == []


def test_an_offer_that_no_such_task_can_give_costs_only_its_worker(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1, reduces=2)
    desk.lose("w1")
    desk.return_of("w1")
    out = desk.offer("w2", desk.finished("map-0", 1, sizes=(1,)))
    assert Close(desk.peers["w2"]) in out


def test_what_was_found_damaged_is_not_taken_again(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1, reduces=1)
    desk.finish("w1", "map-0")
    desk.fetch_failed("w1", "reduce-0", 0, blame="disk")
    desk.lose("w1")
    desk.return_of("w1")
    desk.offer("w2", desk.finished("map-0", 1))
    assert desk.task("map-0").state is not TaskState.DONE


def test_no_number_of_an_attempt_is_given_twice(desk: Desk) -> None:
    """Files are named by it; and who had which one before the restart is not known."""
    desk.join()
    desk.submit(maps=1)
    desk.restart()
    desk.return_of("w1")
    desk.offer("w2")
    first = desk.attempt("w2", "map-0")
    assert first > 1
    desk.restart()
    desk.return_of("w2")
    desk.offer("w3")
    assert desk.attempt("w3", "map-0") > first
