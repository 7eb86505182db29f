"""Listening without a descriptor left: who comes meanwhile waits, and is let in then.

Left alone, the loop would try again at once, for ever, with a traceback in the log each time.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Iterable
from typing import Any, cast

from tornado.ioloop import IOLoop
from tornado.tcpserver import TCPServer

logger = logging.getLogger("mrkernel.protocol")

#: Seconds until the next look.
PAUSE_S = 0.1
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class PatientServer(TCPServer):
    """A server that stops listening for a moment when it cannot open one more connection."""

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Listen to sockets."""
        super().add_sockets([cast(socket.socket, _Listener(each)) for each in sockets])


class _Listener:
    """A listening socket; what tornado asks of it, it hands on."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._full = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)

    def accept(self) -> tuple[socket.socket, Any]:
        """Take the next connection.

        Raises:
            BlockingIOError: there is none, or no room for it.
        """
        try:
            accepted = self._listener.accept()
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            if not self._full:
                logger.warning("no room for one more connection (%s): it waits", error.strerror)
            self._full = True
            loop = IOLoop.current()
            loop.update_handler(self, 0)
            loop.call_later(PAUSE_S, self._listen)
            raise BlockingIOError from error
        self._full = False
        return accepted

    def _listen(self) -> None:
        if self._listener.fileno() >= 0:  # not stopped meanwhile
            IOLoop.current().update_handler(self, IOLoop.READ)
