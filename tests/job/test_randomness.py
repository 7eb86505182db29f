from __future__ import annotations

import random
import subprocess
import sys

import numpy

from mrkernel.job import randomness
from mrkernel.job.randomness import seeded


def draw() -> tuple[float, float]:
    return random.random(), float(numpy.random.random())


def test_the_same_on_every_attempt_and_other_in_every_task() -> None:
    with seeded(7, "map-0"):
        first = draw()
    with seeded(7, "map-0"):
        assert draw() == first
    for seed, task in ((8, "map-0"), (7, "map-1")):
        with seeded(seed, task):
            assert not set(draw()) & set(first)


def test_the_states_before_come_back() -> None:
    random.seed(1)
    numpy.random.seed(1)
    expected = draw()
    random.seed(1)
    numpy.random.seed(1)
    with seeded(7, "map-0"):
        draw()
    assert draw() == expected


def test_numpy_is_seeded_when_it_is_imported_later() -> None:
    program = """
import sys
from mrkernel.job.randomness import seed
seed(3, "map-1")
assert "numpy" not in sys.modules
import numpy
print(float(numpy.random.random()))
seed(3, "map-1")
print(float(numpy.random.random()))
assert not [f for f in sys.meta_path if type(f).__module__.startswith("mrkernel")]
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    first, second = done.stdout.split()
    assert first == second


def test_generators_go_back_to_where_they_were() -> None:
    with randomness.seeded(0, "map-0"):
        randomness.seed(0, "map-0")
        draw()
        before = randomness.state()
        drawn = draw()
        assert draw() != drawn
        randomness.restore(before)
        assert draw() == drawn
