"""The life of a manager process, the same under a supervisor and by itself."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from mrkernel.manager.budget import BUDGET
from mrkernel.manager.server import ManagerServer, serve
from mrkernel.manager.state_directory import StateDirectory
from mrkernel.manager.web import WebPage
from mrkernel.manager.workers import Liveness


async def manage(
    directory: StateDirectory,
    listener: socket.socket,
    stop: asyncio.Event,
    *,
    liveness: Liveness,
    exits: int | None = None,
    keep: int = BUDGET,
    web: socket.socket | None = None,
    ready: Callable[[ManagerServer], None] | None = None,
) -> ManagerServer:
    """Be the manager of a state directory until ``stop``; go on with the jobs in its journal.

    Args:
        listener: where clients and workers come; given up to the server.
        exits: a pipe on which whoever starts worker servers tells how they ended: a line of JSON
            each, ``{"pid": 4711, "cause": "was killed (SIGKILL)"}``; None: nobody does.
        keep: bytes of results that may lie with the workers.
        web: where browsers come; given up to its web page. None: it has none.
        ready: called once it has taken up what is in the journal, and listens.

    Returns: the server as it was in the end, closed.

    Raises:
        ClusterError: what is in the journal cannot be taken up.
    """
    server = ManagerServer(
        directory.token,
        liveness=liveness,
        directory=directory,
        host=listener.getsockname()[0],
        exits=exits,
        keep=keep,
    )
    listener.setblocking(False)
    server.add_socket(listener)
    page = None
    if web is not None:
        # Who starts workers anew may have one killed from the page.
        page = WebPage(server, web, directory.token, kills=exits is not None)
        page.begin()
    if ready is not None:
        ready(server)
    try:
        await serve(server, stop)
    finally:
        if page is not None:
            await page.end()
    return server
