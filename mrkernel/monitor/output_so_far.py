"""What maps gave out so far: bytes for each partition, and the keys that stand out. Pure."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from heapq import nlargest, nsmallest
from math import inf

from mrkernel.ids import TaskId
from mrkernel.monitor import events as ev
from mrkernel.monitor.picture import Json
from mrkernel.monitor.tally import index_of

#: Partitions and keys in the picture.
PARTITIONS_SHOWN = 8
KEYS_SHOWN = 10
#: Keys counted at a time: past these, the lesser half is forgotten. One that is forgotten and comes
#: again counts for less than it has, but cannot have been far up.
KEYS_KEPT = 4000


class PartitionSizes:
    """How many bytes maps gave out for each partition."""

    def __init__(self) -> None:
        self.bytes: list[int] = []  #: of each; empty: not known

    @property
    def count(self) -> int:
        """How many partitions there are; 0: not known."""
        return len(self.bytes)

    def of(self, task: TaskId) -> int:
        """Bytes of the partition that a reduce reads; 0: not known."""
        number = index_of(task)
        return self.bytes[number] if number < len(self.bytes) else 0

    def count_in(self, event: ev.AttemptFinished, sign: int = 1) -> None:
        """Take a map's output into the sums (sign 1), or out of them (-1)."""
        sizes = event.sizes
        if not sizes:
            return
        if len(self.bytes) < len(sizes):
            self.bytes += [0] * (len(sizes) - len(self.bytes))
        change = operator.add if sign > 0 else operator.sub
        self.bytes[: len(sizes)] = map(change, self.bytes, sizes)

    def largest(self) -> list[list[int]]:
        """The biggest partitions, as ``[partition, bytes]``; the empty ones are no news."""
        found = nlargest(PARTITIONS_SHOWN, ((size, -n) for n, size in enumerate(self.bytes)))
        return [[-n, size] for size, n in found if size > 0]


class TopKeys:
    """The keys that maps gave out most often, or whose reduced value is largest so far.

    Each map names a few of its own, so a key that is far down in all of them is missed: what this
    says is never the result.

    Args:
        kind: how two numbers of one key are put together, see ``JobAccepted.top``.
    """

    def __init__(self, kind: str = "count") -> None:
        self.kind = kind
        self._numbers: dict[str, float] = {}

    def count_in(self, event: ev.AttemptFinished, sign: int = 1) -> None:
        """Take in a map's keys (sign 1), or take them back (-1)."""
        numbers = self._numbers
        if self.kind in ("min", "max"):
            # Nothing to take back: the task runs again, and says the same again.
            choose = min if self.kind == "min" else max
            for key, number in event.top:
                if -inf < number < inf:
                    numbers[key] = choose(numbers.get(key, number), number)
        else:
            for key, number in event.top:
                if -inf < number < inf:
                    numbers[key] = numbers.get(key, 0) + sign * number
        if len(numbers) > KEYS_KEPT:
            self._numbers = dict(self._first(KEYS_KEPT // 2))

    def picture(self, maps: int) -> Json | None:
        """What the picture says of them; None: nothing is known.

        Args:
            maps: done so far.
        """
        rows = [
            [key, int(number) if number == int(number) else number]
            for key, number in self._first(KEYS_SHOWN)
            if number or self.kind != "count"
        ]
        if not rows:
            return None
        return {"kind": self.kind, "rows": rows, "maps": maps}

    def _first(self, count: int) -> list[tuple[str, float]]:
        """The largest, or of minima the smallest; those that are equal by their key."""
        sign = 1 if self.kind == "min" else -1
        rows: Iterable[tuple[str, float]] = self._numbers.items()
        if len(self._numbers) > count:
            # Only those that can be among them are sorted: this is done for every picture.
            if self.kind == "min":
                last = nsmallest(count, self._numbers.values())[-1]
                rows = [row for row in rows if row[1] <= last]
            else:
                last = nlargest(count, self._numbers.values())[-1]
                rows = [row for row in rows if row[1] >= last]
        return sorted(rows, key=lambda row: (sign * row[1], row[0]))[:count]
