"""Finished work that is lost with its store: what runs again, and what does not."""

from __future__ import annotations

import pytest
from desk import ON_DISK, Desk, maps_done, sent

from mrkernel.ids import JobId
from mrkernel.manager.transitions import (
    JobState,
    TaskState,
)
from mrkernel.monitor import events as public
from mrkernel.protocol.client_messages import Attach, Ended, Refused


@pytest.mark.fault(1)
def test_lost_in_map_its_attempts_go_elsewhere(desk: Desk) -> None:
    desk.join_hosts("h1", "h2")
    desk.submit(maps=3)
    assert desk.running() == {"w1": ["map-0"], "w2": ["map-1"]}
    assert desk.lose("w1") == []  # w2 is busy
    assert desk.starts(desk.finish("w2", "map-1")) == [("w2", "map-0", 2)]  # before map-2
    lost = desk.published(public.AttemptLost)
    assert [(e.task, e.attempt, e.worker, e.cause) for e in lost] == [
        ("map-0", 1, "w1", "worker w1 died")
    ]


@pytest.mark.fault(3)
def test_lost_in_shuffle_only_output_that_is_needed_is_made_again(desk: Desk) -> None:
    desk.join_hosts("h1", "h2")
    desk.submit(maps=3, reduces=2)
    desk.finish("w1", "map-0", sizes=(5, 5))
    desk.finish("w2", "map-1", sizes=(5, 5))
    desk.finish("w1", "map-2", sizes=(0, 0))  # nothing in it: nothing to lose
    assert desk.running() == {"w1": ["reduce-0"], "w2": ["reduce-1"]}
    assert desk.lose_for_good("w1") == []
    assert desk.task("map-0").state is TaskState.READY
    assert desk.task("map-2").state is TaskState.DONE
    assert desk.task("reduce-0").state is TaskState.WAITING
    (lost,) = desk.published(public.OutputLost)
    assert (lost.worker, lost.tasks) == ("w1", ("map-0",))
    desk.join(host="h3")
    assert desk.running() == {"w2": ["reduce-1"], "w3": ["map-0"]}
    assert desk.starts(desk.finish("w3", "map-0")) == [("w3", "reduce-0", 2)]


@pytest.mark.fault(2)
def test_lost_in_reduce_what_was_reduced_stays(desk: Desk) -> None:
    desk.join_hosts("h1", "h2")
    desk.submit(maps=2, reduces=3)
    maps_done(desk)
    desk.finish("w1", "reduce-0")  # its part is with the manager
    assert desk.running() == {"w1": ["reduce-2"], "w2": ["reduce-1"]}
    desk.lose_for_good("w1")
    assert desk.task("reduce-0").state is TaskState.DONE
    desk.finish("w2", "reduce-1")
    assert desk.running() == {"w2": ["map-0"]}
    desk.finish("w2", "map-0")
    (ended,) = sent(desk.finish("w2", "reduce-2"), Ended)
    assert [part.index for part in ended.parts] == [0, 1, 2]


def test_a_part_that_dies_before_the_job_is_done_is_made_again(desk: Desk) -> None:
    desk.join_hosts("h1", "h2")
    desk.submit(maps=2, reduces=2)
    maps_done(desk)
    desk.finish("w1", "reduce-0", part=ON_DISK)
    desk.lose_for_good("w1")
    assert desk.task("reduce-0").state is TaskState.WAITING  # for map-0, which died as well
    assert [e.tasks for e in desk.published(public.OutputLost)] == [("map-0", "reduce-0")]
    desk.finish("w2", "reduce-1")
    desk.finish("w2", "map-0")
    (ended,) = sent(desk.finish("w2", "reduce-0"), Ended)
    assert len(ended.parts) == 2


def test_a_result_that_dies_before_delivery_is_computed_again(desk: Desk) -> None:
    desk.join_hosts("h1", "h2")
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    (first,) = sent(desk.finish("w1", "reduce-0", part=ON_DISK), Ended)
    assert desk.starts(desk.lose_for_good("w1")) == [("w2", "map-0", 2)]
    assert desk.job().state is JobState.RUNNING
    desk.finish("w2", "map-0")
    (second,) = sent(desk.finish("w2", "reduce-0", part=ON_DISK), Ended)
    assert (first.parts[0].worker, second.parts[0].worker) == ("w1", "w2")


def test_delivered_jobs_lose_nothing(desk: Desk) -> None:
    desk.join_hosts("h1", "h2")
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    desk.finish("w1", "reduce-0", part=ON_DISK)
    desk.release(runs_only=True)
    assert desk.lose_for_good("w1") == []
    assert desk.job().state is JobState.DONE
    assert desk.published(public.OutputLost) == []


def test_a_result_of_which_a_part_is_gone_is_not_handed_out(desk: Desk) -> None:
    """Half a result would look like a whole one."""
    desk.join_hosts("h1", "h2")
    desk.submit(maps=2, reduces=2)
    maps_done(desk)
    desk.finish("w1", "reduce-0", part=ON_DISK)
    desk.finish("w2", "reduce-1")
    desk.release(runs_only=True)
    (ended,) = sent(desk.ask(Attach(8, JobId("j1"))), Ended)
    assert len(ended.parts) == 2
    desk.lose_for_good("w2")  # reduce-1 is with the manager
    assert len(sent(desk.ask(Attach(9, JobId("j1"))), Ended)) == 1
    desk.lose_for_good("w1")
    (refused,) = sent(desk.ask(Attach(10, JobId("j1"))), Refused)
    assert "died with w1: run the job again" in refused.sentence


def test_a_part_opened_again_needs_outputs_that_died_unmissed(desk: Desk) -> None:
    """map-0 gave reduce-0 alone; when w1 died, reduce-0 was done and nobody missed map-0."""
    desk.join_hosts("h1", "h2", "h3")
    desk.submit(maps=2, reduces=2)
    desk.finish("w1", "map-0", sizes=(5, 0))
    desk.finish("w2", "map-1", sizes=(0, 5))
    assert desk.running() == {"w1": ["reduce-0"], "w2": ["reduce-1"], "w3": []}
    desk.lose_for_good("w1")
    desk.finish("w3", "map-0", sizes=(5, 0))
    desk.finish("w3", "reduce-0", part=ON_DISK)
    desk.lose_for_good("w3")  # the part; and map-0, which is needed again because of it
    assert desk.task("map-0").state is TaskState.READY
    assert desk.task("reduce-0").state is TaskState.WAITING

    other = Desk()
    other.join_hosts("h1", "h2")
    other.submit(maps=1, reduces=2, backup=False)
    other.finish("w1", "map-0", sizes=(5, 0))
    assert other.running() == {"w1": ["reduce-0"], "w2": ["reduce-1"]}
    other.join(host="h3")
    other.fail("w1", "reduce-0")  # so that it ends elsewhere than where its input is
    other.finish("w3", "reduce-0", part=ON_DISK)
    assert other.lose_for_good("w1") == []  # map-0 died, and reduce-1 has nothing of it
    assert other.task("map-0").state is TaskState.DONE
    assert other.starts(other.fail("w2", "reduce-1")) == [("w3", "reduce-1", 2)]
    other.lose_for_good("w3")
    assert other.task("map-0").state is TaskState.READY


def test_a_map_that_runs_again_for_nobody_is_stopped_and_can_run_later(desk: Desk) -> None:
    desk.join_hosts("h1", "h2")
    desk.submit(maps=1, reduces=1)
    desk.finish("w1", "map-0")
    desk.fail("w1", "reduce-0")  # so that it ends elsewhere than where its input is
    desk.lose_for_good("w1")
    desk.join(host="h3")
    assert desk.running() == {"w2": ["reduce-0"], "w3": ["map-0"]}
    out = desk.finish("w2", "reduce-0", part=ON_DISK)  # it had read its input before
    assert desk.cancels(out) == [("w3", "map-0", 2)]
    assert desk.job().state is JobState.DONE
    assert desk.starts(desk.lose_for_good("w2")) == [("w3", "map-0", 3)]  # wanted after all
    desk.finish("w3", "map-0")
    assert sent(desk.finish("w3", "reduce-0"), Ended)


def test_no_worker_is_left(desk: Desk) -> None:
    desk.join()
    desk.submit()
    desk.lose("w1")
    assert desk.job().state is JobState.RUNNING
    assert desk.starts(desk.join()) == [("w2", "map-0", 2)]
