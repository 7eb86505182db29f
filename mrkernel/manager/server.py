"""The manager's I/O shell: sockets, a timer, blobs and views around a ``ManagerState``.

It decides nothing. What arrives becomes events; the instructions that come back are obeyed in
order and never awaited, so one turn is one piece and no peer can hold up another. What turns have
to say leaves together, after the facts they decided are in the journal (``keeping``), and workers
first: they have something to do, while clients and views only want to know.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import hashlib
import itertools
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from tornado.iostream import IOStream

from mrkernel.data.host import host_id
from mrkernel.manager.budget import BUDGET
from mrkernel.manager.event_log import log_event
from mrkernel.manager.events import (
    BlobStored,
    Event,
    Heartbeat,
    PeerId,
    PeerJoined,
    PeerLost,
    ProcessEnded,
    Received,
    Tick,
)
from mrkernel.manager.heartbeats import HeartbeatSocket
from mrkernel.manager.instructions import (
    Close,
    DropBlob,
    ExpectHeartbeats,
    Instruction,
    Publish,
    Send,
    SendBlob,
    SendFunctions,
    SendView,
    StopView,
)
from mrkernel.manager.keeping import Records
from mrkernel.manager.state import ManagerState
from mrkernel.manager.state_directory import StateDirectory
from mrkernel.manager.totals import Totals
from mrkernel.manager.transitions import JobState
from mrkernel.manager.workers import Home, Liveness
from mrkernel.monitor.broker import Broker
from mrkernel.monitor.events import AnyEvent, Noted
from mrkernel.protocol.client_messages import FromClient, Functions, View, Welcome
from mrkernel.protocol.connection import Talk
from mrkernel.protocol.doorway import Doorway
from mrkernel.protocol.framing import BLOB_PIECE
from mrkernel.protocol.listening import PatientServer
from mrkernel.protocol.messages import BlobPiece, Message, MessageDecoder, blob_pieces
from mrkernel.protocol.worker_messages import Forget, FromWorker

logger = logging.getLogger("mrkernel.manager")

#: Seconds between two ticks: a quarter of a beat, between these.
TICK_S = 0.1
LEAST_TICK_S = 0.025
#: Seconds after which a client whose host is silent has hung up. It may read slowly for long: it is
#: a kernel, or a program that computes.
CLIENT_PATIENCE_S = 60.0
#: A reader with more than this unsent is slow: it gets no deltas until it has caught up.
SLOW_BYTES = 1 << 20
#: What tells of the present and promises nothing: it needs no journal.
_TOLD_ANYWAY = (View, Welcome, Functions)
#: A blob up to this size travels in the frame of what follows: one wake-up of the worker less.
ALONG = 1 << 20


class ManagerServer(PatientServer):
    """Serves clients and workers that know the token.

    Args:
        token: the cluster's secret.
        liveness: when silent workers are doubted and given up; None: as on a network.
        directory: where its journal is; None: what it knows ends with it.
        host: where heartbeats are received.
        exits: where whoever starts worker servers tells how they ended, a pipe: a line of JSON
            each, {"pid": 1, "cause": "was killed (SIGKILL)"}; None: nobody does.
        keep: bytes of results that may lie with the workers.
        clock: seconds, monotonic.

    Raises:
        ClusterError: the journal cannot be read.
    """

    def __init__(
        self,
        token: bytes,
        *,
        liveness: Liveness | None = None,
        directory: StateDirectory | None = None,
        host: str = "127.0.0.1",
        exits: int | None = None,
        keep: int = BUDGET,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        liveness = liveness or Liveness()
        self.tick_s = min(TICK_S, max(LEAST_TICK_S, liveness.beat_s / 4))
        self._liveness = liveness
        self._clock = clock
        self._doorway = Doorway(token)
        self._exits = exits
        self._beats = HeartbeatSocket(host, self._heard)
        self._records = Records(directory)
        home = Home(
            python=f"{sys.version_info[0]}.{sys.version_info[1]}",
            cluster=self._records.cluster,
            start=self._records.start,
            beat_port=self._beats.port,
            host_id=host_id(),
        )
        self.state = ManagerState(home, liveness=liveness, tick_s=self.tick_s, keep=keep)
        wall = time.time() - clock()
        self._broker = Broker(wall=wall)
        self.totals = Totals()
        self._peers = itertools.count(1)
        self._connections: dict[PeerId, Talk] = {}
        self._blobs: dict[str, bytes] = {}
        self._arriving: dict[tuple[PeerId, str], bytearray] = {}
        self._view_timer: asyncio.TimerHandle | None = None
        self._outbox: list[tuple[Talk, Message | None]] = []  # None: close it
        self._patient: dict[Talk, None] = {}  # those with something that can wait
        self._events: list[AnyEvent] = []  # not folded into the views yet
        self._flush_scheduled = False
        self._stuck = False  # the journal cannot be written
        self._decoders = {
            "client": MessageDecoder(FromClient),
            "worker": MessageDecoder(FromWorker),
        }
        for instruction in self._records.restore(self.state, self._blobs, clock(), wall):
            self._obey(instruction)
        self._fold()
        self.totals = Totals()  # an earlier manager has counted what its journal tells

    def begin(self) -> None:
        """Listen to heartbeats and exits; the event loop runs."""
        self._beats.begin()
        if self._exits is not None:
            os.set_blocking(self._exits, False)
            asyncio.get_running_loop().add_reader(self._exits, self._read_exits, bytearray())

    def end(self) -> None:
        """Stop serving; what is known is in the journal."""
        if self._exits is not None:
            asyncio.get_running_loop().remove_reader(self._exits)
        self._beats.end()
        self.stop()

    @property
    def broker(self) -> Broker:
        """The pictures of the cluster and its jobs."""
        return self._broker

    @property
    def cluster(self) -> str:
        """The name of its cluster."""
        return self._records.cluster

    @property
    def start_number(self) -> int:
        """The how manieth of its cluster's managers this is, from 1."""
        return self._records.start

    @property
    def taken_up(self) -> int:
        """How many jobs of the journal go on."""
        return sum(job.state is JobState.RUNNING for job in self.state.jobs.values())

    async def tick_forever(self) -> None:
        """Tell the state that time goes by, until cancelled."""
        while True:
            await asyncio.sleep(self.tick_s)
            self._turn([Tick()])
            for connection in self._patient:
                connection.flush()
            self._patient.clear()

    async def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Serve one peer from its handshake to its end."""
        connection = await self._doorway.admit(stream)
        if connection is None:
            return
        decoder = self._decoders.get(connection.role)
        if decoder is None:
            connection.close()
            return
        worker = connection.role == "worker"
        connection.watch_over(self._liveness.dead_after_s if worker else CLIENT_PATIENCE_S)
        peer = self.admit(connection)
        try:
            async for messages in connection.batches(decoder):
                self._hear(peer, messages)
        finally:
            self.leave(peer, connection.ended)

    def admit(self, connection: Talk) -> PeerId:
        """Take in a peer that has proved itself; its words go to ``hear``, its end to ``leave``."""
        peer = PeerId(next(self._peers))
        self._connections[peer] = connection
        self._turn([PeerJoined(peer, connection.role)])
        return peer

    def hear(self, peer: PeerId, message: Message) -> None:
        """Take one message, no blob, of a peer."""
        self._turn([Received(peer, message)])

    def leave(self, peer: PeerId, cause: str) -> None:
        """Forget a peer that has gone."""
        self._patient.pop(self._connections.pop(peer), None)
        self._broker.unsubscribe(peer)
        self._beats.forget(peer)
        for key in [key for key in self._arriving if key[0] == peer]:
            del self._arriving[key]
        self._turn([PeerLost(peer, cause)])

    def _hear(self, peer: PeerId, messages: Sequence[Any]) -> None:
        """Take the messages of one frame; blobs among them are the shell's."""
        events: list[Event] = []
        for message in messages:
            if isinstance(message, BlobPiece):
                self._turn(events)  # a blob that is dropped now must not be this one
                events = self._blob_arrived(peer, message)
            else:
                events.append(Received(peer, message))
        self._turn(events)

    def _heard(self, peers: Sequence[PeerId]) -> None:
        self.totals.heartbeats += len(peers)
        self._turn([Heartbeat(peer) for peer in peers])

    def _read_exits(self, pending: bytearray) -> None:
        assert self._exits is not None
        data = os.read(self._exits, 1 << 16)
        if not data:
            asyncio.get_running_loop().remove_reader(self._exits)
            return
        pending += data
        *lines, rest = bytes(pending).split(b"\n")
        pending[:] = rest
        self._turn([ProcessEnded(**json.loads(line)) for line in lines])

    # --- a turn -----------------------------------------------------------------------------------

    def _turn(self, events: Sequence[Event]) -> None:
        now = self._clock()
        for event in events:
            instructions: list[Instruction] = []
            try:
                instructions = self.state.handle(event, now)
            except Exception:
                logger.exception("could not handle %.500r", event)
                self._give_up(event)
            for instruction in instructions:
                try:
                    self._obey(instruction)
                except Exception:
                    logger.exception("could not obey %.500r", instruction)
                    self._give_up(instruction)
        if not self._flush_scheduled:
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _give_up(self, about: Event | Instruction) -> None:
        """Let a bug of ours cost one peer, not the cluster: it is told by its own death.

        A worker's end brings its attempts back into line, those too that it was not told of.
        """
        connection = self._connections.get(getattr(about, "peer", PeerId(0)))
        if connection is not None:
            connection.close()

    def _obey(self, instruction: Instruction) -> None:
        match instruction:
            case Publish(event):
                log_event(event)
                self._events.append(event)
            case Send(peer, message):
                connection = self._connections.get(peer)
                if connection is not None:
                    self._say(connection, message)
            case SendBlob(peer, digest):
                connection = self._connections.get(peer)
                if connection is not None:
                    self._send_blob(connection, digest)
            case SendFunctions(peer, ticket, digest):
                connection = self._connections.get(peer)
                if connection is not None:
                    self._say(connection, Functions(ticket, self._blobs[digest]))
            case ExpectHeartbeats(peer, number):
                connection = self._connections.get(peer)
                if connection is not None:
                    self._beats.expect(number, peer, connection.session_key)
            case SendView(peer, topic, ticket):
                self._send_view(peer, topic, ticket)
            case StopView(peer, topic):
                self._broker.unsubscribe(peer, topic)
            case DropBlob(digest):
                self._blobs.pop(digest, None)
                self._records.drop_blob(digest)
            case Close(peer):
                connection = self._connections.get(peer)
                if connection is not None:
                    self._outbox.append((connection, None))

    def _say(self, connection: Talk, message: Message) -> None:
        """Queue a message: it leaves when what was decided with it is in the journal."""
        self._outbox.append((connection, message))

    def _flush(self) -> None:
        """Write down what the turns since the last flush decided, say it, then tell the views."""
        self._flush_scheduled = False
        self._send_outbox(written=self._write_down())
        self._fold()
        self._schedule_views()

    def _write_down(self) -> bool:
        """Put the new facts into the journal; False: it cannot be written.

        The facts are kept for the next flush, a tick away at most, and so is what is to be said.
        """
        try:
            self._records.write(self.state, self._blobs)
        except OSError as error:
            if not self._stuck:
                full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                until = "there is room in" if full else "it can be, look at the disk of"
                sentence = (
                    f"the journal cannot be written ({error.strerror or error}): nothing is handed "
                    f"out or acknowledged until {until} {self._records.path}"
                )
                logger.error("%s", sentence)
                self._events.append(
                    Noted(at=self._clock(), job=None, level="error", sentence=sentence)
                )
            self._stuck = True
            return False
        if self._stuck:
            self._stuck = False
            sentence = "the journal can be written again: the work goes on"
            self._events.append(Noted(at=self._clock(), job=None, level="info", sentence=sentence))
        return True

    def _send_outbox(self, *, written: bool) -> None:
        """Say what is to be said.

        Args:
            written: whether the facts are in the journal; else only what acknowledges nothing
                leaves, so that people can ask why nothing goes on, and the rest waits in its order.
        """
        outbox, self._outbox = self._outbox, []
        if not written:
            self._outbox = [said for said in outbox if not isinstance(said[1], _TOLD_ANYWAY)]
            outbox = [said for said in outbox if isinstance(said[1], _TOLD_ANYWAY)]
        workers: dict[Talk, None] = {}
        clients: dict[Talk, None] = {}
        for connection, message in outbox:
            if message is None:
                connection.close()
                continue
            if type(message) is BlobPiece and len(message.data) > ALONG:
                connection.send_alone(message)
                continue
            connection.put(message)
            if type(message) is Forget:
                # Nobody waits for it: it leaves with the next word to that worker, or the next
                # tick, and wakes nobody in the middle of the next job's start.
                self._patient[connection] = None
            else:
                (workers if connection.role == "worker" else clients)[connection] = None
        for connection in (*workers, *clients):
            connection.flush()

    def _fold(self) -> None:
        events, self._events = self._events, []
        for event in events:
            self.totals.note(event)
            try:
                self._broker.publish(event)
            except Exception:
                logger.exception("could not fold %.500r", event)

    # --- blobs ------------------------------------------------------------------------------------

    def _send_blob(self, connection: Talk, digest: str) -> None:
        for piece in blob_pieces(digest, self._blobs[digest], BLOB_PIECE):
            self._say(connection, piece)

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
    server.begin()
    ticking = asyncio.ensure_future(server.tick_forever())
    try:
        await stop.wait()
    finally:
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking
        server.end()
