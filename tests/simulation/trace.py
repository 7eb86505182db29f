"""What happened, as one hash, and the end of it for people.

Everything that crosses the simulated network, every public event and every fault goes into the
hash, byte by byte: two runs with one hash did the same.
"""

from __future__ import annotations

import hashlib
from collections import deque
from typing import Any

import msgspec

from mrkernel.monitor.events import WorkerBeat
from mrkernel.protocol.worker_messages import Beat

#: Lines kept for the report of a violation.
KEPT = 50
#: These are in the hash, and in no report.
DULL = (Beat, WorkerBeat)
_encode = msgspec.msgpack.Encoder(enc_hook=repr).encode


class Trace:
    """The story of one world.

    Args:
        kept: lines at the end that are remembered.

    Attributes:
        lines: how many there were.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self.lines = 0
        self._hash = hashlib.blake2b(digest_size=16)
        self._last: deque[tuple[float, str, Any]] = deque(maxlen=kept)

    def note(self, now: float, who: str, what: Any) -> None:
        """Add what somebody said or did: a message, a public event, or words."""
        self.lines += 1
        if type(what) not in DULL:
            self._last.append((now, who, what))
        self._hash.update(f"{now!r} {who} ".encode())
        self._hash.update(_encode(what))

    @property
    def hash(self) -> str:
        """Of everything so far."""
        return self._hash.hexdigest()

    def tail(self) -> list[str]:
        """The last lines."""
        return [f"{now:10.4f}  {who:<14}  {_short(what)}" for now, who, what in self._last]


def _short(what: Any) -> str:
    text = what if isinstance(what, str) else repr(what)
    return text if len(text) <= 240 else f"{text[:239]}…"
