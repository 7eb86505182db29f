"""What a worker server fetches ahead, and when."""

from __future__ import annotations

from mrkernel.ids import JobId, WorkerId
from mrkernel.job.spec import JobSpec
from mrkernel.protocol.messages import Message
from mrkernel.protocol.worker_messages import Forget, Gather, JobInfo, RunSource, Start
from mrkernel.worker.gathers import FETCHES, Fetch
from mrkernel.worker.state import Delete, Fetched, FromManager, Instruction, WorkerState

JOB = JobId("j1")


def source(worker: str, *runs: tuple[int, int]) -> RunSource:
    return RunSource(
        WorkerId(worker), f"host of {worker}", "/there", "10.0.0.1", 1, runs or ((0, 1),)
    )


def tell(state: WorkerState, *messages: Message) -> list[Instruction]:
    out = [i for message in messages for i in state.handle(FromManager(message), 0.0)]
    state.validate()
    return out


def worker() -> WorkerState:
    state = WorkerState(1)
    tell(state, JobInfo(JOB, JobSpec(name="job", functions="f", reduce_tasks=9, python="3.11")))
    return state


def fetches(out: list[Instruction]) -> list[tuple[int, str]]:
    return [(i.partition, i.source.worker) for i in out if isinstance(i, Fetch)]


def test_a_few_at_once_and_no_two_from_one_worker() -> None:
    state = worker()
    out = tell(state, Gather(JOB, (0, 1), (source("w1"), source("w2"), source("w3"))))
    assert fetches(out) == [(0, "w1"), (0, "w2")]
    assert len(fetches(out)) == FETCHES
    (one, two) = [i for i in out if isinstance(i, Fetch)]
    assert fetches(state.handle(Fetched(two.number), 0.0)) == [(0, "w3")]
    assert fetches(state.handle(Fetched(one.number), 0.0)) == [(1, "w1")]
    state.validate()


def test_a_reduce_attempt_fetches_the_rest_by_itself() -> None:
    state = worker()
    tell(state, Gather(JOB, (0,), (source("w1"),)), Gather(JOB, (0, 1), (source("w1", (1, 1)),)))
    out = tell(state, Start(JOB, "reduce-0", 1, 0, None, ()))  # type: ignore[arg-type]
    assert fetches(out) == []
    left = state.gathers.waiting.values()
    assert [(f.partition, f.source.runs) for f in left] == [(1, ((1, 1),))]


def test_what_waits_for_the_same_worker_is_one_request() -> None:
    state = worker()
    (first,) = [i for i in tell(state, Gather(JOB, (0,), (source("w1"),))) if isinstance(i, Fetch)]
    tell(state, Gather(JOB, (0,), (source("w1", (1, 1)),)))
    tell(state, Gather(JOB, (0,), (source("w1", (2, 1), (3, 1)),)))
    (then,) = state.handle(Fetched(first.number), 0.0)
    assert isinstance(then, Fetch)
    assert then.source.runs == ((1, 1), (2, 1), (3, 1))
    state.validate()


def test_a_job_that_was_let_go_is_fetched_for_no_more() -> None:
    state = worker()
    out = tell(state, Gather(JOB, (0, 1), (source("w1"),)))
    (under_way,) = [i for i in out if isinstance(i, Fetch)]
    assert Delete(JOB, (), True) in tell(state, Forget(JOB, (), True))
    assert not state.gathers.waiting
    # What was under way came too late: it goes the way of the rest.
    assert state.handle(Fetched(under_way.number), 0.0) == [Delete(JOB, (), True)]


def test_another_manager_hears_nothing_of_what_was_under_way() -> None:
    state = worker()
    out = tell(state, Gather(JOB, (0, 1), (source("w1"),)))
    (under_way,) = [i for i in out if isinstance(i, Fetch)]
    state.forget_everything()
    assert state.handle(Fetched(under_way.number), 0.0) == []
    state.validate()
