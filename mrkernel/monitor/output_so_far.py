"""What maps gave out so far: bytes for each partition, and the keys that stand out. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nlargest, nsmallest
from itertools import zip_longest
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
#: Maps whose partitions are added up at a time, which takes half as long as one by one.
_MAPS_AT_A_TIME = 64


class PartitionSizes:
    """How many bytes maps gave out for each partition."""

    def __init__(self) -> None:
        self._bytes: list[int] = []
        self._more: list[Iterable[int]] = []  #: to be added

    @property
    def bytes(self) -> list[int]:
        """Of each partition; empty: not known."""
        if self._more:
            self._add_up()
        return self._bytes

    def _add_up(self) -> None:
        self._bytes = list(map(sum, zip_longest(self._bytes, *self._more, fillvalue=0)))
        self._more.clear()

    @property
    def count(self) -> int:
        """How many partitions there are; 0: not known."""
        return len(self.bytes)

    def of(self, task: TaskId) -> int:
        """Bytes of the partition that a reduce reads; 0: not known."""
        number, known = index_of(task), self.bytes
        return known[number] if number < len(known) else 0

    def count_in(self, event: ev.AttemptFinished, sign: int = 1) -> None:
        """Take a map's output into the sums (sign 1), or out of them (-1)."""
        if event.sizes:
            self._more.append(event.sizes if sign > 0 else [-size for size in event.sizes])
            if len(self._more) >= _MAPS_AT_A_TIME:
                self._add_up()

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
        known = numbers.get
        if self.kind in ("min", "max"):
            # Nothing to take back: the task runs again, and says the same again.
            choose = min if self.kind == "min" else max
            for key, number in event.top:
                if -inf < number < inf:
                    numbers[key] = choose(known(key, number), number)
        else:
            for key, number in event.top:
                if -inf < number < inf:
                    numbers[key] = known(key, 0) + sign * number
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
