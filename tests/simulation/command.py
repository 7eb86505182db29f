"""The command line: which worlds to live through, and the figures of all of them."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from traceback import format_tb

from .cost import LIMIT_US, measure
from .oracle import Violation
from .trace import KEPT, Trace
from .world import Figures, World, large_world, random_world

#: Jobs of one world of many workers.
AT_ONCE = 10


def live(world: World, again: str) -> Figures:
    """Live through a world; a violation says how to see it again.

    Raises:
        AssertionError: with the seed, the last lines of the trace, and the command.
    """
    try:
        return world.run()
    except Exception as error:
        lines = "\n".join(world.trace.tail())
        where = "" if isinstance(error, Violation) else "".join(format_tb(error.__traceback__)[-4:])
        raise AssertionError(
            f"the last lines of seed {world.seed}:\n{lines}\n\n{where}"
            f"{type(error).__name__}: {error}\nagain: {again}"
        ) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Live through worlds; return 1 after a violation, or a manager that is too slow."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000, help="simulated jobs in all, about")
    parser.add_argument("--workers", type=int, default=0, help="of each world; 0: some, by chance")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the first world; then one more each"
    )
    parser.add_argument(
        "--seconds", type=float, default=1e9, help="stop then, and say how to go on"
    )
    parser.add_argument("--lines", type=int, default=KEPT, help="of the trace, after a violation")
    parser.add_argument("--keep-going", type=int, default=1, help="violations before it stops")
    parser.add_argument("--cost", action="store_true", help="what a task costs a manager, no more")
    chosen = parser.parse_args(arguments)
    if chosen.cost:
        return _tell_cost()
    total, began = Figures(), time.monotonic()
    seed, violations, share = chosen.seed, 0, min(AT_ONCE, chosen.jobs)
    size = f" --workers {chosen.workers}" if chosen.workers else ""
    while total.jobs < chosen.jobs and time.monotonic() - began < chosen.seconds:
        world = large_world(seed, chosen.workers, share) if chosen.workers else random_world(seed)
        world.trace = Trace(chosen.lines)
        jobs = share if chosen.workers else 1
        again = f"python -m tests.simulation{size} --seed {seed} --jobs {jobs}"
        try:
            _add(total, live(world, again))
        except AssertionError as error:
            print(error, "\n", file=sys.stderr, flush=True)
            violations += 1
            if violations >= chosen.keep_going:
                break
        seed += 1
    _tell(total, seed - chosen.seed, violations, time.monotonic() - began)
    left = chosen.jobs - total.jobs
    if left > 0:
        print(f"go on: python -m tests.simulation{size} --seed {seed} --jobs {left}")
    return 1 if violations else 0


def _add(total: Figures, one: Figures) -> None:
    total.jobs += one.jobs
    total.tasks += one.tasks
    total.events += one.events
    total.reruns += one.reruns
    total.outcomes += one.outcomes
    total.struck += one.struck
    total.hash = one.hash


def _tell(total: Figures, worlds: int, violations: int, took: float) -> None:
    print(
        f"{total.jobs:,} jobs in {worlds:,} worlds, {total.tasks:,} tasks, {total.events:,} "
        f"events, {total.struck.total():,} faults, {total.reruns:,} tasks run again because their "
        f"output was lost; {violations} violations; {took:.0f} s, {total.jobs / took:.0f} jobs/s"
    )
    print(f"outcomes: {_list(total.outcomes)}")
    print(f"faults: {_list(total.struck)}")
    print(f"trace of the last world: {total.hash}")


def _tell_cost() -> int:
    slow = False
    for workers in (10, 100, 1000):
        cost = measure(workers)
        slow |= cost.task_us > LIMIT_US
        print(
            f"{workers:>5,} workers: {cost.task_us:.0f} µs of manager CPU for each of "
            f"{cost.tasks:,} tasks (<= {LIMIT_US:.0f}), and {cost.idle:.1%} of a processor while "
            f"they idle; {cost.backups:.1%} of the attempts were backups"
        )
    return 1 if slow else 0


def _list(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in counts.most_common())
