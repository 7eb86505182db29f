"""The manager's shell and what outlives it: journal, full disks, datagrams, causes of deaths."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from house import DIGEST, FUNCTIONS, House, run, submission

from mrkernel.data.host import host_id
from mrkernel.ids import JobId
from mrkernel.manager.journal import Journal
from mrkernel.manager.state_directory import StateDirectory
from mrkernel.protocol.client_messages import (
    Accepted,
    Attach,
    Ended,
    FetchFunctions,
    Functions,
    Look,
    View,
)
from mrkernel.protocol.heartbeat import HeartbeatSender
from mrkernel.protocol.messages import BlobPiece
from mrkernel.protocol.worker_messages import BeatsHeard, Finished, PartOutput, Start


def finished(start: Start) -> Finished:
    part = PartOutput("", 1, 1, b"x")
    return Finished(start.job, start.task, start.attempt, 1, 1, 1, 0.1, part=part)


@pytest.mark.fault(8)
def test_a_server_takes_up_the_journal_of_the_one_before(tmp_path: Path) -> None:
    async def before(house: House) -> None:
        client, worker = await house.peer("client"), await house.worker()
        client.say(BlobPiece(DIGEST, FUNCTIONS), submission(maps=2))
        assert isinstance(await client.hear(), Accepted)
        start = await worker.hear_until(Start)
        worker.say(finished(start))
        await worker.hear_until(Start)

    async def after(house: House) -> None:
        assert house.server.taken_up == 1
        client, worker = await house.peer("client"), await house.worker()
        client.say(Look(1, "j1"))
        looked = await client.hear_until(View)
        assert "map" in str(looked.payload["snapshot"])
        client.say(Attach(2, JobId("j1")))
        assert await client.hear_until(Accepted) == Accepted(2, JobId("j1"))
        start = await worker.hear_until(Start)
        assert start.task == "map-1"  # map-0 came along with its report
        worker.say(finished(start))
        assert (await client.hear_until(Ended)).outcome == "done"
        client.say(FetchFunctions(3, JobId("j1")))
        assert await client.hear_until(Functions) == Functions(3, FUNCTIONS)

    for test in (before, after):
        with StateDirectory.open(tmp_path / "state", durable=False) as directory:
            run(test, directory=directory)


@pytest.mark.fault(25)
def test_nothing_leaves_before_it_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk: the manager waits for room, and then all goes on."""
    write, full = Journal.write, True

    def written(journal: Journal, facts: Any) -> None:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(journal, facts)

    async def test(house: House) -> None:
        nonlocal full
        full = False
        client, watcher = await house.peer("client"), await house.peer("client")
        full = True
        client.say(BlobPiece(DIGEST, FUNCTIONS), submission(maps=0))
        while not house.server._stuck:
            await asyncio.sleep(0)
        assert list(house.state.jobs) == ["j1"]
        assert [type(message) for _, message in house.server._outbox] == [Accepted, Ended]
        # What promises nothing is said: else nobody could ask why nothing goes on.
        newcomer = await house.peer("client")
        for asking, ticket in ((newcomer, 7), (client, 8)):
            asking.say(Look(ticket, "cluster"))
            looked = await asking.hear()
            assert (type(looked), looked.ticket) == (View, ticket)
            assert "the journal cannot be written" in json.dumps(looked.payload["snapshot"])
        assert [type(message) for _, message in house.server._outbox] == [Accepted, Ended]
        full = False
        assert await client.hear() == Accepted(1, JobId("j1"))
        assert isinstance(await client.hear(), Ended)
        watcher.say(Look(2, "cluster"))
        looked = await watcher.hear_until(View)
        told = json.dumps(looked.payload["snapshot"])
        assert "the journal cannot be written (No space left on device)" in told
        assert "the journal can be written again" in told

    with StateDirectory.open(tmp_path / "state", durable=False) as directory:
        full = False
        monkeypatch.setattr(Journal, "write", written)
        run(test, directory=directory)
    assert caplog.text.count("the journal cannot be written") == 1


def test_datagrams_of_a_worker_are_heard() -> None:
    async def test(house: House) -> None:
        worker = await house.worker()
        registered = worker.registered
        assert registered is not None
        sender = HeartbeatSender(worker.session_key, registered.number)
        forger = HeartbeatSender(b"k" * 32, registered.number)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            for datagram in (b"garbage", forger.next(), sender.next()):
                datagrams.sendto(datagram, ("127.0.0.1", registered.beat_port))
            assert await worker.hear_until(BeatsHeard) == BeatsHeard(True)
            assert house.server._beats._receiver.dropped == 2
            worker.leave()
            while house.state.workers:
                await asyncio.sleep(0)
            datagrams.sendto(sender.next(), ("127.0.0.1", registered.beat_port))
            while house.server._beats._receiver.dropped < 3:
                await asyncio.sleep(0)  # it revives nobody

    run(test)


def test_how_a_process_ended_comes_through_a_pipe() -> None:
    """In pieces as they come: whoever started it writes a line for each."""
    reading, writing = os.pipe()

    async def test(house: House) -> None:
        worker = await house.worker(host_id())
        line = json.dumps({"pid": 1, "cause": "was killed (SIGKILL)"}).encode() + b"\n"
        os.write(writing, line[:9])
        await asyncio.sleep(0)
        os.write(writing, line[9:])
        while not house.state._workers._causes:
            await asyncio.sleep(0)
        os.close(writing)  # whoever started it is gone: nobody tells any more
        worker.leave()
        while house.state.workers:
            await asyncio.sleep(0)
        client = await house.peer("client")
        client.say(Look(1, "cluster"))
        assert "was killed (SIGKILL)" in str((await client.hear_until(View)).payload)

    run(test, exits=reading)
    os.close(reading)
