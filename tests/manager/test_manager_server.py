"""The manager's shell over real sockets: blobs, views, and what a bug of ours may cost."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest
from desk import PYTHON
from house import DIGEST, FUNCTIONS, House, run, submission
from msgspec.structs import replace

from mrkernel.ids import JobId
from mrkernel.manager.events import Event, Received, Tick
from mrkernel.protocol.client_messages import (
    Accepted,
    CancelJob,
    Ended,
    Look,
    Refused,
    ReleaseJob,
    View,
    Watch,
)
from mrkernel.protocol.messages import BlobPiece, blob_pieces
from mrkernel.protocol.worker_messages import (
    Beat,
    Finished,
    Forget,
    JobInfo,
    PartOutput,
    Register,
    Start,
)


def test_functions_go_from_client_to_worker_as_they_are() -> None:
    async def test(house: House) -> None:
        client, worker = await house.peer("client"), await house.worker()
        client.say(*blob_pieces(DIGEST, FUNCTIONS, 5))
        client.say(submission())
        assert await client.hear() == Accepted(1, JobId("j1"))
        assert await worker.hear() == BlobPiece(DIGEST, FUNCTIONS)
        assert isinstance(await worker.hear(), JobInfo)
        start = await worker.hear()
        assert isinstance(start, Start)
        part = PartOutput("", 1, 1, b"x")
        worker.say(Finished(start.job, start.task, start.attempt, 1, 1, 1, 0.1, part=part))
        ended = await client.hear_until(Ended)
        assert ended.parts[0].data == b"x"

    run(test)


def test_what_has_a_small_blob_is_one_frame() -> None:
    async def test(house: House) -> None:
        client, worker = await house.peer("client"), await house.worker()
        client.say(BlobPiece(DIGEST, FUNCTIONS), submission())
        assert [type(m) for m in await worker.hear_frame()] == [BlobPiece, JobInfo, Start]

    run(test)


def test_a_large_blob_overtakes_nothing() -> None:
    """Else a worker that was to forget it would delete what it has just been sent."""
    large = b"x" * (5 << 20)
    digest = hashlib.sha256(large).hexdigest()

    async def test(house: House) -> None:
        client = await house.peer("client")
        client.say(*blob_pieces(digest, large, 1 << 20))
        submit = submission()
        client.say(replace(submit, spec=replace(submit.spec, functions=digest)))
        assert await client.hear() == Accepted(1, JobId("j1"))
        worker = await house.worker()  # hears how it was taken in first
        pieces = [await worker.hear(), await worker.hear()]
        assert b"".join(piece.data for piece in pieces) == large
        assert [type(await worker.hear()) for _ in range(2)] == [JobInfo, Start]

    run(test)


def test_nobody_is_woken_to_forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves with the next word to that worker, or the next tick."""
    monkeypatch.setattr("mrkernel.manager.server.TICK_S", 60.0)

    async def test(house: House) -> None:
        client, worker = await house.peer("client"), await house.worker()
        client.say(BlobPiece(DIGEST, FUNCTIONS), submission())
        start = await worker.hear_until(Start)
        part = PartOutput("", 1, 1, b"x")
        worker.say(Finished(start.job, start.task, start.attempt, 1, 1, 1, 0.1, part=part))
        await client.hear_until(Ended)
        client.say(ReleaseJob(JobId("j1")))
        client.say(Look(1, "cluster"))
        await client.hear_until(View)
        client.say(BlobPiece(DIGEST, FUNCTIONS), submission(2))
        frame = await worker.hear_frame()
        assert [type(m) for m in frame] == [Forget, BlobPiece, JobInfo, Start]

    run(test)


def test_a_tick_takes_along_what_can_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mrkernel.manager.server.TICK_S", 0.001)

    async def test(house: House) -> None:
        client, worker = await house.peer("client"), await house.worker()
        client.say(BlobPiece(DIGEST, FUNCTIONS), submission())
        await worker.hear_until(Start)
        client.say(ReleaseJob(JobId("j1")))
        assert isinstance(await worker.hear_until(Forget), Forget)

    run(test)


def test_a_damaged_blob_is_dropped_and_its_job_refused() -> None:
    async def test(house: House) -> None:
        client = await house.peer("client")
        client.say(BlobPiece(DIGEST, b"something else"), submission())
        refused = await client.hear()
        assert isinstance(refused, Refused)
        assert "did not arrive whole" in refused.sentence
        assert house.state.blobs == set()

    run(test)


def test_a_blob_that_was_interrupted_begins_anew() -> None:
    async def test(house: House) -> None:
        client = await house.peer("client")
        pieces = blob_pieces(DIGEST, FUNCTIONS, 4)
        client.say(*pieces[:2])
        client.say(*pieces, submission())
        assert await client.hear() == Accepted(1, JobId("j1"))

    run(test)


def test_half_a_blob_leaves_with_its_client() -> None:
    async def test(house: House) -> None:
        client, other = await house.peer("client"), await house.peer("client")
        client.say(BlobPiece(DIGEST, b"the ", last=False))
        client.say(Look(1, "cluster"))
        await client.hear_until(View)
        assert house.server._arriving
        client.leave()
        other.say(BlobPiece(DIGEST, b"functions"))  # not the rest of another's
        other.say(submission())
        assert isinstance(await other.hear(), Refused)
        assert not house.server._arriving

    run(test)


def test_a_blob_that_comes_again_with_the_end_of_its_last_job_is_kept() -> None:
    """In one breath: the old job is released, its functions come again, a new job needs them."""

    async def test(house: House) -> None:
        client = await house.peer("client")
        client.say(BlobPiece(DIGEST, FUNCTIONS), submission(1))
        assert await client.hear() == Accepted(1, JobId("j1"))
        client.say(CancelJob(JobId("j1")))
        await client.hear_until(Ended)
        client.say(BlobPiece(DIGEST, FUNCTIONS), submission(2))
        assert await client.hear() == Accepted(2, JobId("j2"))
        client.say(ReleaseJob(JobId("j2")), BlobPiece(DIGEST, FUNCTIONS), submission(3))
        assert await client.hear_until(Accepted) == Accepted(3, JobId("j3"))
        worker = await house.worker()
        assert await worker.hear() == BlobPiece(DIGEST, FUNCTIONS)

    run(test)


def test_views_come_as_a_snapshot_and_then_deltas() -> None:
    async def test(house: House) -> None:
        client = await house.peer("client")
        client.say(Watch("cluster"))
        first = await client.hear()
        assert isinstance(first, View)
        assert first.payload["snapshot"]["workers"] == {}
        await house.worker()
        second = await client.hear()
        assert list(second.payload["delta"]["put"]["workers"]) == ["w1"]
        client.say(Look(5, "cluster"))
        looked = await client.hear_until(View)
        assert (looked.ticket, list(looked.payload["snapshot"]["workers"])) == (5, ["w1"])

    run(test)


def test_a_reader_has_no_business_here() -> None:
    async def test(house: House) -> None:
        reader = await house.peer("reader")
        assert await reader.hear() is None

    run(test)


@pytest.mark.parametrize("bug", [KeyError("x"), ZeroDivisionError(), AttributeError("y")])
def test_a_bug_of_ours_costs_one_peer(
    bug: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(house: House) -> None:
        handle = house.state.handle

        def broken(event: Event, now: float) -> Any:
            if isinstance(event, Received) and event.message == Watch("trouble"):
                raise bug
            return handle(event, now)

        monkeypatch.setattr(house.state, "handle", broken)
        client, other, worker = (
            await house.peer("client"),
            await house.peer("client"),
            await house.worker(),
        )
        client.say(Watch("trouble"))
        assert await client.hear() is None
        worker.say(Beat(1.0, 1))
        other.say(Look(1, "cluster"))
        looked = await other.hear()
        assert looked.payload["snapshot"]["workers"]["w1"]["state"] == "alive"

    run(test)
    assert "could not handle" in caplog.text


def test_what_cannot_be_obeyed_costs_one_peer_and_the_rest_is_obeyed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Else attempts would run on workers that were never told of them, for ever."""

    async def test(house: House) -> None:
        client = await house.peer("client")
        client.say(BlobPiece(DIGEST, FUNCTIONS), submission(maps=2))
        assert await client.hear() == Accepted(1, JobId("j1"))
        functions = house.server._blobs.pop(DIGEST)
        unlucky = await house.peer("worker")  # is sent the functions, which are not there
        unlucky.say(Register("h", "h", 1, 1, PYTHON, "127.0.0.1", 1, "/"))
        assert await unlucky.hear() is None
        house.server._blobs[DIGEST] = functions
        worker = await house.worker()
        assert isinstance(await worker.hear_until(Start), Start)

    run(test)
    assert "could not obey SendBlob" in caplog.text


def test_a_job_that_says_it_never_travels_is_refused() -> None:
    """Such are those of the inline engine: nothing of them is checked, or sent."""

    async def test(house: House) -> None:
        client = await house.peer("client")
        submit = submission()
        client.say(replace(submit, spec=replace(submit.spec, in_process=True)))
        refused = await client.hear()
        assert isinstance(refused, Refused)
        assert "in another process" in refused.sentence
        assert not house.state.jobs

    run(test)


def test_a_bug_in_a_tick_does_not_stop_the_clock(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mrkernel.manager.server.TICK_S", 0.001)

    async def test(house: House) -> None:
        ticks = 0
        enough = asyncio.Event()

        def broken(event: Event, now: float) -> Any:
            nonlocal ticks
            assert isinstance(event, Tick)
            ticks += 1
            if ticks == 3:
                enough.set()
            raise ZeroDivisionError

        monkeypatch.setattr(house.state, "handle", broken)
        await enough.wait()

    run(test)
    assert caplog.text.count("could not handle Tick()") >= 3


def test_a_message_of_another_role_ends_the_connection() -> None:
    async def test(house: House) -> None:
        client = await house.peer("client")
        client.say(Register("h", "h", 1, 1, PYTHON, "", 1, "/"))
        assert await client.hear() is None
        assert house.state.workers == {}

    run(test)
