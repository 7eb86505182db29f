"""Counters that user code adds to; they travel with the committed attempt's output."""

from __future__ import annotations

import operator
import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: The sums of 100,000 tasks stay within 64 bits, which is what messages can carry.
MOST = 1 << 45

_counts: dict[str, int] = {}
_collecting = threading.RLock()


class Counter:
    """A named count; made by ``counter(name)``, cheap to make and to send to a worker."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def add(self, n: int = 1) -> None:
        """Add ``n`` (an int, negative ones too) to the count of the running task.

        Raises:
            TypeError: ``n`` is no int.
            OverflowError: the task's count is beyond ``MOST``.
        """
        if type(n) is not int:
            try:
                n = operator.index(n)
            except TypeError:
                raise TypeError(
                    f"counter({self.name!r}).add({n!r}): a counter counts whole numbers, write "
                    "add(1) or add(int(x))"
                ) from None
        count = _counts.get(self.name, 0) + n
        if not -MOST <= count <= MOST:
            raise OverflowError(
                f"counter({self.name!r}) passes {MOST:,} in one task: count in larger units"
            )
        _counts[self.name] = count

    def __repr__(self) -> str:
        return f"counter({self.name!r})"


def counter(name: str) -> Counter:
    """The counter called ``name``: ``mrkernel.counter("bad lines").add(1)`` inside a task.

    Outside a task it counts too, and nobody reads it.
    """
    if not isinstance(name, str):
        raise TypeError(f'counter({name!r}): a counter\'s name is a str, write counter("name")')
    # Messages are UTF-8, which has no lone surrogates.
    return Counter(name if name.isascii() else name.encode("utf-8", "backslashreplace").decode())


def begin() -> None:
    """Start a task: all counts are zero."""
    _counts.clear()


def take() -> dict[str, int]:
    """The counts since ``begin`` or the last ``take``, which are zero again."""
    taken = dict(_counts)
    _counts.clear()
    return taken


def saved() -> dict[str, int]:
    """The counts so far, for ``restore``."""
    return _counts.copy()


def restore(counts: dict[str, int]) -> None:
    """Put the counts back to what ``saved`` gave: what came since does not count."""
    _counts.clear()
    _counts.update(counts)


@contextmanager
def collect() -> Iterator[dict[str, int]]:
    """Count apart: the dict holds this block's counts at its end; those before are kept.

    For tasks that run inside another process's life: preflight, the inline engine. One thread at a
    time: the counts, and what else a task finds in its process (``random``), are global.
    """
    with _collecting:
        before = take()
        counted: dict[str, int] = {}
        try:
            yield counted
        finally:
            counted.update(take())
            _counts.update(before)
