"""A job that stands still says what it waits for, once, and takes it back when it goes on."""

from __future__ import annotations

import pytest
from desk import Desk, maps_done, two_workers

from mrkernel.manager.watchdog import LONELY_S, PATIENCE_S
from mrkernel.manager.workers import Liveness
from mrkernel.monitor import events as public


def waits(desk: Desk) -> list[str]:
    """The sentences so far; "" where it goes on again."""
    return [event.sentence for event in desk.published(public.JobWaits)]


def test_a_job_without_workers_says_so_soon(desk: Desk) -> None:
    desk.submit()
    desk.wait(LONELY_S - 0.2)
    assert waits(desk) == []  # they may be on their way
    desk.wait(1.0)
    assert waits(desk) == ["waiting for a worker, none is here: start one with `mrkernel worker`"]
    desk.wait(30.0)
    assert len(waits(desk)) == 1
    desk.join()
    desk.wait(0.6)
    assert waits(desk)[1:] == [""]


def test_a_job_that_goes_on_says_nothing(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1)
    for records in range(1, 40):
        desk.wait(1.0)
        desk.progress("w1", "map-0", records, records)
    assert waits(desk) == []


@pytest.mark.fault(6)
def test_what_hangs_is_named_with_its_place(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1)
    desk.progress("w1", "map-0", 1234, 5)
    desk.wait(PATIENCE_S + 1.0)
    (sentence,) = waits(desk)
    assert sentence == (
        "waiting for map-0 on w1: it finished no record for long after 1,234 records "
        f"({desk.task('map-0').label}); --timeout S would end what hangs"
    )


def test_who_gave_a_timeout_is_not_told_of_it(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1, timeout_s=60.0)
    desk.wait(PATIENCE_S + 1.0)
    (sentence,) = waits(desk)
    assert "--timeout" not in sentence


def test_a_suspect_is_named() -> None:
    desk = Desk(liveness=Liveness(beat_s=2.0, suspect_after_s=4.5, dead_after_s=60.0))
    desk.join()
    desk.submit(maps=1)
    desk.silence(PATIENCE_S + 1.0)
    (sentence,) = waits(desk)
    assert sentence == "waiting for map-0 on w1: that worker has not been heard of for a while"


def test_a_job_that_waits_for_a_host_says_which(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mrkernel.manager.watchdog.PATIENCE_S", 3.0)
    desk.join_hosts("h1", "h2")
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    desk.lose("w1")
    desk.wait(4.0)
    (sentence,) = waits(desk)
    assert sentence.startswith("waiting for the host of w1: map output lies there")
    desk.wait(8.0)  # the grace is over: the map runs again
    assert waits(desk)[1:2] == [""]


def test_barred_workers_are_told(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=1, attempts=50)
    for _ in range(40):
        desk.wait(1.0)
        for worker, tasks in desk.running().items():
            if tasks:
                desk.fail(worker, "map-0", "environment")
    assert any(
        sentence == "waiting for workers: all of them are barred for a while after failures"
        for sentence in waits(desk)
    )


def test_slots_that_another_job_has_are_told(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1)
    desk.submit(maps=2)
    for records in range(1, 15):
        desk.wait(1.0)
        desk.progress("w1", "map-0", records, records)
    (event,) = desk.published(public.JobWaits)
    assert event.job == "j2"
    assert event.sentence == ("waiting for a free slot for map-0, map-1: other jobs have them")


def test_a_restart_counts_as_going_on(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1)
    desk.wait(PATIENCE_S - 1.0)
    desk.restart()
    desk.return_of("w1")
    desk.offer("w2")
    desk.wait(PATIENCE_S - 1.0)
    assert waits(desk) == []
