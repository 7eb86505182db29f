"""The same data in ever more splits: what a split costs beyond its bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.contest import compete
from benchmarks.data import Data
from benchmarks.meter import median, ratio
from benchmarks.plan import Plan
from benchmarks.table import Row

COUNTS = (8, 64, 500, 2_000)
LIMIT = 1.1  #: wall, to that with the fewest


def measure(
    plan: Plan, job: str, data: Data, log: Path | None, say: Callable[[str], None]
) -> Iterator[Row]:
    """Measure one job.

    Raises:
        AssertionError: it failed, or the answers differ.
    """
    names = [f"ours:split_size={-(-data.nbytes // count)}" for count in COUNTS]
    found = compete(
        job,
        names,
        data,
        most=min(plan.rounds, 3),
        budget_s=2 * plan.job_s,
        timeout_s=plan.timeout_s,
        log=log,
        say=say,
    )
    for each in found:
        assert not each.fault, f"{each.name}: {each.fault}"
    few, *more = ([run.sample for run in each.runs.values()] for each in found)
    beside = f"{median([sample.wall for sample in few]):.2f} s in {COUNTS[0]}"
    for count, many in zip(COUNTS[1:], more, strict=True):
        wall = ratio(many, few, "wall")
        yield Row(
            f"{job}, {data.nbytes / 1e6:.0f} MB in {count:,} splits",
            f"{median([sample.wall for sample in many]):.2f} s",
            beside,
            wall,
            ratio(many, few, "cpu"),
            f"wall × <= {LIMIT}",
            wall <= LIMIT if plan.judged else None,
        )
