"""A group-by that is larger than the memory it may have: 20 M pairs with 64 MB for each slot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.contest import compete
from benchmarks.data import Data
from benchmarks.meter import median, ratio
from benchmarks.plan import Plan
from benchmarks.table import Row

JOB = "group-large"
TIGHT, FREE = "ours:slot_memory=64M", "ours"
#: The budget, and what a runner is with nothing in it.
LIMIT_MB = 64 * 1.048576 + 120
LIMIT = 2.0  #: wall, to the unlimited run


def measure(plan: Plan, data: Data, log: Path | None, say: Callable[[str], None]) -> Iterator[Row]:
    """Measure it.

    Raises:
        AssertionError: it failed, or the answers differ.
    """
    free, tight = compete(
        JOB,
        (FREE, TIGHT),
        data,
        most=min(plan.rounds, 3),
        budget_s=2 * plan.job_s,
        timeout_s=plan.timeout_s,
        log=log,
        say=say,
    )
    for each in (free, tight):
        assert not each.fault, f"{each.name}: {each.fault}"
    a, b = ([run.sample for run in each.runs.values()] for each in (tight, free))
    wall = ratio(a, b, "wall")
    yield Row(
        f"group-by, {data.nbytes / 1e6:.0f} MB, with slot_memory=64M",
        f"{median([sample.wall for sample in a]):.1f} s",
        f"{median([sample.wall for sample in b]):.1f} s, without",
        wall,
        ratio(a, b, "cpu"),
        f"wall × <= {LIMIT:g}",
        wall <= LIMIT if plan.judged else None,
    )
    peaks = [max(run.largest for run in each.runs.values()) / 1e6 for each in (tight, free)]
    yield Row(
        "… peak resident memory of its largest process",
        f"{peaks[0]:.0f} MB",
        f"{peaks[1]:.0f} MB, without",
        goal=f"<= {LIMIT_MB:.0f} MB",
        met=peaks[0] <= LIMIT_MB if plan.judged else None,
    )
