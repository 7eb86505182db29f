"""From a new Python process to the first result, on a cluster that does not exist yet.

Beside it: a new Python process that makes a pool of two. Each is a program of its own, which prints
its answer, and ends when its standard input does.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.meter import Sample, family_cpu, median, ratio, rounds
from benchmarks.plan import Plan
from benchmarks.table import Row
from benchmarks.text import ROOT

LIMIT_S = 0.5

_LINES = """
import sys
lines = [f"the quick brown fox jumps over the lazy dog number {n}" for n in range(10)]
"""

OURS = (
    _LINES
    + """
import mrkernel

def mapper(line):
    for word in line.split():
        yield word, 1

def reducer(word, ones):
    yield word, sum(ones)

print(sorted(mrkernel.run(mapper, iter(lines), reducer, on="local")), flush=True)
sys.stdin.read()
"""
)

THEIRS = (
    _LINES
    + """
import multiprocessing

def count(lines):
    words = {}
    for line in lines:
        for word in line.split():
            words[word] = words.get(word, 0) + 1
    return words

with multiprocessing.get_context("fork").Pool(2) as pool:
    one, two = pool.map(count, [lines[:5], lines[5:]], 1)
    for word, n in two.items():
        one[word] = one.get(word, 0) + n
    print(sorted(one.items()), flush=True)
    sys.stdin.read()
"""
)


def measure(plan: Plan) -> Iterator[Row]:
    """Measure it.

    Raises:
        AssertionError: the answers differ.
    """
    ours: list[Sample] = []
    theirs: list[Sample] = []
    for _ in rounds(plan.rounds, plan.cold_s):
        our_answer, sample = _first_result(OURS)
        ours.append(sample)
        their_answer, sample = _first_result(THEIRS)
        theirs.append(sample)
        assert our_answer == their_answer, f"{our_answer} is not {their_answer}"
    wall = median([sample.wall for sample in ours])
    yield Row(
        "new Python process to the first result",
        f"{wall:.2f} s",
        f"{median([sample.wall for sample in theirs]):.2f} s, new pool",
        ratio(ours, theirs, "wall"),
        ratio(ours, theirs, "cpu"),
        f"<= {LIMIT_S} s",
        wall <= LIMIT_S if plan.judged else None,
    )


def _first_result(program: str) -> tuple[str, Sample]:
    """Run a program up to the line it prints."""
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        answer = process.stdout.readline()
        wall = time.perf_counter() - began
        return answer, Sample(wall, family_cpu(process.pid))
