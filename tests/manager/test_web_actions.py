"""What can be done from the manager's web page, and by whom."""

from __future__ import annotations

import pytest
from house import DIGEST, FUNCTIONS, submission
from web_house import BEARER, WebHouse, run, sentence, with_job

from mrkernel.errors import ClusterError
from mrkernel.ids import WorkerId
from mrkernel.protocol.client_messages import Ended
from mrkernel.protocol.messages import BlobPiece
from mrkernel.protocol.worker_messages import Disturb, Retire


def test_a_job_is_cancelled() -> None:
    async def test(web: WebHouse) -> None:
        client = await web.house.peer("client")
        client.say(BlobPiece(DIGEST, FUNCTIONS), submission())
        answer = await web.act({"act": "cancel", "job": "j1"})
        assert (answer.code, sentence(answer)) == (200, "Job j1 is cancelled.")
        assert (await client.hear_until(Ended)).outcome == "cancelled"
        again = await web.act({"act": "cancel", "job": "j1"})
        assert (again.code, sentence(again)) == (409, "Job j1 has ended already: cancelled.")
        assert (await web.act({"act": "cancel", "job": "j7"})).code == 404

    run(test)


def test_a_worker_is_killed_if_that_is_confirmed() -> None:
    async def test(web: WebHouse) -> None:
        worker = await web.house.worker()
        pid = web.house.state.workers[WorkerId("w1")].info.pid
        kill = {"act": "kill", "worker": "w1"}
        assert (await web.act(kill)).code == 400
        assert (await web.act({**kill, "confirm": False})).code == 400
        assert web.starter.told == []
        answer = await web.act({**kill, "confirm": True})
        assert (answer.code, sentence(answer)) == (200, "w1 is killed.")
        assert await worker.hear_until(Disturb) == Disturb("kill")
        assert web.starter.told == [("kill", pid)]
        other = await web.act({"act": "kill", "worker": "w7", "confirm": True})
        assert other.code == 409
        assert sentence(other) == "No worker w7 lives here: living are w1."

    run(test)


def test_a_worker_is_added() -> None:
    async def test(web: WebHouse) -> None:
        answer = await web.act({"act": "add-worker"})
        assert (answer.code, web.starter.told) == (200, [("add", 1)])
        assert sentence(answer) == "One more worker is started: it joins in a moment."

    run(test)


def test_a_worker_retires_unless_it_is_the_last_one() -> None:
    async def test(web: WebHouse) -> None:
        first, second = await web.house.worker("h1"), await web.house.worker("h2")
        pid = web.house.state.workers[WorkerId("w1")].info.pid
        answer = await web.act({"act": "retire", "worker": "w1"})
        assert (answer.code, web.starter.told) == (200, [("let go", pid)])
        assert sentence(answer) == "w1 gets no new work, and goes when it has none left."
        last = await web.act({"act": "retire", "worker": "w2"})  # the other one may not be gone yet
        assert last.code == 409
        assert sentence(last) == "w2 is the last worker: add one before it goes."
        await first.hear_until(Retire)
        assert len(web.starter.told) == 1
        assert (await web.act({"act": "retire", "worker": "w1"})).code == 409
        second.leave()

    run(test)


def test_workers_that_nobody_starts_again_are_left_alone() -> None:
    async def test(web: WebHouse) -> None:
        await web.house.worker("h1")
        await web.house.worker("h2")
        html = (await web.fetch("/")).body.decode()
        assert 'data-actions="cancel"' in html
        for action in (
            {"act": "kill", "worker": "w1", "confirm": True},
            {"act": "retire", "worker": "w1"},
            {"act": "add-worker"},
        ):
            answer = await web.act(action)
            assert answer.code == 403
            assert "Nobody starts this cluster's workers anew" in sentence(answer)
        assert not any(worker.retiring for worker in web.house.state.workers.values())

    run(test, supervised=False)


def test_who_starts_workers_does_not_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(web: WebHouse) -> None:
        def deaf(slots: int) -> None:
            raise ClusterError("it does not listen now")

        monkeypatch.setattr(web.starter, "add_worker", deaf)
        answer = await web.act({"act": "add-worker"})
        assert (answer.code, sentence(answer)) == (503, "it does not listen now")

    run(test)


@pytest.mark.fault(64)
@pytest.mark.parametrize(
    "changed",
    [
        {"Origin": "http://evil.example"},
        {"Origin": ""},
        {"Origin": "null"},
        {"Origin": "", "Authorization": "Bearer wrong"},
        {"X-MRKernel-Action": ""},
        {"Cookie": ""},
        {"Host": "evil.example"},
    ],
    ids=lambda changed: " ".join(f"{k} {v or 'missing'}" for k, v in changed.items()),
)
def test_actions_come_from_the_page_itself_only(changed: dict[str, str]) -> None:
    async def test(web: WebHouse) -> None:
        await with_job(web)
        answer = await web.act({"act": "cancel", "job": "j1"}, changed)
        assert answer.code == 403
        assert sentence(answer)
        assert web.house.state.jobs["j1"].ended_at is None  # type: ignore[index]

    run(test)


def test_a_program_may_act_too() -> None:
    async def test(web: WebHouse) -> None:
        await with_job(web)
        headers = {**BEARER, "Cookie": "", "Origin": ""}
        assert (await web.act({"act": "cancel", "job": "j1"}, headers)).code == 200

    run(test)


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"{}",
            b"null",
            b"[]",
            b"{",
            b"\xff",
            b"[" * 4000,
            b'{"act": "retire"}',
            b'{"act": "add-worker", "slots": 9}',
        ),
        *(b'{"act": "cancel"}', b'{"act": "cancel", "job": 1}', b'{"act": "kill", "job": "j1"}'),
    ],
)
def test_what_is_no_action_is_refused(body: bytes) -> None:
    async def test(web: WebHouse) -> None:
        answer = await web.act(body)
        assert answer.code == 400
        assert sentence(answer).startswith("This is no action")

    run(test)
