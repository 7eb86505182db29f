"""Who gets what: shares, spread, what is sent ahead, and whom a task avoids."""

from __future__ import annotations

import pytest
from desk import Desk, two_workers

from mrkernel.manager.paces import SLOW
from mrkernel.monitor import events as public


def test_two_jobs_share_the_slots(desk: Desk) -> None:
    desk.submit(maps=100)
    desk.submit(maps=100)
    desk.join(slots=8)
    assert (desk.job("j1").running, desk.job("j2").running) == (4, 4)


def test_a_small_job_does_not_wait_for_a_big_one(desk: Desk) -> None:
    desk.join(slots=4)
    desk.submit(maps=1000)
    desk.submit(maps=2, reduces=0)
    for number in range(2):
        desk.finish("w1", f"map-{number}", job="j1", seconds=1.0)
    assert desk.job("j2").running == 2


def test_the_load_is_spread(desk: Desk) -> None:
    desk.join(slots=1)
    desk.join(slots=3)
    desk.submit(maps=4)
    assert {w: len(tasks) for w, tasks in desk.running().items()} == {"w1": 1, "w2": 3}


@pytest.mark.parametrize(("seconds", "each"), [(10.0, 2), (0.1, 4), (0.01, 10), (0.0001, 130)])
def test_what_is_sent_ahead_has_a_bound(desk: Desk, seconds: float, each: int) -> None:
    desk.join(slots=2)
    desk.submit(maps=300)
    assert len(desk.worker("w1").assigned) == 2  # nothing is known yet
    for number in range(20):
        desk.finish("w1", f"map-{number}", seconds=seconds)
    assert len(desk.worker("w1").assigned) == each


def test_tasks_sent_ahead_die_with_their_worker(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=200)
    for number in range(20):
        desk.finish("w1", f"map-{number}", seconds=0.0001)
    held = desk.running()["w1"]
    assert len(held) == 65
    desk.join()
    out = desk.lose("w1")
    assert {task for _, task, _ in desk.starts(out)} <= set(held)
    assert len(desk.published(public.AttemptLost)) == 65


def test_others_go_first_while_a_task_waits_for_a_worker_it_has_not_failed_on(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=4)
    assert desk.running() == {"w1": ["map-0"], "w2": ["map-1"]}
    out = desk.fail("w1", "map-0")  # w2 may be its luck, and is busy
    assert desk.starts(out) == [("w1", "map-2", 1)]
    assert desk.starts(desk.finish("w2", "map-1")) == [("w2", "map-0", 2)]
    assert desk.starts(desk.finish("w1", "map-2")) == [("w1", "map-3", 1)]


def test_a_worker_that_spoils_everything_does_not_make_the_manager_slow(desk: Desk) -> None:
    """Every task fails on w1 at once; w2 does one at a time, and all wait for it."""
    two_workers(desk)
    desk.submit(maps=400)
    for _ in range(390):
        if desk.running()["w1"]:
            desk.fail("w1", desk.running()["w1"][0], "environment")
    waiting = [task for task in desk.job().ready_maps if task.failed_on]
    assert len(waiting) <= 66
    assert desk.running()["w2"] == ["map-1"]
    assert desk.starts(desk.finish("w2", "map-1"))


def test_the_only_untried_worker_dies(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2)
    desk.fail("w1", "map-0")
    assert desk.running() == {"w1": [], "w2": ["map-1"]}
    out = desk.lose("w2")
    assert desk.starts(out) in ([("w1", "map-0", 2)], [("w1", "map-1", 2)])


# --- slow workers ---------------------------------------------------------------------------------


def one_is_slow(desk: Desk, maps: int) -> None:
    """w1 needs five times as long as w2; it has just shown it."""
    two_workers(desk)
    desk.submit(maps=maps)
    for task in ("map-1", "map-2", "map-3"):
        desk.finish("w2", task, seconds=1.0)
    desk.finish("w1", "map-0", seconds=5.0)


def test_a_slow_worker_is_passed_by_at_the_end_of_the_line(desk: Desk) -> None:
    one_is_slow(desk, maps=8)
    assert desk.worker("w1").pace > SLOW
    assert desk.running() == {"w1": [], "w2": ["map-4"]}
    assert len(desk.job().ready_maps) == 3  # w2 is through with them sooner
    assert desk.starts(desk.finish("w2", "map-4", seconds=1.0)) == [("w2", "map-5", 1)]
    assert desk.starts(desk.finish("w2", "map-5", seconds=1.0)) == [("w2", "map-6", 1)]


def test_a_slow_worker_works_while_there_is_much_to_do(desk: Desk) -> None:
    one_is_slow(desk, maps=30)
    assert len(desk.running()["w1"]) == 1


def test_a_slow_worker_is_better_than_one_that_is_stuck(desk: Desk) -> None:
    """What is passed by for others that have no room for long would wait beside an idle worker."""
    one_is_slow(desk, maps=7)
    desk.wait(2.4)  # nothing but map-4 on w2, which should have taken a second
    assert desk.running() == {"w1": [], "w2": ["map-4"]}
    desk.wait(0.3)
    assert desk.running() == {"w1": ["map-5"], "w2": ["map-4"]}


def test_a_slow_worker_works_when_it_is_alone(desk: Desk) -> None:
    one_is_slow(desk, maps=8)
    assert desk.starts(desk.lose("w2")) == [("w1", "map-4", 2)]


def test_a_slow_worker_is_better_than_one_where_the_task_failed(desk: Desk) -> None:
    one_is_slow(desk, maps=8)
    assert ("w1", "map-4", 2) in desk.starts(desk.fail("w2", "map-4"))


def test_who_was_slow_may_be_quick_again(desk: Desk) -> None:
    one_is_slow(desk, maps=60)
    for _ in range(4):
        desk.finish("w1", desk.running()["w1"][0], seconds=1.0)
    assert desk.worker("w1").pace < SLOW


def test_short_attempts_say_nothing_about_a_pace(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=60)
    for _ in range(10):
        desk.finish("w2", desk.running()["w2"][0], seconds=0.001)
    desk.finish("w1", "map-0", seconds=0.04)
    assert desk.worker("w1").pace == 1.0


def rounds(desk: Desk, order: list[str]) -> dict[str, set[str]]:
    """Run a job over input that is read again and again; who reads what, by its split.

    Args:
        order: whose attempt ends next, as long as it has one.
    """
    job = f"j{len(desk.state.jobs) + 1}"
    desk.submit(maps=6, reduces=0, resident=True)
    read: dict[str, set[str]] = {"w1": set(), "w2": set()}
    for worker in order:
        for task in desk.running()[worker][:1]:
            read[worker].add(desk.task(task, job).label)
            desk.finish(worker, task, job=job)
    return read


def test_input_that_is_read_again_goes_to_who_holds_it(desk: Desk) -> None:
    two_workers(desk)
    first = rounds(desk, ["w2", "w1", "w1", "w2", "w2", "w1"])
    assert rounds(desk, ["w1", "w2"] * 6) == first
    assert rounds(desk, ["w2", "w1"] * 6) == first


def test_nobody_waits_for_who_holds_the_input(desk: Desk) -> None:
    two_workers(desk)
    rounds(desk, ["w1", "w2"] * 6)
    read = rounds(desk, ["w1"] * 5 + ["w2"])
    assert [len(read["w1"]), len(read["w2"])] == [5, 1]
    desk.lose("w1")
    desk.submit(maps=6, reduces=0, resident=True)
    for _ in range(6):
        (task,) = desk.running()["w2"]
        desk.finish("w2", task, job=f"j{len(desk.state.jobs)}")
    assert desk.running() == {"w2": []}
