"""Clients of a manager in its own process: what a browser is told, and what it asks for.

They need no socket to the manager and no handshake (``web_access`` has let them in), but else are
like any client: the state machine and the broker know no difference.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mrkernel.errors import ClusterError
from mrkernel.protocol.client_messages import Refused, View, Watch
from mrkernel.protocol.handshake import Role
from mrkernel.protocol.messages import Message

if TYPE_CHECKING:
    from mrkernel.manager.server import ManagerServer

logger = logging.getLogger("mrkernel.manager")

#: Seconds to wait for an answer; it comes in the same turn, unless the journal cannot be written.
PATIENCE_S = 5.0
_SILENT = "the manager does not answer now: its log says why, try again in a while"


class Client:
    """A client that only listens; see ``protocol.connection.Talk``.

    Args:
        server: the manager.
        take: is called with each message.
        hang_up: is called when the manager wants the client gone.
    """

    role: Role = "client"
    session_key = b""

    def __init__(
        self,
        server: ManagerServer,
        take: Callable[[Message], None],
        hang_up: Callable[[], None],
    ) -> None:
        self._server = server
        self._take = take
        self._hang_up = hang_up
        self.unsent_bytes = 0  #: that the browser has not taken yet
        self._peer = server.admit(self)

    def say(self, message: Message) -> None:
        """Say something to the manager."""
        self._server.hear(self._peer, message)

    def leave(self) -> None:
        """Be gone."""
        self._server.leave(self._peer, "the page was closed")

    def put(self, message: Message) -> None:
        """Hear a message."""
        try:
            self._take(message)
        except Exception:
            # A bug of ours must cost one page, not the turn of all others.
            logger.exception("could not show a %s", type(message).__name__)
            self._hang_up()

    send = put

    def send_alone(self, *messages: Message) -> None:
        """Hear messages."""
        for message in messages:
            self.put(message)

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Hear that the manager wants us gone."""
        self._hang_up()


def tell(server: ManagerServer, message: Message) -> None:
    """Tell the manager something that it does not answer; it has acted on it on return."""
    client = Client(server, lambda _: None, lambda: None)
    client.say(message)
    client.leave()


async def ask(server: ManagerServer, question: Message, kind: type[Message]) -> Any:
    """Ask the manager something; return its answer, which is of that kind, or ``Refused``.

    Raises:
        ClusterError: it does not answer now.
    """
    answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

    def take(message: Message) -> None:
        if isinstance(message, kind | Refused) and not answer.done():
            answer.set_result(message)

    def hang_up() -> None:
        if not answer.done():
            answer.set_exception(ClusterError(_SILENT))

    client = Client(server, take, hang_up)
    try:
        client.say(question)
        return await asyncio.wait_for(answer, PATIENCE_S)
    except TimeoutError as error:
        raise ClusterError(_SILENT) from error
    finally:
        client.leave()


class Reader(Client):
    """A browser that follows a topic.

    Args:
        server: the manager.
        topic: "cluster" or a job's id.
        show: is called with each payload of the broker.
        hang_up: is called when there is nothing more to follow.
    """

    def __init__(
        self,
        server: ManagerServer,
        topic: str,
        show: Callable[[dict[str, Any]], None],
        hang_up: Callable[[], None],
    ) -> None:
        self._topic = topic
        self._show = show
        super().__init__(server, self._heard, hang_up)
        self.begin_anew()

    def begin_anew(self) -> None:
        """Ask for a snapshot, and the deltas from there on."""
        self.say(Watch(self._topic))

    def _heard(self, message: Message) -> None:
        if isinstance(message, View):
            self._show(message.payload)
