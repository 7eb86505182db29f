"""The WebSocket of the web page: a topic's snapshot, then its deltas, as its browser takes them.

The broker sees to it that there are at most ten deltas a second, and that a browser that does not
take what it was sent gets nothing more, and a fresh snapshot when it has caught up. A browser may
say one word: ``resync``, when it missed a delta.
"""

from __future__ import annotations

from asyncio import Future
from typing import Any

from tornado.websocket import WebSocketClosedError, WebSocketHandler

from mrkernel.manager.web_handler import Guarded, Refusal
from mrkernel.manager.web_reader import Reader
from mrkernel.monitor.broker import CLUSTER

#: Why we hang up, as WebSockets tell it.
GOING_AWAY = 1001
NOT_UNDERSTOOD = 1003
TRY_LATER = 1013
NO_SUCH_TOPIC = 4404

#: More than so many browsers at once are too many.
MOST_FOLLOWERS = 64

RESYNC = "resync"

#: Of a WebSocket: seconds between pings, and until one must be answered; bytes of a browser's word.
SETTINGS: dict[str, Any] = {
    "websocket_ping_interval": 20.0,
    "websocket_ping_timeout": 20.0,
    "websocket_max_message_size": 1024,
}


class Follower(Guarded, WebSocketHandler):
    """One browser that follows a topic."""

    refuses_in = "text"
    _reader: Reader | None = None

    def prepare(self) -> None:
        """Refuse who is not let in, and other sites' pages.

        Raises:
            Refusal: so it is.
        """
        super().prepare()
        self.require_origin()
        if len(self.desk.followers) >= MOST_FOLLOWERS:
            raise Refusal(503, "Too many pages of this manager are open: close some.")

    def check_origin(self, origin: str) -> bool:
        """Let none pass that ``prepare`` would not."""
        return self.desk.access.is_own(origin, self.request.host)

    def open(self, *args: str, **kwargs: str) -> None:
        """Begin with a snapshot."""
        self.set_nodelay(True)
        topic = self.get_query_argument("topic", CLUSTER)
        if not self.desk.has(topic):
            self.close(NO_SUCH_TOPIC, "there is no such job here")
            return
        self.desk.followers.add(self)
        self._reader = Reader(self.desk.manager, topic, self._show, self.hang_up)

    def on_message(self, message: str | bytes) -> None:
        """Hear the browser's word."""
        if message == RESYNC and self._reader is not None:
            self._reader.begin_anew()
        else:
            self.close(NOT_UNDERSTOOD, f"say {RESYNC}, or nothing")

    def on_close(self) -> None:
        """The browser is gone."""
        self.desk.followers.discard(self)
        self.desk.last = None
        if self._reader is not None:
            self._reader.leave()
            self._reader = None

    def hang_up(self) -> None:
        """Be done with the browser; it comes again by itself."""
        self.close(GOING_AWAY, "come again")

    def _show(self, payload: dict[str, Any]) -> None:
        assert self._reader is not None
        data = self.desk.encoded(payload)
        try:
            written = self.write_message(data)
        except WebSocketClosedError:
            return  # ``on_close`` is about to be called
        self._reader.unsent_bytes += len(data)
        written.add_done_callback(lambda done: self._taken(len(data), done))
        news = payload.get("snapshot") or payload["delta"].get("set", {})
        if news.get("forgotten"):
            self.close(NO_SUCH_TOPIC, "the job was forgotten")

    def _taken(self, size: int, done: Future[None]) -> None:
        if not done.cancelled():
            done.exception()  # the end of the connection is told by ``on_close``
        if self._reader is not None:
            self._reader.unsent_bytes -= size
