"""What can happen to a manager. Pure.

A message arrives as ``Received(peer, message)``: the shell says who the peer is, so a message can
never speak for another worker. A peer that reconnects is a new peer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

from mrkernel.protocol.handshake import Role
from mrkernel.protocol.messages import Message

#: One connection's life; never used twice.
PeerId = NewType("PeerId", int)


@dataclass(frozen=True, slots=True)
class PeerJoined:
    """A peer finished the handshake."""

    peer: PeerId
    role: Role


@dataclass(frozen=True, slots=True)
class Received:
    """A peer said something."""

    peer: PeerId
    message: Message


@dataclass(frozen=True, slots=True)
class BlobStored:
    """The shell holds the whole blob that a peer sent, and its digest is right."""

    peer: PeerId
    digest: str


@dataclass(frozen=True, slots=True)
class PeerLost:
    """The connection is gone; ``cause`` is for people."""

    peer: PeerId
    cause: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A fresh, authentic datagram of a worker came."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class ProcessEnded:
    """A worker server on this host ended; whoever started it saw how.

    It comes shortly before or after the end of its connection.
    """

    pid: int
    cause: str  #: "was killed (SIGKILL)"


@dataclass(frozen=True, slots=True)
class Tick:
    """Time went by; sent a few times a beat."""


Event = PeerJoined | Received | BlobStored | PeerLost | Heartbeat | ProcessEnded | Tick
