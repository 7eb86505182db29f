"""``python -m benchmarks``: measure every figure in one run and print tables of ratios.

Without arguments: the figures, and the six jobs beside a pool written by hand.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from pathlib import Path

from benchmarks import contest, data, memory, split_counts, standings
from benchmarks.enclosure import how_counted
from benchmarks.goals import POOLS, RECORD
from benchmarks.jobs import JOBS
from benchmarks.peers import BESIDE
from benchmarks.plan import QUICK, WHOLE, Plan
from benchmarks.pool import PROCESSES, HandWrittenPool
from benchmarks.table import Row, render

FIGURES = (
    "cold-start",
    "small-job",
    "empty-tasks",
    "word-count",
    "streaming",
    "lost-worker",
    "live-view",
)
LARGE = ("memory", "splits")
FAULTS = (
    "hand-over",
    "frozen",
    "lost-task",
    "one-of-four",
    "slow-worker",
    "backup-waste",
    "restarts",
    "manager-cpu",
    "false-deaths",
)
SIX = tuple(job for job in JOBS if job != "group-large")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 also where a goal is missed: machines differ.

    An answer that is wrong raises in the figures; among the six jobs it is told, and the status
    is 1, as it is where mrkernel fails.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run: small, judges nothing")
    parser.add_argument(
        "--only",
        choices=(*FIGURES, *FAULTS, *LARGE, *JOBS),
        action="append",
        help="this one (repeatable)",
    )
    parser.add_argument(
        "--large", action="store_true", help="also what takes minutes: memory, splits, group-large"
    )
    parser.add_argument("--faults", action="store_true", help="what faults cost, instead: minutes")
    parser.add_argument(
        "--every-record",
        action="store_true",
        help="restarts: a manager killed at every boundary of the journal's records",
    )
    parser.add_argument(
        "--minutes", type=float, metavar="M", help="false-deaths: how long; 5 if it is not said"
    )
    parser.add_argument(
        "--peers", action="store_true", help="the six jobs beside every peer that is installed"
    )
    parser.add_argument(
        "--against",
        metavar="NAME[:VARIANT]",
        action="append",
        help="the six jobs beside this one, instead (repeatable); ours:batch is ours, too",
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="at most; 3 for the six jobs")
    parser.add_argument(
        "--budget", type=float, metavar="S", help="seconds that the rounds of one job may take"
    )
    parser.add_argument(
        "--timeout", type=float, metavar="S", help="who needs longer for one of the jobs is out"
    )
    parser.add_argument(
        "--text",
        type=Path,
        default=os.environ.get("MRKERNEL_BENCH_TEXT"),
        metavar="DIR",
        help="folder whose text the jobs read (default: the installed Python sources)",
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="append each run as a JSON line")
    chosen = parser.parse_args(arguments)
    began, machine = time.monotonic(), _machine()
    plan = QUICK if chosen.quick else WHOLE
    if chosen.budget is not None:
        plan = replace(plan, job_s=chosen.budget)
    if chosen.timeout is not None:
        plan = replace(plan, timeout_s=chosen.timeout)
    if chosen.every_record:
        plan = replace(plan, restarts=None)
    if chosen.minutes is not None:
        plan = replace(plan, deaths_s=60 * chosen.minutes)
    wanted = (
        chosen.only
        or (chosen.faults and FAULTS)
        or (*FIGURES, *(chosen.large * LARGE), *(JOBS if chosen.large else SIX))
    )
    rows = []
    for row in chain(_rows(plan, wanted), _faults(plan, wanted), _large(plan, wanted, chosen)):
        rows.append(row)
        _say(f"{row.figure}: {row.ours}")
    jobs, notes, wrong = _jobs(plan, [name for name in JOBS if name in wanted], chosen)
    print(f"{machine}{_load('at the end')}\n")
    if rows:
        print(f"{render(rows)}\n")
    if jobs:
        print(f"{standings.render(jobs)}\n")
    for note in notes:
        print(f"* {note}")
    print("\n" * bool(notes), end="")
    print(
        f"Medians of runs in turn; × is ours to theirs; CPU is that of all processes. "
        f"{time.monotonic() - began:.0f} s"
        + (" (a smoke run: too small to judge by)" if chosen.quick else "")
    )
    return 1 if wrong else 0


def _jobs(
    plan: Plan, names: Sequence[str], chosen: argparse.Namespace
) -> tuple[list[tuple[str, ...]], list[str], bool]:
    """Run the contests of some jobs; return rows, notes, and whether an answer was wrong."""
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    versions: dict[str, None] = {}
    wrong = False
    for job in names:
        given = data.make(JOBS[job].data, share=plan.share, text=chosen.text)
        if given.note:
            notes.append(f"{job}: {given.note}.")
        wanted = [RECORD, *(chosen.against or (BESIDE[job] if chosen.peers else [POOLS[job]]))]
        absent = {name: why for name in wanted if (why := contest.missing(name, job))}
        left_out = {name: why for name, why in absent.items() if why != contest.NO_SUCH_JOB}
        notes += [f"{job}: {name} left out: {why}." for name, why in left_out.items()]
        found = contest.compete(
            job,
            [name for name in dict.fromkeys(wanted) if name not in absent],
            given,
            most=chosen.rounds or min(plan.rounds, 3),
            budget_s=plan.job_s,
            timeout_s=plan.timeout_s,
            log=chosen.log,
            say=_say,
        )
        notes += [f"{job}: {each.name}: {each.fault}." for each in found if each.fault]
        versions |= {run.version: None for each in found for run in each.runs.values()}
        wrong |= any(
            each.fault.startswith("DIFFERS") or (each.fault and each.name.startswith(RECORD))
            for each in found
        )
        rows += standings.cells(job, given, found, judged=plan.judged)
    if versions:
        notes.append(f"Versions: {', '.join(versions)}.")
    return rows, notes, wrong


def _rows(plan: Plan, figures: Sequence[str]) -> Iterator[Row]:
    from benchmarks import cold_start

    if "cold-start" in figures:
        yield from cold_start.measure(plan)
    if {"small-job", "empty-tasks", "word-count", "streaming"} & {*figures}:
        yield from _beside_pools(plan, figures)
    if "lost-worker" in figures:
        from benchmarks import lost_worker
        from benchmarks.text import make_text

        yield from lost_worker.measure(plan, make_text(plan.megabytes))
    if "live-view" in figures:
        from benchmarks import live_view

        yield from live_view.measure(plan)


def _faults(plan: Plan, wanted: Sequence[str]) -> Iterator[Row]:
    """What faults cost."""
    from benchmarks import false_deaths, hand_over, manager_cpu, recovery, restarts

    figures = {
        "hand-over": hand_over.killed,
        "frozen": hand_over.frozen,
        "lost-task": recovery.lost_task,
        "one-of-four": recovery.one_of_four,
        "slow-worker": recovery.slow_worker,
        "backup-waste": recovery.backup_waste,
        "restarts": restarts.measure,
        "manager-cpu": manager_cpu.measure,
        "false-deaths": false_deaths.measure,
    }
    for name in FAULTS:
        if name in wanted:
            yield from figures[name](plan)


def _large(plan: Plan, wanted: Sequence[str], chosen: argparse.Namespace) -> Iterator[Row]:
    """What takes minutes."""
    if "memory" in wanted:
        given = data.make("pairs-large", share=plan.share)
        yield from memory.measure(plan, given, chosen.log, _say)
    if "splits" in wanted:
        for job in ("stats", "group"):
            given = data.make(JOBS[job].data, share=plan.share)
            yield from split_counts.measure(plan, job, given, chosen.log, _say)


def _beside_pools(plan: Plan, figures: Sequence[str]) -> Iterator[Row]:
    """What is measured on one warm cluster, beside pools of as many processes."""
    with ExitStack() as stack:
        # First of all: they fork, and the cluster's client has a thread.
        plain = stack.enter_context(HandWrittenPool())
        best = stack.enter_context(HandWrittenPool(collect=False))
        from benchmarks import empty_tasks, small_job, streaming, word_count
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
        if "streaming" in figures:
            yield from streaming.measure(plan, make_text(plan.megabytes), cluster, meter)


def _machine() -> str:
    return (
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} processors, CPU by {how_counted()}{_load('at the start')}"
    )


def _load(when: str) -> str:
    """How busy the machine was: nothing else should have been."""
    return f", load {os.getloadavg()[0]:.1f} {when}" if hasattr(os, "getloadavg") else ""


def _say(line: str) -> None:
    print(f"# {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
