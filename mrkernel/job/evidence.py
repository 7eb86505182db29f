"""Evidence: what a function was called with when it failed, pickled, to call it again with that.

It is kept for ``%mr_debug`` and for ``Job.retry_bad_records``, in another process and perhaps much
later. Pickling is user code too: whatever it raises, the failure itself matters more.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Any

#: Bytes of one piece of evidence, at most: it travels in a message, and is kept by the manager.
MOST_BYTES = 4 << 20
#: Values of a group that are looked at, at most: each takes a byte or more.
_MOST_VALUES = MOST_BYTES


class _Full(Exception):
    """The limit is reached."""


class _Sink:
    """A file to pickle into that takes so many bytes and no more."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self.parts: list[bytes] = []

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._left -= len(part)
        if self._left < 0:
            raise _Full
        self.parts.append(part)
        return len(part)


class _Listed:
    """Pickles as a list of what an iterable gives, which is never in memory as a whole."""

    def __init__(self, values: Iterable[Any]) -> None:
        self._values = values

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (), None, iter(self._values)


def evidence_of(key: Any, thing: Any, limit: int = MOST_BYTES) -> bytes:
    """Pickle what a function was called with.

    Args:
        key: of the record or group.
        thing: the record.
        limit: bytes, at most.

    Returns: a pickled tuple (key, thing); b"" when it is too large or cannot be pickled.
    """
    made = _dumped((key, thing), limit, by_value=False)
    # A class of the notebook pickles by a name that nobody else can look up.
    if made is None or b"__main__" in made:
        made = _dumped((key, thing), limit, by_value=True)
    return made or b""


def evidence_of_group(key: Any, values: Any) -> bytes:
    """Pickle a group; what is read from disk for it is not held in memory.

    Returns: a pickled tuple (key, list of values); b"" when it is too large, cannot be pickled, or
        its values cannot be read any more.
    """
    try:
        if len(values) > _MOST_VALUES:
            return b""
    except Exception:  # noqa: BLE001 - a life that has ended: no evidence, and the failure stands
        return b""
    return evidence_of(key, _Listed(values))


def _dumped(thing: Any, limit: int, *, by_value: bool) -> bytes | None:
    """Pickle; b"" when it is too large, None when it cannot be."""
    sink = _Sink(limit)
    try:
        if by_value:
            import cloudpickle

            cloudpickle.Pickler(sink, protocol=5).dump(thing)
        else:
            pickle.Pickler(sink, 5).dump(thing)
    except _Full:
        return b""
    except (Exception, SystemExit):  # noqa: BLE001 - of user code; no evidence says it
        return None
    return b"".join(sink.parts)
