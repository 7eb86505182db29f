"""What a worker server decides, event by event: no processes, no clock."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from state_bench import KILLED, Bench, cancel, discard, finished, info, start, tasks

import mrkernel
from mrkernel.ids import JobId, TaskId
from mrkernel.job.failure import Failure, Frame
from mrkernel.protocol.worker_messages import CancelAttempt, Failed, Finished, Forget
from mrkernel.worker.deaths import Death
from mrkernel.worker.state import (
    PIPELINE,
    Delete,
    Discard,
    Fork,
    FromManager,
    Instruction,
    Kill,
    Order,
    RunnerDied,
    RunnerProgress,
    RunnerSaid,
    RunnerUp,
    Say,
    WorkerState,
)

# --- the usual way --------------------------------------------------------------------------------


def test_an_attempt_goes_to_a_runner_that_is_told_of_its_job_first() -> None:
    bench = Bench()
    assert bench.hear(info()) == []
    assert bench.hear(start(0)) == [Order(0, info()), Order(0, start(0))]
    assert bench.said(0, finished(0)) == [Say(finished(0))]
    assert bench.hear(start(1)) == [Order(0, start(1))]
    bench.said(0, finished(1))
    bench.hear(info("j2"))
    assert bench.hear(start(0, "j2")) == [Order(0, info("j2")), Order(0, start(0, "j2"))]


def test_attempts_wait_for_a_runner_to_come_up() -> None:
    bench = Bench(up=False)
    assert bench.hear(info(), start(0)) == []
    assert bench.handle(RunnerUp(0)) == [Order(0, info()), Order(0, start(0))]


def test_each_slot_gets_one_before_any_gets_two() -> None:
    bench = Bench(slots=3)
    bench.hear(info(), *[start(n) for n in range(3)])
    assert [tasks(slot.held) for slot in bench.state.slots] == [["map-0"], ["map-1"], ["map-2"]]


def test_a_long_line_is_handed_out_in_bulk_with_a_bound() -> None:
    bench = Bench(slots=2)
    bench.hear(info(), *[start(n) for n in range(100)])
    held = [len(slot.held) for slot in bench.state.slots]
    assert held == [PIPELINE, PIPELINE]
    assert len(bench.state.line) == 100 - 2 * PIPELINE


def test_what_comes_together_is_handed_out_together() -> None:
    state = WorkerState(2)
    state.turn([RunnerUp(0), RunnerUp(1)], 0.0)
    messages = [info(), *[start(n) for n in range(6)]]
    out = state.turn(map(FromManager, messages), 0.0)
    state.validate()
    orders = [(o.slot, o.message) for o in out if isinstance(o, Order)]
    of_slot = [[m for slot, m in orders if slot == each] for each in (0, 1)]
    assert of_slot == [[info(), start(0), start(2)], [info(), start(1), start(3)]]
    done = [RunnerSaid(0, finished(0)), RunnerSaid(0, finished(2))]
    assert state.turn(done, 1.0) == [Say(finished(0)), Say(finished(2)), Order(0, start(4))]
    state.validate()


def test_a_runner_knows_one_job_and_is_told_again_of_another() -> None:
    bench = Bench(slots=1)
    given = []
    for number, job in enumerate(("j1", "j2", "j2", "j1")):
        out = bench.hear(info(job), start(number, job))
        out += bench.said(0, finished(number, job))
        given += [i.message for i in out if isinstance(i, Order)]
    assert given == [
        *(info("j1"), start(0, "j1")),
        *(info("j2"), start(1, "j2"), start(2, "j2")),
        *(info("j1"), start(3, "j1")),
    ]


def test_a_failure_is_passed_on_as_it_came() -> None:
    bench = Bench()
    bench.hear(info(), start(0))
    failed = Failed(JobId("j1"), TaskId("map-0"), 1, Failure(kind="user", sentence="boo"))
    assert bench.said(0, failed) == [Say(failed)]


# --- runners that die -----------------------------------------------------------------------------


def test_a_dead_runner_takes_its_running_attempt_with_it_and_no_other() -> None:
    bench = Bench()
    bench.hear(info(), *[start(n) for n in range(4)])
    died = RunnerDied(0, Death(3, stderr="some\nlast words\n", records=1234))
    say, gone, fork = bench.handle(died)
    assert (gone, fork) == (discard(0), Fork(0))
    assert isinstance(say, Say)
    assert isinstance(say.message, Failed)
    failed = say.message
    assert (failed.task, failed.attempt, failed.failure.kind) == ("map-0", 1, "crash")
    assert failed.failure.sentence == (
        "its Python process ended itself with exit status 3 after 1,234 finished records"
    )
    assert failed.failure.message == "some\nlast words"
    assert bench.handle(RunnerUp(0))[0] == Order(0, info())
    left = [*bench.state.slots[0].held, *bench.state.line]
    assert tasks(left) == ["map-1", "map-2", "map-3"]


FATAL = """\
so far so good
Fatal Python error: Segmentation fault

Current thread 0x00007f1f (most recent call first):
  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at
  File "/home/me/job.py", line 12 in inner
  File "/tmp/ipykernel_7/12.py", line 3 in mapper.<locals>.outer
  File "{ours}/job/mapping.py", line 60 in pairs
  File "{ours}/worker/template.py", line 12 in _become_runner

Thread 0x00007f2f (most recent call first):
  File "/home/me/job.py", line 99 in background

Extension modules: numpy.core._multiarray_umath (total: 1)
"""


def test_a_fatal_error_is_told_with_the_users_own_frames() -> None:
    bench = Bench()
    bench.hear(info(), start(0))
    ours = Path(mrkernel.__file__).parent
    stdlib = sysconfig.get_path("stdlib")
    text = FATAL.format(ours=ours).replace("/usr/lib/python3.11", stdlib)
    say, *_ = bench.handle(RunnerDied(0, Death(signal="SIGSEGV", stderr=text)))
    assert isinstance(say, Say)
    assert isinstance(say.message, Failed)
    failure = say.message.failure
    assert (failure.error_type, failure.message) == ("Fatal Python error", "Segmentation fault")
    assert failure.frames == (
        Frame("/tmp/ipykernel_7/12.py", 3, "mapper.<locals>.outer"),
        Frame("/home/me/job.py", 12, "inner"),
    )


@pytest.mark.parametrize("cut", range(0, len(FATAL), 7))
def test_a_report_cut_short_is_told_as_far_as_it_goes(cut: int) -> None:
    bench = Bench()
    bench.hear(info(), start(0))
    for text in (FATAL[:cut], FATAL[cut:]):
        (say, *_) = bench.handle(RunnerDied(0, Death(signal="SIGSEGV", stderr=text)))
        assert isinstance(say, Say)
        bench.handle(RunnerUp(0))
        bench.hear(start(cut))


def test_an_idle_runner_that_dies_is_replaced_without_a_word() -> None:
    bench = Bench()
    assert bench.handle(RunnerDied(0, KILLED)) == [Fork(0)]


def test_the_last_words_of_a_runner_count() -> None:
    bench = Bench()
    bench.hear(info(), start(0))
    assert bench.said(0, finished(0)) == [Say(finished(0))]
    assert bench.handle(RunnerDied(0, Death(3))) == [Fork(0)]


def test_words_that_fit_nothing_are_dropped() -> None:
    bench = Bench()
    bench.hear(info(), start(0, attempt=2))
    assert bench.said(0, finished(0, attempt=1)) == []
    assert bench.said(0, finished(1)) == []
    assert len(bench.state.slots[0].held) == 1


# --- cancel ---------------------------------------------------------------------------------------


def test_cancelling_what_waits_costs_nothing() -> None:
    bench = Bench()
    bench.hear(info(), *[start(n) for n in range(PIPELINE + 2)])
    waiting = bench.state.line[-1]
    number = int(waiting.task.removeprefix("map-"))
    assert bench.hear(cancel(number)) == []
    assert waiting not in bench.state.line


def test_cancelling_what_runs_kills_its_runner_and_the_rest_runs_on() -> None:
    bench = Bench()
    bench.hear(info(), start(0), start(1), start(2))
    assert bench.hear(cancel(0)) == [Kill(0)]
    assert bench.said(0, finished(0)) == []  # said before the kill reached it
    assert bench.handle(RunnerDied(0, KILLED)) == [discard(0), Fork(0)]
    out = bench.handle(RunnerUp(0))
    assert out[:2] == [Order(0, info()), Order(0, start(1))]
    assert tasks(bench.state.slots[0].held) + tasks(bench.state.line) == ["map-1", "map-2"]


def test_cancelling_a_whole_job_kills_each_runner_once_and_spares_other_jobs() -> None:
    bench = Bench(slots=2)
    bench.hear(info(), info("j2"), start(0), start(1), start(0, "j2"), start(1, "j2"))
    out = bench.hear(cancel(0), cancel(1))
    assert sorted(i.slot for i in out if isinstance(i, Kill)) == [0, 1]
    for slot in (0, 1):
        bench.handle(RunnerDied(slot, KILLED))
        bench.handle(RunnerUp(slot))
    left = [start for slot in bench.state.slots for start in slot.held] + [*bench.state.line]
    assert sorted((s.job, s.task) for s in left) == [("j2", "map-0"), ("j2", "map-1")]


def test_cancelling_what_is_not_here_is_nothing() -> None:
    bench = Bench()
    bench.hear(info(), start(0, attempt=2))
    assert bench.hear(cancel(0, attempt=1), cancel(5), cancel(0, job="j9")) == []


# --- forget ---------------------------------------------------------------------------------------


def test_forget_deletes_and_the_job_is_told_again_if_it_comes_again() -> None:
    bench = Bench()
    bench.hear(info(), start(0))
    bench.said(0, finished(0))
    runs = Forget(JobId("j1"), ("b",), runs_only=True)
    assert bench.hear(runs) == [Delete(JobId("j1"), ("b",), True)]
    assert bench.hear(start(1)) == [Order(0, start(1))]
    bench.said(0, finished(1))
    assert bench.hear(Forget(JobId("j1"))) == [Delete(JobId("j1"), (), False)]
    assert bench.hear(info(), start(2)) == [Order(0, info()), Order(0, start(2))]


def test_a_lost_manager_is_forgotten_with_all_it_wanted() -> None:
    bench = Bench(slots=2)
    bench.hear(info(), *[start(n) for n in range(40)])
    bench.state.forget_everything()  # the shell kills the runners
    bench.state.validate()
    assert bench.said(0, finished(0)) == []
    assert bench.hear(info("j1"), start(0)) == []  # of the next manager: both are dying
    for slot in (0, 1):
        *gone, fork = bench.handle(RunnerDied(slot, KILLED))
        assert fork == Fork(slot)
        assert len(gone) == 10  # whatever it was at, nobody reads it
        assert all(isinstance(each, Discard) and each.run for each in gone)
    assert bench.handle(RunnerUp(1)) == [Order(1, info()), Order(1, start(0))]


# --- reports --------------------------------------------------------------------------------------


def test_what_was_finished_is_offered_to_a_manager_that_is_back() -> None:
    bench = Bench()
    bench.hear(info(), info("j2"), info("j3"), start(0), start(0, "j2"), start(0, "j3"), start(1))
    for job in ("j1", "j2", "j3"):
        bench.said(0, finished(0, job))
    failed = Failed(JobId("j1"), TaskId("map-1"), 1, Failure(kind="user", sentence="boo"))
    bench.said(0, failed)
    bench.hear(Forget(JobId("j2")))
    bench.state.forget_everything()
    assert bench.state.reports.offer().finished == (finished(0), finished(0, "j3"))
    assert bench.said(0, finished(1)) == []
    assert len(bench.state.reports) == 2  # not what nobody waits for


# --- all of it in any order -----------------------------------------------------------------------

events = st.lists(
    st.tuples(
        st.sampled_from(["start", "cancel", "finish", "die", "up", "pulse", "forget"]),
        st.integers(0, 5),
        st.integers(0, 2),
    ),
    max_size=60,
)


@given(events, st.integers(1, 3))
def test_no_attempt_is_lost_or_doubled(story: list[tuple[str, int, int]], slots: int) -> None:
    """Each attempt that was started and not cancelled is here, or was answered exactly once."""
    bench = Bench(slots)
    bench.hear(info("j0", timeout_s=1.0), info("j1"), info("j2"))
    up = [True] * slots
    wanted: set[tuple[str, str, int]] = set()
    answered: list[tuple[str, str, int]] = []
    attempts = 0
    for what, number, kind in story:
        job, slot = f"j{kind}", number % slots
        out: list[Instruction] = []
        held = bench.state.slots[slot].held
        if what == "start":
            attempts += 1
            wanted.add((job, f"map-{attempts}", 1))
            out = bench.hear(start(attempts, job))
        elif what == "cancel" and wanted:
            victim = sorted(wanted)[number % len(wanted)]
            wanted.discard(victim)
            out = bench.hear(CancelAttempt(JobId(victim[0]), TaskId(victim[1]), 1))
        elif what == "finish" and up[slot] and held:
            first = held[0]
            message = Finished(first.job, first.task, first.attempt, 1, 1, 1, 0.1)
            out = bench.said(slot, message)
        elif what == "die" and up[slot]:
            up[slot] = False
            out = bench.handle(RunnerDied(slot, KILLED))
            assert Fork(slot) in out
        elif what == "up" and not up[slot]:
            up[slot] = True
            out = bench.handle(RunnerUp(slot))
        elif what == "pulse":
            out = bench.pulse(*[RunnerProgress(1, number, 0)] * slots)
        for instruction in out:
            if isinstance(instruction, Say) and isinstance(instruction.message, Finished | Failed):
                said = instruction.message
                answered.append((said.job, said.task, said.attempt))
            if isinstance(instruction, Order):
                assert up[instruction.slot], "an order to nobody"
    assert len(answered) == len(set(answered))
    held_now = [s for slot_ in bench.state.slots for s in slot_.held] + [*bench.state.line]
    here = {(s.job, s.task, s.attempt) for s in held_now}
    assert here == wanted - set(answered)


def test_a_doubled_attempt_is_a_bug_that_is_noticed() -> None:
    bench = Bench()
    bench.hear(info(), start(0))
    bench.state.line.append(start(0))
    with pytest.raises(AssertionError, match="two places"):
        bench.state.validate()


def test_input_that_is_read_again_goes_to_the_runner_that_holds_it() -> None:
    bench = Bench(slots=2)
    held: list[dict[int, int]] = []
    for job, order in (("j1", (0, 1, 2, 3)), ("j2", (3, 2, 1, 0)), ("j3", (1, 3, 0, 2))):
        together = [info(job, resident=True), *(start(number, job) for number in order)]
        bench.state.turn(map(FromManager, together), bench.now)
        where: dict[int, int] = {}
        while any(slot.held for slot in bench.state.slots):
            for index, slot in enumerate(bench.state.slots):
                if slot.held:
                    number = slot.held[0].index
                    where[number] = index
                    bench.handle(RunnerSaid(index, finished(number, job)))
        held.append(where)
    assert held[0] == held[1] == held[2]
