"""A simulated manager: the real ``ManagerState``, its journal on a disk that survives it."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, Any

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
from mrkernel.manager.facts import AnyFact, JobTaken, decode_facts, encode_facts
from mrkernel.manager.instructions import (
    Close,
    DropBlob,
    ExpectHeartbeats,
    Instruction,
    Publish,
    Send,
    SendBlob,
)
from mrkernel.protocol.handshake import Role
from mrkernel.protocol.messages import Message

from .network import End, Process

if TYPE_CHECKING:
    from .world import World

TICK_S = 0.1


class StateDirectory:
    """What outlives a manager.

    Attributes:
        records: of the journal, as written.
        blobs: that jobs in the journal need.
    """

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.blobs: set[str] = set()
        self.starts = 0

    def facts(self) -> list[AnyFact]:
        """Return all that the journal says."""
        return [fact for record in self.records for fact in decode_facts(record)]


class SimulatedManager(Process):
    """One manager process.

    Attributes:
        state: the real one.
    """

    def __init__(self, world: World, disk: StateDirectory) -> None:
        super().__init__(world.clock, "manager", world.manager_host)
        self.world = world
        self.disk = disk
        self.blobs: set[str] = set()
        self._ends: dict[PeerId, End] = {}
        self._peers: dict[End, PeerId] = {}
        self._numbers = itertools.count(1)
        self._listening: set[End] = set()
        self._out: list[Instruction] = []
        self._flushing = False
        disk.starts += 1
        self.state, out = world.start_state(disk)
        # A manager that died as it deleted them may have left some for nobody.
        disk.blobs &= self.state.blobs
        self.blobs = set(disk.blobs)
        self._obey(out)
        self.after(TICK_S, self._tick)

    # --- peers ------------------------------------------------------------------------------------

    def accept(self, end: End, role: Role) -> None:
        """Take a connection."""
        end.on_message = lambda message: self._received(end, message)
        end.on_lost = partial(self._lost, end)
        self.run(partial(self._joined, end, role))

    def _joined(self, end: End, role: Role) -> None:
        peer = PeerId(next(self._numbers))
        self._ends[peer], self._peers[end] = end, peer
        self.turn(PeerJoined(peer, role))

    def _received(self, end: End, message: Any) -> None:
        peer = self._peers.get(end)
        if peer is None:
            return  # it was closed
        match message:
            case ("blob", digest):
                self.blobs.add(digest)
                self.turn(BlobStored(peer, digest))
            case Message():
                self.turn(Received(peer, message))

    def _lost(self, end: End, cause: str) -> None:
        peer = self._peers.pop(end, None)
        if peer is not None:
            del self._ends[peer]
            self.turn(PeerLost(peer, cause))

    def datagram(self, meant_for: SimulatedManager, end: End) -> None:
        """A heartbeat came; the key of its connection signs it."""
        peer = self._peers.get(end)
        if meant_for is self and peer is not None and end in self._listening:
            self.turn(Heartbeat(peer))

    def process_ended(self, pid: int, cause: str) -> None:
        """The supervisor buried a worker server of this host."""
        self.turn(ProcessEnded(pid, cause))

    # --- turns ------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self.turn(Tick())
        self.after(TICK_S, self._tick)

    def turn(self, event: Event) -> None:
        """Hand an event to the state; what follows leaves at the end of the loop turn."""
        if self.world.recorded is not None:
            self.world.recorded.append((event, self.clock.now))
        out = self.state.handle(event, self.clock.now)
        if self.world.is_checked():
            self.state.validate()
        self._obey(out)

    def _obey(self, out: list[Instruction]) -> None:
        self._out += out
        if not self._flushing:
            self._flushing = True
            # Other events of the same moment join this turn.
            self.after(self.world.chance.choice([0.0, 0.0, 0.0002]), self._flush)

    def write(self) -> bool:
        """Put the facts into the journal; False: there were none."""
        facts = self.state.take_facts()
        if facts:
            self.disk.records.append(encode_facts(facts))
            for fact in facts:
                if isinstance(fact, JobTaken):
                    self.disk.blobs |= self.blobs.intersection(fact.blobs)
            self.world.oracle.journaled(facts)
        return bool(facts)

    def _flush(self) -> None:
        self._flushing = False
        if self.world.dies_now("before"):
            return  # what it decided is lost, and nobody was told
        if self.write() and self.world.dies_now("after"):
            return  # it is decided, and nobody was told
        out, self._out = self._out, []
        for instruction in out:
            match instruction:
                case Publish(event):
                    self.world.published(event)
                case Send(peer, message):
                    end = self._ends.get(peer)
                    if end is not None:
                        to = f"manager>{end.other.owner.name}"
                        self.world.trace.note(self.clock.now, to, message)
                        end.send(message)
                case SendBlob(peer, digest):
                    assert digest in self.blobs, f"the manager sends {digest}, which it dropped"
                    end = self._ends.get(peer)
                    if end is not None:
                        end.send(("blob", digest))
                case DropBlob(digest):
                    self.blobs.discard(digest)
                    self.disk.blobs.discard(digest)
                case ExpectHeartbeats(peer, _):
                    end = self._ends.get(peer)
                    if end is not None and self.world.datagrams:
                        self._listening.add(end)
                case Close(peer):
                    self._close(peer)

    def _close(self, peer: PeerId) -> None:
        end = self._ends.pop(peer, None)
        if end is not None:
            del self._peers[end]
            self.world.oracle.closed(end.other.owner.name)
            end.close()
            self.turn(PeerLost(peer, "connection closed"))
