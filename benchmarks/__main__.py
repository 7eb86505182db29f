"""``python -m benchmarks``: measure every figure of issue 2 in one run and print one table."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from benchmarks.plan import QUICK, WHOLE, Plan
from benchmarks.pool import PROCESSES, HandWrittenPool
from benchmarks.table import Row, render

FIGURES = ("cold-start", "small-job", "empty-tasks", "word-count", "lost-worker")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 also where a goal is missed: machines differ. An answer that is wrong raises."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run: small, judges nothing")
    parser.add_argument("--only", choices=FIGURES, action="append", help="this figure (repeatable)")
    chosen = parser.parse_args(arguments)
    began, machine = time.monotonic(), _machine()
    rows = []
    for row in _rows(QUICK if chosen.quick else WHOLE, chosen.only or FIGURES):
        rows.append(row)
        _say(f"{row.figure}: {row.ours}")
    print(f"{machine}{_load('at the end')}\n")
    print(render(rows))
    print(
        f"\nMedians of runs in turn; CPU is that of all processes. {time.monotonic() - began:.0f} s"
        + (" (a smoke run: too small to judge by)" if chosen.quick else "")
    )
    return 0


def _rows(plan: Plan, figures: Sequence[str]) -> Iterator[Row]:
    from benchmarks import cold_start

    if "cold-start" in figures:
        yield from cold_start.measure(plan)
    if {"small-job", "empty-tasks", "word-count"} & {*figures}:
        yield from _beside_pools(plan, figures)
    if "lost-worker" in figures:
        from benchmarks import lost_worker
        from benchmarks.text import make_text

        yield from lost_worker.measure(plan, make_text(plan.megabytes))


def _beside_pools(plan: Plan, figures: Sequence[str]) -> Iterator[Row]:
    """What is measured on one warm cluster, beside pools of as many processes."""
    with ExitStack() as stack:
        # First of all: they fork, and the cluster's client has a thread.
        plain = stack.enter_context(HandWrittenPool())
        best = stack.enter_context(HandWrittenPool(collect=False))
        from benchmarks import empty_tasks, small_job, word_count
        from benchmarks.meter import Meter
        from benchmarks.text import make_text
        from mrkernel.engines.local import LocalCluster

        cluster = stack.enter_context(LocalCluster(workers=PROCESSES, slots=1))
        cluster.wait_for_workers()
        # Its supervisor: all its other processes descend from that.
        meter = Meter((cluster.client.connection.pid,))
        if "small-job" in figures:
            yield from small_job.measure(plan, cluster, meter, plain)
        if "empty-tasks" in figures:
            yield from empty_tasks.measure(plan, cluster, meter, plain)
        if "word-count" in figures:
            text = make_text(plan.megabytes)
            _say(str(text))
            yield from word_count.measure(plan, text, cluster, meter, plain, best)


def _machine() -> str:
    return (
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} processors{_load('at the start')}"
    )


def _load(when: str) -> str:
    """How busy the machine was: nothing else should have been."""
    return f", load {os.getloadavg()[0]:.1f} {when}" if hasattr(os, "getloadavg") else ""


def _say(line: str) -> None:
    print(f"# {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
