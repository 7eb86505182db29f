"""A cluster over a real network, with nothing wrong: what the other tests here start from."""

from __future__ import annotations

import pytest
from lan_cluster import EXPECTED, RECORDS, SPLIT, LanCluster, digest, spread


@pytest.mark.fault(62)
def test_a_job_between_hosts(cluster: LanCluster) -> None:
    job = cluster.submit(spread, RECORDS, digest, split_size=SPLIT, reduce_tasks=3)
    assert job.result(30).to_dict() == EXPECTED
    view = cluster.client.look(job.id)
    assert (view["failed"], view["redone"]) == (0, 0)
    assert view["shuffle"]["total"] > 0
