"""Virtual time: a heap of what is going to happen."""

from __future__ import annotations

import heapq
from collections.abc import Callable

Call = Callable[[], object]


class Timer:
    """Something that is going to happen, unless it is cancelled."""

    __slots__ = ("call",)

    def __init__(self, call: Call) -> None:
        self.call: Call | None = call

    def cancel(self) -> None:
        """Let it not happen."""
        self.call = None


class Clock:
    """Seconds since the world began; what is due at one time happens in order of its request."""

    def __init__(self) -> None:
        self.now = 0.0
        self.happened = 0  #: events so far
        self._heap: list[tuple[float, int, Timer]] = []
        self._requests = 0

    def at(self, when: float, call: Call) -> Timer:
        """Let something happen at a time, now at the earliest."""
        timer = Timer(call)
        self._requests += 1
        heapq.heappush(self._heap, (max(when, self.now), self._requests, timer))
        return timer

    def after(self, delay: float, call: Call) -> Timer:
        """Let something happen in so many seconds."""
        return self.at(self.now + delay, call)

    def advance(self) -> bool:
        """Let the next thing happen; False: nothing is going to."""
        while self._heap:
            when, _, timer = heapq.heappop(self._heap)
            if timer.call is None:
                continue
            self.now = when
            self.happened += 1
            timer.call()
            return True
        return False
