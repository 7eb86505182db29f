"""Finding the manager: connect, and try again as long as the lease says."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tornado.iostream import IOStream, StreamClosedError

from mrkernel.errors import ManagerUnreachableError, MRKernelError
from mrkernel.protocol.connection import Connection
from mrkernel.worker.lease import Lease


@dataclass(frozen=True, slots=True)
class Found:
    """A manager that knows the token.

    Attributes:
        host: its address, as a number; "": it is gone already.
        own_host: ours, as it sees us; "" likewise.
    """

    connection: Connection
    host: str
    own_host: str


async def find_manager(
    address: tuple[str, int], token: bytes, lease: Lease, *, again: bool
) -> Found:
    """Look for a manager until it is there.

    Args:
        again: it was there before. Then somebody else at its address is no reason to give up: the
            port may be used by another until it is back.

    Raises:
        ManagerUnreachableError: nobody answers as long as the lease lasts.
        SecurityError, ProtocolError: somebody else does.
    """
    while True:
        ours = socket.socket()
        try:
            connection = await Connection.connect(IOStream(ours), address, token, "worker")
            return Found(connection, _host(ours.getpeername), _host(ours.getsockname))
        except (MRKernelError, StreamClosedError, TimeoutError, OSError) as error:
            if isinstance(error, MRKernelError) and not again:
                raise
            pause = lease.pause(time.monotonic())
            if pause is None:
                raise ManagerUnreachableError(
                    f"no manager answers at {address[0]}:{address[1]} ({error}): is it running, "
                    "and is it the one whose token this worker has?"
                ) from error
        await asyncio.sleep(pause)


def _host(name: Callable[[], Any]) -> str:
    try:
        return str(name()[0])
    except OSError:
        return ""
