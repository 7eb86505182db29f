"""What a manager decides, event by event: no sockets, no clock, no other process."""

from __future__ import annotations

from typing import Any

import pytest
from desk import FUNCTIONS, Desk, sent, split

from mrkernel.data.splits import MemorySplit
from mrkernel.errors import InvalidTransition
from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.job.failure import Failure
from mrkernel.job.spec import JobSpec
from mrkernel.manager import attempts, jobs, workers
from mrkernel.manager.attempts import REPEATS
from mrkernel.manager.events import BlobStored, PeerId, PeerLost, Received
from mrkernel.manager.instructions import Close, DropBlob, Send, SendBlob, SendView, StopView
from mrkernel.manager.jobs import ENDED_JOBS_KEPT
from mrkernel.manager.policy import LARGEST_CARRIED
from mrkernel.manager.state import ManagerState
from mrkernel.manager.transitions import (
    JOB_TRANSITIONS,
    TASK_TRANSITIONS,
    WORKER_TRANSITIONS,
    JobState,
    TaskState,
    TaskTrigger,
    WorkerLiveness,
    advance,
)
from mrkernel.monitor import events as public
from mrkernel.protocol.messages import (
    Accepted,
    Attach,
    Beat,
    CancelAttempt,
    CancelJob,
    Ended,
    Finished,
    Forget,
    JobInfo,
    JobPrinted,
    Look,
    PartOutput,
    PartPlace,
    Refused,
    Registered,
    ReleaseJob,
    Retire,
    RunSource,
    Start,
    Unwatch,
    Watch,
)

#: A result part that is a file of its worker, and so dies with it.
ON_DISK = PartOutput("j1/part-0.1", 100_000, 7)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def two_workers(desk: Desk, **options: Any) -> None:
    desk.join(**options)
    desk.join(**options)


def maps_done(desk: Desk, sizes: tuple[int, ...] | None = None) -> None:
    """map-0 is done on w1, map-1 on w2."""
    desk.finish("w1", "map-0", sizes=sizes)
    desk.finish("w2", "map-1", sizes=sizes)


# --- a job from its submission to its end ---------------------------------------------------------


def test_a_job_word_for_word(desk: Desk) -> None:
    assert desk.join() == [Send(PeerId(2), Registered(WorkerId("w1"), beat_s=0.5))]
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
    desk.now = 4.5
    part = PartPlace(0, "", 8, 1, b"the part", WorkerId("w1"), "h1", "/2", "127.0.0.1", 5002)
    ended = Ended(job, "job", "done", "", 4.5, parts=(part,))
    assert desk.finish("w1", "reduce-0") == [Send(client, ended)]
    assert desk.release(runs_only=True) == [
        DropBlob(FUNCTIONS),
        Send(worker, Forget(job, (FUNCTIONS,), runs_only=True)),
    ]
    assert desk.release() == [Send(worker, Forget(job))]
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


def test_counters_are_those_of_the_winners(desk: Desk) -> None:
    two_workers(desk)
    desk.submit()
    desk.finish("w1", "map-0", counters={"bad": 1})
    desk.finish("w2", "map-1", counters={"bad": 10})
    desk.lose("w1")  # map-0 is needed, and runs again
    assert desk.running() == {"w2": ["map-0"]}
    desk.finish("w2", "map-0", counters={"bad": 2})
    (ended,) = sent(desk.finish("w2", "reduce-0", counters={"groups": 3}), Ended)
    assert ended.counters == {"bad": 12, "groups": 3}


# --- what is refused ------------------------------------------------------------------------------


def test_another_python_is_refused_at_the_door(desk: Desk) -> None:
    out = desk.join(python="3.12")
    reason = (
        "this cluster runs Python 3.11, the worker on h1 Python 3.12: start it with Python 3.11"
    )
    assert out == [Send(PeerId(2), Retire(reason)), Close(PeerId(2))]
    assert desk.state.workers == {}
    assert desk.published(public.Noted)[-1].sentence == f"a worker was refused: {reason}"


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


def test_a_blob_that_was_damaged_once_is_kept_when_it_comes_whole(desk: Desk) -> None:
    desk.handle(BlobStored(desk.client, "a" * 64))
    assert sent(desk.submit(stored=False), Refused)  # its functions did not arrive
    assert sent(desk.submit(maps=0, reduces=0), Accepted)
    desk.handle(BlobStored(desk.client, FUNCTIONS))
    desk.release("j1")
    assert FUNCTIONS in desk.state.blobs


def test_unknown_jobs_are_named_with_those_there_are(desk: Desk) -> None:
    desk.submit()
    for message in (Attach(7, JobId("j9")), Look(7, "j9")):
        (refused,) = sent(desk.ask(message), Refused)
        assert refused == Refused(7, "there is no job 'j9' here; jobs I know: j1")


def test_whoever_leaves_his_role_is_shown_out(desk: Desk) -> None:
    desk.join()
    worker = desk.peers["w1"]
    assert desk.tell("w1", desk.worker("w1").info) == [Close(worker)]  # registers twice
    stranger = desk.new_client()
    assert desk.handle(Received(stranger, Beat(0.0, 0))) == [Close(stranger)]


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


# --- a worker dies --------------------------------------------------------------------------------


def test_lost_in_map_its_attempts_go_elsewhere(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=3)
    assert desk.running() == {"w1": ["map-0"], "w2": ["map-1"]}
    assert desk.lose("w1") == []  # w2 is busy
    assert desk.starts(desk.finish("w2", "map-1")) == [("w2", "map-0", 2)]  # before map-2
    lost = desk.published(public.AttemptLost)
    assert [(e.task, e.attempt, e.worker, e.cause) for e in lost] == [
        ("map-0", 1, "w1", "worker w1 died")
    ]


def test_lost_in_shuffle_only_output_that_is_needed_is_made_again(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=3, reduces=2)
    desk.finish("w1", "map-0", sizes=(5, 5))
    desk.finish("w2", "map-1", sizes=(5, 5))
    desk.finish("w1", "map-2", sizes=(0, 0))  # nothing in it: nothing to lose
    assert desk.running() == {"w1": ["reduce-0"], "w2": ["reduce-1"]}
    assert desk.lose("w1") == []
    assert desk.task("map-0").state is TaskState.READY
    assert desk.task("map-2").state is TaskState.DONE
    assert desk.task("reduce-0").state is TaskState.WAITING
    (lost,) = desk.published(public.OutputLost)
    assert (lost.worker, lost.tasks) == ("w1", ("map-0",))
    desk.join()
    assert desk.running() == {"w2": ["reduce-1"], "w3": ["map-0"]}
    assert desk.starts(desk.finish("w3", "map-0")) == [("w3", "reduce-0", 2)]


def test_lost_in_reduce_what_was_reduced_stays(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2, reduces=3)
    maps_done(desk)
    desk.finish("w1", "reduce-0")  # its part is with the manager
    assert desk.running() == {"w1": ["reduce-2"], "w2": ["reduce-1"]}
    desk.lose("w1")
    assert desk.task("reduce-0").state is TaskState.DONE
    desk.finish("w2", "reduce-1")
    assert desk.running() == {"w2": ["map-0"]}
    desk.finish("w2", "map-0")
    (ended,) = sent(desk.finish("w2", "reduce-2"), Ended)
    assert [part.index for part in ended.parts] == [0, 1, 2]


def test_a_part_that_dies_before_the_job_is_done_is_made_again(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2, reduces=2)
    maps_done(desk)
    desk.finish("w1", "reduce-0", part=ON_DISK)
    desk.lose("w1")
    assert desk.task("reduce-0").state is TaskState.WAITING  # for map-0, which died as well
    assert [e.tasks for e in desk.published(public.OutputLost)] == [("map-0", "reduce-0")]
    desk.finish("w2", "reduce-1")
    desk.finish("w2", "map-0")
    (ended,) = sent(desk.finish("w2", "reduce-0"), Ended)
    assert len(ended.parts) == 2


def test_a_result_that_dies_before_delivery_is_computed_again(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    (first,) = sent(desk.finish("w1", "reduce-0", part=ON_DISK), Ended)
    assert desk.starts(desk.lose("w1")) == [("w2", "map-0", 2)]
    assert desk.job().state is JobState.RUNNING
    desk.finish("w2", "map-0")
    (second,) = sent(desk.finish("w2", "reduce-0", part=ON_DISK), Ended)
    assert (first.parts[0].worker, second.parts[0].worker) == ("w1", "w2")


def test_delivered_jobs_lose_nothing(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    desk.finish("w1", "reduce-0", part=ON_DISK)
    desk.release(runs_only=True)
    assert desk.lose("w1") == []
    assert desk.job().state is JobState.DONE
    assert desk.published(public.OutputLost) == []


def test_a_result_of_which_a_part_is_gone_is_not_handed_out(desk: Desk) -> None:
    """Half a result would look like a whole one."""
    two_workers(desk)
    desk.submit(maps=2, reduces=2)
    maps_done(desk)
    desk.finish("w1", "reduce-0", part=ON_DISK)
    desk.finish("w2", "reduce-1")
    desk.release(runs_only=True)
    (ended,) = sent(desk.ask(Attach(8, JobId("j1"))), Ended)
    assert len(ended.parts) == 2
    desk.lose("w2")  # reduce-1 is with the manager
    assert len(sent(desk.ask(Attach(9, JobId("j1"))), Ended)) == 1
    desk.lose("w1")
    (refused,) = sent(desk.ask(Attach(10, JobId("j1"))), Refused)
    assert "died with w1: run the job again" in refused.sentence


def test_a_part_opened_again_needs_outputs_that_died_unmissed(desk: Desk) -> None:
    """map-0 gave reduce-0 alone; when w1 died, reduce-0 was done and nobody missed map-0."""
    two_workers(desk)
    desk.join()
    desk.submit(maps=2, reduces=2)
    desk.finish("w1", "map-0", sizes=(5, 0))
    desk.finish("w2", "map-1", sizes=(0, 5))
    assert desk.running() == {"w1": ["reduce-0"], "w2": ["reduce-1"], "w3": []}
    desk.lose("w1")
    desk.finish("w3", "map-0", sizes=(5, 0))
    desk.finish("w3", "reduce-0", part=ON_DISK)
    desk.lose("w3")  # the part; and map-0, which is needed again because of it
    assert desk.task("map-0").state is TaskState.READY
    assert desk.task("reduce-0").state is TaskState.WAITING

    other = Desk()
    two_workers(other)
    other.submit(maps=1, reduces=2)
    other.finish("w1", "map-0", sizes=(5, 0))
    assert other.running() == {"w1": ["reduce-0"], "w2": ["reduce-1"]}
    other.join()
    other.fail("w1", "reduce-0")  # so that it ends elsewhere than where its input is
    other.finish("w3", "reduce-0", part=ON_DISK)
    assert other.lose("w1") == []  # map-0 died, and reduce-1 has nothing of it
    assert other.task("map-0").state is TaskState.DONE
    other.lose("w3")
    assert other.task("map-0").state is TaskState.READY


def test_a_map_that_runs_again_for_nobody_is_stopped_and_can_run_later(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=1, reduces=1)
    desk.finish("w1", "map-0")
    desk.fail("w1", "reduce-0")  # so that it ends elsewhere than where its input is
    desk.lose("w1")
    desk.join()
    assert desk.running() == {"w2": ["reduce-0"], "w3": ["map-0"]}
    out = desk.finish("w2", "reduce-0", part=ON_DISK)  # it had read its input before
    assert desk.cancels(out) == [("w3", "map-0", 2)]
    assert desk.job().state is JobState.DONE
    assert desk.starts(desk.lose("w2")) == [("w3", "map-0", 3)]  # wanted after all
    desk.finish("w3", "map-0")
    assert sent(desk.finish("w3", "reduce-0"), Ended)


def test_no_worker_is_left(desk: Desk) -> None:
    desk.join()
    desk.submit()
    desk.lose("w1")
    assert desk.job().state is JobState.RUNNING
    assert desk.starts(desk.join()) == [("w2", "map-0", 2)]


def test_a_job_without_workers_says_that_it_waits(desk: Desk) -> None:
    desk.submit()
    desk.silence(1.0)
    assert desk.published(public.Noted) == []  # they may be on their way
    desk.silence(3.0)
    (note,) = desk.published(public.Noted)
    assert (note.job, note.level) == ("j1", "warning")
    assert "mrkernel worker" in note.sentence


# --- fencing --------------------------------------------------------------------------------------


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


def test_the_same_answer_twice_counts_once(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=2, reduces=1)
    desk.finish("w1", "map-0", attempt=1, counters={"n": 1})
    assert desk.finish("w1", "map-0", attempt=1, counters={"n": 1}) == []
    assert desk.fail("w1", "map-0", "user", attempt=1) == []
    assert len(desk.published(public.AttemptFinished)) == 1
    assert desk.job().maps_left == 1


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


# --- cancel and fail ------------------------------------------------------------------------------


def test_cancel_stops_everything_and_frees_the_slots(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=3)
    w1, w2 = desk.peers["w1"], desk.peers["w2"]
    desk.now = 2.0
    out = desk.ask(CancelJob(JobId("j1"), "enough"))
    assert out == [
        Send(w1, CancelAttempt(JobId("j1"), TaskId("map-0"), 1)),
        Send(w2, CancelAttempt(JobId("j1"), TaskId("map-1"), 1)),
        Send(desk.client, Ended(JobId("j1"), "job", "cancelled", "enough", 2.0)),
        DropBlob(FUNCTIONS),
        Send(w1, Forget(JobId("j1"), (FUNCTIONS,))),
        Send(w2, Forget(JobId("j1"), (FUNCTIONS,))),
    ]
    assert desk.ask(CancelJob(JobId("j1"))) == []
    assert desk.finish("w1", "map-0", attempt=1) == []  # it was done when the word came
    assert desk.starts(desk.submit()) == [("w1", "map-0", 1), ("w2", "map-1", 1)]


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


def test_deaths_of_workers_never_count(desk: Desk) -> None:
    desk.submit(maps=1, attempts=1)
    for number in range(1, 21):
        desk.join()
        desk.lose(f"w{number}")
    assert desk.job().state is JobState.RUNNING
    desk.join()
    assert desk.attempt("w21", "map-0") == 21


def test_a_bad_disk_is_not_the_tasks_fault_until_it_is_everywhere(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=1, attempts=1)
    assert desk.starts(desk.fail("w1", "map-0", "environment")) == [("w2", "map-0", 2)]
    (ended,) = sent(desk.fail("w2", "map-0", "environment"), Ended)
    assert ended.sentence == "map-0 failed 2 times, last on w2: it had a environment"


def test_a_bad_disk_is_tried_as_often_as_a_crash(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1, attempts=4)
    for _ in range(3):
        assert desk.starts(desk.fail("w1", "map-0", "environment"))
    assert sent(desk.fail("w1", "map-0", "environment"), Ended)


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


def test_output_that_can_never_be_read_fails_the_job(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1, reduces=1)
    for number in range(1, REPEATS + 1):
        desk.finish("w1", "map-0")
        out = desk.fetch_failed("w1", "reduce-0", 0, map_attempt=number)
    (ended,) = sent(out, Ended)
    assert ended.sentence == (
        f"the output of map-0 could not be read {REPEATS} times, "
        "last by reduce-0 on w1 from w1: gone"
    )


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


def test_progress_counts_only_for_what_runs_there(desk: Desk) -> None:
    desk.join()
    desk.submit()
    from mrkernel.protocol.messages import AttemptProgress

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


# --- release, forget, blobs -----------------------------------------------------------------------


def run_to_end(desk: Desk, job: str, worker: str = "w1") -> None:
    """Let the worker do all that is left of a job of one map and one reduce."""
    desk.finish(worker, "map-0", job=job)
    desk.finish(worker, "reduce-0", job=job)


def test_blobs_live_as_long_as_a_job_needs_them(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1)
    desk.submit(maps=1)  # the same functions
    run_to_end(desk, "j1")
    desk.release("j1")
    assert desk.state.blobs == {FUNCTIONS}
    run_to_end(desk, "j2")
    assert DropBlob(FUNCTIONS) in desk.release("j2")
    assert desk.state.blobs == set()


def test_a_delivered_job_keeps_its_result_and_no_input(desk: Desk) -> None:
    """Or a hundred small notebooks' inputs would fill the manager's memory."""
    desk.join()
    desk.submit(splits=[MemorySplit("x", 0, 1, None, blob="a" * 64, size=10**9)])
    run_to_end(desk, "j1")
    assert desk.state.blobs == {FUNCTIONS, "a" * 64}  # the result may still have to be made again
    desk.release("j1", runs_only=True)
    assert desk.state.blobs == set()
    assert list(desk.state.jobs) == ["j1"]


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_a_job_that_ended_badly_keeps_nothing(desk: Desk, how: str) -> None:
    desk.join()
    desk.submit()
    if how == "failed":
        desk.fail("w1", "map-0", "user")
    else:
        desk.ask(CancelJob(JobId("j1")))
    assert desk.state.blobs == set()
    assert (desk.worker("w1").jobs, desk.worker("w1").blobs) == (set(), set())


def test_a_blob_that_was_just_sent_is_not_dropped_for_another_job(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1)
    run_to_end(desk, "j1")
    other = desk.new_client()
    desk.handle(BlobStored(other, FUNCTIONS))  # its job comes next ...
    desk.release("j1")  # ... but this comes between
    assert sent(desk.submit(client=other, stored=False), Accepted)


def test_a_blob_whose_client_leaves_before_its_job_is_dropped(desk: Desk) -> None:
    other = desk.new_client()
    desk.handle(BlobStored(other, "a" * 64))
    assert desk.handle(PeerLost(other, "gone")) == [DropBlob("a" * 64)]
    assert desk.state.blobs == set()


def test_a_blob_is_deleted_also_where_only_another_job_had_put_it(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2, reduces=1)  # on both workers
    desk.submit(maps=1, reduces=1)  # waits
    desk.finish("w1", "map-0")
    desk.finish("w1", "map-0", job="j2")
    desk.ask(CancelJob(JobId("j1")))
    worker = next(name for name, tasks in desk.running().items() if tasks)
    desk.finish(worker, "reduce-0", job="j2")
    out = desk.release("j2")
    forgets = {
        i.peer: i.message.blobs
        for i in out
        if isinstance(i, Send) and isinstance(i.message, Forget)
    }
    assert forgets == {desk.peers["w1"]: (FUNCTIONS,), desk.peers["w2"]: (FUNCTIONS,)}


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
    two_workers(desk)
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    desk.finish("w1", "reduce-0", part=ON_DISK)
    desk.lose("w1")  # the client has just read it
    assert desk.running() == {"w2": ["map-0"]}
    out = desk.release("j1", runs_only=True)
    assert desk.cancels(out) == [("w2", "map-0", 2)]
    assert desk.running() == {"w2": []}
    assert desk.state.blobs == set()


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


# --- liveness -------------------------------------------------------------------------------------


def test_silence_makes_a_suspect_and_a_word_clears_it(desk: Desk) -> None:
    desk.join()
    desk.silence(1.4)
    assert desk.worker("w1").state is WorkerLiveness.ALIVE
    desk.silence(0.2)
    assert desk.worker("w1").state is WorkerLiveness.SUSPECT
    (suspect,) = desk.published(public.WorkerSuspect)
    assert suspect.silent_s == pytest.approx(1.6, abs=0.11)
    assert desk.starts(desk.submit(maps=1)) == []  # no new work for it
    assert desk.starts(desk.beat("w1")) == [("w1", "map-0", 1)]
    assert desk.published(public.WorkerAlive)[-1].worker == "w1"


def test_a_suspect_keeps_what_it_has(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=3)
    desk.silence(2.0, "w2")
    assert desk.worker("w1").state is WorkerLiveness.SUSPECT
    assert desk.running() == {"w1": ["map-0"], "w2": ["map-1"]}
    assert desk.starts(desk.finish("w1", "map-0")) == [("w1", "map-2", 1)]  # it spoke


def test_long_silence_is_death(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2)
    peer = desk.peers["w1"]
    out = desk.silence(5.2, "w2")
    assert Close(peer) in out
    assert list(desk.state.workers) == ["w2"]
    (lost,) = desk.published(public.WorkerLost)
    assert lost.cause.startswith("no beat for 5.")
    assert desk.starts(desk.finish("w2", "map-1")) == [("w2", "map-0", 2)]
    assert desk.handle(PeerLost(peer, "closed by us")) == []  # the echo of our own closing
    assert len(desk.published(public.WorkerLost)) == 1


def test_a_pause_of_our_own_kills_nobody(desk: Desk) -> None:
    desk.join()
    desk.tick()
    desk.tick(3600.0)  # a laptop's night
    assert desk.worker("w1").state is WorkerLiveness.ALIVE
    desk.silence(2.0)
    assert desk.worker("w1").state is WorkerLiveness.SUSPECT


def test_a_word_before_the_late_tick_gives_no_credit_for_later(desk: Desk) -> None:
    desk.join()
    desk.tick()
    desk.now += 3600.0
    desk.beat("w1")  # what had piled up is read before the timer fires
    desk.tick(0.0)
    desk.silence(5.2)
    assert desk.state.workers == {}


def test_the_dead_come_back_as_somebody_else(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1)
    desk.silence(5.2)
    out = desk.join()
    assert desk.starts(out) == [("w2", "map-0", 2)]
    # Blobs and job are sent again: to us it has nothing.
    assert [type(i).__name__ for i in out].count("SendBlob") == 1
    assert len(sent(out, JobInfo)) == 1


# --- who gets what --------------------------------------------------------------------------------


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


# --- the whole of the tables ----------------------------------------------------------------------


def test_every_row_of_the_tables_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    reached = set()

    def recording(noun: Any, table: Any, trigger: Any, now: float, why: str = "") -> Any:
        before = noun.state
        result = advance(noun, table, trigger, now, why)
        reached.add((before, trigger))
        return result

    for module in (attempts, jobs, workers):
        monkeypatch.setattr(module, "advance", recording)
    desk = Desk()
    two_workers(desk)
    desk.submit(maps=2, reduces=4)
    maps_done(desk)
    desk.lose("w1")  # its attempt, and the output that a ready reduce task needs
    desk.finish("w2", desk.running()["w2"][0])
    for task in ("map-0", "reduce-0", "reduce-2", "reduce-3", "reduce-1"):
        if task in desk.running()["w2"]:
            desk.finish("w2", task, part=ON_DISK if task == "reduce-0" else None)
    for task in ("reduce-0", "reduce-1", "reduce-2", "reduce-3"):
        if task in desk.running()["w2"]:
            desk.finish("w2", task, part=ON_DISK)
    assert desk.job().state is JobState.DONE
    desk.lose("w2")  # the result
    assert desk.job().state is JobState.RUNNING
    desk.ask(CancelJob(JobId("j1")))
    desk.join()
    desk.submit(maps=1)
    desk.fail("w3", "map-0", "user", job="j2")
    desk.silence(2.0)
    desk.beat("w3")
    desk.silence(5.2)
    assert {*TASK_TRANSITIONS, *JOB_TRANSITIONS, *WORKER_TRANSITIONS} - reached == set()


def test_a_bug_tells_the_story_of_its_noun(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1)
    task = desk.task("map-0")
    with pytest.raises(InvalidTransition) as caught:
        advance(task, TASK_TRANSITIONS, TaskTrigger.OUTPUT_LOST, 9.0)
    assert str(caught.value).splitlines() == [
        "task map-0 is running: no row for 'output lost' ()",
        "  0.000 attempt started w1",
    ]


def test_nothing_is_decided_without_an_event() -> None:
    state = ManagerState(python="3.11")
    assert (state.workers, state.jobs, state.blobs) == ({}, {}, set())
    state.validate()
