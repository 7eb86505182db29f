"""Workers that are added to a local cluster, and that retire from it: nothing runs again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from watching import Gate, eventually, steadily, worker_of

from mrkernel.engines.local import LocalCluster
from mrkernel.errors import ClusterError, JobSpecError


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(workers=2, slots=1) as made:
        made.wait_for_workers()
        yield made


def states(cluster: LocalCluster) -> dict[str, str]:
    return {name: row["state"] for name, row in cluster.workers().items()}


def test_who_retires_ends_its_task_and_what_it_made_is_kept(
    cluster: LocalCluster, another_gate: Callable[[str], Gate]
) -> None:
    mapping = another_gate("mapping")
    pause = mapping.pause

    def mapper(record: int) -> Iterator[tuple[int, bytes]]:
        if record >= 8:
            pause(f"map {record}")
        yield record % 4, os.urandom(50_000)  # too much to travel in a message

    def reducer(key: int, values: Any) -> int:
        return sum(len(value) for value in values)

    job = cluster.submit(mapper, range(10), reducer, split_size=1, reduce_tasks=4)
    worker = worker_of(cluster, mapping.wait_for("map 8"))
    cluster.retire(worker)
    eventually(lambda: states(cluster)[worker] == "barred", "bar")
    steadily(lambda: states(cluster)[worker] == "barred", 0.3, "it left its task")
    mapping.open()
    eventually(lambda: states(cluster)[worker] == "retired", "retirement")
    assert job.result(20).to_dict() == {0: 150_000, 1: 150_000, 2: 100_000, 3: 100_000}
    picture = cluster.client.look(job.id)
    assert (picture["redone"], picture["lost_workers"], picture["failed"]) == (0, 0, 0)
    assert f"{worker} left" in [line["text"] for line in cluster.client.look("cluster")["feed"]]
    # It is not replaced, and the last one stays.
    steadily(lambda: list(states(cluster).values()).count("alive") == 1, 0.5, "it came back")
    [last] = [name for name, state in states(cluster).items() if state == "alive"]
    with pytest.raises(ClusterError, match=f"{last} is the last worker"):
        cluster.retire(last)
    with pytest.raises(ClusterError, match=f"no worker '{worker}' lives here"):
        cluster.retire(worker)


def test_who_was_asked_to_go_goes_though_the_manager_died(
    cluster: LocalCluster, another_gate: Callable[[str], Gate]
) -> None:
    mapping = another_gate("mapping")
    pause = mapping.pause

    def mapper(record: int) -> Iterator[tuple[int, int]]:
        if record == 0:
            pause("map 0")
        yield record % 4, record

    job = cluster.submit(mapper, range(10), "sum", split_size=1, reduce_tasks=2)
    worker = worker_of(cluster, mapping.wait_for("map 0"))
    pid = cluster.workers()[worker]["pid"]
    cluster.retire(worker)
    cluster.restart_manager()  # its task is gone with the manager, and it has nothing else to do

    def alive() -> list[int]:
        return [row["pid"] for row in cluster.workers().values() if row["state"] == "alive"]

    eventually(lambda: len(alive()) == 1 and pid not in alive(), "retirement")
    mapping.open()
    assert job.result(20).to_dict() == {0: 12, 1: 15, 2: 8, 3: 10}
    steadily(lambda: len(alive()) == 1, 0.5, "it came back")


def test_one_more_worker_joins_and_is_replaced_like_the_others(cluster: LocalCluster) -> None:
    cluster.add_worker(slots=2)
    cluster.wait_for_workers(3)
    assert cluster.slots == 4
    assert cluster.workers()["w3"]["slots"] == 2
    cluster.kill("w3")
    eventually(lambda: states(cluster).get("w4") == "alive", "another one")
    assert cluster.workers()["w4"]["slots"] == 2
    with pytest.raises(JobSpecError, match="slots=0"):
        cluster.add_worker(0)
