"""A server without descriptors: it waits, and loses nobody."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Any

import pytest
from tornado.iostream import IOStream

from mrkernel.protocol import listening
from mrkernel.protocol.listening import PatientServer


class Full(socket.socket):
    """A listening socket of a process that has no descriptors for the first so many looks."""

    looks = 0
    full = 3

    def accept(self) -> tuple[socket.socket, Any]:
        self.looks += 1
        if self.looks <= self.full:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


class Server(PatientServer):
    def __init__(self) -> None:
        super().__init__()
        self.came = asyncio.Event()

    async def handle_stream(self, stream: IOStream, address: Any) -> None:
        self.came.set()
        stream.close()


@pytest.fixture
def listener() -> Full:
    made = Full()
    made.bind(("127.0.0.1", 0))
    made.listen()
    made.setblocking(False)
    return made


def play(listener: Full, *, stopped: bool) -> list[dict[str, Any]]:
    """Serve one peer, or stop while it waits; return what went wrong in the loop."""
    wrong: list[dict[str, Any]] = []

    async def live() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: wrong.append(context))
        server = Server()
        server.add_socket(listener)
        with socket.create_connection(listener.getsockname()):
            if stopped:
                while not listener.looks:
                    await asyncio.sleep(0)
                server.stop()
                await asyncio.sleep(2 * listening.PAUSE_S)  # until it would look again
            else:
                await server.came.wait()
                server.stop()

    asyncio.run(live())
    return wrong


@pytest.mark.fault(32)
def test_who_comes_while_there_is_no_room_is_let_in_when_there_is(
    listener: Full, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listening, "PAUSE_S", 0.001)
    assert play(listener, stopped=False) == []
    assert listener.looks <= listener.full + 2  # it paused in between
    assert [record.message for record in caplog.records] == [
        "no room for one more connection (Too many open files): it waits"
    ]


def test_a_server_that_is_stopped_meanwhile_stays_so(
    listener: Full, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "PAUSE_S", 0.001)
    assert play(listener, stopped=True) == []
    assert listener.looks == 1


def test_another_error_is_not_hidden(listener: Full, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "PAUSE_S", 0.001)
    monkeypatch.setattr(listening, "_NO_ROOM", ())
    (wrong, *_) = play(listener, stopped=True)
    assert wrong["exception"].errno == errno.EMFILE
