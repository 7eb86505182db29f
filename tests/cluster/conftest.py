"""Clusters of real processes on this machine, and gates in user code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from by_hand import ByHand
from watching import Gate, gate_of_test

from mrkernel.engines.local import LocalCluster

gate = gate_of_test


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[LocalCluster]:
    with LocalCluster(workers=2, slots=1) as running:
        running.wait_for_workers()
        yield running


@pytest.fixture
def cluster(shared_cluster: LocalCluster) -> LocalCluster:
    """Two workers of one slot each, both alive at the start of each test."""
    shared_cluster.wait_for_workers()
    return shared_cluster


@pytest.fixture
def another_gate(tmp_path: Path) -> Iterator[Callable[[str], Gate]]:
    gates: list[Gate] = []

    def make(name: str) -> Gate:
        gates.append(Gate(tmp_path / name))
        return gates[-1]

    yield make
    for made in gates:
        made.open()


@pytest.fixture
def by_hand(tmp_path: Path) -> Iterator[ByHand]:
    made = ByHand(tmp_path)
    yield made
    made.close()
