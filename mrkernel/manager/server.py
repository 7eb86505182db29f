"""The manager's I/O shell: sockets, a timer, blobs and views around a ``ManagerState``.

It decides nothing. What arrives becomes events; the instructions that come back are obeyed in
order and never awaited, so one turn is one piece and no peer can hold up another. What turns have
to say leaves together, workers first: they have something to do, while clients and views only want
to know.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from tornado.iostream import IOStream
from tornado.tcpserver import TCPServer

from mrkernel.manager.events import (
    BlobStored,
    Event,
    PeerId,
    PeerJoined,
    PeerLost,
    Received,
    Tick,
)
from mrkernel.manager.instructions import (
    Close,
    DropBlob,
    Instruction,
    Publish,
    Send,
    SendBlob,
    SendView,
    StopView,
)
from mrkernel.manager.state import ManagerState
from mrkernel.monitor.broker import Broker
from mrkernel.monitor.events import AnyEvent
from mrkernel.protocol.connection import Connection
from mrkernel.protocol.framing import BLOB_PIECE
from mrkernel.protocol.messages import (
    BlobPiece,
    Forget,
    FromClient,
    FromWorker,
    Message,
    MessageDecoder,
    View,
    blob_pieces,
)

logger = logging.getLogger("mrkernel.manager")

TICK_S = 0.1
#: A reader with more than this unsent is slow: it gets no deltas until it has caught up.
SLOW_BYTES = 1 << 20
#: A blob up to this size travels in the frame of what follows: one wake-up of the worker less.
ALONG = 1 << 20


class ManagerServer(TCPServer):
    """Serves clients and workers that know the token.

    Args:
        token: the cluster's secret.
        state: the books; a fresh ``ManagerState``.
        clock: seconds, monotonic.
    """

    def __init__(
        self, token: bytes, state: ManagerState, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self.state = state
        self._token = token
        self._clock = clock
        self._broker = Broker(wall=time.time() - clock())
        self._peers = itertools.count(1)
        self._connections: dict[PeerId, Connection] = {}
        self._blobs: dict[str, bytes] = {}
        self._arriving: dict[tuple[PeerId, str], bytearray] = {}
        self._view_timer: asyncio.TimerHandle | None = None
        self._talking: dict[Connection, None] = {}  # those with something queued
        self._patient: dict[Connection, None] = {}  # those with something that can wait
        self._events: list[AnyEvent] = []  # not folded into the views yet
        self._flush_scheduled = False
        self._decoders = {
            "client": MessageDecoder(FromClient),
            "worker": MessageDecoder(FromWorker),
        }

    async def tick_forever(self) -> None:
        """Tell the state that time goes by, until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self._turn([Tick()])
            for connection in self._patient:
                self._talking[connection] = None
            self._patient.clear()

    async def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Serve one peer from its handshake to its end."""
        connection = await Connection.accept(stream, self._token)
        if connection is None:
            return
        decoder = self._decoders.get(connection.role)
        if decoder is None:
            connection.close()
            return
        peer = PeerId(next(self._peers))
        self._connections[peer] = connection
        self._turn([PeerJoined(peer, connection.role)])
        async for messages in connection.batches(decoder):
            events: list[Event] = []
            for message in messages:
                if isinstance(message, BlobPiece):
                    self._turn(events)  # a blob that is dropped now must not be this one
                    events = self._blob_arrived(peer, message)
                else:
                    events.append(Received(peer, message))
            self._turn(events)
        del self._connections[peer]
        self._patient.pop(connection, None)
        self._broker.unsubscribe(peer)
        for key in [key for key in self._arriving if key[0] == peer]:
            del self._arriving[key]
        self._turn([PeerLost(peer, connection.ended)])

    # --- a turn -----------------------------------------------------------------------------------

    def _turn(self, events: Sequence[Event]) -> None:
        now = self._clock()
        for event in events:
            try:
                for instruction in self.state.handle(event, now):
                    self._obey(instruction)
            except Exception:
                # A bug of ours must cost one peer, not the cluster: it is told by its own death,
                # and the story is in the log.
                logger.exception("could not handle %.500r", event)
                connection = self._connections.get(getattr(event, "peer", PeerId(0)))
                if connection is not None:
                    connection.close()
        if not self._flush_scheduled:
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _obey(self, instruction: Instruction) -> None:
        match instruction:
            case Publish(event):
                self._events.append(event)
            case Send(peer, message):
                connection = self._connections.get(peer)
                if connection is None:
                    return
                if type(message) is Forget:
                    # Nobody waits for it: it leaves with the next word to that worker, or the next
                    # tick, and wakes nobody in the middle of the next job's start.
                    connection.put(message)
                    self._patient[connection] = None
                else:
                    self._say(connection, message)
            case SendBlob(peer, digest):
                connection = self._connections.get(peer)
                if connection is not None:
                    self._send_blob(connection, digest)
            case SendView(peer, topic, ticket):
                self._send_view(peer, topic, ticket)
            case StopView(peer, topic):
                self._broker.unsubscribe(peer, topic)
            case DropBlob(digest):
                self._blobs.pop(digest, None)
            case Close(peer):
                connection = self._connections.get(peer)
                if connection is not None:
                    connection.close()

    def _say(self, connection: Connection, message: Message) -> None:
        """Queue a message for the next flush."""
        connection.put(message)
        self._talking[connection] = None

    def _flush(self) -> None:
        """Send what the turns since the last flush had to say, then fold what they told."""
        self._flush_scheduled = False
        talking, self._talking = self._talking, {}
        later = []
        for connection in talking:
            if connection.role == "worker":
                connection.flush()
            else:
                later.append(connection)
        for connection in later:
            connection.flush()
        self._fold()
        self._schedule_views()

    def _fold(self) -> None:
        events, self._events = self._events, []
        for event in events:
            try:
                self._broker.publish(event)
            except Exception:
                logger.exception("could not fold %.500r", event)

    # --- blobs ------------------------------------------------------------------------------------

    def _send_blob(self, connection: Connection, digest: str) -> None:
        data = self._blobs[digest]
        if len(data) <= ALONG:
            self._say(connection, BlobPiece(digest, data))
            return
        for piece in blob_pieces(digest, data, BLOB_PIECE):
            connection.send_alone(piece)

    def _blob_arrived(self, peer: PeerId, piece: BlobPiece) -> list[Event]:
        """Collect the pieces of a blob; a whole one whose digest is wrong is dropped."""
        whole = self._arriving.setdefault((peer, piece.digest), bytearray())
        del whole[piece.offset :]
        whole += piece.data
        if not piece.last:
            return []
        data = bytes(self._arriving.pop((peer, piece.digest)))
        if hashlib.sha256(data).hexdigest() != piece.digest:
            logger.warning("a blob arrived damaged and was dropped: %s", piece.digest)
            return []
        self._blobs[piece.digest] = data
        return [BlobStored(peer, piece.digest)]

    # --- views ------------------------------------------------------------------------------------

    def _send_view(self, peer: PeerId, topic: str, ticket: int) -> None:
        if not ticket:
            self._broker.subscribe(peer, topic)
            return
        self._fold()  # what was decided before the question belongs into the answer
        connection = self._connections.get(peer)
        snapshot = self._broker.snapshot(topic)
        if connection is not None and snapshot is not None:
            self._say(connection, View({"topic": topic, "snapshot": snapshot}, ticket))

    def _slow_readers(self) -> set[PeerId]:
        return {peer for peer, c in self._connections.items() if c.unsent_bytes > SLOW_BYTES}

    def _schedule_views(self) -> None:
        if self._view_timer is not None:
            return
        wait = self._broker.due(self._clock(), self._slow_readers())
        if wait is not None:
            self._view_timer = asyncio.get_running_loop().call_later(wait, self._send_views)

    def _send_views(self) -> None:
        self._view_timer = None
        self._fold()
        for reader, payload in self._broker.collect(self._clock(), self._slow_readers()):
            connection = self._connections.get(reader)  # type: ignore[call-overload]
            if connection is not None:
                connection.send(View(payload))
        self._schedule_views()


async def serve(server: ManagerServer, stop: asyncio.Event) -> None:
    """Keep a listening server's time until ``stop``; then close it. The process is its own."""
    # The books of many thousand tasks live long and hold few cycles: walking them at every 700 new
    # objects took a tenth of a manager's time. What is imported by now is never walked again.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    ticking = asyncio.ensure_future(server.tick_forever())
    try:
        await stop.wait()
    finally:
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking
        server.stop()
