"""``python -m tests.soak``: jobs under random signals, and a table of what came of them."""

from __future__ import annotations

import argparse
import sys
import time

from .chaos import run


def main() -> int:
    """Run; 1 when an answer was wrong, a job failed or hung, or something was left over."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--jobs", type=int, default=100, help="at least")
    parser.add_argument("--faults", type=int, default=1000, help="at least")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no job later")
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    outcome = run(jobs=chosen.jobs, faults=chosen.faults, seed=chosen.seed, seconds=chosen.seconds)
    print("\n".join(outcome.lines()))
    return 0 if outcome.well else 1


sys.exit(main())
