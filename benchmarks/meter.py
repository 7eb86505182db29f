"""Wall clock and CPU of whole families of processes, and medians of what was measured in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil


@dataclass(frozen=True)
class Sample:
    """What one run took, in seconds; ``cpu`` is that of all its processes together."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Meter:
    """Measures calls made from this process which work in others.

    Attributes:
        roots: pids whose whole families work for it. This process counts too: a client's work is
            work.
    """

    roots: tuple[int, ...] = ()

    def cpu(self) -> float:
        """CPU seconds so far; only differences mean something."""
        return time.process_time() + sum(map(family_cpu, self.roots))

    def measure(self, call: Callable[[], Any]) -> tuple[Any, Sample]:
        """Call it; return what it gave, and what that took."""
        cpu, wall = self.cpu(), time.perf_counter()
        answer = call()
        wall = time.perf_counter() - wall
        return answer, Sample(wall, self.cpu() - cpu)


def family_cpu(root: int) -> float:
    """CPU seconds of a process, of all its living descendants and of those they have buried."""
    seconds = 0.0
    with suppress(psutil.NoSuchProcess):
        top = psutil.Process(root)
        for process in (top, *top.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                own = times.user + times.system
                # The exact count lacks threads that have ended; the other is of whole ticks.
                seconds += max(own, (_nanoseconds(process.pid) or 0) / 1e9)
                seconds += times.children_user + times.children_system
    return seconds


def process_cpu(pid: int) -> float:
    """CPU seconds of one process alone."""
    exact = _nanoseconds(pid)
    if exact is not None:
        return exact / 1e9
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _nanoseconds(pid: int) -> int | None:
    """CPU of a process's living threads, from Linux's scheduler: others count in ticks of 10 ms."""
    try:
        threads = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
        return sum(int(path.read_text().split()[0]) for path in threads) if threads else None
    except (OSError, ValueError, IndexError):
        return None


def rounds(most: int, budget_s: float) -> Iterator[int]:
    """Count rounds: ``most`` of them, fewer when another would not fit in time; at least one."""
    began = time.monotonic()
    for number in range(most):
        spent = time.monotonic() - began
        if number and spent + spent / number > budget_s:
            return
        yield number


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that so many percent of the values do not exceed."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


def ratio(ours: Sequence[Sample], theirs: Sequence[Sample], what: str) -> float:
    """Median of the ratios, pair by pair: what slows one of a pair slows the other, too.

    Args:
        what: "wall" or "cpu".
    """
    pairs = zip(ours, theirs, strict=True)
    return median([getattr(a, what) / max(getattr(b, what), 1e-9) for a, b in pairs])
