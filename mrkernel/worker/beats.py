"""Heartbeats: "I live", every so often, from the worker server's event loop and never user code's.

A datagram goes to the manager's host, and nobody minds if it is lost. Until the manager says that
they arrive, and whenever it says that they do not, the same word goes over the connection too.
"""

from __future__ import annotations

import asyncio
import logging
import socket

from mrkernel.protocol.connection import Connection
from mrkernel.protocol.heartbeat import HeartbeatSender
from mrkernel.protocol.worker_messages import Alive, Registered

logger = logging.getLogger("mrkernel.worker")


class Beats:
    """The heartbeats of one registration.

    Args:
        connection: to the manager.
        registered: what it said to us.
        host: where it was reached, as a number; "" sends no datagrams.

    Attributes:
        heard: whether the datagrams are known to arrive.
    """

    def __init__(self, connection: Connection, registered: Registered, host: str) -> None:
        self._connection = connection
        self._period_s = registered.beat_s
        self._sender = HeartbeatSender(connection.session_key, registered.number)
        self.heard = False
        self._socket: socket.socket | None = None
        if host and registered.beat_port:
            self._address = (host, registered.beat_port)
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
            self._socket.setblocking(False)

    def told(self, heard: bool) -> None:
        """The manager says whether the datagrams arrive."""
        if heard != self.heard:
            logger.info("heartbeats go %s", "by datagram" if heard else "over the connection")
        self.heard = heard

    async def beat_forever(self) -> None:
        """Beat until cancelled."""
        try:
            while True:
                self.beat()
                await asyncio.sleep(self._period_s)
        finally:
            if self._socket is not None:
                self._socket.close()

    def beat(self) -> None:
        """Say once that we live."""
        if self._socket is not None:
            try:
                self._socket.sendto(self._sender.next(), self._address)
            except OSError as error:
                # A network that is down, a full buffer: the manager counts what it hears.
                logger.debug("a heartbeat was not sent: %s", error)
        if not self.heard:
            self._connection.send(Alive())
