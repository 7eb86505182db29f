"""A manager's web page in a house of its own, and its visitors."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import house
from house import DIGEST, FUNCTIONS, TOKEN, House, submission
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.iostream import IOStream
from tornado.simple_httpclient import HTTPStreamClosedError
from tornado.websocket import WebSocketClientConnection, websocket_connect

from mrkernel.manager.web import WebPage
from mrkernel.manager.web_access import Access
from mrkernel.protocol.client_messages import Accepted
from mrkernel.protocol.messages import BlobPiece
from mrkernel.security.token import derived

PAGE_TOKEN = derived(TOKEN, "web page")
BEARER = {"Authorization": f"Bearer {PAGE_TOKEN}"}


class Starter:
    """Starts no workers, but remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def add_worker(self, slots: int) -> None:
        self.told.append(("add", slots))

    def let_go(self, pid: int) -> None:
        self.told.append(("let go", pid))

    def kill(self, pid: int) -> None:
        self.told.append(("kill", pid))


class WebHouse:
    """A house with a page.

    Attributes:
        house: the manager, its clients and workers.
        page: its page.
        starter: of its workers.
        port: where that listens.
        cookie: the header of a browser that was let in.
        origin: the header of the page's own scripts.
    """

    def __init__(self, house: House, *, supervised: bool) -> None:
        self.house = house
        self.starter = Starter()
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.page = WebPage(house.server, listener, TOKEN, self.starter if supervised else None)
        self.page.begin()
        self._sockets: list[tuple[WebSocketClientConnection, IOStream]] = []
        access = Access(TOKEN, "127.0.0.1", self.port)
        self.cookie = {"Cookie": f"{access.cookie_name}={access.cookie}"}
        self.origin = {"Origin": f"http://127.0.0.1:{self.port}"}

    async def fetch(
        self,
        path: str,
        headers: dict[str, str] | None = None,
        method: str = "GET",
        body: bytes | None = None,
    ) -> HTTPResponse:
        """Ask for something; whatever the answer's status, it is returned."""
        request = HTTPRequest(
            f"http://127.0.0.1:{self.port}{path}",
            method,
            self.cookie if headers is None else headers,
            body,
            follow_redirects=False,
            allow_nonstandard_methods=True,
        )
        try:
            return await AsyncHTTPClient().fetch(request, raise_error=False)
        except HTTPStreamClosedError:
            return HTTPResponse(request, 599)

    @property
    def upgrade(self) -> dict[str, str]:
        """The headers of a WebSocket's request."""
        key = base64.b64encode(os.urandom(16)).decode()
        asks = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": key}
        return {**self.cookie, **self.origin, **asks, "Sec-WebSocket-Version": "13"}

    async def act(self, action: Any, headers: dict[str, str] | None = None) -> HTTPResponse:
        """Ask for an action, as the page does; ``headers`` besides."""
        body = action if isinstance(action, bytes) else json.dumps(action).encode()
        whole = {**self.cookie, **self.origin, "X-MRKernel-Action": "1", **(headers or {})}
        return await self.fetch("/actions", {k: v for k, v in whole.items() if v}, "POST", body)

    async def follow(self, topic: str = "cluster", **headers: str) -> WebSocketClientConnection:
        """Open a WebSocket, as the page does."""
        url = f"ws://127.0.0.1:{self.port}/events?topic={topic}"
        whole = {**self.cookie, **self.origin, **headers}
        opened = await websocket_connect(
            HTTPRequest(url, headers={k: v for k, v in whole.items() if v}),
            max_message_size=1 << 30,
        )
        assert opened.protocol is not None
        self._sockets.append((opened, opened.protocol.stream))
        return opened

    async def close(self) -> None:
        AsyncHTTPClient().close()
        await self.page.end()
        for opened, stream in self._sockets:
            opened.close()
            await until(stream.closed)


def run(
    test: Callable[[WebHouse], Awaitable[None]], *, supervised: bool = True, **options: Any
) -> None:
    """Run a test with a manager and its page in one loop."""

    async def live(plain: House) -> None:
        web = WebHouse(plain, supervised=supervised)
        try:
            await test(web)
        finally:
            await web.close()

    house.run(live, **options)


async def with_job(web: WebHouse) -> House:
    """Submit a job of one task; return the house."""
    client = await web.house.peer("client")
    client.say(BlobPiece(DIGEST, FUNCTIONS), submission())
    assert isinstance(await client.hear(), Accepted)
    return web.house


async def hear(socket: WebSocketClientConnection) -> dict[str, Any]:
    """The next payload."""
    message = await socket.read_message()
    assert message is not None, "the page hung up"
    payload: dict[str, Any] = json.loads(message)
    return payload


def sentence(response: HTTPResponse) -> str:
    """What a refusal says."""
    return str(json.loads(response.body)["sentence"])


async def until(wanted: Callable[[], bool]) -> None:
    """Let others work until it is so."""
    while not wanted():
        await asyncio.sleep(0.001)


class Sluggard:
    """A browser that follows a topic and does not read, until it is told to."""

    def __init__(self, web: WebHouse) -> None:
        self._web = web

    async def come(self) -> None:
        """Follow the cluster."""
        web = self._web
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", web.port))
        self._reader, self._writer = await asyncio.open_connection(sock=plain, limit=4096)
        lines = [
            f"GET /events?topic=cluster HTTP/1.1\r\nHost: 127.0.0.1:{web.port}",
            *(f"{name}: {value}" for name, value in web.upgrade.items()),
            "\r\n",
        ]
        self._writer.write("\r\n".join(lines).encode())
        answer = await self._reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in answer

    async def read(self) -> dict[str, Any]:
        """The next payload."""
        while True:
            opcode, size = await self._reader.readexactly(2)
            if size == 126:
                (size,) = struct.unpack(">H", await self._reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", await self._reader.readexactly(8))
            data = await self._reader.readexactly(size)
            if opcode & 15 == 1:
                payload: dict[str, Any] = json.loads(data)
                return payload

    def leave(self) -> None:
        self._writer.close()
