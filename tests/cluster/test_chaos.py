"""Faults on purpose: they happen when and where they were asked for, and the answer stays right."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from watching import Gate, alive, eventually, feed, worker_of

from mrkernel.engines.chaos import Chaos
from mrkernel.engines.disturbing import Disturbable, Disturbance
from mrkernel.engines.local import LocalCluster
from mrkernel.engines.remote import ManagerClient
from mrkernel.errors import ClusterError, JobSpecError


def done_at(planned: Disturbance | None) -> Disturbance:
    """What was planned, when it is over."""
    assert planned is not None
    assert planned.wait(20)
    return planned


def counting(gate: Gate) -> Any:
    """A mapper whose tasks from the middle of 20 on wait at a gate."""
    pause = gate.pause

    def mapper(record: int) -> Iterator[tuple[int, int]]:
        if record >= 10:
            pause("half")
        yield record % 5, 1

    return mapper


@pytest.fixture(params=["the cluster", "a client of it"])
def door(cluster: LocalCluster, request: pytest.FixtureRequest) -> Iterator[Disturbable]:
    """Both ways to a cluster."""
    if request.param == "the cluster":
        yield cluster
    else:
        with ManagerClient(cluster.client.connection) as client:
            yield client


def test_kill(cluster: LocalCluster, door: Disturbable) -> None:
    name, row = next(iter(door.living_workers().items()))
    assert door.kill(name) is None
    eventually(lambda: cluster.workers()[name]["state"] == "dead", "death")
    eventually(lambda: not alive([row["pid"]]), "end of the process")
    eventually(lambda: "SIGKILL" in cluster.workers()[name]["end"], "reason")


def test_freeze(cluster: LocalCluster, door: Disturbable) -> None:
    name, row = next(iter(door.living_workers().items()))
    assert door.freeze(name, 1.0) is None
    eventually(lambda: cluster.workers()[name]["state"] == "suspect", "doubt")
    assert psutil.Process(row["pid"]).status() == psutil.STATUS_STOPPED
    eventually(lambda: cluster.workers()[name]["state"] == "alive", "its return")


def test_slow_and_as_fast_again(cluster: LocalCluster, door: Disturbable) -> None:
    name = next(iter(door.living_workers()))
    assert door.slow(name, 5) is None
    assert door.slow(name, 1) is None
    assert cluster.run(lambda record: [(record, 1)], range(3), "sum").to_dict() == {
        **dict.fromkeys(range(3), 1)
    }


@pytest.mark.parametrize("how", ["kill", "freeze", "slow"])
def test_an_unknown_worker_is_one_sentence(door: Disturbable, how: str) -> None:
    living = ", ".join(door.living_workers())
    with pytest.raises(ClusterError, match=rf"no worker 'w99' lives here; living: {living}$"):
        getattr(door, how)("w99")
    with pytest.raises(ClusterError, match="no worker 'w99'"):
        getattr(door, how)("w99", at=0.5)  # now, not in the middle of a job


def test_what_makes_no_sense_is_refused(cluster: LocalCluster) -> None:
    name = next(iter(cluster.living_workers()))
    for call in (
        lambda: cluster.freeze(name, 0),
        lambda: cluster.freeze(name, float("nan")),
        lambda: cluster.slow(name, 0.5),
        lambda: cluster.kill(name, at=50),
        lambda: cluster.kill(name, at=0.5, job="j99"),
    ):
        with pytest.raises(JobSpecError):
            call()
    assert name in cluster.living_workers()


def test_in_the_middle_of_the_newest_job(cluster: LocalCluster, gate: Gate) -> None:
    job = cluster.submit(counting(gate), range(20), "sum", split_size=1, reduce_tasks=1)
    runner = gate.wait_for("half")
    victim = worker_of(cluster, runner)
    planned = cluster.kill(victim, at=0.3)
    assert done_at(planned).sentence == f"at 30% of {job.id}: killed {victim}"
    assert planned is not None
    assert planned.happened
    gate.open()
    assert job.result(30).to_dict() == dict.fromkeys(range(5), 4)
    assert any(victim in line and "SIGKILL" in line for line in feed(cluster, job.id))


def test_in_the_middle_of_the_next_job(cluster: LocalCluster, gate: Gate) -> None:
    eventually(
        lambda: all(
            j["state"] != "running" for j in cluster.client.look("cluster")["jobs"].values()
        ),
        "end of all jobs",
    )
    planned = cluster.restart_manager(at=0.3)
    assert repr(planned) == "<at 30% of the next job: kill the manager>"
    job = cluster.submit(counting(gate), range(20), "sum", split_size=1, reduce_tasks=1)
    assert done_at(planned).sentence == f"at 30% of {job.id}: killed the manager"
    gate.open()
    assert job.result(30).to_dict() == dict.fromkeys(range(5), 4)
    assert any("manager restarted" in line for line in feed(cluster, job.id))


def test_a_job_that_ended_before_its_moment_is_left_alone(cluster: LocalCluster) -> None:
    name = next(iter(cluster.living_workers()))
    job = cluster.submit(lambda record: [(record, 1)], range(3), "sum")
    job.result(30)
    planned = done_at(cluster.kill(name, at=1.0, job=job.id))
    assert planned.sentence == f"nothing was done: {job.id} ended before 100%"
    assert not planned.happened
    assert name in cluster.living_workers()


def test_a_cluster_that_ends_before_the_moment() -> None:
    with LocalCluster(workers=1, slots=1) as cluster:
        cluster.wait_for_workers()
        planned = cluster.kill("w1", at=0.5)
    assert done_at(planned).sentence == "nothing was done: the cluster is gone"


# --- at random ------------------------------------------------------------------------------------


class Actor(Disturbable):
    """Three workers that nothing can harm; remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, float]] = []
        self.enough = threading.Event()

    def living_workers(self) -> dict[str, dict[str, Any]]:
        return {name: {"state": "alive"} for name in ("w1", "w2", "w3")}

    def _disturb(self, worker: str, how: str, amount: float) -> None:
        self._count(how, worker, amount)

    def restart_manager(self) -> None:
        self._count("restart_manager", "", 0.0)

    def _count(self, *what: Any) -> None:
        self.asked.append(what)
        if len(self.asked) >= 20:
            self.enough.set()


def played(seed: int, faults: str | None = None) -> list[tuple[str, str, float]]:
    """The first faults of a seed."""
    actor = Actor()
    with Chaos(actor, seed, faults, every=(0, 0.002)) as chaos:
        assert actor.enough.wait(20)
    assert len(chaos.done) >= 20
    return actor.asked[:20]


def test_the_same_seed_does_the_same() -> None:
    assert played(1) == played(1)
    assert played(1) != played(2)
    assert {how for how, _, _ in played(1)} == {"kill", "freeze", "slow", "restart_manager"}
    assert {how for how, _, _ in played(1, "kill slow")} == {"kill", "slow"}


@pytest.mark.parametrize(
    ("faults", "every"), [("kill burn", (1, 2)), ("", (1, 2)), ("kill", (2, 1)), ("kill", (-1, 1))]
)
def test_chaos_that_cannot_be_is_refused(faults: str, every: tuple[float, float]) -> None:
    with pytest.raises(JobSpecError):
        Chaos(Actor(), 0, faults, every)


def test_a_client_cannot_restart_a_manager_that_is_not_its_own(cluster: LocalCluster) -> None:
    with (
        ManagerClient(cluster.client.connection) as client,
        pytest.raises(JobSpecError, match=r"this cluster can kill, freeze, slow$"),
    ):
        Chaos(client, 0, "restart_manager")


def test_answers_stay_right_in_chaos() -> None:
    import time

    def mapper(record: int) -> Iterator[tuple[int, int]]:
        time.sleep(0.01)
        yield record % 7, record

    wanted: dict[int, int] = {}
    for record in range(100):
        wanted[record % 7] = wanted.get(record % 7, 0) + record
    with LocalCluster(workers=3, slots=1) as cluster:
        cluster.wait_for_workers()
        with Chaos(cluster, seed=11, every=(0.1, 0.4)) as chaos:
            for _ in range(3):
                result = cluster.run(mapper, range(100), "sum", split_size=1, attempts=50)
                assert result.to_dict() == wanted, chaos.done
        assert chaos.done
        cluster.wait_for_workers(3)
        assert cluster.run(mapper, range(100), "sum", split_size=1).to_dict() == wanted
