"""What a task costs a manager of 10, 100 and 1,000 workers: its state and its facts, no sockets.

The workers are simulated (``tests/simulation/cost.py``): a thousand real ones do not fit here.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.plan import Plan
from benchmarks.table import Row
from tests.simulation.cost import LIMIT_US
from tests.simulation.cost import measure as cost_of


def measure(plan: Plan) -> Iterator[Row]:
    """Measure it."""
    for workers in (10, 100, 1000):
        cost = cost_of(workers)
        yield Row(
            f"CPU of a manager of {workers:,} workers for each of {cost.tasks:,} tasks",
            f"{cost.task_us:.0f} µs",
            f"and {cost.idle:.1%} of a processor while they idle",
            goal=f"<= {LIMIT_US:.0f} µs",
            met=cost.task_us <= LIMIT_US if plan.judged else None,
        )
