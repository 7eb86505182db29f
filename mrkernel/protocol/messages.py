"""What every message on the wire is, how it is encoded, and the one that goes both ways. Pure.

Functions, keys, values and tracebacks are opaque bytes or text in messages: whoever routes one can
not be made to execute anything by it. A new field has a default, no field changes its type.

Three conversations have files of their own: ``client_messages``, ``worker_messages`` and
``store_messages``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from mrkernel.errors import RemoteProtocolError
from mrkernel.protocol.framing import MALFORMED, pack_control


class Message(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type"):
    """Anything that travels in a control frame."""


class BlobPiece(Message, frozen=True, tag="blob"):
    """A piece of an opaque object named by its sha256; pieces come in order.

    The one at ``offset`` 0 begins anew: who sent those before it may have been interrupted.
    """

    digest: str
    data: bytes
    last: bool = True
    offset: int = 0


_encoder = msgspec.msgpack.Encoder()


def frame_of(*messages: Message) -> bytes:
    """Encode messages into one control frame; into several when they are very large."""
    return pack_control(_encoder.encode(messages))


class MessageDecoder:
    """Decodes control payloads of one direction; anything else is refused by its path.

    Args:
        union: the union of the messages that may come from that side.
    """

    def __init__(self, union: Any) -> None:
        self._decoder = msgspec.msgpack.Decoder(list[union])

    def decode(self, payload: bytes) -> list[Any]:
        """Return the messages of one control frame.

        Raises:
            RemoteProtocolError: one is not of this direction, or a field has a wrong type.
        """
        try:
            messages: list[Any] = self._decoder.decode(payload)
        except MALFORMED as error:
            raise RemoteProtocolError(f"a malformed message: {error}") from error
        return messages


def blob_pieces(digest: str, data: bytes, piece: int) -> list[BlobPiece]:
    """Cut a blob into messages of at most ``piece`` bytes; an empty one is one empty piece."""
    starts = range(0, max(len(data), 1), piece)
    return [
        BlobPiece(digest, data[start : start + piece], start + piece >= len(data), start)
        for start in starts
    ]
