"""What a worker server and its runners take of their machine, as they report it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable

import psutil


class Load:
    """Processor time and memory of this process and some others."""

    def __init__(self) -> None:
        self._own = psutil.Process()
        self._before: tuple[float, float] | None = None  # (clock, processor seconds so far)

    def measure(self, pids: Iterable[int]) -> tuple[float, int]:
        """Return percents of a processor since this was asked last, and bytes of memory now."""
        seconds, resident = 0.0, 0
        for process in [self._own, *map(_process, pids)]:
            if process is None:
                continue
            # OSError: at the limit of open files there is nothing to look into, for a while.
            with contextlib.suppress(psutil.Error, OSError), process.oneshot():
                times = process.cpu_times()
                seconds += times.user + times.system
                resident += process.memory_info().rss
        now = time.monotonic()
        percent = 0.0
        if self._before is not None:
            before, spent = self._before
            percent = max(0.0, 100 * (seconds - spent) / max(now - before, 1e-6))
        self._before = (now, seconds)
        return round(percent, 1), resident


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except (psutil.NoSuchProcess, OSError):
        return None
