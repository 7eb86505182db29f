"""A slice of the simulation for every run of the tests; ``make soak`` runs the long ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .command import live, main
from .cost import measure
from .disks import run_name
from .runner import Runner
from .world import Setting, World, large_world, random_world

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.fault(1, 2, 3, 5, 8, 13, 14, 15, 16, 22, 48, 49)
def test_nothing_is_lost_in_three_hundred_jobs() -> None:
    jobs, seed, struck = 0, 0, 0
    while jobs < 300:
        figures = live(random_world(seed), f"python -m tests.simulation --seed {seed} --jobs 1")
        jobs, struck, seed = jobs + figures.jobs, struck + figures.struck.total(), seed + 1
    assert struck > 50


@pytest.mark.fault(53)
def test_nothing_is_lost_among_two_hundred_workers() -> None:
    again = "python -m tests.simulation --workers 200 --seed 1 --jobs 1"
    figures = live(large_world(1, 200, 1), again)
    assert figures.outcomes == {"done": 1}


def test_a_seed_is_one_story_in_any_process() -> None:
    told = set()
    for hash_seed in ("1", "2"):
        command = [sys.executable, "-m", "tests.simulation", "--seed", "2", "--jobs", "30"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        told.add(done.stdout.partition("trace of the last world: ")[2])
    assert len(told) == 1
    assert len(told.pop().strip()) == 32


def test_another_seed_is_another_story() -> None:
    assert random_world(3).run().hash == random_world(3).run().hash != random_world(4).run().hash


def test_a_run_that_is_not_read_is_seen_and_told_with_its_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Runner, "_read_run", lambda *_: (None, 0.0))
    assert main(["--jobs", "200"]) == 1
    told = capsys.readouterr().err
    assert "not once each of" in told
    assert "again: python -m tests.simulation --seed" in told
    assert "Finished(" in told.partition("the last lines")[2]


def test_finished_work_that_is_done_again_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mrkernel.manager.stores.GRACE_S", -1.0)
    with pytest.raises(AssertionError, match=r"for nobody|for nothing"):
        for seed in range(100):
            live(random_world(seed), "")


def test_a_task_costs_a_manager_of_many_workers_no_more_than_of_few() -> None:
    # Ratios: how fast the machine is, and what else it does, is not the question here.
    few, many = measure(10, rounds=2), measure(200, rounds=2)
    assert many.task_us < 3 * few.task_us
    assert few.backups < 0.02 and many.backups < 0.02


def test_a_quiet_world_is_all_done() -> None:
    assert World(1, Setting(hosts=1, workers=1, slots=1, scripts=())).run().jobs == 0
    assert run_name(3, 1) == "map-3.1.run"
