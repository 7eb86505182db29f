"""Whether a cell keeps the kernel from hearing what is pressed in a view."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds of a cell after which its views show no buttons: those of short cells would only flicker.
BUSY_AFTER_S = 0.3


class KernelBusy:
    """Told when cells begin and end; knows whether one runs for long.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None

    def begin(self, *_: object) -> None:
        """A cell begins."""
        self._since = self._clock()

    def end(self, *_: object) -> None:
        """It has ended."""
        self._since = None

    def __bool__(self) -> bool:
        since = self._since
        return since is not None and self._clock() - since > BUSY_AFTER_S


#: Of this kernel's shell, once the magics are loaded.
kernel_busy = KernelBusy()
