"""Bad records run again under a mended mapper: a job that takes over another's map output."""

from __future__ import annotations

from typing import Any

import pytest
from desk import FUNCTIONS, ON_DISK, Desk, sent
from msgspec.structs import replace

from mrkernel.data.splits import MemorySplit
from mrkernel.ids import JobId, TaskId
from mrkernel.job.bad_records import BadRecord
from mrkernel.manager.instructions import Instruction, SendBlob
from mrkernel.manager.transitions import TaskState
from mrkernel.monitor import events as public
from mrkernel.protocol.client_messages import Accepted, Attach, Ended, Refused
from mrkernel.protocol.worker_messages import Start

MENDED = "a" * 64  #: digest of the mended functions
BAD = BadRecord(task="map-0", index=3, file="/data/a.txt", offset=3, record="'x'", error="E")
AGAIN = MemorySplit("bad records", 0, 1, b"pickled", size=1)


@pytest.fixture
def desk() -> Desk:
    """j1 is done on two hosts, without one record of map-0."""
    desk = Desk()
    desk.join_hosts("h1", "h2")
    desk.submit(maps=2, reduces=1, skip=5)
    desk.finish("w1", "map-0", bad=(BAD,), counters={"lines": 1})
    desk.finish("w2", "map-1", counters={"lines": 2})
    worker = next(name for name, tasks in desk.running().items() if tasks)
    (ended,) = sent(desk.finish(worker, "reduce-0"), Ended)
    assert ended.bad == (BAD,)
    return desk


def extend(desk: Desk) -> list[Instruction]:
    return desk.submit(splits=[AGAIN], reduces=1, functions=MENDED, extends="j1")


def test_a_map_whose_output_is_gone_since_runs_again(desk: Desk) -> None:
    """Nobody missed it in the job that was done."""
    desk.lose_for_good("w1")
    extend(desk)
    assert desk.job("j1").tasks[TaskId("map-0")].state is TaskState.DONE
    assert desk.running()["w2"] == ["map-0"]
    desk.finish("w2", "map-0", job="j2")
    (start,) = sent(desk.finish("w2", "map-2", job="j2"), Start)
    assert start.task == "reduce-0"
    (ended,) = sent(desk.finish("w2", "reduce-0", job="j2"), Ended)
    assert ended.outcome == "done"


def test_only_the_bad_records_are_mapped_again(desk: Desk) -> None:
    out = extend(desk)
    (start,) = sent(out, Start)
    assert (start.job, start.task, start.split) == ("j2", "map-2", AGAIN)
    assert [task.state for task in desk.job("j2").maps[:2]] == [TaskState.DONE] * 2
    worker = next(name for name, tasks in desk.running().items() if tasks)
    (start,) = sent(desk.finish(worker, "map-2", job="j2", counters={"lines": 10}), Start)
    places = {(source.worker, source.job, source.runs) for source in start.sources}
    assert places == {
        ("w1", "j1", ((0, 1),)),
        ("w2", "j1", ((1, 1),)),
        (worker, "", ((2, 1),)),
    }
    worker = next(name for name, tasks in desk.running().items() if tasks)
    (ended,) = sent(desk.finish(worker, "reduce-0", job="j2"), Ended)
    assert (ended.outcome, ended.bad) == ("done", ())
    assert ended.counters == {"lines": 13}


def test_the_base_is_released_when_the_extension_is_through(desk: Desk) -> None:
    extend(desk)
    assert desk.release("j1") == []
    assert list(desk.state.jobs) == ["j1", "j2"]
    for task in ("map-2", "reduce-0"):
        worker = next(name for name, tasks in desk.running().items() if tasks)
        desk.finish(worker, task, job="j2")
    assert list(desk.state.jobs) == ["j2"]
    assert desk.state.blobs == {MENDED}


def test_a_map_of_the_base_that_is_lost_passes_over_what_it_did(desk: Desk) -> None:
    """Or the mended record would be counted twice."""
    extend(desk)
    worker = next(name for name, tasks in desk.running().items() if tasks)
    desk.finish(worker, "map-2", job="j2", carried=b"small")
    out = desk.lose_for_good("w1")
    starts = [start for start in sent(out, Start) if start.task == "map-0" and start.job == "j2"]
    assert [start.skip for start in starts] == [(3,)]


def finish(desk: Desk, task: str, job: str = "j2", **facts: Any) -> list[Instruction]:
    """Let a task end well on whoever runs it."""
    workers = desk.state.workers.values()
    worker = next(w.id for w in workers if (JobId(job), TaskId(task)) in w.assigned)
    return desk.finish(worker, task, job=job, **facts)


@pytest.mark.parametrize("restarts", [0, 1])
def test_what_was_bad_in_the_base_is_not_bad_again(desk: Desk, restarts: int) -> None:
    """The new map task has it: neither is it told in the feed, nor does it count."""
    extend(desk)
    finish(desk, "map-2", carried=b"small")
    desk.lose_for_good("w1")
    for _ in range(restarts):
        desk.restart()
        desk.return_of("w2")
        desk.offer("w3")
        desk.ask(Attach(9, JobId("j2")))
    finish(desk, "map-0", bad=(replace(BAD, error=""),))
    finished = desk.published(public.AttemptFinished)
    assert {e.bad for e in finished if e.job == "j2"} == {0}
    (ended,) = sent(finish(desk, "reduce-0"), Ended)
    assert (ended.outcome, ended.bad) == ("done", ())


def test_records_of_the_base_leave_room_for_others_that_kill(desk: Desk) -> None:
    out = desk.submit(splits=[AGAIN], reduces=1, functions=MENDED, extends="j1", skip=1)
    (start,) = sent(out, Start)
    for index in (None, 4):  # what ends the runner is found at the second try
        worker = next(name for name, tasks in desk.running().items() if tasks)
        assert not sent(desk.fail(worker, "map-2", job="j2", index=index), Ended)
    assert start.task == "map-2"
    assert desk.task("map-2", "j2").skip == {4: "it had a crash"}


def test_other_pairs_of_a_mended_mapper_are_called_that() -> None:
    """It is no sign of chance: reduce tasks had used what the mapper before it made."""
    desk = Desk()
    desk.join_hosts("h1", "h2", slots=3)
    desk.submit(maps=2, reduces=2, skip=5)
    desk.finish("w1", "map-0", bad=(BAD,), digest=7)
    desk.finish("w2", "map-1", digest=8)
    for task in ("reduce-0", "reduce-1"):
        finish(desk, task, "j1")
    desk.submit(splits=[AGAIN], reduces=2, functions=MENDED, extends="j1")
    finish(desk, "map-2", carried=b"small")
    desk.lose_for_good("w1")
    (ended,) = sent(finish(desk, "map-0", digest=9), Ended)
    assert ended.sentence == (
        "the mended mapper gives other pairs for records that were good in j1: map-0 had to run "
        "again because its output was lost, and gave other pairs than reduce tasks had used "
        "already, so the result would be wrong; run the mended mapper over all of the input, in a "
        "new job"
    )


def test_the_input_of_the_base_stays_as_long_as_its_maps_may_run_again() -> None:
    """Also when the base is forgotten meanwhile: its map tasks are the extension's now."""
    desk = Desk()
    desk.join_hosts("h1", "h2")
    memory = MemorySplit("numbers", 0, 1, b"", blob="b" * 64, size=1)
    desk.submit(splits=[memory], reduces=1, skip=5)
    finish(desk, "map-0", "j1", bad=(BAD,))
    finish(desk, "reduce-0", "j1")
    extend(desk)
    finish(desk, "map-1")
    finish(desk, "reduce-0", part=ON_DISK)
    desk.release("j1")
    assert desk.state.blobs == {"b" * 64, MENDED}
    desk.lose_for_good(*desk.state.workers)
    out = desk.join(slots=4)
    assert SendBlob(desk.peers["w3"], "b" * 64) in out
    desk.release("j2")
    assert desk.state.blobs == set()


def test_a_restart_changes_nothing(desk: Desk) -> None:
    extend(desk)
    desk.restart()
    for name in ("w1", "w2"):
        desk.return_of(name)
    out = [*desk.offer("w3"), *desk.offer("w4")]
    assert [(start.job, start.task) for start in sent(out, Start)] == [("j2", "map-2")]
    assert desk.job("j2").maps[0].skip == {3: ""}


def test_a_base_without_map_output_is_refused(desk: Desk) -> None:
    desk.release("j1", runs_only=True)
    (refused,) = sent(extend(desk), Refused)
    assert "the map output of j1 is not kept any more" in refused.sentence
    assert desk.state.blobs == {FUNCTIONS}


def test_a_base_that_runs_still_or_is_unknown_is_refused() -> None:
    desk = Desk()
    desk.join()
    assert "there is no job 'j1'" in sent(extend(desk), Refused)[0].sentence
    desk.submit()
    assert sent(extend(desk), Refused)
    assert list(desk.state.jobs) == [JobId("j1")]


def test_another_number_of_reduce_tasks_is_refused(desk: Desk) -> None:
    out = desk.submit(splits=[AGAIN], reduces=2, functions=MENDED, extends="j1")
    assert sent(out, Refused)[0].sentence == "j1 had 1 reduce tasks: give the same number"


def test_an_extension_can_be_extended(desk: Desk) -> None:
    extend(desk)
    for task in ("map-2", "reduce-0"):
        worker = next(name for name, tasks in desk.running().items() if tasks)
        desk.finish(worker, task, job="j2")
    out = desk.submit(splits=[AGAIN], reduces=1, functions=MENDED, extends="j2")
    assert sent(out, Accepted)
    worker = next(name for name, tasks in desk.running().items() if tasks)
    (start,) = sent(desk.finish(worker, "map-3", job="j3"), Start)
    assert {source.job for source in start.sources} == {"j1", "j2", ""}
