"""What a manager's state asks of its shell. Pure. They are queued in order and never awaited."""

from __future__ import annotations

import msgspec

from mrkernel.manager.events import PeerId
from mrkernel.monitor.events import AnyEvent
from mrkernel.protocol.messages import Message


class Send(msgspec.Struct, frozen=True, gc=False):
    """Send a message to a peer; a peer that is gone meanwhile is no error."""

    peer: PeerId
    message: Message


class SendBlob(msgspec.Struct, frozen=True, gc=False):
    """Send a stored blob to a peer, before whatever follows."""

    peer: PeerId
    digest: str


class SendFunctions(msgspec.Struct, frozen=True, gc=False):
    """Answer a client's ``FetchFunctions`` with a stored blob."""

    peer: PeerId
    ticket: int
    digest: str


class ExpectHeartbeats(msgspec.Struct, frozen=True, gc=False):
    """Take datagrams of this number for signs of life of a peer from now on.

    Its registration is answered after it, with the port.
    """

    peer: PeerId
    number: int


class SendView(msgspec.Struct, frozen=True, gc=False):
    """Send the view of a topic to a peer: once (``ticket`` > 0), or from now on."""

    peer: PeerId
    topic: str
    ticket: int = 0


class StopView(msgspec.Struct, frozen=True, gc=False):
    """Stop sending the view of a topic."""

    peer: PeerId
    topic: str


class DropBlob(msgspec.Struct, frozen=True, gc=False):
    """No job needs the blob any more."""

    digest: str


class Close(msgspec.Struct, frozen=True, gc=False):
    """Close the connection, after what is queued for it."""

    peer: PeerId


class Publish(msgspec.Struct, frozen=True, gc=False):
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
