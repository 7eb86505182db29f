"""Cuts between hosts: who notices, how soon, who is blamed, and that the answer stays right."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
from lan import Host, Lan
from lan_cluster import EXPECTED, RECORDS, SPLIT, LanCluster, digest, spread
from watching import BUSY_S, Gate, eventually, feed, steadily, stopped, told

#: With the embedded setting: silence after which a worker gets no new work, and is given up.
SUSPECT_S, DEAD_S = 0.25, 2.0
#: Between two words of a worker that want an answer of the manager's host.
REPORT_S = 0.5


def held(cluster: LanCluster, gate: Gate) -> Any:
    """A job of which one task waits at the gate."""
    pause = gate.pause

    def mapper(record: bytes) -> Iterator[tuple[int, str]]:
        if record == RECORDS[-1]:
            pause("last")
        yield from spread(record)

    return cluster.submit(mapper, RECORDS, digest, split_size=SPLIT, reduce_tasks=3)


def hold(cluster: LanCluster, gate: Gate) -> tuple[Any, Host, str]:
    """Such a job when all else of its maps is done; the host of the task that waits, its worker."""
    job = held(cluster, gate)
    host = cluster.host_of(gate.wait_for("last"))
    total = cluster.client.look(job.id)["map"]["total"]
    eventually(lambda: cluster.client.look(job.id)["map"]["done"] == total - 1, "other maps")
    return job, host, cluster.worker_on(host)


Cut = Callable[[Host, Host], AbstractContextManager[None]]
CUTS: dict[str, Cut] = {
    "both ways": lambda manager, worker: manager.cut_off(worker),
    "worker to manager": lambda manager, worker: manager.deaf_to(worker),
    "manager to worker": lambda manager, worker: worker.deaf_to(manager),
}


@pytest.mark.fault(14, 15, 16)
@pytest.mark.parametrize("which", CUTS)
def test_a_worker_is_cut_off_and_comes_back(cluster: LanCluster, gate: Gate, which: str) -> None:
    job, host, worker = hold(cluster, gate)
    with ExitStack() as cut:
        began = time.monotonic()
        cut.enter_context(CUTS[which](cluster.manager, host))
        if which != "manager to worker":  # then its heartbeats go on
            cluster.until(worker, "suspect", SUSPECT_S + BUSY_S)
            cluster.until(worker, "dead", DEAD_S + BUSY_S)
            assert time.monotonic() - began <= 2.5 + BUSY_S
        else:  # until the worker hears that nobody answers, and fences itself
            cluster.until(worker, "dead", REPORT_S + 2 * DEAD_S + BUSY_S)
        # Its task is taken up by another, long before it would come back.
        eventually(lambda: len(gate.waiting("last")) >= 2, "second attempt", 2)
        gate.open()
        assert job.result(20).to_dict() == EXPECTED
    cluster.wait()
    again = cluster.worker_on(host)
    assert again != worker  # a new incarnation
    assert cluster.workers()[worker]["state"] == "dead"
    assert len([text for text in feed(cluster, job.id) if text.startswith(f"{worker} died")]) <= 1


@pytest.mark.fault(14)
def test_a_short_cut_kills_nobody(cluster: LanCluster, gate: Gate) -> None:
    job, host, worker = hold(cluster, gate)
    with cluster.manager.cut_off(host):
        cluster.until(worker, "suspect", SUSPECT_S + BUSY_S)
        time.sleep(0.5)
    cluster.until(worker, "alive", 2)
    gate.open()
    assert job.result(20).to_dict() == EXPECTED
    assert cluster.worker_on(host) == worker


@pytest.mark.fault(17)
def test_workers_that_do_not_reach_each_other(cluster: LanCluster) -> None:
    """The manager sees both: nobody dies, the link is to blame, and the job ends right."""
    one, other, _ = cluster.worker_hosts
    names = {cluster.worker_on(host) for host in cluster.worker_hosts}

    def mapper(record: bytes) -> Iterator[tuple[int, str]]:
        time.sleep(0.05)  # too long to be sent ahead: each host has its share
        yield from spread(record)

    with one.cut_off(other), cluster.watched() as seen:
        options: dict[str, Any] = {"split_size": SPLIT, "reduce_tasks": 6, "no_backup": True}
        job = cluster.submit(mapper, RECORDS, digest, **options)
        assert job.result(60).to_dict() == EXPECTED
    assert {cluster.worker_on(host) for host in cluster.worker_hosts} == names
    assert not any("dead" in seen[name] for name in names), seen
    view = cluster.client.look(job.id)
    assert view["failed"] == 0  # no task is charged with it
    blamed = links(cluster, job.id)
    # Two of three hosts have to reduce what the other mapped; who reaches both does the rest.
    assert 1 <= len(blamed) <= 6
    cut = {cluster.worker_on(one), cluster.worker_on(other)}
    assert all({who, whom} == cut for who, whom, _ in blamed), blamed
    # No ping-pong: nobody tries again what could not be, and no map runs more than once more.
    assert len({(who, task) for who, _, task in blamed}) == len(blamed), blamed
    assert view["redone"] <= view["map"]["total"]


def links(cluster: LanCluster, job: str) -> list[tuple[str, str, str]]:
    """The links that a job's feed blames: who could not fetch from whom, and for which task."""
    pattern = r"^(w\d+) cannot fetch from (w\d+) \(.*\): (reduce-\d+) goes to another worker$"
    found = [re.search(pattern, text) for text in feed(cluster, job)]
    return [(match[1], match[2], match[3]) for match in found if match]


@pytest.mark.fault(17)
def test_the_only_two_workers_do_not_reach_each_other(namespaces: None, tmp_path: Path) -> None:
    """Nobody is left who could read both: one of them does all of it again, and it ends."""
    with Lan() as lan:
        lan.wire("m", "a", "b")
        cluster = LanCluster(lan, tmp_path)
        try:
            with lan["a"].cut_off(lan["b"]), cluster.watched() as seen:

                def mapper(record: bytes) -> Iterator[tuple[int, str]]:
                    time.sleep(0.05)
                    yield from spread(record)

                job = cluster.submit(mapper, RECORDS[:24], digest, split_size=SPLIT)
                got = job.result(60).to_dict()
            assert got == {
                key: digest(key, [t for r in RECORDS[:24] for k, t in spread(r) if k == key])
                for key in range(7)
            }
            assert not any("dead" in states for states in seen.values()), seen
            view = cluster.client.look(job.id)
            assert view["failed"] == 0
            blamed = links(cluster, job.id)
            assert blamed
            assert len({(who, task) for who, _, task in blamed}) == len(blamed), blamed
            assert 1 <= view["redone"] <= view["map"]["total"]
        finally:
            cluster.close()


@pytest.mark.fault(18)
def test_a_firewall_that_stops_datagrams(cluster: LanCluster, gate: Gate) -> None:
    """Heartbeats go over TCP: said once, nobody dies of it, and who stands still is noticed."""
    workers = [cluster.worker_on(each) for each in cluster.worker_hosts]
    host = cluster.worker_hosts[0]

    def said(worker: str) -> int:
        feed = [line["text"] for line in cluster.client.look("cluster")["feed"]]
        return sum(
            bool(re.match(f"{worker}: its UDP heartbeats do not arrive .* over TCP$", text))
            for text in feed
        )

    with cluster.manager.dropping("ip protocol udp"), cluster.watched() as seen:
        eventually(lambda: all(map(said, workers)), "sentences")
        job, _, _ = hold(cluster, gate)
        steadily(
            lambda: [cluster.worker_on(each) for each in cluster.worker_hosts] == workers,
            DEAD_S + BUSY_S,
            "a worker was given up",
        )
        with stopped(cluster.processes[host.name].pid):
            cluster.until(workers[0], "suspect")
        cluster.until(workers[0], "alive")
        gate.open()
        assert job.result(20).to_dict() == EXPECTED
    assert not any("dead" in seen[worker] for worker in workers), seen
    assert [said(worker) for worker in workers] == [1, 1, 1]


@pytest.mark.fault(20)
def test_a_host_vanishes_without_a_word(cluster: LanCluster, gate: Gate) -> None:
    """A power cut: no FIN, no RST, and nobody is there any more."""
    job, host, worker = hold(cluster, gate)
    with host.dropping(f"ip daddr {cluster.manager.address}", "output"):
        began = time.monotonic()
        cluster.kill(host)
        cluster.until(worker, "dead", 2.5 + BUSY_S)
        assert time.monotonic() - began <= 2.5 + BUSY_S
        gate.open()
        assert job.result(30).to_dict() == EXPECTED
    told(cluster, job.id, rf"^{worker} died")
    cluster.add(host)
    cluster.wait()


@pytest.mark.fault(23)
def test_a_host_has_another_address_after_it_slept(cluster: LanCluster, gate: Gate) -> None:
    job, host, worker = hold(cluster, gate)
    before = host.address
    host.move_to("10.77.0.99")
    try:
        eventually(lambda: cluster.worker_on(host) not in ("", worker), "reconnection", 10)
        gate.open()
        assert job.result(30).to_dict() == EXPECTED
        cluster.wait()
        assert cluster.workers()[worker]["state"] == "dead"
    finally:
        host.move_to(before)
    eventually(lambda: feed(cluster, job.id), "feed")
    cluster.wait()
