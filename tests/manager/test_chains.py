"""Chained jobs: one reads the result parts of another, which are kept, or made again, for it."""

from __future__ import annotations

from typing import Any

import pytest
from desk import ON_DISK, Desk, sent

from mrkernel.data.splits import PartSplit
from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.manager.instructions import Instruction
from mrkernel.manager.transitions import JobState, TaskState
from mrkernel.monitor import events as public
from mrkernel.protocol.client_messages import Ended, Refused
from mrkernel.protocol.worker_messages import FetchFailed, PartOutput, Start

PART = PartSplit("counts", JobId("j1"), 0, 0, 7, 7, 100_000)


@pytest.fixture
def desk() -> Desk:
    """j1 is done: its one part is a file of w1's, on h1, whose maps ran on both hosts."""
    desk = Desk()
    desk.join_hosts("h1", "h2")
    desk.submit(maps=2, reduces=1)
    desk.finish("w1", "map-0")
    desk.finish("w2", "map-1")
    assert desk.running()["w1"] == ["reduce-0"]
    desk.finish("w1", "reduce-0", part=ON_DISK)
    assert desk.job().state is JobState.DONE
    return desk


def chain(desk: Desk, **options: Any) -> list[Instruction]:
    return desk.submit(splits=[PART], reduces=1, **options)


def reader(desk: Desk) -> str:
    return next(name for name, tasks in desk.running().items() if tasks)


def unread(desk: Desk, blame: Any = "gone", **facts: Any) -> list[Instruction]:
    """The map attempt of j2 says that it cannot read the part."""
    worker = reader(desk)
    number = desk.attempt(worker, "map-0", "j2")
    me = (JobId("j2"), TaskId("map-0"), number)
    message = FetchFailed(
        *(*me, 0, 1, WorkerId("w1"), "no"), **{"blame": blame, "part_of": JobId("j1"), **facts}
    )
    return desk.tell(worker, message)


def test_a_map_task_is_told_where_the_part_is(desk: Desk) -> None:
    (start,) = sent(chain(desk), Start)
    place = start.part
    assert (start.split, place.directory) == (PART, desk.infos["w1"].directory)
    assert (place.name, place.pairs, place.attempt) == ("j1/part-0.1", 7, 1)


def test_a_small_part_comes_along(desk: Desk) -> None:
    desk.submit(maps=1, reduces=1)
    for task in ("map-0", "reduce-0"):
        desk.finish(reader(desk), task, job="j2")
    part = PartSplit("small", JobId("j2"), 0, 0, 1, 1, 8)
    (start,) = sent(desk.submit(splits=[part]), Start)
    assert start.part.data == b"the part"


def test_what_is_read_is_kept_until_nobody_reads_it(desk: Desk) -> None:
    chain(desk)
    chain(desk)
    assert desk.release("j1") == []
    for job in ("j2", "j3"):
        assert "j1" in desk.state.jobs
        desk.finish(desk.job(job).tasks[TaskId("map-0")].running[1].worker, "map-0", job=job)
        desk.finish(desk.job(job).tasks[TaskId("reduce-0")].running[1].worker, "reduce-0", job=job)
    assert list(desk.state.jobs) == ["j2", "j3"]


def test_a_reader_that_is_cancelled_keeps_nothing(desk: Desk) -> None:
    chain(desk)
    desk.release("j1")
    desk.release("j2")
    assert desk.state.jobs == {}


def test_what_was_released_cannot_be_read(desk: Desk) -> None:
    desk.release("j1")
    (refused,) = sent(chain(desk), Refused)
    assert "the result of j1 (counts), which this job reads, is not in the cluster" in (
        refused.sentence
    )


def test_a_job_that_runs_has_no_result_to_read(desk: Desk) -> None:
    desk.submit(maps=1)
    (refused,) = sent(desk.submit(splits=[PartSplit("x", JobId("j2"), 0, 0, 1, 1, 1)]), Refused)
    assert "part 0 of j2 (x), which this job reads, was lost and could not" in refused.sentence


def test_there_is_no_such_part(desk: Desk) -> None:
    (refused,) = sent(desk.submit(splits=[PartSplit("x", JobId("j1"), 1, 0, 1, 1, 1)]), Refused)
    assert refused.sentence == "j1 has no part 1: run it again"


def test_a_part_that_nobody_serves_for_a_moment_is_waited_for(desk: Desk) -> None:
    chain(desk)
    desk.lose("w1")
    assert desk.running() == {"w2": []}
    assert desk.task("map-0", "j2").state is TaskState.READY
    (start,) = sent(desk.return_of("w1"), Start) or sent(desk.offer("w3"), Start)
    assert (start.job, start.part.directory) == ("j2", desk.infos["w1"].directory)


def test_a_part_that_is_lost_is_made_again_first(desk: Desk) -> None:
    """With the map output of its job that died as well."""
    chain(desk)
    desk.lose_for_good("w1")
    assert desk.job("j1").state is JobState.RUNNING
    assert desk.running() == {"w2": ["map-0"]}
    desk.finish("w2", "map-0", job="j1")
    (start,) = sent(desk.finish("w2", "reduce-0", job="j1", part=ON_DISK), Start)
    assert (start.job, start.task, start.part.worker) == ("j2", "map-0", "w2")
    desk.finish("w2", "map-0", job="j2")
    (ended,) = sent(desk.finish("w2", "reduce-0", job="j2"), Ended)
    assert ended.outcome == "done"


def test_a_lost_part_of_a_job_that_was_delivered_ends_its_readers(desk: Desk) -> None:
    desk.release("j1", runs_only=True)
    chain(desk)
    (ended,) = sent(desk.lose_for_good("w1"), Ended)
    assert (ended.job, ended.outcome) == ("j2", "failed")
    assert "part 0 of j1 (counts), which this job reads, died with its host" in ended.sentence
    assert "run j1 again" in ended.sentence


def test_when_it_cannot_be_made_again_readers_end_with_the_reason(desk: Desk) -> None:
    chain(desk)
    desk.lose_for_good("w1")
    ends = sent(desk.fail("w2", "map-0", "user"), Ended)
    assert [(each.job, each.outcome) for each in ends] == [("j1", "failed"), ("j2", "failed")]
    assert "could not be made again: map-0: it had a user" in ends[1].sentence


def test_a_part_that_is_damaged_is_made_again_alone(desk: Desk) -> None:
    chain(desk)
    out = unread(desk, "disk")
    assert desk.starts(out) == [("w1", "reduce-0", 2)]
    (lost,) = desk.published(public.OutputLost)
    assert (lost.job, lost.tasks) == ("j1", ("reduce-0",))
    desk.finish("w1", "reduce-0", job="j1", part=PartOutput("j1/part-0.2", 100_000, 7))
    desk.finish(reader(desk), "map-0", job="j2")
    (ended,) = sent(desk.finish(reader(desk), "reduce-0", job="j2"), Ended)
    assert ended.outcome == "done"


def test_where_the_network_fails_another_worker_reads(desk: Desk) -> None:
    chain(desk)
    first = reader(desk)
    out = unread(desk, "network")
    (started,) = desk.starts(out)
    assert started[0] != first
    assert desk.job("j1").state is JobState.DONE
    unread(desk, "network")  # nobody reaches it
    assert desk.job("j1").state is JobState.RUNNING


def test_a_damaged_part_of_a_job_that_was_delivered_ends_its_reader(desk: Desk) -> None:
    desk.release("j1", runs_only=True)
    chain(desk)
    (ended,) = sent(unread(desk, "disk"), Ended)
    assert "part 0 of j1, which map-0 reads, cannot be read on w1 (no)" in ended.sentence


def test_a_worker_that_names_a_part_it_does_not_read_is_not_believed(desk: Desk) -> None:
    chain(desk)
    worker = reader(desk)
    number = desk.attempt(worker, "map-0", "j2")
    wrong = FetchFailed(
        *(JobId("j2"), TaskId("map-0"), number, 5, 1, WorkerId("w1"), "no"), part_of=JobId("j1")
    )
    desk.tell(worker, wrong)
    assert desk.task("map-0", "j2").running


def test_a_restart_changes_nothing(desk: Desk) -> None:
    chain(desk)
    desk.release("j1")
    desk.restart()
    assert desk.job("j2").reads == {"j1"}
    desk.return_of("w1")
    desk.offer("w3")
    assert desk.running() == {"w3": ["map-0"]}


def test_its_own_output_that_is_lost_is_read_again_from_the_part(desk: Desk) -> None:
    chain(desk)
    assert reader(desk) == "w1"
    desk.finish("w1", "map-0", job="j2")
    desk.finish("w1", "reduce-0", job="j2", part=PartOutput("j2/part-0.1", 100_000, 7))
    desk.release("j1")
    ends = sent(desk.lose_for_good("w1"), Ended)
    assert [each.outcome for each in ends if each.job == "j2"] == ["failed"]
    assert "the result of j1 (counts), which this job reads, is not in the" in ends[-1].sentence
