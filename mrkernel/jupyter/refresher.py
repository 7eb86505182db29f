"""The one thread that feeds all views of a kernel.

It asks each view's source four to ten times a second, whatever happened in between: Jupyter drops
messages above 1,000 a second, and the kernel's own loop stands still while a cell runs.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from mrkernel.monitor.picture import Json

_logger = logging.getLogger("mrkernel.jupyter")

#: Seconds between two rounds: while something happens, and at rest.
FAST_S = 0.1
SLOW_S = 0.25

#: Ages of a view at which it is sent a whole picture; from then on every last interval.
_KEYFRAMES_S = (0.25, 0.5, 1.0, 2.0, 4.0)
#: Bytes a second that whole pictures may take, beyond the deltas.
_KEYFRAME_RATE = 30_000
#: Seconds between two whole pictures that somebody asked for.
_ASKED_S = 1.0


class Fed(Protocol):
    """A view."""

    @property
    def over(self) -> bool:
        """Whether it has had its last picture."""

    def feed(self, now: float) -> bool:
        """Send what changed; whether anything was sent."""


class Refresher:
    """One thread that feeds all views; it begins with the first and ends with the last.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._fed: dict[Fed, None] = {}
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()

    def add(self, view: Fed) -> None:
        """Feed the view until it has had its last picture, or is closed."""
        with self._lock:
            self._fed[view] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mrk-refresher", daemon=True)
                self._thread.start()
        self._wake.set()

    def discard(self, view: Fed) -> None:
        """Feed the view no more."""
        with self._lock:
            self._fed.pop(view, None)
        self._wake.set()

    def wake(self) -> None:
        """Feed them now: somebody waits."""
        self._wake.set()

    @property
    def running(self) -> bool:
        """Whether there is a thread now."""
        return self._thread is not None

    def round(self) -> bool:
        """Feed each view once.

        Returns:
            Whether anything was sent.
        """
        with self._lock:
            views = list(self._fed)
        sent = False
        for view in views:
            try:
                sent |= view.feed(self._clock())
            except Exception:  # one broken view must not stop the others
                _logger.exception("a view stops: it cannot be fed")
                self.discard(view)
            else:
                if view.over:
                    self.discard(view)
        return sent

    def _run(self) -> None:
        while True:
            self._wake.clear()
            sent = self.round()
            with self._lock:
                if not self._fed:
                    self._thread = None
                    return
            self._wake.wait(FAST_S if sent else SLOW_S)


#: The one for all views of this kernel.
refresher = Refresher()


class Keyframes:
    """When a view is sent a whole picture, for pages that may have missed a delta.

    Deltas are lost on a page that does not draw yet: its module loads, or it was loaded anew. In
    the beginning that is likely, so whole pictures come soon; a busy kernel could not hear a page
    that asks, so later they come every few seconds, the larger the rarer.
    """

    def __init__(self) -> None:
        self._born: float | None = None
        self._sent = 0.0
        self._bytes = 0
        self._count = 0
        self._asked = False

    def ask(self) -> None:
        """Somebody has nothing, or missed something. Any thread."""
        self._asked = True

    def due(self, now: float) -> bool:
        """Whether it is time for one."""
        if self._born is None:
            self._born = self._sent = now
        if self._asked and now - self._sent >= _ASKED_S:
            return True
        last = len(_KEYFRAMES_S) - 1
        if self._count <= last:
            wanted = _KEYFRAMES_S[self._count]
        else:
            wanted = _KEYFRAMES_S[last] * (self._count - last + 1)
        rested = now - self._sent >= self._bytes / _KEYFRAME_RATE
        return now - self._born >= wanted and rested

    def sent(self, picture: Json, now: float) -> None:
        """One was sent."""
        if self._born is None:
            self._born = now
        self._sent, self._asked = now, False
        self._bytes = len(json.dumps(picture, separators=(",", ":")))
        last = len(_KEYFRAMES_S) - 1
        age = now - self._born
        while self._count <= last and age >= _KEYFRAMES_S[self._count]:
            self._count += 1
        if self._count > last:
            self._count = last + int(age / _KEYFRAMES_S[last])
