"""The manager's web page, before anybody looks: a listening socket that costs nothing.

The web server is imported, and begins, when the first browser knocks: most managers never see one.
It is a client of the manager in the manager's own process, see ``web_reader``.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from mrkernel.manager.server import ManagerServer

if TYPE_CHECKING:
    from mrkernel.manager.web_desk import Supervisor
    from mrkernel.manager.web_site import Site


class WebPage:
    """The page of one manager.

    Args:
        server: the manager.
        listener: where browsers come, on loopback; given up to the page.
        secret: the cluster's; the page's own are made of it.
        supervisor: starts workers, so that some can be added, retired and killed from the page;
            None: nobody does.
    """

    def __init__(
        self,
        server: ManagerServer,
        listener: socket.socket,
        secret: bytes,
        supervisor: Supervisor | None,
    ) -> None:
        listener.setblocking(False)
        self._server = server
        self._listener = listener
        self._secret = secret
        self._supervisor = supervisor
        self._site: Site | None = None

    def begin(self) -> None:
        """Wait for the first browser; the event loop runs."""
        asyncio.get_running_loop().add_reader(self._listener, self._knock)

    def _knock(self) -> None:
        asyncio.get_running_loop().remove_reader(self._listener)
        from mrkernel.manager.web_site import Site

        self._site = Site(self._server, self._listener, self._secret, self._supervisor)

    async def end(self) -> None:
        """Hang up on every browser, and listen no more."""
        if self._site is None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
        else:
            await self._site.close()
