"""What a manager's state asks of its shell. Pure. They are queued in order and never awaited."""

from __future__ import annotations

from dataclasses import dataclass

from mrkernel.manager.events import PeerId
from mrkernel.monitor.events import AnyEvent
from mrkernel.protocol.messages import Message


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to a peer; a peer that is gone meanwhile is no error."""

    peer: PeerId
    message: Message


@dataclass(frozen=True, slots=True)
class SendBlob:
    """Send a stored blob to a peer, before whatever follows."""

    peer: PeerId
    digest: str


@dataclass(frozen=True, slots=True)
class SendFunctions:
    """Answer a client's ``FetchFunctions`` with a stored blob."""

    peer: PeerId
    ticket: int
    digest: str


@dataclass(frozen=True, slots=True)
class ExpectHeartbeats:
    """Take datagrams of this number for signs of life of a peer from now on.

    Its registration is answered after it, with the port.
    """

    peer: PeerId
    number: int


@dataclass(frozen=True, slots=True)
class SendView:
    """Send the view of a topic to a peer: once (``ticket`` > 0), or from now on."""

    peer: PeerId
    topic: str
    ticket: int = 0


@dataclass(frozen=True, slots=True)
class StopView:
    """Stop sending the view of a topic."""

    peer: PeerId
    topic: str


@dataclass(frozen=True, slots=True)
class DropBlob:
    """No job needs the blob any more."""

    digest: str


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection, after what is queued for it."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Publish:
    """Tell the views."""

    event: AnyEvent


Instruction = (
    Send
    | SendBlob
    | SendFunctions
    | ExpectHeartbeats
    | SendView
    | StopView
    | DropBlob
    | Close
    | Publish
)
