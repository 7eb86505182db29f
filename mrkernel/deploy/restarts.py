"""When a child that died is started again: at once, unless it dies as soon as it lives. Pure."""

from __future__ import annotations

#: Who lived less long than this was started in vain, seconds.
SHORT_LIFE_S = 1.0
#: Pauses grow from the first to the last, twofold each time.
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 5.0


class Restarts:
    """The restarts of one child, over all its lives.

    However often a child dies, it is replaced at once as long as each life was of some use. Only
    short lives in a row are a sign that the next one will be no better.

    Args:
        limit: short lives in a row after which it is given up; None: never.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self.short_lives = 0  #: in a row

    def died(self, lived_s: float) -> float | None:
        """Say how long to wait before it is started again, seconds; None: not any more."""
        if lived_s >= SHORT_LIFE_S:
            self.short_lives = 0
            return 0.0
        self.short_lives += 1
        if self._limit is not None and self.short_lives >= self._limit:
            return None
        if self.short_lives == 1:
            return 0.0
        # The exponent is bounded, for a child may die in vain for days.
        return min(FIRST_PAUSE_S * 2.0 ** min(self.short_lives - 2, 20), LONGEST_PAUSE_S)
