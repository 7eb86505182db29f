"""Heartbeats: datagrams that say "I live", and nothing else. Pure.

::

    magic "mrhb" | number, 8 bytes | sequence, 8 bytes | HMAC-SHA256 of these, first 16 bytes

The key is the session key of the worker's connection, so a heartbeat can neither be forged nor
outlive the registration it belongs to; the sequence only grows, so it cannot be replayed. A
datagram that is not right is dropped: it creates nobody, revives nobody and kills nobody. There is
no answer, so nothing can be amplified.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass, field

_BODY = struct.Struct("!4sQQ")
_MAGIC = b"mrhb"
_MAC_SIZE = 16
SIZE = _BODY.size + _MAC_SIZE


def _mac(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")[:_MAC_SIZE]


class HeartbeatSender:
    """Makes the heartbeats of one registration.

    Args:
        key: the session key of its connection.
        number: ``Registered.number``.
    """

    def __init__(self, key: bytes, number: int) -> None:
        self._key = key
        self._number = number
        self._sequence = 0

    def next(self) -> bytes:
        """Return the next datagram."""
        self._sequence += 1
        body = _BODY.pack(_MAGIC, self._number, self._sequence)
        return body + _mac(self._key, body)


@dataclass(slots=True)
class _Sender:
    key: bytes
    sequence: int = 0  #: the highest heard


@dataclass(slots=True)
class HeartbeatReceiver:
    """Judges datagrams.

    Attributes:
        dropped: how many were not right.
    """

    dropped: int = 0
    _senders: dict[int, _Sender] = field(default_factory=dict)

    def expect(self, number: int, key: bytes) -> None:
        """Accept the heartbeats of a registration from now on."""
        self._senders[number] = _Sender(key)

    def forget(self, number: int) -> None:
        """Accept them no more."""
        self._senders.pop(number, None)

    def accept(self, datagram: bytes) -> int | None:
        """Return whose fresh heartbeat this is; None: it is none."""
        if len(datagram) == SIZE:
            body = datagram[: _BODY.size]
            magic, number, sequence = _BODY.unpack(body)
            sender = self._senders.get(number)
            if (
                sender is not None
                and magic == _MAGIC
                and sequence > sender.sequence
                and hmac.compare_digest(_mac(sender.key, body), datagram[_BODY.size :])
            ):
                sender.sequence = sequence
                return int(number)
        self.dropped += 1
        return None
