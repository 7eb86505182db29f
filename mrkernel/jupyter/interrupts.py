"""What the interrupt button may break off, and what not."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def held_interrupts() -> Iterator[None]:
    """An interrupt in this block is raised at its end; a second one at once.

    For the moment between a job's sending and somebody holding it: a job that nobody holds cannot
    be cancelled, and would keep the cluster's slots.
    """
    if not _may_set():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    pressed = 0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed += 1
        if pressed > 1:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


@contextmanager
def no_interrupts() -> Iterator[None]:
    """A second and a third press of ■ must not break off the cancelling."""
    if not _may_set():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _may_set() -> bool:
    """Whether this is where Python lets handlers be set, and the one there can come back."""
    main = threading.current_thread() is threading.main_thread()
    return main and signal.getsignal(signal.SIGINT) is not None
