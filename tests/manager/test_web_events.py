"""The web page's WebSocket: snapshot, deltas in step, and readers slow, late or strange."""

from __future__ import annotations

import pytest
from house import DIGEST, FUNCTIONS, submission
from web_house import BEARER, Sluggard, WebHouse, hear, run, until

from mrkernel.ids import JobId
from mrkernel.manager.web_events import MOST_FOLLOWERS, NO_SUCH_TOPIC, NOT_UNDERSTOOD
from mrkernel.monitor.events import Noted
from mrkernel.monitor.picture import apply
from mrkernel.protocol.client_messages import Accepted, CancelJob, Ended, ReleaseJob
from mrkernel.protocol.messages import BlobPiece


def note(web: WebHouse, text: str) -> None:
    """Let the cluster's feed say something."""
    web.house.server.broker.publish(Noted(at=1.0, job=None, level="info", sentence=text))


def test_a_page_gets_a_snapshot_and_then_what_changed() -> None:
    async def test(web: WebHouse) -> None:
        socket = await web.follow()
        picture = (await hear(socket))["snapshot"]
        assert (picture["kind"], picture["workers"]) == ("cluster", {})
        await web.house.worker()
        while "w1" not in picture["workers"]:
            picture = apply(picture, (await hear(socket))["delta"])
        now = web.house.server.broker.snapshot("cluster")
        assert now is not None
        assert picture["workers"]["w1"] == now["workers"]["w1"]

    run(test)


def test_a_job_can_be_followed() -> None:
    async def test(web: WebHouse) -> None:
        client = await web.house.peer("client")
        client.say(BlobPiece(DIGEST, FUNCTIONS), submission())
        assert isinstance(await client.hear(), Accepted)
        first, second = await web.follow("j1"), await web.follow("j1")
        picture = (await hear(first))["snapshot"]
        assert (await hear(second))["snapshot"]["job"] == "j1"
        client.say(CancelJob(JobId("j1")))
        picture = apply(picture, (await hear(first))["delta"])
        assert (picture["state"], (await hear(second))["delta"]["set"]["state"]) == (
            *("cancelled", "cancelled"),
        )

    run(test)


def test_who_follows_a_forgotten_job_is_told_and_hung_up_on() -> None:
    async def test(web: WebHouse) -> None:
        client = await web.house.peer("client")
        client.say(BlobPiece(DIGEST, FUNCTIONS), submission())
        assert isinstance(await client.hear(), Accepted)
        socket = await web.follow("j1")
        await hear(socket)
        client.say(CancelJob(JobId("j1")))
        await client.hear_until(Ended)
        client.say(ReleaseJob(JobId("j1")))
        last = None
        while (message := await socket.read_message()) is not None:
            last = message
        assert last is not None
        assert b'"forgotten":true' in (last if isinstance(last, bytes) else last.encode())
        assert socket.close_code == NO_SUCH_TOPIC
        await until(lambda: len(web.house.server._connections) == 1)

    run(test)


def test_a_topic_that_does_not_exist() -> None:
    async def test(web: WebHouse) -> None:
        socket = await web.follow("j9")
        assert await socket.read_message() is None
        assert socket.close_code == NO_SUCH_TOPIC

    run(test)


def test_who_missed_a_delta_gets_a_snapshot() -> None:
    async def test(web: WebHouse) -> None:
        socket = await web.follow()
        first = (await hear(socket))["snapshot"]
        note(web, "one")
        await hear(socket)  # as if it had not come
        await socket.write_message("resync")
        payload = await hear(socket)
        assert payload["snapshot"]["seq"] == first["seq"] + 1
        assert payload["snapshot"]["feed"][-1]["text"] == "one"
        note(web, "two")
        assert (await hear(socket))["delta"]["seq"] == first["seq"] + 2

    run(test)


@pytest.mark.parametrize("word", ["snapshot, please", b"resync", ""])
def test_there_is_one_word_to_say(word: str | bytes) -> None:
    async def test(web: WebHouse) -> None:
        socket = await web.follow()
        await hear(socket)
        await socket.write_message(word, isinstance(word, bytes))
        assert await socket.read_message() is None
        assert socket.close_code == NOT_UNDERSTOOD

    run(test)


def test_a_long_word_is_not_read() -> None:
    async def test(web: WebHouse) -> None:
        socket = await web.follow()
        await hear(socket)
        await socket.write_message("x" * 2000)
        assert await socket.read_message() is None
        await until(lambda: not web.house.server._connections)

    run(test)


def test_there_are_at_most_ten_deltas_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(web: WebHouse) -> None:
        socket = await web.follow()
        await hear(socket)
        began = web.house.server._clock()
        for number in range(4):
            note(web, str(number))
            while (await hear(socket))["delta"]["feed"][-1]["text"] != str(number):
                pass
        assert web.house.server._clock() - began >= 0.25  # the first may come at once

    run(test)


def test_a_slow_page_gets_nothing_until_it_has_caught_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it missed does not pile up: it gets a fresh snapshot then."""

    async def test(web: WebHouse) -> None:
        slow, quick = Sluggard(web), await web.follow()
        await slow.come()
        await hear(quick)
        (mine,) = [f for f in _followers(web) if f.request.headers.get("User-Agent") is None]
        assert mine._reader is not None
        reader, told, long = mine._reader, 0, "x" * 500_000
        while reader.unsent_bytes <= 1 << 20:
            note(web, f"{told} {long}")
            assert (await hear(quick))["delta"]
            told += 1
        stuck = reader.unsent_bytes
        for _ in range(3):
            note(web, f"{told} {long}")
            assert (await hear(quick))["delta"]
            told += 1
        assert reader.unsent_bytes <= stuck
        payloads = [await slow.read()]
        while "snapshot" not in payloads[-1] or len(payloads) == 1:
            payloads.append(await slow.read())
        assert "snapshot" in payloads[0]
        assert len(payloads) - 2 <= told - 3  # deltas: those before it was too slow
        last = payloads[-1]["snapshot"]
        assert last["feed"][-1]["text"].startswith(f"{told - 1} ")
        note(web, "short")
        assert (await slow.read())["delta"]["seq"] == last["seq"] + 1
        assert reader.unsent_bytes < 1 << 20
        slow.leave()

    run(test)


def _followers(web: WebHouse) -> list:  # type: ignore[type-arg]
    assert web.page._site is not None
    return list(web.page._site._desk.followers)


@pytest.mark.parametrize(
    "headers",
    [
        *({"Origin": "http://evil.example"}, {"Origin": ""}, {"Origin": "null"}),
        *({"Cookie": ""}, {"Host": "evil.example"}),
    ],
    ids=str,
)
def test_strangers_and_other_sites_are_not_told(headers: dict[str, str]) -> None:
    async def test(web: WebHouse) -> None:
        assert (await web.fetch("/events", {**web.upgrade, **headers})).code == 403
        assert not web.house.server._connections

    run(test)


def test_a_program_may_follow_too() -> None:
    async def test(web: WebHouse) -> None:
        socket = await web.follow("cluster", **{**BEARER, "Cookie": "", "Origin": ""})
        assert (await hear(socket))["snapshot"]

    run(test)


def test_not_too_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(web: WebHouse) -> None:
        await web.fetch("/")
        monkeypatch.setattr("mrkernel.manager.web_events.MOST_FOLLOWERS", 2)
        first, _ = await web.follow(), await web.follow()
        await hear(first)
        assert (await web.fetch("/events", web.upgrade)).code == 503
        first.close()
        await until(lambda: len(_followers(web)) == 1)
        await web.follow()

    assert MOST_FOLLOWERS > 2
    run(test)


def test_a_page_that_left_is_forgotten() -> None:
    async def test(web: WebHouse) -> None:
        socket = await web.follow()
        await hear(socket)
        assert len(web.house.server._connections) == 1
        socket.close()
        await until(lambda: not web.house.server._connections)
        assert not web.house.server.broker._readers

    run(test)


def test_pages_are_hung_up_on_when_the_manager_ends() -> None:
    async def test(web: WebHouse) -> None:
        socket = await web.follow()
        await hear(socket)
        assert web.page._site is not None
        await web.page._site.close()
        assert await socket.read_message() is None
        assert socket.close_code == 1001

    run(test)
