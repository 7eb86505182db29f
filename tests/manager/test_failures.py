"""Failed attempts: whose fault it was, and what becomes of the task."""

from __future__ import annotations

from typing import Any

import pytest
from desk import Desk, maps_done, sent, two_workers
from msgspec.structs import replace

from mrkernel.job.bad_records import BadRecord
from mrkernel.job.failure import Failure
from mrkernel.manager.failures import LOSSES, REPEATS
from mrkernel.manager.transitions import (
    JobState,
    TaskState,
)
from mrkernel.monitor import events as public
from mrkernel.protocol.client_messages import Ended
from mrkernel.protocol.worker_messages import Start


@pytest.mark.parametrize("kind", ["user", "input"])
def test_a_plain_failure_ends_the_job_at_once(desk: Desk, kind: Any) -> None:
    two_workers(desk)
    desk.submit(maps=3)
    out = desk.fail("w2", "map-1", kind)
    assert desk.cancels(out) == [("w1", "map-0", 1)]
    (ended,) = sent(out, Ended)
    assert (ended.outcome, ended.sentence) == ("failed", f"map-1: it had a {kind}")
    assert ended.failure == Failure(kind=kind, sentence=f"it had a {kind}")
    assert desk.starts(desk.submit())  # the cluster stays usable


@pytest.mark.fault(34)
@pytest.mark.parametrize("kind", ["crash", "timeout"])
def test_crashes_count_and_the_task_is_blamed_by_name(desk: Desk, kind: str) -> None:
    two_workers(desk)
    desk.submit(maps=1, attempts=3)
    assert desk.starts(desk.fail("w1", "map-0", kind)) == [("w2", "map-0", 2)]
    assert desk.starts(desk.fail("w2", "map-0", kind)) == [("w1", "map-0", 3)]
    (ended,) = sent(desk.fail("w1", "map-0", kind), Ended)
    assert ended.outcome == "failed"
    assert ended.sentence == f"map-0 failed 3 times, last on w1: it had a {kind}"
    failed = desk.published(public.AttemptFailed)
    assert [(e.worker, e.attempt) for e in failed] == [("w1", 1), ("w2", 2), ("w1", 3)]


def test_deaths_of_workers_do_not_count_until_it_is_no_chance(desk: Desk) -> None:
    desk.submit(maps=1, attempts=1)
    for number in range(1, LOSSES):
        desk.join()
        desk.lose(f"w{number}")
    assert desk.job().state is JobState.RUNNING
    desk.join()
    assert desk.attempt(f"w{LOSSES}", "map-0") == LOSSES
    (ended,) = sent(desk.lose(f"w{LOSSES}"), Ended)
    assert ended.sentence.startswith(f"{LOSSES} workers died while they ran map-0, w{LOSSES} the")
    assert ended.failure.kind == "crash"


@pytest.mark.fault(24)
def test_a_bad_disk_is_not_the_tasks_fault_until_it_is_everywhere(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=1, attempts=1)
    assert desk.starts(desk.fail("w1", "map-0", "environment")) == [("w2", "map-0", 2)]
    (ended,) = sent(desk.fail("w2", "map-0", "environment"), Ended)
    assert ended.sentence == "map-0 failed 2 times, last on w2: it had a environment"


def test_a_bad_disk_is_tried_as_often_as_a_crash(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1, attempts=4)
    for barred_s in (1.0, 2.0, 4.0):
        assert desk.starts(desk.fail("w1", "map-0", "environment")) == []
        assert desk.starts(desk.wait(barred_s - 0.2)) == []
        assert desk.starts(desk.wait(0.4))
    assert sent(desk.fail("w1", "map-0", "environment"), Ended)


# --- map output that cannot be read ---------------------------------------------------------------


def test_output_that_cannot_be_read_is_made_again_and_the_reduce_waits(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2, reduces=1, attempts=1)
    maps_done(desk)
    assert desk.running() == {"w1": ["reduce-0"], "w2": []}
    out = desk.fetch_failed("w1", "reduce-0", 1, source="w2")
    assert desk.task("reduce-0").state is TaskState.WAITING
    assert [task for _, task, _ in desk.starts(out)] == ["map-1"]
    (lost,) = desk.published(public.OutputLost)
    assert (lost.worker, lost.tasks) == ("w2", ("map-1",))
    worker = desk.starts(out)[0][0]
    (start,) = sent(desk.finish(worker, "map-1"), Start)
    assert start.attempt == 2
    runs = {run for source in start.sources for run in source.runs}
    assert runs == {(0, 1), (1, 2)}  # the new attempt's


def test_a_second_reader_of_the_same_loss_costs_nothing_more(desk: Desk) -> None:
    two_workers(desk)
    desk.join()
    desk.submit(maps=2, reduces=2)
    maps_done(desk)
    reduces = {tasks[0]: w for w, tasks in desk.running().items() if tasks}
    desk.fetch_failed(reduces["reduce-0"], "reduce-0", 0)
    assert desk.task("map-0").attempts == 2
    desk.fetch_failed(reduces["reduce-1"], "reduce-1", 0)
    assert desk.task("map-0").attempts == 2
    assert desk.task("map-0").repeats == 1
    runner = next(w for w, tasks in desk.running().items() if "map-0" in tasks)
    out = desk.finish(runner, "map-0")
    assert {task for _, task, _ in desk.starts(out)} == {"reduce-0", "reduce-1"}


def test_a_late_complaint_does_not_touch_the_output_made_since(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=1, reduces=2)
    desk.finish("w1", "map-0")
    assert desk.running() == {"w1": ["reduce-0"], "w2": ["reduce-1"]}
    desk.fetch_failed("w1", "reduce-0", 0)
    desk.finish("w1", "map-0")
    assert desk.task("map-0").winner == 2
    desk.fetch_failed("w2", "reduce-1", 0, map_attempt=1)  # it read the old one all the time
    assert desk.task("map-0").winner == 2
    assert [e.tasks for e in desk.published(public.OutputLost)] == [("map-0",)]
    assert desk.attempt("w2", "reduce-1") == 2


@pytest.mark.fault(17, 28)
def test_output_that_can_never_be_read_fails_the_job(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1, reduces=1)
    for number in range(1, REPEATS + 1):
        desk.finish("w1", "map-0")
        out = desk.fetch_failed("w1", "reduce-0", 0, map_attempt=number)
    (ended,) = sent(out, Ended)
    assert ended.sentence == (
        f"the output of map-0 could not be read {REPEATS} times, "
        "last by reduce-0 on w1 from w1: gone; look at the disks and the network between these "
        "hosts, and run the job again"
    )


@pytest.mark.fault(17)
def test_the_link_is_to_blame_before_the_disk(desk: Desk) -> None:
    """Another worker may reach what one cannot: only when nobody can, the map runs again."""
    desk.join_hosts("h1", "h2", "h3")
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    tried = set()
    for _ in range(3):
        assert desk.task("map-1").state is TaskState.DONE
        (reader,) = (name for name, tasks in desk.running().items() if tasks)
        tried.add(reader)
        desk.fetch_failed(reader, "reduce-0", 1, source="w2", blame="network")
    assert tried == {"w1", "w2", "w3"}
    assert [e.tasks for e in desk.published(public.OutputLost)] == [("map-1",)]
    sentences = [note.sentence for note in desk.published(public.Noted)]
    assert len(sentences) == 2
    assert sentences[0].startswith("w1 cannot fetch from w2 (gone): reduce-0 goes to another")


@pytest.mark.parametrize("blame", ["disk", "gone"])
def test_what_is_damaged_where_it_lies_is_made_again_at_once(desk: Desk, blame: str) -> None:
    desk.join_hosts("h1", "h2", "h3")
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    desk.fetch_failed("w1", "reduce-0", 1, source="w2", blame=blame)
    assert desk.task("map-1").attempts == 2
    assert desk.task("map-0").state is TaskState.DONE


@pytest.mark.parametrize(("blame", "again"), [("gone", False), ("network", False), ("disk", True)])
def test_an_old_address_is_nobodys_fault(desk: Desk, blame: str, again: bool) -> None:
    """The store went to another keeper after the reader had been told where it is."""
    desk.join_hosts("h1", "h1", "h2")
    desk.submit(maps=3, reduces=3)
    for number in (1, 2, 3):
        desk.finish(f"w{number}", f"map-{number - 1}")
    (reduce,) = desk.running()["w3"]
    desk.now += 1.0
    desk.lose("w1")
    desk.fetch_failed("w3", reduce, 0, blame=blame)
    assert (desk.task("map-0").state is not TaskState.DONE) == again


# --- who is to blame for crashes ------------------------------------------------------------------


@pytest.mark.fault(34)
def test_three_workers_on_which_it_crashes_are_enough(desk: Desk) -> None:
    desk.join_hosts("h1", "h2", "h3", "h4")
    desk.submit(maps=1, attempts=10)
    crashed = []
    for _ in range(3):
        (worker,) = (name for name, tasks in desk.running().items() if tasks)
        crashed.append(worker)
        out = desk.fail(worker, "map-0", "crash")
    (ended,) = sent(out, Ended)
    assert len(set(crashed)) == 3
    assert ended.sentence == (
        f"map-0 crashed on {', '.join(sorted(crashed))}, last: it had a crash"
    )


def test_timeouts_on_three_workers_are_not(desk: Desk) -> None:
    desk.join_hosts("h1", "h2", "h3", "h4")
    desk.submit(maps=1, attempts=10)
    for _ in range(4):
        (worker,) = (name for name, tasks in desk.running().items() if tasks)
        desk.fail(worker, "map-0", "timeout")
    assert desk.job().state is JobState.RUNNING


def test_the_next_try_keeps_an_exact_record_pointer(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1, reduces=1)
    (start,) = sent(desk.fail("w1", "map-0", "crash"), Start)
    assert (start.careful, start.skip) == (True, ())
    (start,) = sent(desk.finish("w1", "map-0"), Start)
    assert not start.careful
    (start,) = sent(desk.fail("w1", "reduce-0", "timeout"), Start)
    assert start.careful


@pytest.mark.fault(38)
def test_a_module_that_is_nowhere_ends_the_job_once_all_were_asked(desk: Desk) -> None:
    """It may be there on another worker; when it is on none, nobody installs it meanwhile."""
    two_workers(desk)
    desk.submit(maps=1, reduces=1)
    missing = {"error_type": "ModuleNotFoundError"}
    assert desk.starts(desk.fail("w1", "map-0", "environment", **missing)) == [("w2", "map-0", 2)]
    (ended,) = sent(desk.fail("w2", "map-0", "environment", **missing), Ended)
    assert ended.outcome == "failed"


def test_an_environment_never_counts(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=1, attempts=2)
    desk.fail("w1", "map-0", "environment")
    desk.fail("w2", "map-0", "crash")
    desk.wait(3.0)
    (worker,) = (name for name, tasks in desk.running().items() if tasks)
    assert desk.task("map-0").crashes == 1
    assert sent(desk.fail(worker, "map-0", "crash"), Ended)


def test_the_hint_ends_the_sentence_once(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1, attempts=1)
    (ended,) = sent(desk.fail("w1", "map-0", "crash", hint="look at the C code"), Ended)
    assert ended.sentence == "map-0 failed on w1: it had a crash; look at the C code"


# --- records that kill, passed over ---------------------------------------------------------------


def bad(index: int, error: str = "") -> BadRecord:
    return BadRecord(
        task="map-0", index=index, file="/data/a.txt", offset=index, record="'x'", error=error
    )


@pytest.mark.fault(13)
def test_what_came_along_with_its_report_is_not_gone_with_a_store(desk: Desk) -> None:
    desk.join_hosts("h1", "h2")
    desk.submit(maps=4, reduces=2)
    desk.finish("w1", "map-0")
    desk.finish("w2", "map-1")
    for worker, tasks in desk.running().items():
        desk.finish(worker, tasks[0], carried=b"small" if worker == "w1" else None)
    reducing = next(tasks[0] for worker, tasks in desk.running().items() if worker == "w2")
    assert reducing.startswith("reduce")
    desk.fetch_failed("w2", reducing, 0, source="w1", blame="gone")
    kept = {task.id for task in desk.job().maps if task.state is TaskState.DONE}
    assert kept == {task.id for task in desk.job().maps if task.id != "map-0"}


@pytest.mark.fault(13)
def test_all_that_a_store_had_runs_again_at_once(desk: Desk) -> None:
    """Its worker ended in good order: run by run, each map would cost a failed reduce attempt."""
    desk.join_hosts("h1", "h2")
    desk.submit(maps=6, reduces=2)
    while desk.job().maps_left:
        worker, tasks = next((name, tasks) for name, tasks in desk.running().items() if tasks)
        desk.finish(worker, tasks[0])
    held = {task.id for task in desk.job().maps if task.holder == "w1"}
    assert len(held) > 1
    reducing = desk.running()["w2"][0]
    index = next(task.index for task in desk.job().maps if task.holder == "w1")
    desk.fetch_failed("w2", reducing, index, source="w1", blame="gone")
    (lost,) = desk.published(public.OutputLost)
    assert set(lost.tasks) == held


@pytest.mark.fault(34)
def test_a_record_that_kills_is_found_and_passed_over(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1, reduces=1, skip=5)
    (start,) = sent(desk.fail("w1", "map-0", "crash"), Start)
    assert (start.careful, start.skip) == (True, ())  # now it will be known which one it is
    (start,) = sent(desk.fail("w1", "map-0", "crash", index=17), Start)
    assert (start.careful, start.skip) == (True, (17,))
    (start,) = sent(desk.fail("w1", "map-0", "timeout", index=4), Start)
    assert start.skip == (4, 17)
    desk.finish("w1", "map-0", bad=(bad(4), bad(9, "ValueError: x"), bad(17)))
    (ended,) = sent(desk.finish("w1", "reduce-0"), Ended)
    assert [(record.index, record.error) for record in ended.bad] == [
        (4, "it had a timeout"),
        (9, "ValueError: x"),
        (17, "it had a crash"),
    ]
    assert [event.bad for event in desk.published(public.AttemptFinished)] == [3, 0]


def test_a_crash_at_no_record_counts(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1, attempts=2, skip=5)
    desk.fail("w1", "map-0", "crash")
    desk.fail("w1", "map-0", "crash", index=None)
    (ended,) = sent(desk.fail("w1", "map-0", "crash", index=None), Ended)
    assert ended.outcome == "failed"


def test_a_crash_of_a_reducer_is_not_passed_over(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1, reduces=1, attempts=2, skip=5)
    desk.finish("w1", "map-0")
    desk.fail("w1", "reduce-0", "crash", index=3)
    assert sent(desk.fail("w1", "reduce-0", "crash", index=3), Ended)


def test_more_records_that_kill_than_allowed_fail_the_job(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1, skip=1)
    desk.fail("w1", "map-0", "crash")
    desk.fail("w1", "map-0", "crash", index=1)
    (ended,) = sent(desk.fail("w1", "map-0", "crash", index=2), Ended)
    assert ended.outcome == "failed"


def test_more_bad_records_than_allowed_fail_the_job(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2, reduces=1, skip=3)
    first = replace(bad(1, "E"), where="/data/a.txt, byte 1", pickled=b"evidence")
    assert sent(desk.finish("w1", "map-0", bad=(first, bad(2, "E"))), Ended) == []
    (ended,) = sent(desk.finish("w2", "map-1", bad=(bad(1, "E"), bad(2, "E"))), Ended)
    assert ended.sentence == (
        "4 bad records, and --on-error skip:3 goes on without 3; the first is /data/a.txt, byte 1: "
        "E"
    )
    failure = ended.failure  # %mr_debug calls the mapper again on it
    assert (failure.where, failure.evidence) == ("/data/a.txt, byte 1", b"evidence")
    assert ended.failure.hint == "mend the mapper, or allow more with --on-error skip:N"


def test_who_passed_over_a_record_for_a_manager_that_died_says_so_himself(desk: Desk) -> None:
    """The one that takes over does not know why the record was passed over."""
    desk.join()
    desk.submit(maps=1, reduces=1, skip=3)
    desk.fail("w1", "map-0", "crash")
    desk.fail("w1", "map-0", "crash", index=1)
    report = desk.finished("map-0", 3, bad=(bad(1), bad(2, "E")))
    desk.restart()
    desk.return_of("w1")
    desk.offer("w2", report)
    said = [b.error for b in desk.task("map-0").bad]
    assert said == ["ended the process of the mapper", "E"]


def test_bad_records_of_a_map_that_runs_again_count_once(desk: Desk) -> None:
    desk.join_hosts("h1", "h2")
    desk.submit(maps=2, reduces=1, skip=3)
    desk.finish("w1", "map-0", bad=(bad(1, "E"), bad(2, "E")))
    desk.finish("w2", "map-1", bad=(bad(1, "E"),))
    desk.lose_for_good("w1")
    desk.finish("w2", "map-0", bad=(bad(1, "E"), bad(2, "E")))
    (ended,) = sent(desk.finish("w2", "reduce-0"), Ended)
    assert (ended.outcome, len(ended.bad)) == ("done", 3)
