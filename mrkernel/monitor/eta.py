"""How long a job will take still: a range, or nothing where too little is known. Pure.

What is left is counted in bytes where they are known, else in tasks, and costs what was seen so
far: the time attempts had a slot, those that run included. It is dealt out to the slots as they
become free. The range is wide where tasks differ, where the last ones decide, and for a phase of
which nothing was seen yet; its ends are meant to hold nine times in ten.

Source: Graham, Bounds on Multiprocessing Timing Anomalies, SIAM J. Appl. Math. 17 (1969): tasks
handed to free slots in any order take at least work / slots and the longest of them, and at most
work / slots + longest * (1 - 1 / slots).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from heapq import heapify, heapreplace, nlargest
from itertools import accumulate
from math import exp, log, sqrt
from typing import NamedTuple

#: Tasks that must have been done before anything is said, parts of running ones included; or this
#: share of all.
_TASKS_NEEDED = 3.0
_SHARE_NEEDED = 0.1
#: Weight of the newest task in the recent mean: about the last twenty.
_RECENT = 0.1
#: What nine in ten keep to, in standard deviations to either side; and below the mean, and above:
#: a few tasks that take long make up for many that do not.
_ERRORS = 1.6
_BELOW, _ABOVE = 1.2, 1.8
#: What costs are off in any case, since what comes is not always like what came; and how much tasks
#: are taken to differ before three are done.
_DRIFT = 0.06
_SPREAD = 0.3
#: The first task of a worker imports and warms up: others may take so much of it.
_WARM = 0.6
#: What a task counts for of which nothing is known yet, when errors are weighed.
_FEWEST = 0.3
#: How old the newest word of a running attempt may be, in seconds.
_NEWS_S = 0.5
#: A running task's own pace is believed from this part on.
_PART_KNOWN = 0.05
#: Neighbours on the ladder of durations are a tenth apart.
_RUNG = log(1.1)
#: Tasks a slot that are dealt out one by one; before them is work that keeps all slots busy.
_DEALT = 2
#: A task that takes so many times what most do gets a backup, where slots are free.
_LATE = 2.5

#: What a byte of map output costs a reduce before one shows it, in seconds: a built-in took 10 to
#: 12 ns on a slow machine, reducers in Python 7 to 26, and one that did much for a value 92.
_REDUCE_COST = (5e-9, 30e-9)
_REDUCE_COST_MOST = 120e-9
#: And what a reduce costs whatever it reads, at most.
_REDUCE_TASK_S = 0.1


class Range(NamedTuple):
    """From, to."""

    low: float
    high: float


class Ladder:
    """How long tasks took, in steps of a tenth.

    Args:
        counts: of the tasks on each rung.
    """

    def __init__(self, counts: dict[int, int]) -> None:
        rungs = sorted(counts)
        self._values = [exp((rung + 0.5) * _RUNG) for rung in rungs]
        self._below = [0, *accumulate(counts[rung] for rung in rungs)]

    def longer(self, seconds: float) -> int:
        """How many tasks took longer."""
        return self._below[-1] - self._below[bisect_right(self._values, seconds)]

    def quantile(self, share: float, *, longer: float) -> float:
        """What so large a share of those keep to that took longer than ``longer``, if any did."""
        before = self._below[bisect_right(self._values, longer)]
        place = bisect_left(self._below, before + share * (self._below[-1] - before)) - 1
        return self._values[place]


class Durations:
    """What the finished tasks of one phase cost."""

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self.bytes = 0
        self._squares = 0.0
        self._recent = 0.0  #: mean of the last ones
        self._recent_bytes = 0.0
        self._rungs: dict[int, int] = {}

    def add(self, seconds: float, size: int) -> None:
        """A task is done: it had a slot for so long, and read so many bytes."""
        self.count += 1
        self.seconds += seconds
        self.bytes += size
        self._squares += seconds * seconds
        # The first ones are all the mean there is.
        weight = max(_RECENT, 2 / (self.count + 1))
        self._recent += weight * (seconds - self._recent)
        self._recent_bytes += weight * (size - self._recent_bytes)
        rung = int(log(seconds) / _RUNG) if seconds > 1e-6 else -150
        self._rungs[rung] = self._rungs.get(rung, 0) + 1

    def ladder(self) -> Ladder:
        """How they are spread."""
        return Ladder(self._rungs)

    @property
    def mean(self) -> float:
        return self.seconds / self.count if self.count else 0.0

    @property
    def spread(self) -> float:
        """The standard deviation of a task's seconds, as part of their mean."""
        if self.count < _TASKS_NEEDED or self.seconds <= 0:
            return _SPREAD
        return sqrt(max(0.0, self._squares / self.count - self.mean**2)) / self.mean

    def recent(self, *, by_bytes: bool) -> float:
        """Seconds for a byte, or for a task, of the last ones; 0: not known."""
        return self._recent / max(1.0, self._recent_bytes) if by_bytes else self._recent


class Running(NamedTuple):
    """A task that has a slot; of two attempts the one that will end first, as it seems."""

    elapsed: float
    part: float  #: how much is done, 0 to 1; 0: not known
    size: float = 0.0  #: bytes it reads; 0: not known


class Phase(NamedTuple):
    """What is left of the maps, or of the reduces."""

    durations: Durations
    total: int
    done: int
    size: int  #: bytes of all tasks together; 0: not known
    read: int  #: of them, read so far
    running: tuple[Running, ...] = ()
    #: Bytes of each task that waits for a slot, the largest first; (): not known.
    waiting: Sequence[float] = ()

    @property
    def parts(self) -> float:
        """How much of the running tasks is done, in tasks."""
        return sum(running.part for running in self.running)


class Cost(NamedTuple):
    """What a byte or a task costs in seconds, from and to, and what a task costs besides."""

    low: float
    high: float
    by_bytes: bool
    task_s: float = 0.0  #: at most


def time_left(maps: Phase, reduces: Phase, slots: int, *, builtin: bool = False) -> Range | None:
    """Seconds left, from and to; None: too little is known.

    Args:
        builtin: the reducer is one, whose cost is known beforehand.
    """
    if not slots:
        return None
    left = Range(0.0, 0.0)
    if maps.done < maps.total:
        needed = min(_TASKS_NEEDED, maps.total * _SHARE_NEEDED)
        cost = _seen_cost(maps, slots)
        if cost is None or maps.durations.count + maps.parts < needed:
            return None
        left = _left(maps, cost, slots)
    if reduces.done < reduces.total:
        cost = _seen_cost(reduces, slots) or _foreseen_cost(maps.durations, builtin=builtin)
        then = _left(reduces, cost, slots)
        left = Range(left.low + then.low, left.high + then.high)
    return Range(max(0.0, left.low - _NEWS_S), left.high)


def _seen_cost(phase: Phase, slots: int) -> Cost | None:
    """What was done so far cost; None: nothing was."""
    durations, parts = phase.durations, phase.parts
    by_bytes = phase.size > 0 and phase.read > 0
    elapsed = sum(running.elapsed for running in phase.running if running.part)
    begun = float(max(0, phase.read - durations.bytes)) if by_bytes and parts else parts
    amount = begun + (durations.bytes if by_bytes else durations.count)
    if amount <= 0:
        return None
    # Who ends first was fast: those that ended alone would say too little.
    low = high = (durations.seconds + elapsed) / amount
    spread = _ERRORS * durations.spread
    # What comes is rather like the newest, where they differ by more than chance.
    newest = [(durations.recent(by_bytes=by_bytes), min(durations.count, 1 / _RECENT))]
    if parts >= 1 and begun > 0:
        newest.append((elapsed / begun, parts))
    for cost, tasks in newest:
        if tasks:
            chance = 1 + spread / sqrt(tasks)
            low, high = min(low, cost * chance), max(high, cost / chance)
    if durations.count < slots:
        low *= _WARM
    # Both what was seen and what is left are samples.
    off = sqrt(1 / max(_FEWEST, durations.count + parts) + 1 / (phase.total - phase.done))
    low /= 1 + _DRIFT + _BELOW * durations.spread * off
    high *= 1 + _DRIFT + _ABOVE * durations.spread * off
    return Cost(low, high, by_bytes)


def _foreseen_cost(maps: Durations, *, builtin: bool) -> Cost:
    """What reduces will cost, before one shows it."""
    low, high = _REDUCE_COST
    if maps.bytes and not builtin:
        # Where maps do much for a byte, reducers may.
        high = min(max(high, maps.seconds / maps.bytes), _REDUCE_COST_MOST)
    return Cost(low, high, by_bytes=True, task_s=_REDUCE_TASK_S)


def _left(phase: Phase, cost: Cost, slots: int) -> Range:
    """Seconds left of one phase."""
    waits = max(0, phase.total - phase.done - len(phase.running))
    size = phase.size / phase.total if cost.by_bytes else 1.0
    usual = Range(size * cost.low, size * cost.high + cost.task_s)
    ladder = phase.durations.ladder()
    ends = [_end(running, cost, usual, ladder) for running in phase.running]
    if not waits:
        return Range(max(end.low for end in ends), max(end.high for end in ends))
    if cost.by_bytes and len(phase.waiting) == waits:
        low = [each * cost.low for each in phase.waiting]
        high = [each * cost.high + cost.task_s for each in reversed(phase.waiting)]
    else:
        each = 1.0
        if cost.by_bytes:
            begun = sum(size * (1 - running.part) for running in phase.running)
            each = max(0.0, phase.size - phase.read - begun) / waits
        low, high = [each * cost.low] * waits, [each * cost.high + cost.task_s] * waits
    longer = 0.0
    if phase.durations.count:
        # And the longest of the last ones is longer than most.
        last = _ERRORS + 0.5 * log(min(slots, waits + len(ends)))
        longer = min(_LATE, min(1.0, phase.durations.spread) * last) * usual.high
    return Range(
        _dealt([end.low for end in ends], low, slots),
        _dealt([end.high for end in ends], high, slots) + longer,
    )


def _end(running: Running, cost: Cost, usual: Range, ladder: Ladder) -> Range:
    """When a running task ends: by its own pace where that is known."""
    elapsed, part, size = running
    if _PART_KNOWN <= part < 1.0 and elapsed >= _NEWS_S:
        left = elapsed * (1 - part) / part
        # A backup may be faster than one that is late; or as slow, if there is so much to do.
        low = usual.low if left > _LATE * usual.high else left * 0.8
        return Range(low, left * 1.25)
    if cost.by_bytes and size:
        low, high = size * cost.low - elapsed, size * cost.high + cost.task_s - elapsed
    elif ladder.longer(elapsed) >= _TASKS_NEEDED:
        low = ladder.quantile(0.1, longer=elapsed) / (1 + _DRIFT) - elapsed
        high = ladder.quantile(0.95, longer=elapsed) * (1 + _DRIFT) - elapsed
    else:
        low, high = usual.low - elapsed, usual.high - elapsed
    # One that takes longer than any did is as likely to take half as long again.
    return Range(max(0.0, low), max(high, elapsed / 2))


def _dealt(running: list[float], waiting: list[float], slots: int) -> float:
    """When the last slot is free: each task goes to the slot that is free first."""
    ends = nlargest(slots, running)
    ends += [0.0] * (slots - len(ends))
    bulk = max(0, len(waiting) - _DEALT * slots)
    if bulk:
        # They fill the slots up to one height, as water does.
        level = _level(sorted(ends), sum(waiting[:bulk]))
        ends = [max(end, level) for end in ends]
    heapify(ends)
    for seconds in waiting[bulk:]:
        heapreplace(ends, ends[0] + seconds)
    return max(ends)


def _level(ends: list[float], work: float) -> float:
    """How high the slots are filled by so much work."""
    held = 0.0
    for count, end in enumerate(ends):
        if count and end * count - held >= work:
            return (work + held) / count
        held += end
    return (work + held) / len(ends)


def rounded(found: Range | None) -> list[float] | None:
    """A range as the picture has it: no finer than it can be known."""
    if found is None:
        return None
    digits = 1 if found.high < 20 else 0
    return [round(found.low, digits), round(found.high, digits)]
