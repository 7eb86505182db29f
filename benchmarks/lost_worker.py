"""Word count on three workers, one of them killed in the middle: what that costs.

The time of the hand-over is taken from the job's picture: when the manager started the next attempt
of the map task that ran on the dead worker, on the clock that all processes of a machine share.
Where a reduce task ran there it waits for map output that died too; then the first of that counts.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.jobs import as_in_a_cell, total, words
from benchmarks.meter import median, rounds
from benchmarks.plan import Plan
from benchmarks.table import Row
from benchmarks.text import Text
from mrkernel.engines.local import LocalCluster

WORKERS = 3
LIMIT = 1.6  #: disturbed to undisturbed
LIMIT_MS = 100.0  #: from the kill to the next attempt of the task that ran there
LOOK_S = 0.005
PATIENCE_S = 5.0

_mapper, _reducer = as_in_a_cell(words), as_in_a_cell(total)


def measure(plan: Plan, text: Text) -> Iterator[Row]:
    """Measure it on a cluster of its own.

    Raises:
        AssertionError: the answers differ, or the kill came too late to disturb.
    """
    calm: list[float] = []
    struck: list[float] = []
    moved: list[float] = []
    with LocalCluster(workers=WORKERS, slots=1) as cluster:
        _count(cluster, text)  # the first job pays for what is read and imported once
        for _ in rounds(plan.rounds, plan.killed_s):
            cluster.wait_for_workers()
            expected, took, _ = _count(cluster, text)
            calm.append(took)
            pairs, took, blow = _count(cluster, text, strike_after=took / 2)
            struck.append(took)
            assert blow is not None and blow.moved_after_s is not None, "nothing had to move"
            moved.append(1e3 * blow.moved_after_s)
            assert dict(pairs) == dict(expected), "the answers differ"
            del pairs, expected
    times = median([a / b for a, b in zip(struck, calm, strict=True)])
    yield Row(
        f"one of {WORKERS} workers killed half-way",
        f"{median(struck):.2f} s",
        f"{median(calm):.2f} s, undisturbed",
        times,
        goal=f"wall × <= {LIMIT}",
        met=times <= LIMIT if plan.judged else None,
    )
    yield Row(
        "… kill to the task's next attempt elsewhere",
        f"{median(moved):.0f} ms",
        goal=f"<= {LIMIT_MS:.0f} ms",
        met=median(moved) <= LIMIT_MS if plan.judged else None,
    )


@dataclass
class _Blow:
    """A worker's death: the task that it ran was started elsewhere so many seconds later."""

    moved_after_s: float | None = None


def _count(
    cluster: LocalCluster, text: Text, strike_after: float | None = None
) -> tuple[list[Any], float, _Blow | None]:
    """Count the words; return the pairs, the seconds, and what a kill did."""
    blow = None
    began = time.perf_counter()
    job = cluster.submit(_mapper, list(text.paths), _reducer, combiner="sum", reduce_tasks=2)
    striking = None
    if strike_after is not None:
        blow = _Blow()
        left = began + strike_after - time.perf_counter()
        striking = threading.Timer(max(0.0, left), _strike, (cluster, job.id, blow))
        striking.start()
    result = job.result()
    took = time.perf_counter() - began
    if striking is not None:
        striking.join()
    pairs = list(result)
    result.release()
    return pairs, took, blow


def _strike(cluster: LocalCluster, job: str, blow: _Blow) -> None:
    """Kill a worker that runs a task of the job, and see when its work is taken up elsewhere."""
    rows = cluster.client.look(job)["workers"].values()
    victim = next((row for row in rows if row["state"] == "alive" and row["tasks"]), None)
    if victim is None:
        return
    wanted = {each["task"] for each in victim["tasks"] if each["task"].startswith("map-")}
    at = time.monotonic()
    os.kill(victim["pid"], signal.SIGKILL)
    while time.monotonic() < at + PATIENCE_S:
        for row in cluster.client.look(job)["workers"].values():
            for each in row["tasks"]:
                again = each["attempt"] > 1 and each["at"] >= at
                if again and (each["task"] in wanted or not wanted):
                    blow.moved_after_s = each["at"] - at
                    return
        time.sleep(LOOK_S)
