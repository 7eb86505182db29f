"""Nobody dies who lives: user code that never lets go of the interpreter, and four times as many
processes as there are processors that all want one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.plan import Plan
from benchmarks.table import Row
from mrkernel.engines.local import LocalCluster

OVERSUBSCRIPTION = 4


def measure(plan: Plan) -> Iterator[Row]:
    """Run jobs for so long; count the workers that were given up.

    Raises:
        AssertionError: an answer is wrong.
    """
    deaths, jobs, suspected, took = count(plan.deaths_s)
    yield Row(
        f"workers given up in {took / 60:.1f} minutes of {jobs} jobs that hold the GIL, "
        f"{OVERSUBSCRIPTION} x oversubscribed",
        f"{deaths}",
        f"{suspected} doubted for a moment",
        goal="0",
        met=deaths == 0 if plan.judged else None,
    )


def count(seconds: float) -> tuple[int, int, int, float]:
    """Return deaths, jobs, suspicions, and how long it took."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    hogs = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(OVERSUBSCRIPTION * cores)
    ]

    def mapper(number: int) -> Any:
        import re

        # One call into C that goes on for about a second of CPU, and lets nobody else run.
        assert re.match(r"(a+)+$", "a" * 23 + "b") is None
        yield number % 3, 1

    began, jobs, dead, suspected = time.monotonic(), 0, set(), set()
    try:
        with LocalCluster(workers=4, slots=1) as cluster:
            cluster.wait_for_workers()
            first = set(cluster.workers())
            while time.monotonic() - began < seconds:
                job = cluster.submit(mapper, iter(range(8)), "sum", split_size=1, no_backup=True)
                while not job.wait(0.05):
                    rows = cluster.workers()
                    dead |= {name for name, row in rows.items() if row["state"] == "dead"}
                    suspected |= {
                        (name, jobs) for name, row in rows.items() if row["state"] == "suspect"
                    }
                assert job.result().to_dict() == {0: 3, 1: 3, 2: 2}
                jobs += 1
            dead |= first - {n for n, row in cluster.workers().items() if row["state"] != "dead"}
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
    return len(dead), jobs, len(suspected), time.monotonic() - began
