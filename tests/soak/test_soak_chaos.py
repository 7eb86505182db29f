"""A slice of the chaos for every run of the tests; ``make soak`` runs it long."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from mrkernel import LocalCluster

from .chaos import run
from .jobs import KINDS, make, written


@pytest.mark.fault(1, 2, 3, 4, 5, 8)
@pytest.mark.timeout(180)
def test_jobs_under_random_signals_give_every_byte_and_leave_nothing() -> None:
    outcome = run(jobs=4, faults=12, seed=20261121, pause_s=(0.1, 0.4), seconds=8)
    assert outcome.well, "\n".join(outcome.lines())
    assert outcome.faults.total() >= 5
    assert outcome.jobs.total() >= 2


def test_without_signals_the_answers_are_those_of_plain_python(tmp_path: Path) -> None:
    # Else a wrong expectation would pass for chaos.
    with LocalCluster(workers=2) as cluster:
        for number, maker in enumerate(KINDS):
            folder = tmp_path / str(number)
            folder.mkdir()
            job = maker(random.Random(number), folder)
            assert job.run(cluster, 60) == job.expected, job.kind


def test_jobs_of_one_seed_are_the_same(tmp_path: Path) -> None:
    one, two = (make(random.Random(5), tmp_path / name) for name in ("one", "two"))
    assert (one.kind, one.expected) == (two.kind, two.expected)
    assert written([("b", 1), ("a", 2)]) == b"('a', 2)\n('b', 1)"
