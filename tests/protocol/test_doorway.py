"""The doorway of a server: silent strangers make room, whoever knows the token gets in."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpserver import TCPServer

from mrkernel.protocol.connection import Connection
from mrkernel.protocol.doorway import MOST_STRANGERS, Doorway
from mrkernel.protocol.framing import FrameDecoder, pack_frame
from mrkernel.protocol.handshake import NONCE_SIZE, Connector

TOKEN = b"t" * 32


class House(TCPServer):
    """A server with a doorway; it says how many came to the door, and keeps who got in."""

    def __init__(self) -> None:
        super().__init__()
        self.doorway = Doorway(TOKEN)
        self.came = 0
        self.inside: list[Connection] = []
        self._news = asyncio.Condition()
        listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        listening.setblocking(False)
        self.add_socket(listening)
        self.address: tuple[str, int] = listening.getsockname()
        self.streams: list[IOStream] = []

    async def handle_stream(self, stream: IOStream, address: Any) -> None:
        self.came += 1
        self.streams.append(stream)
        async with self._news:
            self._news.notify_all()
        connection = await self.doorway.admit(stream)
        if connection is not None:
            self.inside.append(connection)

    async def stranger(self) -> IOStream:
        """Somebody who comes to the door and says nothing."""
        expected = self.came + 1
        stream = IOStream(socket.socket())
        self.streams.append(stream)
        await stream.connect(self.address)
        async with self._news:
            await self._news.wait_for(lambda: self.came >= expected)
        return stream

    async def friend(self) -> Connection:
        return await Connection.connect(IOStream(socket.socket()), self.address, TOKEN, "client")

    def close(self) -> None:
        self.stop()
        for stream in self.streams:
            stream.close()
        for connection in self.inside:
            connection.close()


def run(test: Callable[[House], Awaitable[None]]) -> None:
    async def live() -> None:
        house = House()
        try:
            async with asyncio.timeout(10):
                await test(house)
        finally:
            house.close()
            while house.doorway._strangers:  # they hear of it
                await asyncio.sleep(0)

    asyncio.run(live())


async def is_shown_out(stream: IOStream) -> bool:
    with pytest.raises(StreamClosedError):
        await stream.read_bytes(1)
    return True


def test_the_one_too_many_takes_the_place_of_who_stood_longest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test(house: House) -> None:
        strangers = [await house.stranger() for _ in range(MOST_STRANGERS)]
        assert house.doorway.turned_away == 0
        await house.stranger()
        assert await is_shown_out(strangers[0])
        await house.stranger()
        assert await is_shown_out(strangers[1])
        assert house.doorway.turned_away == 2
        assert not strangers[2].closed()

    run(test)
    assert "2 strangers had to make room" in caplog.text


@pytest.mark.fault(56)
def test_a_crowd_does_not_keep_a_friend_out(caplog: pytest.LogCaptureFixture) -> None:
    async def test(house: House) -> None:
        for _ in range(MOST_STRANGERS + 10):
            await house.stranger()
        friend = await house.friend()
        assert friend.session_key
        friend.close()

    run(test)
    assert "had to make room" in caplog.text


@pytest.mark.fault(54, 57)
def test_a_flood_of_garbage_is_counted_and_hardly_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A line for each would fill the disk that the journal is on."""

    async def test(house: House) -> None:
        for _ in range(100):
            garbage = await house.stranger()
            await garbage.write(b"GET / HTTP/1.1\r\n\r\n")
            assert await is_shown_out(garbage)
        assert house.doorway.refused == 100

    run(test)
    assert caplog.text.count("a peer was turned away") == 7  # 1, 2, 4 ... 64
    assert "does not speak mrkernel's protocol (64 so far)" in caplog.text


def test_a_handshake_under_way_succeeds_while_others_crowd_in() -> None:
    async def test(house: House) -> None:
        friend = await house.stranger()
        connector = Connector(TOKEN, "client", b"n" * NONCE_SIZE)
        await friend.write(pack_frame(connector.hello()))
        ((_, challenge),) = FrameDecoder(1 << 10).feed(
            await friend.read_bytes(1 << 10, partial=True)
        )
        for _ in range(MOST_STRANGERS - 1):
            await house.stranger()
        await friend.write(pack_frame(connector.prove(challenge)))
        while not house.inside:
            await asyncio.sleep(0)
        assert house.inside[0].session_key == connector.session_key
        assert house.doorway.turned_away == 0

    run(test)


def test_who_left_makes_room() -> None:
    async def test(house: House) -> None:
        for _ in range(MOST_STRANGERS):
            (await house.stranger()).close()
        while house.doorway._strangers:
            await asyncio.sleep(0)
        await house.stranger()
        assert house.doorway.turned_away == 0

    run(test)
