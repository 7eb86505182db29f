"""Many map tasks that yield nothing: what a task costs, all around."""

from __future__ import annotations

from collections.abc import Iterator

import psutil

from benchmarks.jobs import as_in_a_cell, nothing
from benchmarks.meter import Meter, Sample, median, process_cpu, ratio, rounds
from benchmarks.plan import Plan
from benchmarks.pool import HandWrittenPool
from benchmarks.table import Row
from mrkernel.engines.job import Job
from mrkernel.engines.local import LocalCluster

LIMIT_PER_S = 13_000
LIMIT_US = 60.0  #: CPU of the manager, per task

_mapper = as_in_a_cell(nothing)


def measure(
    plan: Plan, cluster: LocalCluster, meter: Meter, pool: HandWrittenPool
) -> Iterator[Row]:
    """Measure it.

    Raises:
        AssertionError: a task is missing, or the answer is not empty.
    """
    number = plan.empty_tasks
    ours: list[Sample] = []
    theirs: list[Sample] = []
    their_meter, manager = Meter(pool.pids), _manager(cluster)
    managed: list[float] = []  #: microseconds per task

    def job() -> Job:
        started = cluster.submit(_mapper, iter(range(number)), "sum", split_size=1, reduce_tasks=2)
        started.result()
        return started

    for _ in rounds(plan.rounds, plan.empty_s):
        before = process_cpu(manager)
        ended, sample = meter.measure(job)
        managed.append(1e6 * (process_cpu(manager) - before) / number)
        ours.append(sample)
        assert list(ended.result()) == []
        done = cluster.client.look(ended.id)["map"]["done"]
        assert done == number, f"{done} of {number} map tasks were run"
        answer, sample = their_meter.measure(lambda: pool.empty_tasks(number))
        theirs.append(sample)
        assert answer == []
    rate = number / median([sample.wall for sample in ours])
    yield Row(
        f"{number:,} map tasks that yield nothing",
        f"{rate:,.0f} /s",
        f"{number / median([sample.wall for sample in theirs]):,.0f} /s, pool",
        ratio(ours, theirs, "wall"),
        ratio(ours, theirs, "cpu"),
        f">= {LIMIT_PER_S:,} /s",
        rate >= LIMIT_PER_S if plan.judged else None,
    )
    spent = median(managed)
    yield Row(
        "… CPU of the manager, per task",
        f"{spent:.0f} µs",
        goal=f"<= {LIMIT_US:.0f} µs",
        met=spent <= LIMIT_US if plan.judged else None,
    )


def _manager(cluster: LocalCluster) -> int:
    """The manager's pid: of all that the supervisor starts it is the first."""
    children = psutil.Process(cluster.client.connection.pid).children()
    return int(min(children, key=lambda child: (child.create_time(), child.pid)).pid)
