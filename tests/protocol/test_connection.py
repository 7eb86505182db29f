"""Connections over real sockets: who gets in, what is said, how it ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpserver import TCPServer

from mrkernel.errors import RemoteProtocolError, SecurityError
from mrkernel.ids import JobId
from mrkernel.protocol import connection as connection_module
from mrkernel.protocol import framing
from mrkernel.protocol.client_messages import CancelJob, FromClient, Look, Watch
from mrkernel.protocol.connection import Connection
from mrkernel.protocol.framing import MORE, pack_frame
from mrkernel.protocol.handshake import NONCE_SIZE, Acceptor, Connector
from mrkernel.protocol.messages import MessageDecoder, frame_of

TOKEN = b"t" * 32
CLIENT = MessageDecoder(FromClient)


class Door(TCPServer):
    """Accepts connections and remembers who came in, what they said and why they left."""

    def __init__(self) -> None:
        super().__init__()
        self.connections: list[Connection] = []
        self.heard: list[Any] = []
        self.left = asyncio.Event()
        self.turned_away = asyncio.Event()

    async def handle_stream(self, stream: IOStream, address: Any) -> None:
        connection = await Connection.accept(stream, TOKEN)
        if connection is None:
            self.turned_away.set()
            return
        self.connections.append(connection)
        async for batch in connection.batches(CLIENT):
            self.heard.append(batch)
            if Watch("answer") in batch:
                connection.send(Watch("first"))
                connection.send(Watch("second"))
        self.left.set()


@asynccontextmanager
async def door() -> AsyncIterator[tuple[Door, tuple[str, int]]]:
    server = Door()
    (listening,) = [socket.create_server(("127.0.0.1", 0))]
    listening.setblocking(False)
    server.add_socket(listening)
    try:
        yield server, listening.getsockname()
    finally:
        server.stop()
        for connection in server.connections:
            connection.close()


async def connect(address: tuple[str, int], token: bytes = TOKEN) -> Connection:
    return await Connection.connect(IOStream(socket.socket()), address, token, "client")


def run(test: Callable[[Door, tuple[str, int]], Awaitable[None]]) -> None:
    async def live() -> None:
        async with asyncio.timeout(10), door() as (server, address):
            await test(server, address)

    asyncio.run(live())


def test_what_one_turn_says_is_one_frame() -> None:
    async def test(server: Door, address: tuple[str, int]) -> None:
        connection = await connect(address)
        connection.send(Look(1, "cluster"))
        connection.send(Watch("answer"))
        answers = [batch async for batch in _first(connection)]
        assert server.heard == [[Look(1, "cluster"), Watch("answer")]]
        assert answers == [[Watch("first"), Watch("second")]]
        connection.close()
        await server.left.wait()
        assert server.connections[0].ended == "connection closed"

    run(test)


async def _first(connection: Connection) -> AsyncIterator[list[Any]]:
    async for batch in connection.batches(CLIENT):
        yield batch
        return


def test_order_is_kept_between_small_and_large() -> None:
    async def test(server: Door, address: tuple[str, int]) -> None:
        connection = await connect(address)
        connection.send(Look(1, "a"))
        connection.send_alone(Watch("x" * 1_000_000))
        connection.send(Look(2, "b"))
        connection.close()
        await server.left.wait()
        said = [message for batch in server.heard for message in batch]
        assert [getattr(m, "ticket", 0) for m in said] == [1, 0, 2]

    run(test)


def test_what_is_queued_leaves_before_the_end() -> None:
    async def test(server: Door, address: tuple[str, int]) -> None:
        connection = await connect(address)
        connection.send(CancelJob(JobId("j1")))
        connection.close()
        connection.send(CancelJob(JobId("j2")))  # too late, and no error
        await server.left.wait()
        assert server.heard == [[CancelJob(JobId("j1"))]]

    run(test)


def test_a_peer_with_another_token_is_told_nothing() -> None:
    async def test(server: Door, address: tuple[str, int]) -> None:
        stream = IOStream(socket.socket())
        with pytest.raises(SecurityError):  # the server proves itself first
            await Connection.connect(stream, address, b"o" * 32, "client")
        assert stream.closed()
        await server.turned_away.wait()

    run(test)


def test_who_cannot_prove_himself_is_shut_out() -> None:
    async def test(server: Door, address: tuple[str, int]) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(pack_frame(Connector(b"o" * 32, "client", b"c" * NONCE_SIZE).hello()))
        challenge = await reader.readexactly(12)
        await reader.readexactly(int.from_bytes(challenge[4:8], "big"))
        writer.write(pack_frame(b"\x81\xa4type\xa5proof"))
        assert await reader.read() == b""  # closed, without a word
        writer.close()
        assert server.connections == []

    run(test)


@pytest.mark.parametrize(
    "opening",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),  # a TLS hello
        b"mr\x01\x00\xff\xff\xff\xff\x00\x00\x00\x00",
        pack_frame(b"", MORE),
        pack_frame(b""),
        pack_frame(b"\x91" * 4000),
        pack_frame(b"\x82\xa4type\xa5hello\xa1x" + b"\x91" * 3900),
        frame_of(Watch("cluster")),
    ],
    ids=["http", "tls", "oversized", "more", "empty", "array", "nested", "too early"],
)
def test_strangers_are_shut_out_at_once(opening: bytes) -> None:
    async def test(server: Door, address: tuple[str, int]) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(opening)
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            assert opening  # closed with bytes of ours unread: the same to us
        await server.turned_away.wait()
        writer.close()

    run(test)


def test_who_says_nothing_is_shut_out_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "DEADLINE_S", 0.05)

    async def test(server: Door, address: tuple[str, int]) -> None:
        for opening in (b"", b"mr", pack_frame(Connector(TOKEN, "client", b"c" * 32).hello())):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(opening)
            await reader.read()
            writer.close()
        assert server.connections == []

    run(test)


def test_a_client_meets_something_else() -> None:
    """A port that is not ours: whatever it says, the socket is closed and the error has a name."""

    async def live() -> None:
        async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example.org ESMTP\r\n")
            await reader.read(1)
            writer.close()

        server = await asyncio.start_server(babble, "127.0.0.1", 0)
        async with asyncio.timeout(10), server:
            stream = IOStream(socket.socket())
            with pytest.raises(RemoteProtocolError, match="does not speak mrkernel's protocol"):
                await Connection.connect(stream, server.sockets[0].getsockname(), TOKEN, "client")
            assert stream.closed()
        with pytest.raises(StreamClosedError):
            await connect(server_address)

    with socket.create_server(("127.0.0.1", 0)) as unused:
        server_address = unused.getsockname()
    asyncio.run(live())


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"garbage, garbage", "protocol error: the peer does not speak"),
        (pack_frame(b"\x91\x81\xa4type\xa4king"), "protocol error: a malformed message"),
        (pack_frame(b"raw", framing.RAW), "protocol error: raw bytes"),
    ],
)
def test_a_peer_that_breaks_the_protocol_later_is_shown_out(said: bytes, why: str) -> None:
    async def test(server: Door, address: tuple[str, int]) -> None:
        reader, writer = await asyncio.open_connection(*address)
        connector = Connector(TOKEN, "client", b"c" * NONCE_SIZE)
        writer.write(pack_frame(connector.hello()))
        header = await reader.readexactly(12)
        challenge = await reader.readexactly(int.from_bytes(header[4:8], "big"))
        writer.write(pack_frame(connector.prove(challenge)) + frame_of(Look(1, "a")) + said)
        await server.left.wait()
        assert server.heard == [[Look(1, "a")]]
        assert server.connections[0].ended.startswith(why)
        writer.close()

    run(test)


@pytest.mark.parametrize("word", ["x" * 2000, 1 << 70, object()])
def test_a_word_that_cannot_be_said_ends_the_connection(
    word: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Better than a peer that waits for ever for what was never sent."""

    async def test(server: Door, address: tuple[str, int]) -> None:
        connection = await connect(address)
        monkeypatch.setattr(framing, "MESSAGE_LIMIT", 1000)
        monkeypatch.setattr(framing.pack_control, "__defaults__", (1000,))
        connection.send(Watch(word))
        await server.left.wait()
        assert server.heard == []

    run(test)
    assert "cannot be encoded" in caplog.text


def test_the_acceptor_says_nothing_before_it_is_spoken_to() -> None:
    acceptor = Acceptor(TOKEN, b"a" * NONCE_SIZE)
    with pytest.raises(AssertionError):
        acceptor.verify(b"")
