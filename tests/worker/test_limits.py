"""What a worker server does about attempts that take too long, or too much memory. Pure."""

from __future__ import annotations

import pytest
from state_bench import KILLED, ZERO, Bench, cancel, discard, finished, info, start, tasks

from mrkernel.data.splits import FileSplit
from mrkernel.ids import JobId, TaskId
from mrkernel.job.failure import Failure
from mrkernel.protocol.worker_messages import AttemptProgress, Beat, Failed, Start
from mrkernel.worker.deaths import Death
from mrkernel.worker.state import (
    LEAST_LIMIT,
    READY_S,
    Discard,
    Fork,
    Instruction,
    Kill,
    RunnerDied,
    RunnerProgress,
    RunnerUp,
    Say,
    Weighed,
    WorkerState,
)

# --- time -----------------------------------------------------------------------------------------


def test_a_beat_tells_how_far_the_running_attempts_are() -> None:
    bench = Bench(slots=2)
    bench.hear(info(), start(0))
    out = bench.pulse(RunnerProgress(1, 20, 300), ZERO)
    progress = (AttemptProgress(JobId("j1"), TaskId("map-0"), 1, 20, 300),)
    assert out == [Say(Beat(1.0, 100, progress))]
    bench.said(0, finished(0))
    assert bench.pulse(RunnerProgress(1, 20, 300), ZERO) == [Say(Beat(1.0, 100))]


def test_an_attempt_without_a_finished_record_is_killed_and_says_so() -> None:
    bench = Bench()
    bench.hear(info(timeout_s=2.0), start(0), start(1))
    bench.pulse(RunnerProgress(1, 10, 0), after=1.5)
    bench.pulse(RunnerProgress(1, 11, 0), after=1.5)  # one more record: the clock starts anew
    assert bench.pulse(RunnerProgress(1, 11, 0), after=1.5)[:-1] == []
    kill, beat = bench.pulse(RunnerProgress(1, 11, 0), after=1.0)
    assert kill == Kill(0, tell=True)
    assert isinstance(beat, Say)
    assert bench.pulse(RunnerProgress(1, 11, 0), after=9.0)[:-1] == []  # once is enough
    assert bench.said(0, finished(0)) == []  # too late
    died = RunnerDied(0, Death(signal="SIGKILL", place="numbers[0]", index=0))
    say, gone, fork = bench.handle(died)
    assert isinstance(say, Say)
    assert isinstance(say.message, Failed)
    failure = say.message.failure
    assert (failure.kind, failure.index, failure.where) == ("timeout", 0, "numbers[0]")
    assert failure.sentence == "no record was finished for 2 s; it was at numbers[0]"
    assert (gone, fork) == (discard(0), Fork(0))
    bench.handle(RunnerUp(0))
    assert tasks(bench.state.slots[0].held) == ["map-1"]


def test_a_program_that_reads_writes_or_says_something_is_not_stuck() -> None:
    bench = Bench()
    bench.hear(info(timeout_s=2.0), start(0))
    for stirs in range(1, 6):
        assert bench.pulse(RunnerProgress(1, 0, 0, stirs), after=1.9)[:-1] == []
    assert bench.pulse(RunnerProgress(1, 0, 0, 5), after=2.1)[:-1] == [Kill(0, tell=True)]


def test_time_before_an_attempt_began_does_not_count() -> None:
    bench = Bench()
    bench.pulse(ZERO, after=100.0)
    bench.hear(info(timeout_s=2.0), start(0))
    assert bench.pulse(ZERO, after=1.0)[:-1] == []
    bench.said(0, finished(0))
    bench.now += 100.0
    bench.hear(start(1))
    assert bench.pulse(ZERO, after=1.0)[:-1] == []  # it has not even begun


def test_the_next_attempt_in_the_pipe_has_its_own_time() -> None:
    bench = Bench()
    bench.hear(info(timeout_s=2.0), start(0), start(1), start(2))
    assert tasks(bench.state.slots[0].held) == ["map-0", "map-1"]
    bench.pulse(RunnerProgress(1, 1, 0), after=0.1)
    bench.now += 1.9
    bench.said(0, finished(0))
    assert bench.pulse(RunnerProgress(2, 0, 0), after=1.9)[:-1] == []
    assert bench.pulse(RunnerProgress(2, 0, 0), after=1.9)[:-1] == []
    assert bench.pulse(RunnerProgress(2, 0, 0), after=0.2)[:-1] == [Kill(0, tell=True)]


def test_getting_ready_has_a_time_of_its_own() -> None:
    """Modules are imported before the first record: that takes as long as it takes."""
    bench = Bench()
    bench.hear(info(timeout_s=2.0), start(0), start(1))
    assert bench.pulse(ZERO, after=READY_S)[:-1] == []
    assert bench.pulse(RunnerProgress(1, 0, 0), after=1.0)[:-1] == []
    bench.said(0, finished(0))
    assert bench.pulse(RunnerProgress(1, 1, 0), after=1.0)[:-1] == []
    assert bench.pulse(RunnerProgress(1, 1, 0), after=READY_S)[:-1] == []
    assert bench.pulse(RunnerProgress(1, 1, 0), after=2.1)[:-1] == [Kill(0, tell=True)]


def test_time_is_looked_at_whenever_memory_is() -> None:
    bench = Bench()
    bench.hear(info(timeout_s=2.0), start(0))
    for records in (0, 1):
        bench.now += 1.9
        assert bench.handle(Weighed((1,), (RunnerProgress(1, records, 0),))) == []
    bench.now += 2.1
    at = RunnerProgress(1, 1, 0)
    assert bench.handle(Weighed((1,), (at,))) == [Kill(0, tell=True)]


def test_without_a_limit_nothing_is_killed() -> None:
    bench = Bench()
    bench.hear(info(), start(0))
    assert bench.pulse(RunnerProgress(1, 0, 0), after=1e9)[:-1] == []


def test_a_timeout_that_meets_a_cancel_says_nothing() -> None:
    bench = Bench()
    bench.hear(info(timeout_s=1.0), start(0))
    bench.pulse(RunnerProgress(1, 0, 0), after=1.0)
    assert Kill(0, tell=True) in bench.pulse(RunnerProgress(1, 0, 0), after=1.5)
    assert bench.hear(cancel(0)) == []
    assert bench.handle(RunnerDied(0, KILLED)) == [discard(0), Fork(0)]


# --- memory ---------------------------------------------------------------------------------------


def over(out: list[Instruction]) -> Failure:
    (said, *_) = out
    assert isinstance(said, Say)
    assert isinstance(said.message, Failed)
    return said.message.failure


@pytest.mark.fault(26)
def test_a_runner_that_takes_too_much_memory_is_killed_and_says_so() -> None:
    bench = Bench()
    split = FileSplit("/data/a.txt", 0, 16_000_000, 80_000_000, 1)
    start_ = Start(JobId("j1"), TaskId("map-7"), 1, 7, split)
    bench.hear(info(slot_memory=2_000_000_000), start_, start(8))
    assert bench.handle(Weighed((2_999_999_999,))) == []
    assert bench.handle(Weighed((3_100_000_000,))) == [Kill(0)]
    assert bench.handle(Weighed((3_200_000_000,))) == []  # once is enough
    assert bench.said(0, finished(7)) == []
    death = Death(signal="SIGKILL", records=81_232, place="a.txt, byte 1234567", index=81_232)
    out = bench.handle(RunnerDied(0, death))
    failure = over(out)
    assert failure.kind == "crash"
    assert failure.sentence == (
        "used 3.1 GB of 3.0 GB at record 81,233 of a.txt 0–16 MB (a.txt, byte 1234567)"
    )
    assert "--slot-memory" in failure.hint
    assert failure.index == 81_232
    assert out[1:] == [Discard(start_, run=True), Fork(0)]
    bench.handle(RunnerUp(0))
    assert tasks(bench.state.slots[0].held) == ["map-8"]


def test_without_a_budget_the_share_of_the_machine_is_the_limit() -> None:
    bench = Bench()
    bench.state = WorkerState(1, limit_bytes=1_000_000_000)
    bench.handle(RunnerUp(0))
    bench.hear(info(), start(0))
    assert bench.handle(Weighed((999_999_999,))) == []
    assert bench.handle(Weighed((0,))) == []
    assert bench.handle(Weighed((1_000_400_000,))) == [Kill(0)]
    failure = over(bench.handle(RunnerDied(0, KILLED)))
    assert failure.sentence == (
        "used 1,000,400,000 of 1,000,000,000 bytes at record 1 of numbers[0:1], or soon after"
    )


def test_a_small_budget_leaves_room_for_python() -> None:
    bench = Bench()
    bench.hear(info(slot_memory=1), start(0))
    assert bench.handle(Weighed((LEAST_LIMIT,))) == []
    assert bench.handle(Weighed((LEAST_LIMIT + 1,))) == [Kill(0)]


def test_memory_of_an_idle_runner_is_nobodys_fault() -> None:
    bench = Bench()
    bench.state = WorkerState(1, limit_bytes=1)
    bench.handle(RunnerUp(0))
    assert bench.handle(Weighed((99,))) == []
