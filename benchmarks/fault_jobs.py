"""Jobs to disturb: they sleep rather than compute, so that a busy machine changes little, and they
leave a mark whenever a map task begins, so that nobody has to be asked what ran again.

A mark is an empty file: index of the map task, process, nanoseconds of the machine's one monotonic
clock. Each maker returns functions of its own, which are sent by value, as those of a cell are.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Bytes of each value: ten of them are a map output that is too large to travel in a message.
LARGE = 2_000


@dataclass(frozen=True)
class Mark:
    """A map task began."""

    index: int
    pid: int
    at: float  #: seconds, as ``time.monotonic`` has them


class Marks:
    """The marks of one job.

    Args:
        folder: of its own, made here.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder

    def all(self) -> list[Mark]:
        """Return what began so far, in order."""
        parts = [path.name.split(".") for path in self.folder.iterdir()]
        marks = [Mark(int(index), int(pid), int(at) / 1e9) for index, pid, at in parts]
        return sorted(marks, key=lambda mark: mark.at)

    def again(self) -> int:
        """How many map tasks began once more than once, summed up."""
        return sum(number - 1 for number in Counter(mark.index for mark in self.all()).values())


def steady(marks: Marks, seconds: float, naps: int = 20) -> Any:
    """Return a mapper whose task takes so long, in so many naps, and gives a large output.

    Its records are the indices of the tasks, one each. A process that is stopped most of the time
    sleeps as much longer, which it would not in one nap.
    """
    folder, nap, large, here = str(marks.folder), seconds / naps, LARGE, _me()

    def mapper(index: int) -> Any:
        import os
        import time

        if here in (os.getpid(), os.getppid()):
            return  # the first records are tried where the job comes from
        with open(f"{folder}/{index}.{os.getpid()}.{time.monotonic_ns()}", "w"):
            pass
        for number in range(naps):
            time.sleep(nap)
            yield number % 10, f"{index:06} {number:06} " * (large // 14 // max(1, naps // 10))

    return mapper


def digest() -> Any:
    """Return a reducer that reads everything: key → how many values, and their digest."""

    def reducer(key: int, values: Any) -> Any:
        import hashlib

        found = hashlib.sha256()
        count = 0
        for value in values:
            found.update(value.encode())
            count += 1
        return count, found.hexdigest()

    return reducer


def _me() -> int:
    import os

    return os.getpid()
