"""Networks of this machine's own, where it can have them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
from lan import Lan, why_not
from lan_cluster import LanCluster
from watching import gate_of_test

gate = gate_of_test


@cache
def _why_not(as_user: bool | None = None) -> str:
    return why_not(as_user=as_user)


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skips where no network can be made."""
    if reason := _why_not():
        pytest.skip(reason)


@pytest.fixture
def empty_lan(namespaces: None) -> Iterator[Lan]:
    """A network without hosts."""
    with Lan() as made:
        yield made


@pytest.fixture(scope="module")
def shared_cluster(
    namespaces: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LanCluster]:
    with Lan() as lan:
        lan.wire("m", "a", "b", "c")
        made = LanCluster(lan, tmp_path_factory.mktemp("lan"))
        try:
            yield made
        finally:
            made.close()


@pytest.fixture
def cluster(shared_cluster: LanCluster) -> LanCluster:
    """A manager on host m; workers of one slot on a, b and c, all alive."""
    shared_cluster.wait()
    return shared_cluster
