"""``python -m tests.soak.long``: every long test, one after the other, each with its duration."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

#: What runs: the arguments of this Python, behind a name.
RUNS = {
    "chaos": ["-m", "tests.soak", "--jobs", "100", "--faults", "1000"],
    "simulation": ["-m", "tests.simulation", "--jobs", "99000"],
    "simulation-large": ["-m", "tests.simulation", "--workers", "1000", "--jobs", "1000"],
    "simulation-cost": ["-m", "tests.simulation", "--cost"],
    "restarts": ["-m", "benchmarks", "--only", "restarts", "--every-record"],
    "faults": [
        *("-m", "benchmarks", "--only", "hand-over", "--only", "frozen", "--only", "lost-task"),
        *("--only", "one-of-four", "--only", "slow-worker", "--only", "backup-waste"),
    ],
    "false-deaths": ["-m", "benchmarks", "--only", "false-deaths", "--minutes", "30"],
    "tests": ["-m", "pytest", "-m", "soak", "tests"],
}
#: pytest says so when there was no test to run.
NO_TESTS = 5


def main() -> int:
    """Run them; 1 when one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.long", description=__doc__)
    parser.add_argument("only", nargs="*", metavar="NAME", help=f"of {', '.join(RUNS)}")
    chosen = parser.parse_args().only
    for name in chosen:
        if name not in RUNS:
            parser.error(f"there is no {name!r}: one of {', '.join(RUNS)}")
    told = []
    failed = False
    for name, arguments in RUNS.items():
        if chosen and name not in chosen:
            continue
        print(f"== {name}: python {' '.join(arguments)}", flush=True)
        began = time.monotonic()
        status = subprocess.run([sys.executable, *arguments], check=False).returncode
        well = status == 0 or (name == "tests" and status == NO_TESTS)
        failed |= not well
        took = time.monotonic() - began
        told.append(f"{name:<18} {took:>7,.0f} s  {'well' if well else f'status {status}'}")
        print(flush=True)
    print("\n".join(told))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
