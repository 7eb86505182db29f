"""One job, one answer: every engine agrees with the sequential oracle, pair by pair and in type."""

from __future__ import annotations

import functools
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sequential
from hypothesis import given, settings
from job_strategies import any_job
from jobs import Job, functions, keys, looks, numbers, pairs_of, run, values
from oracle import exactly

import mrkernel
from mrkernel.engines.inline import InlineEngine
from mrkernel.job import randomness
from mrkernel.shuffle.keys import encode

CASES = {
    f"{topic.__name__.removeprefix('jobs.')}: {name}": job
    for topic in (functions, keys, numbers, values)
    for name, job in topic.jobs().items()
}


def expected(job: Job) -> tuple[list[Any], list[str]]:
    """The pairs of each part, and all of them in the order of the result."""
    options = {name: job.options[name] for name in job.options if name != "slot_memory"}
    parts = sequential.parts(job.mapper, job.splits, job.reducer, **options)
    placed = [pair for part in parts for pair in part]
    if job.reducer != "none":
        placed.sort(key=lambda pair: encode(pair[0]))
    return [exactly([pair for _, pair in part]) for part in parts], [repr(p) for _, p in placed]


def answer(result: mrkernel.JobResult, parts: int) -> tuple[list[Any], list[str]]:
    assert len(result) == sum(1 for _ in result)
    return [exactly(list(result.part(number))) for number in range(parts)], list(map(repr, result))


@functools.cache
def expected_of(case: str) -> tuple[list[Any], list[str]]:
    return expected(CASES[case])


@pytest.mark.parametrize("case", CASES)
def test_the_answer_is_that_of_the_oracle(engine: Any, case: str, tmp_path: Path) -> None:
    wanted = expected_of(case)
    assert answer(run(CASES[case], engine, tmp_path), len(wanted[0])) == wanted


def test_the_order_of_keys_is_the_one_that_was_promised(engine: Any) -> None:
    """Written out, because the oracle asks ``encode``, which may be wrong."""
    pairs = [(key, 1) for key in [*keys.EVERY, *reversed(keys.EVERY)]]
    found = list(mrkernel.run(pairs_of, [pairs], "sum", on=engine, reduce_tasks=3))
    nan, inf = math.nan, math.inf
    assert list(map(repr, found)) == [
        *map(repr, [(None, 2), (-inf, 2), (-(2**70), 2), (-(2**63), 2), (-1, 2), (False, 8)]),
        *map(repr, [(5e-324, 2), (0.5, 2), (True, 8), (3, 2), (2**53, 4), (2**53 + 1, 2)]),
        *map(repr, [(2**63, 2), (2**70, 2), (1e308, 2), (2**1100, 2), (inf, 2), (nan, 4)]),
        *map(repr, [("", 2), ("1", 2), ("None", 2), ("a", 4), ("a\x00", 2), ("a\x00b", 2)]),
        *map(repr, [("ab", 2), ("red", 4), ("x" * 300, 2), ("é", 2), ("\ud800", 2)]),
        *map(repr, [("\U0001f600", 2), (b"", 2), (b"\x00", 2), (b"1", 2), (b"a", 2)]),
        *map(repr, [(b"\xff", 2), ((), 2), ((0,), 4), ((True,), 6), ((1, 2), 4)]),
        *map(repr, [((2**70, "\ud800"), 2), (("a",), 2), (("a", b""), 4), (("a", ()), 2)]),
        *map(repr, [(("a", (None, nan)), 2), (((),), 2), ((("a", 1), ("a", 1.0)), 2)]),
    ]


@pytest.mark.fault(47)
@given(any_job())
@settings(max_examples=150)
def test_any_pairs_here(job: Job) -> None:
    wanted = expected(job)
    assert answer(run(job, InlineEngine(), Path()), len(wanted[0])) == wanted


@pytest.mark.fault(47)
@given(job=any_job())
@settings(max_examples=12)
def test_any_pairs_on_a_cluster(engine: Any, job: Job) -> None:
    wanted = expected(job)
    assert answer(run(job, engine, Path()), len(wanted[0])) == wanted


def chances_of(task: str, draws: int) -> list[list[Any]]:
    """What the task's random numbers are, drawn here."""
    with randomness.seeded(0, task):
        return [
            [random.random(), random.randrange(10**9), float(np.random.random())]
            for _ in range(draws)
        ]


def test_chance_is_seeded_by_task_and_alike_everywhere(engine: Any) -> None:
    state, numpy_state = random.getstate(), np.random.get_state()[1].tolist()
    options = {"split_size": 1, "reduce_tasks": 1}
    result = mrkernel.run(looks.chances, range(6), looks.chance, on=engine, **options)
    with randomness.seeded(0, "reduce-0"):
        ours = [random.random() for _ in range(6)]
    assert result.to_dict() == {n: [chances_of(f"map-{n}", 1)[0], ours[n]] for n in range(6)}
    assert random.getstate() == state
    assert np.random.get_state()[1].tolist() == numpy_state
