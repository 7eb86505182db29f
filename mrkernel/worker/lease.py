"""The lease: how long, and how often, a worker looks for a manager that went away. Pure.

All workers of a cluster lose their manager at once, and all want it back: each waits a random part
of a pause that grows, so that a thousand of them are no storm.
"""

from __future__ import annotations

from typing import Protocol

#: Seconds before the first look, and what each pause is longer than the one before.
FIRST_PAUSE_S = 0.02
GROWTH = 1.6
#: No pause is longer than this, nor than this part of the lease: a manager that is back after a
#: minute must not wait for its workers longer than a person would.
LONGEST_PAUSE_S = 2.0
LARGEST_PART = 1 / 60


class Chance(Protocol):
    """Where randomness comes from; a ``random.Random``."""

    def uniform(self, a: float, b: float) -> float: ...


class Lease:
    """One search for a manager.

    Args:
        seconds: how long it may take.
        now: on a monotonic clock.
        chance: shortens each pause, to a half at most.
    """

    def __init__(self, seconds: float, now: float, chance: Chance) -> None:
        self._end = now + seconds
        self._chance = chance
        self._pause = FIRST_PAUSE_S
        self._longest = max(FIRST_PAUSE_S, min(LONGEST_PAUSE_S, seconds * LARGEST_PART))

    def served(self, seconds: float) -> None:
        """Count as no part of the search that a manager was there for a moment."""
        self._end += seconds

    def pause(self, now: float) -> float | None:
        """Return the seconds to wait before the next look; None: the lease is over."""
        if now >= self._end:
            return None
        pause = self._chance.uniform(self._pause / 2, self._pause)
        self._pause = min(self._pause * GROWTH, self._longest)
        return min(pause, self._end - now)
