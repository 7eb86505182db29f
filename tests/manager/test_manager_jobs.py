"""Jobs at the manager: accepted or refused, run, watched, ended, released, forgotten."""

from __future__ import annotations

import pytest
from desk import FUNCTIONS, ON_DISK, Desk, maps_done, sent, split, two_workers

from mrkernel.data.splits import MemorySplit
from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.job.spec import JobSpec
from mrkernel.manager.events import PeerId, PeerLost
from mrkernel.manager.instructions import DropBlob, Send, SendBlob, SendView, StopView
from mrkernel.manager.jobs import ENDED_JOBS_KEPT
from mrkernel.manager.policy import LARGEST_CARRIED
from mrkernel.manager.transitions import (
    JobState,
    TaskState,
)
from mrkernel.monitor import events as public
from mrkernel.protocol.client_messages import (
    Accepted,
    Attach,
    CancelJob,
    Ended,
    JobPrinted,
    Look,
    Refused,
    ReleaseJob,
    Unwatch,
    Watch,
)
from mrkernel.protocol.worker_messages import (
    CancelAttempt,
    Forget,
    JobInfo,
    PartOutput,
    PartPlace,
    Registered,
    RunSource,
    Start,
)


def test_a_job_word_for_word(desk: Desk) -> None:
    registered = Registered(WorkerId("w1"), beat_s=0.5, cluster="c1", number=1, dead_s=5.0)
    assert desk.join() == [Send(PeerId(2), registered)]
    job, client, worker = JobId("j1"), desk.client, desk.peers["w1"]
    spec = JobSpec(name="job", functions=FUNCTIONS, reduce_tasks=1, python="3.11")
    assert desk.submit(maps=1, reduces=1) == [
        Send(client, Accepted(1, job)),
        SendBlob(worker, FUNCTIONS),
        Send(worker, JobInfo(job, spec)),
        Send(worker, Start(job, TaskId("map-0"), 1, 0, split(0), carry=LARGEST_CARRIED)),
    ]
    source = RunSource(WorkerId("w1"), "h1", "/2", "127.0.0.1", 5002, ((0, 1),))
    assert desk.finish("w1", "map-0") == [
        Send(worker, Start(job, TaskId("reduce-0"), 1, 0, None, (source,)))
    ]
    desk.now += 4.5
    part = PartPlace(0, "", 8, 1, b"the part", WorkerId("w1"), "h1", "/2", "127.0.0.1", 5002, 1)
    ended = Ended(job, "job", "done", "", 4.5, parts=(part,))
    assert desk.finish("w1", "reduce-0") == [Send(client, ended)]
    assert desk.release(runs_only=True) == [Send(worker, Forget(job, runs_only=True))]
    assert desk.release() == [DropBlob(FUNCTIONS), Send(worker, Forget(job, (FUNCTIONS,)))]
    assert desk.state.jobs == {}


def test_a_worker_is_told_of_a_job_once(desk: Desk) -> None:
    desk.join(slots=2)
    out = desk.submit(maps=3)
    assert len(sent(out, JobInfo)) == 1
    assert [type(i).__name__ for i in out].count("SendBlob") == 1
    assert sent(desk.finish("w1", "map-0"), JobInfo) == []


def test_input_blobs_go_where_they_are_read(desk: Desk) -> None:
    two_workers(desk)
    splits = [MemorySplit("x", i, 1, None, blob=str(i) * 64, size=9) for i in range(2)]
    out = desk.submit(splits=splits)
    assert [(i.peer, i.digest[0]) for i in out if isinstance(i, SendBlob)] == [
        (desk.peers["w1"], "f"),
        (desk.peers["w1"], "0"),
        (desk.peers["w2"], "f"),
        (desk.peers["w2"], "1"),
    ]


def test_reduces_wait_for_the_last_map(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2, reduces=3)
    assert desk.finish("w1", "map-0") == []
    assert desk.task("reduce-0").state is TaskState.WAITING
    out = desk.finish("w2", "map-1")
    assert desk.starts(out) == [("w1", "reduce-0", 1), ("w2", "reduce-1", 1)]


def test_runs_without_anything_for_a_partition_are_left_out(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2, reduces=2)
    desk.finish("w1", "map-0", sizes=(5, 0))
    out = desk.finish("w2", "map-1", sizes=(0, 0))
    sources = {m.task: [(s.worker, s.runs) for s in m.sources] for m in sent(out, Start)}
    assert sources == {"reduce-0": [("w1", ((0, 1),))], "reduce-1": []}


def test_what_reduces_read_is_gathered_once_for_all_of_them(desk: Desk) -> None:
    """Anew for each of them it was most of what a task cost the manager of a few workers."""
    desk.join()
    desk.submit(maps=1, reduces=3)
    started = [
        desk.finish("w1", "map-0", sizes=(1, 1, 1)),
        desk.finish("w1", "reduce-0"),
        desk.finish("w1", "reduce-1"),
    ]
    sources = [source for out in started for start in sent(out, Start) for source in start.sources]
    assert len(sources) == 3
    assert sources[0] is sources[1] is sources[2]


@pytest.mark.fault(46)
def test_a_job_without_input(desk: Desk) -> None:
    desk.join()
    assert desk.starts(desk.submit(maps=0, reduces=1)) == [("w1", "reduce-0", 1)]
    (ended,) = sent(desk.finish("w1", "reduce-0", part=PartOutput("", 0, 0)), Ended)
    assert ended.outcome == "done"
    assert [(part.index, part.nbytes, part.pairs) for part in ended.parts] == [(0, 0, 0)]
    (ended,) = sent(desk.submit(maps=0, reduces=0), Ended)
    assert (ended.outcome, ended.map_only) == ("done", True)


def test_a_map_only_job_ends_with_its_maps(desk: Desk) -> None:
    desk.join(slots=2)
    desk.submit(maps=2, reduces=0)
    desk.finish("w1", "map-1", part=PartOutput("j1/part-1.1", 10**6, 3))
    (ended,) = sent(desk.finish("w1", "map-0"), Ended)
    assert [(p.index, p.pairs, p.data, p.name) for p in ended.parts] == [
        (0, 1, b"the part", ""),
        (1, 3, None, "j1/part-1.1"),
    ]


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.fault(39)
def test_a_program_of_another_python_is_refused(desk: Desk) -> None:
    (refused,) = sent(desk.submit(python="3.12"), Refused)
    assert "runs Python 3.11 and your program Python 3.12" in refused.sentence
    assert desk.state.jobs == {}
    assert desk.state.blobs == set()  # its functions are nobody's


def test_a_job_whose_blobs_did_not_arrive_is_refused(desk: Desk) -> None:
    (refused,) = sent(desk.submit(stored=False), Refused)
    assert "did not arrive whole" in refused.sentence
    assert desk.state.jobs == {}


@pytest.mark.parametrize(("maps", "reduces"), [(1, 10**9), (1001, 50_000), (300_000, 1)])
def test_a_job_of_too_many_tasks_is_refused(desk: Desk, maps: int, reduces: int) -> None:
    (refused,) = sent(desk.submit(splits=[split(0)] * maps, reduces=reduces), Refused)
    assert f"{maps:,} map and {reduces:,} reduce tasks" in refused.sentence
    assert "fewer --reduce-tasks or a larger --split-size" in refused.sentence
    assert (desk.state.jobs, desk.state.blobs) == ({}, set())


def test_unknown_jobs_are_named_with_those_there_are(desk: Desk) -> None:
    desk.submit()
    for message in (Attach(7, JobId("j9")), Look(7, "j9")):
        (refused,) = sent(desk.ask(message), Refused)
        assert refused == Refused(7, "there is no job 'j9' here; jobs I know: j1")


# --- cancelled ------------------------------------------------------------------------------------


def test_cancel_stops_everything_and_frees_the_slots(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=3)
    w1, w2 = desk.peers["w1"], desk.peers["w2"]
    desk.now += 2.0
    out = desk.ask(CancelJob(JobId("j1"), "enough"))
    assert out == [
        Send(w1, CancelAttempt(JobId("j1"), TaskId("map-0"), 1)),
        Send(w2, CancelAttempt(JobId("j1"), TaskId("map-1"), 1)),
        Send(desk.client, Ended(JobId("j1"), "job", "cancelled", "enough", 2.0)),
        # Its functions stay, and what it printed: they are wanted for debugging.
        Send(w1, Forget(JobId("j1"), keep_logs=True)),
        Send(w2, Forget(JobId("j1"), keep_logs=True)),
    ]
    assert desk.ask(CancelJob(JobId("j1"))) == []
    assert desk.finish("w1", "map-0", attempt=1) == []  # it was done when the word came
    assert desk.starts(desk.submit()) == [("w1", "map-0", 1), ("w2", "map-1", 1)]


# --- prints, watchers, views ----------------------------------------------------------------------


def test_prints_go_to_whoever_submitted_or_attached(desk: Desk) -> None:
    desk.join()
    desk.submit()
    other = desk.new_client()
    assert desk.ask(Attach(3, JobId("j1")), other) == [Send(other, Accepted(3, JobId("j1")))]
    line = JobPrinted(JobId("j1"), TaskId("map-0"), WorkerId("w1"), "hello\n")
    assert desk.printed("w1", "map-0", "hello\n") == [Send(desk.client, line), Send(other, line)]
    assert desk.published(public.Printed)[0].text == "hello\n"
    desk.handle(PeerLost(desk.client, "kernel died"))
    assert desk.printed("w1", "map-0", "hello\n") == [Send(other, line)]


def test_a_job_goes_on_without_its_client_and_tells_the_next_one(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1)
    desk.handle(PeerLost(desk.client, "kernel died"))
    desk.finish("w1", "map-0")
    assert desk.finish("w1", "reduce-0") == []  # nobody to tell
    other = desk.new_client()
    accepted, ended = sent(desk.ask(Attach(1, JobId("j1")), other), (Accepted, Ended))  # type: ignore[arg-type]
    assert (accepted.job, ended.outcome, len(ended.parts)) == ("j1", "done", 1)


def test_views_are_asked_for_by_topic(desk: Desk) -> None:
    desk.submit()
    client = desk.client
    assert desk.ask(Watch("cluster")) == [SendView(client, "cluster")]
    assert desk.ask(Watch("j5")) == [SendView(client, "j5")]  # to come
    assert desk.ask(Unwatch("j5")) == [StopView(client, "j5")]
    assert desk.ask(Look(4, "j1")) == [SendView(client, "j1", 4)]
    assert desk.ask(Look(5, "cluster")) == [SendView(client, "cluster", 5)]


# --- released, forgotten --------------------------------------------------------------------------


def test_release_of_a_running_job_ends_it_when_nobody_else_waits(desk: Desk) -> None:
    desk.join()
    desk.submit()
    desk.release("j1", runs_only=True)  # makes no sense yet
    assert desk.job().state is JobState.RUNNING
    assert list(desk.job().watchers) == [desk.client]
    desk.submit()
    other = desk.new_client()
    desk.ask(Attach(1, JobId("j2")), other)
    desk.release("j2")
    assert desk.job("j2").state is JobState.RUNNING
    desk.ask(ReleaseJob(JobId("j2")), other)
    assert "j2" not in desk.state.jobs


def test_a_result_lost_just_after_delivery_is_not_computed_for_nobody(desk: Desk) -> None:
    desk.join_hosts("h1", "h2")
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    desk.finish("w1", "reduce-0", part=ON_DISK)
    desk.lose_for_good("w1")  # the client has just read it
    assert desk.running() == {"w2": ["map-0"]}
    out = desk.release("j1", runs_only=True)
    assert desk.cancels(out) == [("w2", "map-0", 2)]
    assert desk.running() == {"w2": []}
    assert desk.state.blobs == {FUNCTIONS}


def test_the_oldest_ended_jobs_are_forgotten(desk: Desk) -> None:
    desk.submit(maps=0, reduces=0)  # j1 is done, and nobody has had its result
    for number in range(2, ENDED_JOBS_KEPT + 5):
        desk.submit(maps=number % 2, reduces=0)
        if number % 2:
            desk.ask(CancelJob(JobId(f"j{number}")))
        else:
            desk.release(f"j{number}", runs_only=True)
    kept = [f"j{number}" for number in (1, *range(5, ENDED_JOBS_KEPT + 5))]
    assert list(desk.state.jobs) == kept
    assert [e.job for e in desk.published(public.JobForgotten)] == ["j2", "j3", "j4"]


def test_answers_about_forgotten_jobs_are_dropped(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1)
    desk.ask(CancelJob(JobId("j1")))
    desk.release()
    assert desk.state.jobs == {}
    assert desk.finish("w1", "map-0", attempt=1) == []
    assert desk.fail("w1", "map-0", "user", attempt=1) == []
    assert desk.printed("w1", "map-0", "boo") == []
    assert desk.ask(CancelJob(JobId("j1"))) == []
    assert desk.release() == []
