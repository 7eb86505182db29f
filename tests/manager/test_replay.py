"""Replay and snapshot: a manager that died goes on where its journal ends.

Every desk checks after each event that its facts make the same state again; here is what happens
after a restart.
"""

from __future__ import annotations

import pytest
from description import describe
from desk import FUNCTIONS, ON_DISK, Desk, maps_done, sent, two_workers

from mrkernel.ids import JobId
from mrkernel.manager.events import PeerId, PeerJoined
from mrkernel.manager.facts import VERSION, Began, JobGone, JobLetGo, JobOver, TaskDone
from mrkernel.manager.instructions import Publish
from mrkernel.manager.state import ManagerState
from mrkernel.manager.stores import GRACE_S
from mrkernel.manager.story import tell
from mrkernel.manager.transitions import JobState
from mrkernel.manager.workers import Home
from mrkernel.monitor import events as public
from mrkernel.protocol.client_messages import (
    Accepted,
    Attach,
    CancelJob,
    Ended,
    Refused,
    ReleaseJob,
    Welcome,
)


def taken_up(desk: Desk, now: float = 1_000.0, wall: float = 0.0) -> list[public.AnyEvent]:
    """What a fresh manager tells its views of the journal of a desk; the journal's wall is 0."""
    state = ManagerState(Home("3.11", "c1", 2))
    began = Began(VERSION, "c1", "3.11", 1, 0.0)
    told = state.replay([began, *desk.facts], now, wall)
    assert all(isinstance(instruction, Publish) for instruction in told)
    return [instruction.event for instruction in told if isinstance(instruction, Publish)]


def test_nothing_that_was_finished_runs_again(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=4, reduces=2)
    maps_done(desk)
    desk.restart()
    for name in ("w1", "w2"):
        desk.return_of(name)
    out = [*desk.offer("w3"), *desk.offer("w4")]
    assert sorted(task for _, task, _ in desk.starts(out)) == ["map-2", "map-3"]
    for name, tasks in desk.running().items():
        desk.finish(name, tasks[0])
    for name, tasks in desk.running().items():
        desk.finish(name, tasks[0])
    assert desk.job().state is JobState.DONE


@pytest.mark.fault(10)
def test_a_client_asks_again_and_hears_the_end(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1, reduces=1)
    desk.finish("w1", "map-0")
    desk.restart()
    assert sent(desk.ask(Attach(1, JobId("j1"))), Accepted) == [Accepted(1, JobId("j1"))]
    desk.return_of("w1")
    desk.offer("w2")
    (ended,) = sent(desk.finish("w2", "reduce-0"), Ended)
    assert ended.outcome == "done"


def test_what_ended_before_is_told_after(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    (before,) = sent(desk.finish("w1", "reduce-0", part=ON_DISK, counters={"n": 1}), Ended)
    desk.restart()
    desk.return_of("w1")
    (after,) = sent(desk.ask(Attach(1, JobId("j1"))), Ended)
    assert after.counters == before.counters
    assert [(p.index, p.name, p.directory) for p in after.parts] == [
        (p.index, p.name, p.directory) for p in before.parts
    ]


@pytest.mark.parametrize("runs_only", [True, False])
def test_what_was_released_stays_so(desk: Desk, runs_only: bool) -> None:
    desk.join()
    desk.submit(maps=1, reduces=1)
    desk.finish("w1", "map-0", counters={"n": 1})
    desk.finish("w1", "reduce-0")
    desk.release(runs_only=runs_only)
    desk.restart()
    desk.return_of("w1")
    desk.offer("w2")
    out = desk.ask(Attach(1, JobId("j1")))
    if runs_only:
        (ended,) = sent(out, Ended)
        assert ended.counters == {"n": 1}
        assert desk.state.blobs == {FUNCTIONS}
    else:
        assert sent(out, Refused)
        assert desk.state.blobs == set()


def test_a_job_that_was_cancelled_stays_so(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1)
    desk.ask(CancelJob(JobId("j1"), "enough"))
    desk.restart()
    (ended,) = sent(desk.ask(Attach(1, JobId("j1"))), Ended)
    assert (ended.outcome, ended.sentence) == ("cancelled", "enough")


def test_names_of_jobs_and_workers_go_on(desk: Desk) -> None:
    two_workers(desk)
    desk.submit()
    desk.release("j1")
    desk.lose("w2")
    for _ in range(2):
        desk.restart()
    desk.join()
    assert list(desk.state.workers) == ["w3"]
    assert sent(desk.submit(), Accepted)[0].job == "j2"
    assert describe(desk.state)["seen"] == (3, 2)


@pytest.mark.fault(22)
def test_a_submission_that_is_sent_again_is_the_same_job(desk: Desk) -> None:
    assert sent(desk.submit(key="k"), Accepted)[0].job == "j1"
    assert sent(desk.submit(key="k"), Accepted)[0].job == "j1"
    desk.restart()
    other = desk.new_client()
    assert sent(desk.submit(key="k", client=other), Accepted)[0].job == "j1"
    assert list(desk.job().watchers) == [other]
    assert sent(desk.submit(key="other"), Accepted)[0].job == "j2"
    assert sent(desk.submit(), Accepted)[0].job == "j3"  # without a key each is another
    assert sent(desk.submit(), Accepted)[0].job == "j4"
    desk.ask(ReleaseJob(JobId("j1")), other)
    assert sent(desk.submit(key="k"), Accepted)[0].job == "j5"  # that one is forgotten


def test_a_submission_that_is_sent_again_after_its_end_hears_of_it(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1, reduces=0, key="k")
    desk.finish("w1", "map-0")
    desk.restart()
    out = desk.submit(maps=1, reduces=0, key="k")
    assert [type(message) for message in sent(out, (Accepted, Ended))] == [Accepted, Ended]  # type: ignore[arg-type]


def test_the_first_word_to_a_client_says_which_start_this_is(desk: Desk) -> None:
    assert sent(desk.handle(PeerJoined(PeerId(50), "client")), Welcome) == [Welcome("c1", 1)]
    desk.restart()
    assert sent(desk.handle(PeerJoined(PeerId(51), "client")), Welcome) == [Welcome("c1", 2)]
    assert sent(desk.handle(PeerJoined(PeerId(52), "worker")), Welcome) == []


# --- a manager that died at the worst moment ------------------------------------------------------


def test_a_job_whose_end_was_not_written_ends_now(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1, reduces=1)
    desk.finish("w1", "map-0")
    desk.finish("w1", "reduce-0")
    desk.facts = [fact for fact in desk.facts if not isinstance(fact, JobOver)]
    desk.restart()
    assert desk.job().state is JobState.DONE
    assert isinstance(desk.facts[-1], JobOver)
    desk.restart()
    assert desk.job().state is JobState.DONE


def test_an_empty_job_whose_end_was_not_written_ends_now(desk: Desk) -> None:
    desk.submit(maps=0, reduces=0)
    desk.facts = [fact for fact in desk.facts if not isinstance(fact, JobOver)]
    desk.restart()
    assert desk.job().state is JobState.DONE


@pytest.mark.fault(8, 29)
def test_every_cut_of_a_journal_makes_a_state_that_goes_on(desk: Desk) -> None:
    """Facts of one event are one record; so is each cut between two of them."""
    desk.join_hosts("h1", "h2")
    ends = [0]
    for act in (
        lambda: desk.submit(maps=2, reduces=1, key="k"),
        lambda: maps_done(desk),
        lambda: desk.finish("w1", "reduce-0", part=ON_DISK),
        lambda: desk.lose_for_good("w1"),
        lambda: desk.finish("w2", "map-0"),
        lambda: desk.finish("w2", "reduce-0"),
        lambda: desk.release(runs_only=True),
        lambda: desk.release(),
    ):
        act()
        ends.append(len(desk.facts))
    everything = desk.facts
    for end in ends:
        again = Desk()
        again.facts = everything[:end]
        again.infos = desk.infos
        again.restart()
        again.submit(maps=1, reduces=0, key="another")
        again.return_of("w2")
        again.offer(next(iter(again.peers)))
        again.wait(11.0)
        for _ in range(10):
            for name, tasks in again.running().items():
                for task in again.state.workers[name].assigned.copy() if tasks else ():  # type: ignore[index]
                    again.finish(name, task[1], job=task[0])
        assert all(job.state is JobState.DONE for job in again.state.jobs.values())


# --- what the views are told ----------------------------------------------------------------------


def test_views_are_told_the_story_and_that_there_was_a_restart(desk: Desk) -> None:
    desk.join_hosts("h1", "h2")
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    desk.lose_for_good("w1")
    events = taken_up(desk)
    kinds = [type(event).__name__ for event in events]
    assert kinds == [
        *("JobAccepted", "AttemptFinished", "AttemptFinished", "OutputLost", "ManagerRestarted")
    ]
    restarted = events[-1]
    assert isinstance(restarted, public.ManagerRestarted)
    assert (restarted.maps_kept, restarted.maps) == (1, 2)


@pytest.mark.fault(50)
def test_times_are_those_of_the_day(desk: Desk) -> None:
    desk.join()
    desk.now = 50.0
    desk.submit(maps=1, reduces=0)
    desk.now = 60.0
    desk.finish("w1", "map-0")
    # This machine's monotonic clock was 900 s further when it was the same time of day.
    accepted, finished, *_ = taken_up(desk, now=1_000.0, wall=-900.0)
    assert (accepted.at, finished.at) == (950.0, 960.0)
    # A clock that was set back does not put the past into the future.
    assert max(event.at for event in taken_up(desk, now=10.0, wall=0.0)) <= 10.0


def test_a_job_that_went_on_tells_how_long_it_stood_still(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=2, reduces=1)
    desk.now = 50.0
    desk.finish("w1", "map-0")
    restarted = taken_up(desk, now=57.5)[-1]
    assert isinstance(restarted, public.ManagerRestarted)
    assert restarted.down_s == pytest.approx(7.5)


def test_a_snapshot_is_shorter_than_its_journal(desk: Desk) -> None:
    desk.join()
    for number in range(1, 6):
        desk.submit(maps=2, reduces=1)
        for task in ("map-0", "map-1", "reduce-0"):
            desk.finish("w1", task, job=f"j{number}")
        desk.release(f"j{number}", runs_only=number == 5)
    facts = list(desk.state.snapshot())
    assert len(facts) < 10
    assert not [fact for fact in facts if isinstance(fact, JobGone)]
    assert len([fact for fact in facts if isinstance(fact, TaskDone)]) == 3
    assert isinstance(facts[-2], JobLetGo)


@pytest.mark.fault(40)
def test_what_was_used_of_a_lost_output_outlives_two_restarts(desk: Desk) -> None:
    """Each writes the journal anew; the mapper may turn out not to be deterministic after both."""
    desk.join_hosts("h1", "h2")
    desk.submit(maps=2, reduces=2)
    desk.finish("w1", "map-0", digest=7)
    desk.finish("w2", "map-1", digest=8)
    worker, tasks = next((name, tasks) for name, tasks in desk.running().items() if tasks)
    desk.finish(worker, tasks[0])
    desk.lose_for_good("w1")
    for _ in range(2):
        desk.facts = list(desk.state.snapshot())
        desk.restart()
    desk.return_of("w2")
    desk.offer("w3")
    desk.ask(Attach(1, JobId("j1")))
    (ended,) = sent(desk.finish("w3", "map-0", digest=9), Ended)
    assert ended.sentence.startswith("the mapper is not deterministic: map-0")


# --- numbers of attempts --------------------------------------------------------------------------


def seen(desk: Desk, task: str) -> list[int]:
    """The numbers of a task's attempts as people see them."""
    return [e.attempt for e in desk.published(public.AttemptStarted) if e.task == task]


def test_people_see_small_numbers_of_attempts(desk: Desk) -> None:
    """A number names files, so none is given twice; what people see is counted on."""
    desk.join(slots=2)
    desk.submit(maps=2, reduces=1)
    desk.fail("w1", "map-0")
    desk.finish("w1", "map-0")
    for worker in ("w1", "w2"):
        desk.restart()
        desk.return_of(worker)
        desk.offer(f"w{int(worker[1]) + 1}")
    assert desk.attempt("w3", "map-1") == 2001
    desk.progress("w3", "map-1", 1, 1)
    assert desk.published(public.Progress)[-1].attempt == 1
    desk.lose_for_good("w3")
    desk.join(slots=2)
    tasks = {task: seen(desk, task) for task in ("map-0", "map-1")}
    assert tasks == {"map-0": [1, 2, 3], "map-1": [1, 1, 1, 2]}
    assert desk.attempt("w4", desk.running()["w4"][0]) > 2000
    ended = desk.published(public.AttemptLost)
    assert {(e.task, e.attempt) for e in ended if e.task == "map-1"} == {("map-1", 1)}


def test_what_was_let_go_is_told_once(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1, reduces=1)
    desk.finish("w1", "map-0")
    desk.finish("w1", "reduce-0")
    job = JobId("j1")
    each = [JobLetGo(job, runs_only=True), JobLetGo(job, runs_only=True), JobLetGo(job)]
    told = [line.strip() for line in tell([*desk.facts, *each], job)]
    assert told[-2:] == ["its map output was let go", "its result was let go"]
    assert "let go" not in told[-3]


def test_the_story_of_a_job_has_small_numbers_of_attempts(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1, reduces=1)
    desk.fail("w1", "map-0")
    desk.finish("w1", "map-0")
    desk.restart()
    desk.join(host="h2")
    desk.wait(GRACE_S + 0.2)
    desk.finish("w2", "map-0")
    desk.finish("w2", "reduce-0")
    told = "\n".join(tell(desk.facts, "j1"))
    assert "map-0 done by w1 (attempt 2) in" in told
    assert "map-0 done by w2 (attempt 3) in" in told
    assert "reduce-0 done by w2 (attempt 1) in" in told
