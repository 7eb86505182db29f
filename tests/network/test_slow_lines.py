"""Lines that are slow, lossy or late: nobody is given up who lives, and the answer stays right."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lan import Lan
from lan_cluster import LanCluster
from watching import Gate, feed

#: What 1 Mbit/s carries in about three seconds, and cannot be compressed.
BULK = 400_000


@pytest.mark.fault(21)
def test_beats_do_not_wait_behind_data(namespaces: None, tmp_path: Path, gate: Gate) -> None:
    """All of a slow host's map output is fetched over a line of 1 Mbit/s.

    The line keeps up to 400 ms of it waiting, heartbeats among it, as cheap routers do: so this is
    for the setting of networks, five beats a death, at a quarter of its time.
    """
    import random

    pause = gate.pause

    def mapper(n: int) -> Iterator[tuple[int, bytes]]:
        pause(str(n))
        for key in range(3):
            yield key, random.Random(3 * n + key).randbytes(BULK // 3)

    def reducer(n: int, values: Any) -> int:
        return sum(map(len, values))

    with running(tmp_path, beats=(0.5, 5)) as cluster:
        job = cluster.submit(mapper, range(3), reducer, split_size=1, reduce_tasks=3)
        host = cluster.host_of(gate.wait_for("0"))
        began = time.monotonic()
        with host.slow_line("1mbit"), cluster.watched() as seen:
            gate.open()
            assert job.result(60).to_dict() == dict.fromkeys(range(3), BULK // 3 * 3)
        assert time.monotonic() - began > 1.0  # it was slow
        assert len(seen) == 2
        assert not any("dead" in states for states in seen.values()), seen
        assert cluster.client.look(job.id)["failed"] == 0


@contextmanager
def running(folder: Path, **options: Any) -> Iterator[LanCluster]:
    """A manager and two workers on wires."""
    with Lan() as lan:
        lan.wire("m", "a", "b")
        cluster = LanCluster(lan, folder, **options)
        try:
            yield cluster
        finally:
            cluster.close()


#: Of the matrix: 5 % loss, 50 ± 20 ms, both ways, some packets twice and some out of order.
STORM = {"delay_s": 0.05, "jitter_s": 0.02, "loss": 0.05, "duplicate": 0.05, "reorder": 0.05}
TASK_S = 1.0
MAPS_TOOK = re.compile(r"all 6 maps done after ([\d.]+) s")


@contextmanager
def storm(folder: Path, seed: int) -> Iterator[LanCluster]:
    """A manager and two workers, and bad weather once they have met."""
    with Lan() as lan:
        lan.expose(seed, "m", "a", "b")
        cluster = LanCluster(lan, folder)
        try:
            lan.weather("*", "*", **STORM)
            yield cluster
        finally:
            lan.weather("*", "*")
            cluster.close()


@pytest.mark.fault(19)
def test_nobody_dies_in_bad_weather(namespaces: None, tmp_path: Path) -> None:
    """Loss, jitter, duplicates and reordering; a job that computes more than it sends."""
    with storm(tmp_path, seed=19) as cluster, cluster.watched() as seen:
        job = work(cluster, 6)
        (took,) = (float(s[1]) for t in feed(cluster, job.id) if (s := MAPS_TOOK.match(t)))
    assert len(seen) == 2
    assert not any("dead" in states for states in seen.values()), seen
    assert 6 / 2 * TASK_S / took >= 0.7, f"{took:.2f} s for 3 s of work on each worker"


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.fault(19)
def test_nobody_dies_in_bad_weather_for_long(namespaces: None, tmp_path: Path) -> None:
    seconds = float(os.environ.get("SOAK_SECONDS", "120"))
    seed = int(os.environ.get("SOAK_SEED", str(time.time_ns() % 1_000_000)))
    print(f"SOAK_SEED={seed}")
    began = time.monotonic()
    with storm(tmp_path, seed) as cluster, cluster.watched() as seen:
        jobs, took = 0, 0.0
        while time.monotonic() - began < seconds:
            job_began = time.monotonic()
            work(cluster, 20)
            took += time.monotonic() - job_began
            jobs += 1
    print(f"{jobs} jobs, throughput {jobs * 10 * TASK_S / took:.0%}, {len(seen) - 2} deaths")
    assert len(seen) == 2
    assert not any("dead" in states for states in seen.values()), seen
    assert jobs * 10 * TASK_S / took >= 0.7


def work(cluster: LanCluster, count: int) -> Any:
    """Run a job of so many tasks."""

    def mapper(n: int) -> Iterator[tuple[int, int]]:
        time.sleep(TASK_S)
        yield n % 3, n

    job = cluster.submit(mapper, range(count), "sum", split_size=1, reduce_tasks=2)
    expected = {k: sum(n for n in range(count) if n % 3 == k) for k in range(3)}
    assert job.result(120).to_dict() == expected
    assert cluster.client.look(job.id)["failed"] == 0
    return job
