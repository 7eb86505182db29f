"""The life of a manager process, the same under a supervisor and by itself."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

from mrkernel.deploy.local import ADD_WORKER, KILL, LET_GO
from mrkernel.errors import ClusterError
from mrkernel.manager.budget import BUDGET
from mrkernel.manager.server import ManagerServer, serve
from mrkernel.manager.state_directory import StateDirectory
from mrkernel.manager.web import WebPage
from mrkernel.manager.workers import Liveness


class Supervisor:
    """Whoever starts this manager and its workers, at the other end of a socket.

    Each raises ``ClusterError`` when it does not listen.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def add_worker(self, slots: int) -> None:
        """Let it start one more worker."""
        self._tell(ADD_WORKER, slots)

    def let_go(self, pid: int) -> None:
        """Let it not start that worker again."""
        self._tell(LET_GO, pid)

    def kill(self, pid: int) -> None:
        """Let it kill that worker, if it started it."""
        self._tell(KILL, pid)

    def _tell(self, word: bytes, number: int) -> None:
        try:
            os.write(self._descriptor, b"%s %d\n" % (word, number))
        except OSError as error:
            raise ClusterError(
                "what starts the workers of this cluster does not listen now: try again in a while"
            ) from error


async def manage(
    directory: StateDirectory,
    listener: socket.socket,
    stop: asyncio.Event,
    *,
    liveness: Liveness,
    keep: int = BUDGET,
    supervisor: int | None = None,
    web: socket.socket | None = None,
    ready: Callable[[ManagerServer], None] | None = None,
) -> ManagerServer:
    """Be the manager of a state directory until ``stop``; go on with the jobs in its journal.

    Args:
        listener: where clients and workers come; given up to the server.
        keep: bytes of results that may lie with the workers.
        supervisor: a socket on which whoever starts worker servers tells how they ended: a line of
            JSON each, ``{"pid": 4711, "cause": "was killed (SIGKILL)"}``, and hears which ones are
            wanted; None: nobody does.
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
        exits=supervisor,
        keep=keep,
    )
    listener.setblocking(False)
    server.add_socket(listener)
    page = None
    if web is not None:
        helper = Supervisor(supervisor) if supervisor is not None else None
        page = WebPage(server, web, directory.token, helper)
        page.begin()
    if ready is not None:
        ready(server)
    try:
        await serve(server, stop)
    finally:
        if page is not None:
            await page.end()
    return server
