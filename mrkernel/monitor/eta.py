"""How long a job will take still: a range, or nothing where too little is known. Pure.

What is left is counted in bytes where they are known, else in tasks, and costs what the finished
tasks cost: the time their attempts had a slot, from the hand-over to the end. The range is wide
where these differ, where the last tasks decide, and for a phase of which nothing was seen yet.

Source: Graham, Bounds on Multiprocessing Timing Anomalies, SIAM J. Appl. Math. 17 (1969): tasks
handed to free slots in any order take at least work / slots and the longest of them, and at most
work / slots + longest * (1 - 1 / slots).
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

#: Tasks that must have ended before anything is said; or this share of all.
_TASKS_NEEDED = 3
_SHARE_NEEDED = 0.1
#: Weight of the newest task in the recent mean: about the last twenty.
_RECENT = 0.1
#: Standard errors that the cost of what is left may be off; and what it is off in any case, since
#: what comes is not always like what came.
_ERRORS = 2.0
_DRIFT = 0.07
#: How old the newest word of a running attempt may be, in seconds.
_NEWS_S = 0.5
#: Bytes of map output cost a reduce between so much and so much of what bytes of input cost a map,
#: before the first reduce shows it.
_REDUCE_COST = (0.05, 1.2)


class Range(NamedTuple):
    """From, to."""

    low: float
    high: float


class Begun(NamedTuple):
    """What attempts that run have come to so far."""

    seconds: float = 0.0
    amount: float = 0.0  #: of bytes, or of tasks


class Durations:
    """What the finished tasks of one phase cost."""

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self.bytes = 0
        self._squares = 0.0
        self._recent = 0.0  #: mean of the last ones
        self._recent_bytes = 0.0

    def add(self, seconds: float, size: int) -> None:
        """A task is done: it had a slot for so long, and read so many bytes."""
        self.count += 1
        self.seconds += seconds
        self.bytes += size
        self._squares += seconds * seconds
        # The first ones are all the mean there is.
        weight = max(_RECENT, 1 / self.count)
        self._recent += weight * (seconds - self._recent)
        self._recent_bytes += weight * (size - self._recent_bytes)

    @property
    def mean(self) -> float:
        return self.seconds / self.count

    @property
    def deviation(self) -> float:
        """The standard deviation of a task's seconds."""
        return sqrt(max(0.0, self._squares / self.count - self.mean**2))

    def cost(self, *, by_bytes: bool, begun: Begun) -> Range:
        """Seconds for a byte, or for a task.

        Args:
            begun: what the attempts that run have taken and read: who ends first was fast, so that
                those that ended alone say too little.
        """
        if by_bytes:
            amount = float(self.bytes)
            costs = [self.seconds / amount, self._recent / max(1.0, self._recent_bytes)]
        else:
            amount = float(self.count)
            costs = [self.mean, self._recent]
        if begun.amount > 0:
            costs.append((self.seconds + begun.seconds) / (amount + begun.amount))
        spread = self.deviation / self.mean if self.mean > 0 else 0.0
        off = _DRIFT + _ERRORS * spread / sqrt(self.count)
        return Range(min(costs) / (1 + off), max(costs) * (1 + off))


class Running(NamedTuple):
    """An attempt that has a slot."""

    elapsed: float
    part: float  #: how much is done, 0 to 1; 0: not known


class Phase(NamedTuple):
    """What is left of the maps, or of the reduces."""

    durations: Durations
    total: int
    done: int
    size: int  #: bytes of all tasks together; 0: not known
    read: int  #: of them, read so far
    largest: int = 0  #: bytes of the largest task; 0: not known
    running: tuple[Running, ...] = ()


def time_left(maps: Phase, reduces: Phase, slots: int) -> Range | None:
    """Seconds left, from and to; None: too little is known."""
    known = maps.durations.count
    if not slots or known < min(_TASKS_NEEDED, max(1, maps.total * _SHARE_NEEDED)):
        return None
    low, high = _left(maps, slots, None)
    if reduces.total > reduces.done:
        least, most = _left(reduces, slots, maps.durations)
        low, high = low + least, high + most
    return Range(max(0.0, low - _NEWS_S), high)


def _left(phase: Phase, slots: int, other: Durations | None) -> Range:
    """Seconds left of one phase.

    Args:
        other: of the phase before, whose costs say little, but something.
    """
    undone = phase.total - phase.done
    if undone <= 0:
        return Range(0.0, 0.0)
    seen = phase.durations
    prior = other is not None and seen.count < min(_TASKS_NEEDED, phase.total)
    durations = other if prior and other is not None else seen
    by_bytes = phase.size > 0 and durations.bytes > 0
    begun = Begun()
    if not prior:
        known = [running for running in phase.running if running.part > 0]
        parts = sum(running.part for running in known)
        amount = float(phase.read - seen.bytes) if by_bytes else parts
        begun = Begun(sum(running.elapsed for running in known), amount if known else 0.0)
    least, most = durations.cost(by_bytes=by_bytes, begun=begun)
    if prior:
        least, most = least * _REDUCE_COST[0], most * _REDUCE_COST[1]
    mean_size = phase.size / phase.total if by_bytes else 1.0
    if by_bytes:
        left = float(max(0, phase.size - phase.read))
    else:
        left = max(0.0, undone - sum(running.part for running in phase.running))
    # A task costs something whatever it reads.
    largest = max(mean_size, phase.largest if by_bytes else 0.0)
    longest = Range(mean_size * least, largest * most + (0.0 if prior else 2 * seen.deviation))
    ends = [_end(running, longest) for running in phase.running]
    waiting = undone - len(phase.running)
    if waiting > 0:
        ends.append(longest)
    low = max(left * least / slots, *(end.low for end in ends)) if ends else left * least / slots
    last = max((end.high for end in ends), default=0.0)
    # With nothing waiting for a slot the last one that runs decides, and no sum.
    high = left * most / slots + last * (1 - 1 / slots) if waiting > 0 else last
    return Range(low, max(low, high))


def _end(running: Running, longest: Range) -> Range:
    """When a running attempt ends: by its own pace where that is known."""
    elapsed, part = running
    if part >= 0.05:
        left = elapsed * (1 - part) / part
        return Range(left * 0.8, left * 1.3)
    # One that takes longer than any should is as likely to take as long again.
    return Range(max(0.0, longest.low - elapsed), max(longest.high - elapsed, elapsed / 2))


def rounded(found: Range | None) -> list[float] | None:
    """A range as the picture has it: no finer than it can be known."""
    if found is None:
        return None
    digits = 1 if found.high < 20 else 0
    return [round(found.low, digits), round(found.high, digits)]
