"""The manager's I/O shell: sockets, a timer, blobs and views around a ``ManagerState``.

It decides nothing. What arrives becomes events; the instructions that come back are obeyed in
order and never awaited, so one turn is one piece and no peer can hold up another.
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
from mrkernel.protocol.connection import Connection
from mrkernel.protocol.framing import BLOB_PIECE
from mrkernel.protocol.messages import (
    BlobPiece,
    FromClient,
    FromWorker,
    MessageDecoder,
    View,
    blob_pieces,
)

logger = logging.getLogger("mrkernel.manager")

TICK_S = 0.1
#: A reader with more than this unsent is slow: it gets no deltas until it has caught up.
SLOW_BYTES = 1 << 20


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
        self._decoders = {
            "client": MessageDecoder(FromClient),
            "worker": MessageDecoder(FromWorker),
        }

    async def tick_forever(self) -> None:
        """Tell the state that time goes by, until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self._turn([Tick()])

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
        self._schedule_views()

    def _obey(self, instruction: Instruction) -> None:
        match instruction:
            case Publish(event):
                self._broker.publish(event)
            case Send(peer, message):
                connection = self._connections.get(peer)
                if connection is not None:
                    connection.send(message)
            case SendBlob(peer, digest):
                connection = self._connections.get(peer)
                if connection is not None:
                    for piece in blob_pieces(digest, self._blobs[digest], BLOB_PIECE):
                        connection.send_alone(piece)
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

    # --- blobs ------------------------------------------------------------------------------------

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
        connection = self._connections.get(peer)
        snapshot = self._broker.snapshot(topic)
        if connection is not None and snapshot is not None:
            connection.send(View({"topic": topic, "snapshot": snapshot}, ticket))

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
