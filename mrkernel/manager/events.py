"""What can happen to a manager. Pure.

A message arrives as ``Received(peer, message)``: the shell says who the peer is, so a message can
never speak for another worker. A peer that reconnects is a new peer.
"""

from __future__ import annotations

from typing import NewType

import msgspec

from mrkernel.protocol.handshake import Role
from mrkernel.protocol.messages import Message

#: One connection's life; never used twice.
PeerId = NewType("PeerId", int)


class PeerJoined(msgspec.Struct, frozen=True, gc=False):
    """A peer finished the handshake."""

    peer: PeerId
    role: Role


class Received(msgspec.Struct, frozen=True, gc=False):
    """A peer said something."""

    peer: PeerId
    message: Message


class BlobStored(msgspec.Struct, frozen=True, gc=False):
    """The shell holds the whole blob that a peer sent, and its digest is right."""

    peer: PeerId
    digest: str


class PeerLost(msgspec.Struct, frozen=True, gc=False):
    """The connection is gone; ``cause`` is for people."""

    peer: PeerId
    cause: str


class Heartbeat(msgspec.Struct, frozen=True, gc=False):
    """A fresh, authentic datagram of a worker came."""

    peer: PeerId


class ProcessEnded(msgspec.Struct, frozen=True, gc=False):
    """A worker server on this host ended; whoever started it saw how.

    It comes shortly before or after the end of its connection.
    """

    pid: int
    cause: str  #: "was killed (SIGKILL)"


class Tick(msgspec.Struct, frozen=True, gc=False):
    """Time went by; sent a few times a beat."""


Event = PeerJoined | Received | BlobStored | PeerLost | Heartbeat | ProcessEnded | Tick
