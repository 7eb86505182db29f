"""Backups: beside a silent worker at once, beside a straggler when slots idle, else never."""

from __future__ import annotations

from typing import Any

import pytest
from desk import Desk, maps_done, sent, two_workers

from mrkernel.data.splits import FileSplit
from mrkernel.manager.backups import MISSES
from mrkernel.manager.paces import SLOW
from mrkernel.manager.transitions import TaskState
from mrkernel.monitor import events as public
from mrkernel.protocol.client_messages import Ended


def backups(desk: Desk) -> list[tuple[str, str]]:
    """The backups so far: (worker, task)."""
    return [(e.worker, e.task) for e in desk.published(public.AttemptStarted) if e.backup]


def straggling(desk: Desk, done: int = 4, **spec: Any) -> None:
    """w1 is at map-0 while w2 has done the others, a second each."""
    two_workers(desk)
    desk.submit(maps=done + 1, reduces=1, **spec)
    for number in range(1, done + 1):
        desk.wait(1.0)
        desk.finish("w2", f"map-{number}", seconds=1.0)


# --- of suspects ----------------------------------------------------------------------------------


@pytest.mark.fault(5)
def test_a_suspects_tasks_get_backups_at_once(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=3)
    desk.silence(2.0, "w2")
    assert backups(desk) == []  # w2 is busy
    out = desk.finish("w2", "map-1")
    assert desk.starts(out) == [("w2", "map-0", 2)]  # before map-2
    assert backups(desk) == [("w2", "map-0")]


def test_doubted_tasks_cost_nothing_while_nobody_has_a_free_slot(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be thousands of them, and every heartbeat is an event."""
    desk.join(slots=8)
    desk.join(slots=2)
    desk.submit(maps=20)
    desk.silence(2.0, "w2")

    def look(*_: Any, **__: Any) -> None:
        raise AssertionError("somebody was looked for")

    monkeypatch.setattr("mrkernel.manager.backups.choose_worker", look)
    desk.heartbeat("w2")
    desk.silence(1.0, "w2")
    with pytest.raises(AssertionError, match="was looked for"):
        desk.finish("w2", desk.running()["w2"][0])


def test_who_waits_for_a_worker_lets_others_have_the_slot_meanwhile(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One event looks for a few of them only, and the next event for the next ones."""
    desk.join(slots=8)
    desk.submit(maps=8)
    looks = []
    monkeypatch.setattr("mrkernel.manager.backups.choose_worker", lambda *_, **__: looks.append(1))
    desk.join()
    desk.silence(1.6, "w2")
    looks.clear()
    desk.heartbeat("w2")
    assert len(looks) == MISSES
    monkeypatch.undo()
    desk.heartbeat("w2")
    assert len(backups(desk)) == 1


def test_where_the_task_failed_is_no_place_for_a_backup(desk: Desk) -> None:
    """It would crash there again while w2 starts a runner, and have failed twice on w1 alone."""
    two_workers(desk)
    desk.submit(maps=2)
    desk.finish("w2", "map-1")
    desk.fail("w1", "map-0", "crash")
    assert desk.running() == {"w1": [], "w2": ["map-0"]}
    desk.silence(2.0, "w1")
    assert backups(desk) == []


def test_who_speaks_again_in_time_gets_none(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=3)
    desk.silence(2.0, "w2")
    desk.beat("w1")
    desk.finish("w2", "map-1")
    assert backups(desk) == []


@pytest.mark.fault(48)
def test_the_first_to_finish_wins_and_the_other_is_cancelled(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2, reduces=1)
    desk.finish("w2", "map-1", counters={"n": 1})
    desk.silence(2.0, "w2")
    assert desk.running() == {"w1": ["map-0"], "w2": ["map-0"]}
    out = desk.finish("w2", "map-0", counters={"n": 10})
    assert desk.cancels(out) == [("w1", "map-0", 1)]
    assert (desk.task("map-0").winner, desk.task("map-0").holder) == (2, "w2")
    assert desk.finish("w1", "map-0", attempt=1, counters={"n": 100}) == []  # too late
    worker = next(name for name, tasks in desk.running().items() if tasks)
    (ended,) = sent(desk.finish(worker, "reduce-0"), Ended)
    assert ended.counters == {"n": 11}


def test_the_suspect_may_still_win(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2, reduces=1)
    desk.finish("w2", "map-1")
    desk.silence(2.0, "w2")
    out = desk.finish("w1", "map-0")
    assert desk.cancels(out) == [("w2", "map-0", 2)]
    assert desk.task("map-0").winner == 1
    (lost,) = desk.published(public.AttemptLost)
    assert lost.cause == "cancelled"


def test_the_suspect_dies_and_its_backup_goes_on(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2, reduces=1)
    desk.finish("w2", "map-1")
    desk.silence(2.0, "w2")
    assert desk.starts(desk.lose("w1")) == []
    assert desk.running() == {"w2": ["map-0"]}
    assert desk.task("map-0").state is TaskState.RUNNING


def test_a_backup_that_fails_is_no_reason_to_start_anew(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2, reduces=1)
    desk.finish("w2", "map-1")
    desk.silence(2.0, "w2")
    assert desk.starts(desk.fail("w2", "map-0", "crash")) == []
    assert desk.running() == {"w1": ["map-0"], "w2": []}


def test_no_backup_means_none(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2, reduces=1, backup=False)
    desk.finish("w2", "map-1")
    desk.silence(2.0, "w2")
    assert backups(desk) == []


def test_a_reduce_waits_with_its_backup_until_its_inputs_are_there(desk: Desk) -> None:
    desk.join_hosts("h1", "h2", "h3")
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    reducer = next(name for name, tasks in desk.running().items() if tasks)
    desk.lose("w2")
    others = [name for name in desk.state.workers if name != reducer]
    desk.silence(2.0, *others)
    assert backups(desk) == []  # half its input is kept by nobody
    out = desk.join(host="h2")
    assert [task for _, task, _ in desk.starts(out)] == ["reduce-0"]


# --- of stragglers --------------------------------------------------------------------------------


@pytest.mark.fault(7)
def test_a_straggler_without_progress_gets_one_when_it_is_overdue(desk: Desk) -> None:
    straggling(desk)
    desk.wait(0.5)
    assert backups(desk) == [("w2", "map-0")]


def test_a_backup_that_is_left_alone_and_hangs_gets_one_too(desk: Desk) -> None:
    straggling(desk)
    desk.wait(0.5)
    assert backups(desk) == [("w2", "map-0")]
    desk.lose("w1")
    desk.join()  # w3
    desk.wait(3.0)
    assert backups(desk) == [("w2", "map-0"), ("w3", "map-0")]


def one_behind_another(desk: Desk) -> list[str]:
    """Short tasks are sent ahead: one of them stands behind one that never ends."""
    two_workers(desk)
    desk.submit(maps=8, reduces=1)
    for _ in range(20):
        if not desk.running()["w2"]:
            break
        desk.wait(0.1)
        desk.finish("w2", desk.running()["w2"][0], seconds=0.1)
    behind = desk.running()["w1"]
    assert len(behind) == 2, "nothing was sent ahead"
    return list(behind)


def test_one_that_waits_behind_a_straggler_comes_first(desk: Desk) -> None:
    """Else both slots may be taken by a long task, and a short one waits for it."""
    _, waits = one_behind_another(desk)
    desk.wait(2.0)
    assert backups(desk) == [("w2", waits)]


def test_one_that_waits_behind_a_straggler_gets_one(desk: Desk) -> None:
    behind = one_behind_another(desk)
    desk.join()
    desk.wait(2.0)
    assert {task for _, task in backups(desk)} == set(behind)


def test_one_that_will_end_soon_at_its_pace_gets_none(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=5, reduces=1)
    for number in range(1, 5):
        desk.wait(1.0)
        desk.progress("w1", "map-0", number, 2 * number)  # of 10
        desk.finish("w2", f"map-{number}", seconds=1.0)
    desk.progress("w1", "map-0", 5, 9)
    desk.wait(0.5)
    assert backups(desk) == []


def test_one_whose_pace_is_too_slow_gets_one(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=5, reduces=1)
    desk.progress("w1", "map-0", 1, 1)  # of 10 bytes
    for number in range(1, 5):
        desk.wait(1.0)
        desk.progress("w1", "map-0", number, 1 + number // 4)
        desk.finish("w2", f"map-{number}", seconds=1.0)
    desk.wait(0.5)
    assert backups(desk) == [("w2", "map-0")]  # 8 bytes at 2 in 4 s: a fresh one needs 1 s


@pytest.mark.fault(7)
def test_what_a_backup_saved_is_told(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=5, reduces=1)
    desk.progress("w1", "map-0", 1, 1)
    for number in range(1, 5):
        desk.wait(1.0)
        desk.progress("w1", "map-0", number, 2)
        desk.finish("w2", f"map-{number}", seconds=1.0)
    desk.wait(1.0)
    desk.finish("w2", "map-0", seconds=1.0)
    finished = desk.published(public.AttemptFinished)[-1]
    assert (finished.task, finished.worker) == ("map-0", "w2")
    assert finished.saved_s > 4.0  # 8 bytes at its pace: 2 in the first second, none since
    assert all(e.saved_s == 0 for e in desk.published(public.AttemptFinished)[:-1])


@pytest.mark.fault(7)
def test_what_a_backup_saved_is_not_guessed_from_a_few_records(desk: Desk) -> None:
    """A worker that stood still after its first record would seem to need hours."""
    two_workers(desk)
    splits = [FileSplit("/data/a.txt", 1000 * i, 1000 * i + 1000, 9000, 0) for i in range(5)]
    desk.submit(splits=splits, reduces=1)
    desk.progress("w1", "map-0", 1, 1)
    for number in range(1, 5):
        desk.wait(1.0)
        desk.progress("w1", "map-0", number, 90)
        desk.finish("w2", f"map-{number}", seconds=1.0)
    desk.wait(1.0)
    desk.finish("w2", "map-0", seconds=1.0)
    assert [e.saved_s for e in desk.published(public.AttemptFinished)] == [0.0] * 5


def test_none_while_somebody_waits_for_a_slot(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=9, reduces=1)
    for number in range(1, 7):
        desk.wait(1.0)
        desk.finish("w2", f"map-{number}", seconds=1.0)
    assert backups(desk) == []


def test_the_fewer_can_be_compared_the_later_one_comes(desk: Desk) -> None:
    straggling(desk, done=1)
    desk.wait(2.3)
    assert backups(desk) == []  # map-0 is at it for 3.3 s, and it is all that map-1 tells against
    desk.wait(0.5)
    assert backups(desk) == [("w2", "map-0")]


def test_none_of_nothing_to_compare(desk: Desk) -> None:
    desk.join_hosts("h1", "h1", "h1")
    desk.submit(maps=2, reduces=1)
    desk.wait(60.0)
    assert backups(desk) == []


def test_attempts_that_still_run_are_compared_too(desk: Desk) -> None:
    """Nobody has ended, and one has come a tenth as far as the others: no need to wait for them."""
    desk.join_hosts("h1", "h1", "h1", "h1")
    wide = [FileSplit("/data/a.txt", i * 1000, i * 1000 + 1000, 3000, 0) for i in range(3)]
    desk.submit(splits=wide, reduces=1)
    for second in range(1, 4):
        desk.wait(1.0)
        desk.progress("w1", "map-0", second, 10 * second)
        desk.progress("w2", "map-1", second, 100 * second)
        desk.progress("w3", "map-2", second, 90 * second)
    desk.wait(0.2)
    assert backups(desk) == [("w4", "map-0")]


def overtake(desk: Desk) -> None:
    """A backup on w2 ends map-0 before w1 does."""
    straggling(desk)
    desk.wait(1.0)
    desk.finish("w2", "map-0", seconds=1.0)


def test_who_was_overtaken_is_known_to_be_slow(desk: Desk) -> None:
    overtake(desk)
    assert desk.worker("w1").pace > SLOW
    # What it gets next is a straggler as soon as somebody is idle: nobody waits until it is.
    desk.submit(maps=20, reduces=1)
    tasks = []
    while desk.job("j2").maps_left > 1:
        tasks += desk.running()["w2"]
        if "map" in tasks[-1]:
            desk.wait(0.3)
            desk.finish("w2", tasks[-1], job="j2", seconds=0.3)
        else:
            desk.finish("w2", tasks[-1], seconds=0.1)
    assert len(desk.running()["w1"]) == 1
    desk.wait(0.2)
    assert backups(desk)[1:] == [("w2", desk.running()["w1"][0])]


def test_no_backup_on_a_slow_worker_while_there_are_others(desk: Desk) -> None:
    overtake(desk)
    desk.join()  # w3
    desk.finish(next(w for w, tasks in desk.running().items() if tasks), "reduce-0")
    desk.submit(maps=5, reduces=1, backup=True)
    for _ in range(4):
        desk.wait(1.0)
        desk.finish("w3", desk.running()["w3"][0], job="j2", seconds=1.0)
    desk.wait(1.0)
    assert all(worker != "w1" for worker, _ in backups(desk))


def test_a_slow_worker_that_stands_idle_is_forgiven(desk: Desk) -> None:
    overtake(desk)
    desk.finish(next(w for w, tasks in desk.running().items() if tasks), "reduce-0")
    assert desk.worker("w1").pace > SLOW
    desk.wait(120.0)
    assert desk.worker("w1").pace < SLOW


def test_what_waits_begins_when_what_ran_ends(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=40, reduces=1)
    for number in range(4):
        desk.wait(0.1)
        desk.finish("w1", f"map-{number}", seconds=0.1)
    first, second = desk.running()["w1"]
    (running,) = desk.task(first).running.values()
    assert running.begun == desk.now
    (waiting,) = desk.task(second).running.values()
    assert waiting.begun == 0.0


def test_a_task_with_more_input_may_take_longer(desk: Desk) -> None:
    two_workers(desk)
    large = FileSplit("/data/a.txt", 0, 1000, 2000, 0)
    small = [FileSplit("/data/a.txt", 1000 + i, 1001 + i, 2000, 0) for i in range(4)]
    desk.submit(splits=[large, *small], reduces=1)
    for number in range(1, 5):
        desk.wait(1.0)
        desk.finish("w2", f"map-{number}", seconds=1.0)
    desk.wait(1.0)
    assert backups(desk) == []


def test_no_backup_of_a_straggler_either(desk: Desk) -> None:
    straggling(desk, backup=False)
    desk.wait(5.0)
    assert backups(desk) == []


def test_no_second_backup_of_a_task(desk: Desk) -> None:
    straggling(desk)
    desk.wait(1.0)
    desk.join(slots=4)
    desk.wait(10.0)
    assert len(backups(desk)) == 1


def test_backups_have_a_cap(desk: Desk) -> None:
    """Not more than two at once in a cluster of this size."""
    desk.join(slots=4)
    desk.join(slots=4)
    desk.submit(maps=8, reduces=1)
    for number, task in enumerate(desk.running()["w2"]):
        desk.wait(0.2 * number)
        desk.finish("w2", task, seconds=0.5)
    desk.wait(10.0)
    assert len(backups(desk)) == 2


def test_a_healthy_cluster_has_none(desk: Desk) -> None:
    desk.join_hosts("h1", "h1", "h2", "h2", slots=2)
    desk.submit(maps=40, reduces=6)
    while desk.job().running:
        desk.wait(1.0)
        for worker, tasks in desk.running().items():
            for task in tasks[:2]:
                if (worker, task) in {(w, t) for w, ts in desk.running().items() for t in ts}:
                    desk.finish(worker, task, seconds=1.0)
    assert desk.published(public.JobEnded)[0].outcome == "done"
    assert backups(desk) == []
