"""The disk budget: the oldest results that nobody fetches go, and nothing without a word."""

from __future__ import annotations

from typing import Any

import pytest
from desk import Desk, sent

from mrkernel.ids import JobId
from mrkernel.manager.budget import Budget
from mrkernel.manager.events import PeerLost
from mrkernel.monitor import events as public
from mrkernel.protocol.client_messages import Attach, CancelJob, Ended, Refused
from mrkernel.protocol.worker_messages import Forget, PartOutput


@pytest.fixture
def at_work(desk: Desk) -> Desk:
    """A worker, and 1,000 bytes for results."""
    desk.join()
    desk.state._jobs._budget = Budget(desk.state._books, 1_000)
    return desk


def notes(desk: Desk) -> list[tuple[str | None, str]]:
    found = [(note.job, note.sentence) for note in desk.published(public.Noted)]
    desk.events.clear()
    return found


def run(desk: Desk, nbytes: int, *, stays: bool = False) -> JobId:
    """A job with a result in a file; its client goes when it has ended, or ``stays``."""
    client = desk.new_client()
    desk.submit(maps=1, reduces=1, client=client)
    job = JobId(f"j{desk.state._books.jobs_seen}")
    desk.finish("w1", "map-0", job=job)
    desk.finish("w1", "reduce-0", job=job, part=PartOutput(f"{job}/part-0.1", nbytes, 5))
    if not stays:
        desk.handle(PeerLost(client, "it hung up"))
    return job


def test_the_oldest_results_go_and_it_is_said_before_and_then(at_work: Desk) -> None:
    desk = at_work
    run(desk, 400)
    assert notes(desk) == []
    run(desk, 450)
    ((job, said),) = notes(desk)
    assert job == "j2"
    assert "results take 850 B of the 1.0 kB that they may" in said
    assert "j1 first: `mrkernel fetch j1 PATH` saves it" in said
    run(desk, 300)
    ((job, said),) = notes(desk)
    assert job is None
    lost = "the result of j1 (400 B) was deleted with all that its tasks printed: nobody held it, "
    assert said.startswith(lost)
    assert list(desk.state.jobs) == ["j2", "j3"]
    (refused,) = sent(desk.ask(Attach(9, JobId("j1"))), Refused)
    assert refused.sentence.startswith("the result of j1 (400 B) was deleted")
    (told,) = sent(desk.ask(Attach(9, JobId("j2"))), Ended)
    assert told.outcome == "done"


def test_its_files_are_deleted(at_work: Desk) -> None:
    desk = at_work
    run(desk, 900)
    client = desk.new_client()
    desk.submit(maps=1, reduces=1, client=client)
    desk.finish("w1", "map-0", job="j2")
    out = desk.finish("w1", "reduce-0", job="j2", part=PartOutput("j2/part-0.1", 900, 5))
    assert [forget.job for forget in sent(out, Forget)] == ["j1"]
    assert not sent(out, Forget)[0].keep_logs


def test_what_a_connected_client_holds_stays(at_work: Desk) -> None:
    desk = at_work
    run(desk, 900, stays=True)
    run(desk, 900, stays=True)
    assert list(desk.state.jobs) == ["j1", "j2"]
    assert "all are in use: result.release()" in notes(desk)[-1][1]
    other = desk.new_client()
    run(desk, 100)
    assert list(desk.state.jobs) == ["j1", "j2"]  # its own client had gone
    desk.ask(Attach(9, JobId("j2")), other)
    for client in [peer for job in desk.state.jobs.values() for peer in list(job.readers)]:
        if client != other:
            desk.handle(PeerLost(client, "it hung up"))
    assert list(desk.state.jobs) == ["j2"]


def test_a_job_that_ends_is_not_what_goes_first(at_work: Desk) -> None:
    desk = at_work
    client = desk.new_client()
    desk.submit(maps=1, reduces=1, client=client)
    desk.handle(PeerLost(client, "it hung up"))
    desk.finish("w1", "map-0")
    desk.finish("w1", "reduce-0", part=PartOutput("j1/part-0.1", 5_000, 5))
    assert list(desk.state.jobs) == ["j1"]


def test_small_results_and_those_released_take_nothing(at_work: Desk) -> None:
    desk = at_work
    run(desk, 900, stays=True)
    desk.release()
    notes(desk)
    run(desk, 700)
    assert [said for _, said in notes(desk)] == []
    assert list(desk.state.jobs) == ["j2"]


def test_a_restart_counts_what_is_there(at_work: Desk) -> None:
    desk = at_work
    run(desk, 700)
    desk.restart()
    assert desk.job("j1").result_bytes == 700
    desk.state._jobs._budget = Budget(desk.state._books, 600)
    desk.handle(PeerLost(desk.client, "it hung up"))
    assert list(desk.state.jobs) == []


def test_who_attaches_late_is_told_how_much_more_was_printed(
    at_work: Desk, monkeypatch: Any
) -> None:
    from mrkernel.manager import jobs
    from mrkernel.protocol.client_messages import JobPrinted

    monkeypatch.setattr(jobs, "PRINTED_KEPT", 10)
    desk = at_work
    desk.submit(maps=1, reduces=1)
    for text in ("0123456789", "lost", "lost too"):
        desk.printed("w1", "map-0", text)
    found = sent(desk.ask(Attach(9, JobId("j1"))), JobPrinted)
    assert [(line.text, line.dropped) for line in found] == [("0123456789", 12)]


def test_a_job_that_is_forgotten_for_its_age_is_told_of(
    at_work: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mrkernel.manager import jobs

    monkeypatch.setattr(jobs, "ENDED_JOBS_KEPT", 1)
    desk = at_work
    for number in range(1, 4):
        desk.submit(maps=1, reduces=1)
        desk.ask(CancelJob(JobId(f"j{number}"), "enough"))
    assert list(desk.state.jobs) == ["j3"]
    (refused,) = sent(desk.ask(Attach(9, JobId("j1"))), Refused)
    assert refused.sentence == "j1 is forgotten: of jobs that ended the last 1 are known"
