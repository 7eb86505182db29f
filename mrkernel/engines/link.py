"""The conversation with a manager that comes back: a client's connection that outlives its manager.

One daemon thread reads. When the connection is lost the same thread looks for the manager, at the
same address and with the same token, for as long as a lease lasts, and then says again what may not
have arrived: questions without an answer, and the last words that expect none. Whoever speaks
meanwhile is not made to wait: what he says is said when the manager is back.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from mrkernel.errors import ClusterError, MRKernelError, ProtocolError
from mrkernel.protocol.client_messages import ToClient, Welcome
from mrkernel.protocol.framing import CONTROL
from mrkernel.protocol.messages import Message, MessageDecoder
from mrkernel.security.token import ConnectionFile
from mrkernel.shuffle.transfer import FrameSocket

#: How long a lost manager is looked for: long enough for a person to start it again.
LEASE_S = 60.0
#: The same where a supervisor starts it again, within a second, as long as that one lives.
SUPERVISED_LEASE_S = 30.0
#: Pauses between two looks double from the first to the longest, each shortened or lengthened by up
#: to a half at random: clients of one manager must not all come back at once.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 1.0
#: A connection that lived less long was of no use: what follows belongs to the same search, or a
#: manager that hangs up on us each time would be looked for without a pause and without an end.
USEFUL_S = 0.25
#: How often those who wait are told that it is still away; a moment is not worth a word.
TELL_S = 0.2
#: A manager whose host was silent for so long is lost: its network, or its power, is gone.
SILENCE_S = 10.0
#: A manager that took our connection has so long to say who it is.
WELCOME_S = 5.0
#: Words without an answer that are said again to a manager that came back: they may have been lost
#: on the way, and all are of a kind that does nothing the second time.
SAID_AGAIN = 100

logger = logging.getLogger("mrkernel.engines")


class Listener(Protocol):
    """Who holds a link; but for ``away`` all is called on the link's thread."""

    def heard(self, message: Any) -> None:
        """A message came."""

    def away(self, seconds: float) -> None:
        """The manager has been gone for so long, and is looked for. On another thread."""

    def back(self, welcome: Welcome) -> Iterable[Message]:
        """It is there again; answer what to say before anything else.

        Of the link only ``answered`` and ``forget`` may be used before it returns.
        """

    def gone(self, error: MRKernelError) -> None:
        """It will not come back: nothing is heard or said any more."""


class Link:
    """A connection to one manager, made anew when it is lost.

    Args:
        connection: how to reach it.
        listener: hears everything from ``start`` on.
        lease_s: how long to look for a lost manager.
        supervised: whether somebody lives who would start it again; None: not known.

    Raises:
        ClusterError: nobody answers there.
        SecurityError: who answers does not know the token.
    """

    def __init__(
        self,
        connection: ConnectionFile,
        listener: Listener,
        *,
        lease_s: float = LEASE_S,
        supervised: Callable[[], bool] | None = None,
    ) -> None:
        self._connection = connection
        self._listener = listener
        self._lease_s = lease_s
        self._supervised = supervised
        self._speaking = threading.RLock()  # guards the socket's writing end and what is below
        self._open: dict[int, Sequence[Sequence[Message]]] = {}  # frames of unanswered questions
        self._said: deque[Message] = deque(maxlen=SAID_AGAIN)
        self._socket: FrameSocket | None = None
        self._since: float | None = None
        self._connections = 0
        self._connected_at = self._away_s = 0.0  # the last connection; looked for one for so long
        self._pause_s = 0.0  # before the next look
        self._closing = threading.Event()
        self._connected(self._connect())
        self._thread = threading.Thread(target=self._run, name="mrk-client", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether nothing is heard or said any more: we hung up, or it is gone for good."""
        return self._closing.is_set()

    @property
    def since(self) -> float | None:
        """When the connection was made, on the monotonic clock; None: the manager is away."""
        return self._since

    # --- speaking ---------------------------------------------------------------------------------

    def send(self, *messages: Message) -> None:
        """Say something now, or never: ``Listener.back`` says it when it still matters."""
        with self._speaking:
            self._try(messages)

    def say(self, message: Message) -> None:
        """Say something that expects no answer, now or as soon as the manager is back."""
        with self._speaking:
            self._said.append(message)
            self._try((message,))

    def ask(self, ticket: int, frames: Sequence[Sequence[Message]]) -> None:
        """Say something until it is ``answered``: again to each manager that came back.

        Args:
            frames: messages that travel together, in order; the question itself is in the last.
        """
        with self._speaking:
            self._open[ticket] = frames
            connection = self._connections
        last = False
        try:
            for number, frame in enumerate(frames, 1):
                last = number == len(frames)
                with self._speaking:  # not for all of them: who reads needs it as well
                    if self._connections != connection:
                        return  # the manager came back meanwhile, and was asked
                    self._try(frame)
        except KeyboardInterrupt:
            if not last:
                self.answered(ticket)  # it was not asked
            raise

    def answered(self, ticket: int) -> None:
        """The question need not be asked again."""
        with self._speaking:
            self._open.pop(ticket, None)

    def forget(self) -> None:
        """Say no old word again: it was meant for another cluster's manager."""
        with self._speaking:
            self._said.clear()

    def _try(self, messages: Sequence[Message]) -> None:
        if self._socket is None:
            return
        try:
            self._socket.send(*messages)
        except ClusterError:
            self._disconnect()  # the reading end sees it too, and looks for the manager

    # --- the life of a connection -----------------------------------------------------------------

    def close(self) -> None:
        """Hang up."""
        self._closing.set()
        self._disconnect()
        if self._thread is not threading.current_thread() and self._thread.ident is not None:
            self._thread.join()

    def _disconnect(self) -> None:
        with self._speaking:
            if self._socket is not None:
                self._socket.close()
            self._socket = self._since = None

    def _connect(self) -> FrameSocket:
        address = (self._connection.host, self._connection.port)
        return FrameSocket(address, self._connection.secret, "client")

    def _connected(self, socket: FrameSocket) -> None:
        socket.settimeout(None)
        socket.watch_over(SILENCE_S)
        self._reading, self._socket = socket, socket
        self._connections += 1
        self._since = self._connected_at = time.monotonic()

    def _run(self) -> None:
        error: MRKernelError
        try:
            while True:
                try:
                    self._read()
                except ClusterError as lost:
                    self._find(lost)
        except MRKernelError as final:
            error = final
        except Exception as bug:
            # Nobody must wait for ever for a thread that is no more.
            logger.exception("the connection to the manager ends here")
            error = ClusterError(f"a fault of ours ({type(bug).__name__}: {bug}), see the log")
        if self.closed:
            error = ClusterError("we hung up")
        self._closing.set()
        self._disconnect()
        self._listener.gone(error)

    def _read(self) -> None:
        decoder = MessageDecoder(ToClient)
        while True:
            for message in decoder.decode(self._reading.receive(CONTROL)):
                self._listener.heard(message)

    def _find(self, why: ClusterError) -> None:
        """Look for the lost manager until it is there.

        Raises:
            ClusterError: it is not there in time, or nobody will start it again.
            SecurityError: another manager is there.
        """
        self._disconnect()
        now = time.monotonic()
        if now - self._connected_at >= USEFUL_S:
            self._away_s = self._pause_s = 0.0
        # A look may take seconds, so another thread says how long it takes.
        found = threading.Event()
        telling = threading.Thread(target=self._tell, args=(now, found), daemon=True)
        telling.start()
        try:
            self._look(now, why)
        finally:
            self._away_s += time.monotonic() - now
            found.set()
            telling.join()

    def _tell(self, began: float, found: threading.Event) -> None:
        while not found.wait(TELL_S):
            with self._speaking:  # nobody is told so who sees it come back
                if self._since is None and not self.closed:
                    self._listener.away(time.monotonic() - began)

    def _look(self, began: float, why: ClusterError) -> None:
        while not self.closed:
            self._closing.wait(self._pause_s * random.uniform(0.5, 1.5))
            self._pause_s = min(max(FIRST_PAUSE_S, 2 * self._pause_s), LONGEST_PAUSE_S)
            away_s = self._away_s + time.monotonic() - began
            if self._supervised is not None and not self._supervised():
                raise why
            if away_s > self._lease_s:
                raise ClusterError(f"{why}; it was looked for for {self._lease_s:.0f} s")
            try:
                self._come_back()
            except ClusterError as error:
                logger.debug("the manager is still away: %s", error)
            else:
                return
        raise why

    def _come_back(self) -> None:
        """Connect, hear who it is, and say again what it may not know.

        Raises:
            ClusterError: it is not there yet, or went away again.
        """
        socket = self._connect()
        try:
            socket.settimeout(WELCOME_S)
            try:
                welcome, *others = MessageDecoder(ToClient).decode(socket.receive(CONTROL))
            except (ProtocolError, ValueError) as error:
                raise ClusterError(f"no manager's first word: {error}") from error
            if not isinstance(welcome, Welcome):
                raise ClusterError(f"a manager's first word is Welcome, not {welcome!r:.100}")
        except BaseException:
            socket.close()
            raise
        with self._speaking:
            if self.closed:
                socket.close()
                return
            greeting = list(self._listener.back(welcome))
            self._connected(socket)
            if greeting:
                self._try(greeting)
            for frames in list(self._open.values()):
                for frame in frames:
                    self._try(frame)
            if self._said:
                self._try(list(self._said))
        for message in others:
            self._listener.heard(message)
