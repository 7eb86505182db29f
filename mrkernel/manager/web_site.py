"""The manager's web server: its pages, their data, and what can be done from there.

::

    /                    the cluster: its workers and jobs
    /job/ID              one job in full
    /static/NAME         the browser's files, those of the live view and the page's own
    /cluster.json        the pictures, as ``monitor`` has them
    /jobs/ID.json
    /metrics             for Prometheus
    /events?topic=...    a WebSocket: a snapshot, then numbered deltas; see ``web_events``
    /actions             POST: what can be done from there, see ``web_actions``

Every request is judged (``web_handler``) before anything else is looked at. Programs that are no
browser say ``Authorization: Bearer TOKEN``.
"""

from __future__ import annotations

import socket
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.web import Application

from mrkernel.manager.server import ManagerServer
from mrkernel.manager.web_access import Access
from mrkernel.manager.web_actions import Actions, offered
from mrkernel.manager.web_desk import Desk, Supervisor
from mrkernel.manager.web_events import SETTINGS, Follower
from mrkernel.manager.web_files import onward_html, page_html, read_files
from mrkernel.manager.web_handler import Guarded, Nothing, Refusal, no_such_job
from mrkernel.manager.web_metrics import Vitals, metrics_text
from mrkernel.manager.web_reader import ask
from mrkernel.monitor.broker import CLUSTER
from mrkernel.protocol.client_messages import Look, Refused, View

#: More connections of browsers at once are too many: the cluster needs its files.
MOST_CONNECTIONS = 100
#: Seconds that a connection may say nothing between two requests, and take to say one.
IDLE_S = 30.0
#: Bytes of a request: nobody has more to say here.
HEAD_LIMIT = 16 << 10
BODY_LIMIT = 4 << 10

_JOB = r"([A-Za-z0-9_-]{1,64})"


class Site:
    """Serves browsers.

    Args:
        server: the manager.
        listener: where they come, a socket that listens; given up to the site.
        secret: the cluster's.
        supervisor: starts workers; None: nobody does.
    """

    def __init__(
        self,
        server: ManagerServer,
        listener: socket.socket,
        secret: bytes,
        supervisor: Supervisor | None,
    ) -> None:
        host, port = listener.getsockname()[:2]
        self._desk = Desk(server, Access(secret, host, port), supervisor, read_files())
        known = {"desk": self._desk}
        application = Application(
            [
                (r"/", ClusterPage, known),
                (rf"/job/{_JOB}", JobPage, known),
                (r"/static/([A-Za-z0-9_-]+\.[a-z]+)", File, known),
                (r"/cluster\.json", Picture, known),
                (rf"/jobs/{_JOB}\.json", Picture, known),
                (r"/metrics", Metrics, known),
                (r"/events", Follower, known),
                (r"/actions", Actions, known),
            ],
            default_handler_class=Nothing,
            default_handler_args=known,
            log_function=_log_nothing,
            **SETTINGS,
        )
        self._http = _Server(
            application,
            idle_connection_timeout=IDLE_S,
            body_timeout=IDLE_S,
            max_header_size=HEAD_LIMIT,
            max_body_size=BODY_LIMIT,
        )
        self._http.add_socket(listener)

    async def close(self) -> None:
        """Hang up on every browser."""
        self._http.stop()
        for follower in list(self._desk.followers):
            follower.hang_up()
        await self._http.close_all_connections()


class _Server(HTTPServer):
    def handle_stream(self, stream: IOStream, address: Any) -> None:
        if len(self._connections) >= MOST_CONNECTIONS:
            stream.close()
        else:
            super().handle_stream(stream, address)


def _log_nothing(handler: object) -> None:
    """Keep no list of requests: who looks is nobody's business, and tokens are in addresses."""


class _Page(Guarded):
    def knows_us(self) -> bool:
        """Let in also who shows the token in the address, as the first request does."""
        return super().knows_us() or self._shows_token()

    def _shows_token(self) -> bool:
        return self.desk.access.takes_token(self.get_query_argument("token", ""))

    def show(self, path: str, topic: str) -> None:
        """Give the page of a topic; to who came with a token a cookie first, and no page."""
        if "token" in self.request.query_arguments:
            if self._shows_token():
                access = self.desk.access
                self.set_cookie(access.cookie_name, access.cookie, httponly=True, samesite="Strict")
            self.finish(onward_html(path))
            return
        if not self.desk.has(topic):
            raise no_such_job(topic)
        self.finish(page_html(topic, offered(self.desk), self.desk.manager.cluster))


class ClusterPage(_Page):
    """The cluster."""

    def get(self) -> None:
        """Give its page."""
        self.show("/", CLUSTER)


class JobPage(_Page):
    """One job."""

    def get(self, job: str) -> None:
        """Give its page."""
        self.show(f"/job/{job}", job)


class File(Guarded):
    """The browser's files."""

    def get(self, name: str) -> None:
        """Give one.

        Raises:
            Refusal: there is none of that name.
        """
        if name not in self.desk.files:
            raise Refusal(404, f"There is no file {name} here: reload the page.")
        kind, data = self.desk.files[name]
        self.set_header("Content-Type", kind)
        self.finish(data)


class Picture(Guarded):
    """The pictures as JSON."""

    refuses_in = "json"

    def head(self, topic: str = CLUSTER) -> None:
        """Say whether there is one.

        Raises:
            Refusal: there is no such job.
        """
        if not self.desk.has(topic):
            raise no_such_job(topic)
        self.finish()

    async def get(self, topic: str = CLUSTER) -> None:
        """Give one as it is now.

        Raises:
            Refusal: there is no such job.
            ClusterError: the manager does not answer.
        """
        if not self.desk.has(topic):
            raise no_such_job(topic)
        answer = await ask(self.desk.manager, Look(1, topic), View)
        if isinstance(answer, Refused):  # it was forgotten meanwhile
            raise no_such_job(topic)
        self.write_json(answer.payload["snapshot"])


class Metrics(Guarded):
    """Numbers for Prometheus."""

    refuses_in = "text"

    def get(self) -> None:
        """Give them as they are now."""
        manager = self.desk.manager
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        readers = len(self.desk.followers)
        self.finish(metrics_text(manager.broker, manager.totals, Vitals.now(), readers))
