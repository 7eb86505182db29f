"""SIGKILL, in map, in shuffle, in reduce, of a runner and of a whole worker server.

Each time: the result is the oracle's, the feed says in one sentence what happened, the cluster has
its workers again, and nothing was done twice that was not lost.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from watching import Gate, at_most, eventually, feed, told, worker_of

from mrkernel.engines.local import LocalCluster

WORDS = [f"{word} {word[0]} {n % 3}" for n, word in enumerate(["ant", "bee", "cow", "dog"] * 5)]
EXPECTED = Counter(word for line in WORDS for word in line.split())

Mapper = Callable[[str], Iterator[tuple[str, int]]]
Reducer = Callable[[str, Any], Iterator[tuple[str, int]]]


def counting(
    pause_in_map: Gate | None = None, pause_in_reduce: Gate | None = None, *stops: str
) -> Any:
    """A mapper and a reducer that count words; they wait at a line, or at words, if told to."""
    in_map = pause_in_map.pause if pause_in_map else None
    in_reduce = pause_in_reduce.pause if pause_in_reduce else None

    def mapper(line: str) -> Iterator[tuple[str, int]]:
        if in_map and line == "cow c 2":
            in_map("cow")
        for word in line.split():
            yield word, 1

    def reducer(word: str, ones: Any) -> Iterator[tuple[str, int]]:
        if in_reduce and word in stops:
            in_reduce(word)
        yield word, sum(ones)

    return mapper, reducer


def submit(cluster: LocalCluster, mapper: Mapper, reducer: Reducer, **options: Any) -> Any:
    given = {"split_size": 1, "reduce_tasks": 3, **options}
    return cluster.submit(mapper, iter(WORDS), reducer, **given)


def kill_server_of(cluster: LocalCluster, runner: int, number: int = signal.SIGKILL) -> str:
    """Signal the worker server that a runner belongs to; return the worker's name."""
    worker = worker_of(cluster, runner)
    os.kill(cluster.workers()[worker]["pid"], number)
    eventually(lambda: cluster.workers()[worker]["state"] == "dead", f"death of {worker}")
    return worker


def replaced(cluster: LocalCluster, worker: str) -> bool:
    def two_others() -> bool:
        living = [name for name, row in cluster.workers().items() if row["state"] == "alive"]
        return len(living) == 2 and worker not in living

    return eventually(two_others, f"worker in the place of {worker}", 10)


@pytest.mark.fault(1)
def test_a_worker_dies_in_map(cluster: LocalCluster, gate: Gate) -> None:
    job = submit(cluster, *counting(gate))
    runner = gate.wait_for("cow")
    with at_most(1.0, "a start elsewhere"):
        worker = kill_server_of(cluster, runner)
        eventually(lambda: len(gate.waiting("cow")) == 2, "second attempt")
    # What is heard after the job's end is not told of the job.
    eventually(lambda: "SIGKILL" in cluster.workers()[worker]["end"], "reason")
    gate.open()
    assert job.result(20).to_dict() == EXPECTED
    said = told(cluster, job.id, rf"^{worker} (died|was killed)")
    assert "was killed (SIGKILL)" in said
    assert "→" in said  # the task, and who took it up
    assert replaced(cluster, worker)


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGKILL, marks=pytest.mark.fault(3), id="killed"),
        pytest.param(signal.SIGTERM, marks=pytest.mark.fault(13), id="told to end"),
    ],
)
def test_a_worker_dies_in_shuffle(cluster: LocalCluster, gate: Gate, number: int) -> None:
    """Its map output, all of it finished, is read by reduce tasks that have not begun."""
    few, reducer = counting(None, gate, "bee")

    def mapper(line: str) -> Iterator[tuple[str, int]]:
        yield from few(line)
        for number in range(2000):  # too much to be carried in a message
            yield "bulk", number

    job = submit(cluster, mapper, reducer, reduce_tasks=6)
    runner = gate.wait_for("bee")
    before = cluster.client.look(job.id)["map"]["done"]
    assert before == len(WORDS)
    worker = kill_server_of(cluster, runner, number)
    gate.open()
    bulk = {"bulk": len(WORDS) * sum(range(2000))}
    assert job.result(20).to_dict() == EXPECTED | bulk
    # Its machine lives, so what it wrote is there.
    assert " kept: " in told(cluster, job.id, rf"^{worker} (died|was killed|ended itself)")
    assert cluster.client.look(job.id)["redone"] == 0
    assert replaced(cluster, worker)


@pytest.mark.fault(3)
def test_small_map_outputs_outlive_their_worker(cluster: LocalCluster, gate: Gate) -> None:
    job = submit(cluster, *counting(None, gate, "bee"), reduce_tasks=6)
    worker = kill_server_of(cluster, gate.wait_for("bee"))
    gate.open()
    assert job.result(20).to_dict() == EXPECTED
    assert cluster.client.look(job.id)["redone"] == 0
    assert replaced(cluster, worker)


@pytest.mark.fault(2)
def test_a_worker_dies_in_reduce(cluster: LocalCluster, gate: Gate) -> None:
    """The last task of all is in the middle of its groups."""
    job = submit(
        cluster,
        *counting(None, gate, "dog"),
        reduce_tasks=4,
        partitioner=lambda word, tasks: tasks - 1 if word >= "c" else len(word) % (tasks - 1),
    )
    runner = gate.wait_for("dog")
    eventually(lambda: cluster.client.look(job.id)["reduce"]["done"] == 3, "other reduces")
    worker = kill_server_of(cluster, runner)
    gate.open()
    assert job.result(20).to_dict() == EXPECTED
    view = cluster.client.look(job.id)
    assert (view["map"]["done"], view["reduce"]["done"]) == (len(WORDS), 4)
    assert told(cluster, job.id, rf"^{worker} (died|was killed)")
    assert replaced(cluster, worker)


@pytest.mark.fault(1)
def test_both_workers_die_at_once(cluster: LocalCluster, gate: Gate) -> None:
    job = submit(
        cluster,
        *counting(None, gate, "bee", "dog"),
        reduce_tasks=2,
        partitioner=lambda word, _: int(word >= "c"),
    )
    first, second = gate.wait_for("bee"), gate.wait_for("dog")
    killed = {worker_of(cluster, first), worker_of(cluster, second)}
    assert len(killed) == 2
    rows = cluster.workers()
    for worker in killed:
        os.kill(rows[worker]["pid"], signal.SIGKILL)
    gate.open()
    assert job.result(20).to_dict() == EXPECTED
    for worker in killed:
        assert told(cluster, job.id, rf"^{worker} (died|was killed)")


@pytest.mark.fault(4)
@pytest.mark.parametrize("phase", ["map", "reduce"])
def test_a_runner_dies(cluster: LocalCluster, gate: Gate, phase: str) -> None:
    mapper, reducer = counting(gate, None) if phase == "map" else counting(None, gate, "bee")
    workers = set(cluster.workers())
    job = submit(cluster, mapper, reducer, reduce_tasks=2)
    runner = gate.wait_for()
    worker = worker_of(cluster, runner)
    os.kill(runner, signal.SIGKILL)
    eventually(lambda: len(gate.waiting()) >= 2, "second attempt")
    gate.open()
    assert job.result(20).to_dict() == EXPECTED
    said = told(cluster, job.id, r"was killed \(SIGKILL\)")
    assert phase in said
    assert worker in said
    assert set(cluster.workers()) == workers  # nobody else died of it


@pytest.mark.fault(4)
def test_the_template_of_a_worker_dies(cluster: LocalCluster, gate: Gate) -> None:
    """The process that forks its runners: without it a worker is none, and ends itself."""
    job = submit(cluster, *counting(gate))
    runner = gate.wait_for("cow")
    worker = worker_of(cluster, runner)
    import psutil

    os.kill(psutil.Process(runner).ppid(), signal.SIGKILL)
    eventually(lambda: len(gate.waiting("cow")) == 2, "second attempt")
    gate.open()
    assert job.result(20).to_dict() == EXPECTED
    assert replaced(cluster, worker)


@pytest.mark.fault(5)
def test_a_frozen_worker_is_given_up_and_comes_back_as_another(
    shared_cluster: LocalCluster, gate: Gate
) -> None:
    """SIGSTOP: no reset tells of it, only silence; what it says later is not believed."""
    cluster = shared_cluster
    cluster.wait_for_workers()
    mapper, reducer = counting(gate)
    job = submit(cluster, mapper, reducer)
    worker = worker_of(cluster, gate.wait_for("cow"))
    pid = cluster.workers()[worker]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: cluster.workers()[worker]["state"] == "suspect", "suspicion", 4)
        gate.open()
        assert job.result(20).to_dict() == EXPECTED
        assert "backup of " in " ".join(feed(cluster, job.id))  # nobody waits for its death
        eventually(lambda: cluster.workers()[worker]["state"] == "dead", "death", 4)
        assert "nothing was heard of it for" in cluster.workers()[worker]["cause"]
    finally:
        os.kill(pid, signal.SIGCONT)
    cluster.wait_for_workers(2, timeout=10)
    assert pid in {r["pid"] for r in cluster.workers().values() if r["state"] == "alive"}
    # It was sent the functions before; they come again, and are whole.
    again = submit(cluster, mapper, reducer)
    assert again.result(20).to_dict() == EXPECTED
    assert cluster.client.look(again.id)["failed"] == 0


def test_an_undisturbed_job_says_nothing(cluster: LocalCluster) -> None:
    began = time.monotonic()
    job = submit(cluster, *counting())
    assert job.result(20).to_dict() == EXPECTED
    assert time.monotonic() - began < 5
    assert not [text for text in feed(cluster, job.id) if "died" in text or "again" in text]
