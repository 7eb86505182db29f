"""Engines to run one job on, and what differs between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mrkernel.engines.inline import InlineEngine
from mrkernel.engines.local import LocalCluster

#: Workers of one slot each; None: this process.
WORKERS = {"inline": None, "1 worker": 1, "2 workers": 2, "7 workers": 7}


def started(workers: int | None) -> Iterator[Any]:
    if workers is None:
        yield InlineEngine()
        return
    with LocalCluster(workers, slots=1) as cluster:
        cluster.wait_for_workers()
        yield cluster


@pytest.fixture(scope="module", params=WORKERS.values(), ids=list(WORKERS))
def engine(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Every engine, one after the other."""
    yield from started(request.param)


@pytest.fixture(scope="module", params=[None, 2], ids=["inline", "2 workers"])
def place(request: pytest.FixtureRequest) -> Iterator[Any]:
    """This process and one cluster: enough where only the way of a result differs."""
    yield from started(request.param)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two workers, for what needs processes of its own."""
    yield from started(2)
