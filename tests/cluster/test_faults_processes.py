"""Processes that stand still, come, go, or run out of something; and clocks that jump."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from by_hand import ByHand
from watching import (
    Gate,
    answer,
    at_most,
    eventually,
    family,
    feed,
    steadily,
    stopped,
    told,
    watched,
    worker_of,
)

from mrkernel.engines.local import LocalCluster

RECORDS = range(12)
EXPECTED = {k: sum(n for n in RECORDS if n % 3 == k) for k in range(3)}


def held(gate: Gate) -> Any:
    """A mapper whose last record waits."""
    pause = gate.pause

    def mapper(n: int) -> Iterator[tuple[int, int]]:
        if n == RECORDS[-1]:
            pause("last")
        yield n % 3, n

    return mapper


def manager_of(cluster: LocalCluster) -> int:
    """The manager's process."""
    port = cluster.client.connection.port
    return next(
        pid
        for pid in family(cluster._supervisor.pid)
        for c in psutil.Process(pid).net_connections("tcp")
        if c.status == psutil.CONN_LISTEN and c.laddr.port == port
    )


def state(cluster: LocalCluster, worker: str) -> str:
    return str(cluster.workers()[worker]["state"])


# --- frozen ---------------------------------------------------------------------------------------


@pytest.mark.fault(5, 49)
def test_a_worker_that_froze_for_good_comes_back_as_another(
    cluster: LocalCluster, gate: Gate
) -> None:
    job = cluster.submit(held(gate), RECORDS, "sum", split_size=1, reduce_tasks=2)
    worker = worker_of(cluster, gate.wait_for("last"))
    server = cluster.workers()[worker]["pid"]
    with stopped(*family(server)):
        with at_most(0.25, "suspicion"):
            eventually(lambda: state(cluster, worker) == "suspect", "suspicion")
        with at_most(1.0, "a backup"):  # long before it is given up
            eventually(lambda: len(gate.waiting("last")) == 2, "second attempt")
        with at_most(2.0, "death"):
            eventually(lambda: state(cluster, worker) == "dead", "death")
        gate.open()
        assert answer(cluster.client, job).to_dict() == EXPECTED
    # What the frozen attempt says now, or said too late, counts for nothing.
    cluster.wait_for_workers(2)
    assert state(cluster, worker) == "dead"
    assert job.result(1).to_dict() == EXPECTED
    assert cluster.client.look(job.id)["failed"] == 0


@pytest.mark.fault(5, 48)
def test_a_worker_that_froze_for_a_moment_goes_on(cluster: LocalCluster, gate: Gate) -> None:
    """Its task has a backup by then: whoever ends first counts."""
    job = cluster.submit(held(gate), RECORDS, "sum", split_size=1, reduce_tasks=2)
    worker = worker_of(cluster, gate.wait_for("last"))
    with stopped(*family(cluster.workers()[worker]["pid"])):
        eventually(lambda: len(gate.waiting("last")) == 2, "second attempt")
    eventually(
        lambda: state(cluster, worker) == "alive", f"recovery of {worker}: {cluster.workers()}", 2
    )
    gate.open()
    assert answer(cluster.client, job).to_dict() == EXPECTED
    assert cluster.client.look(job.id)["failed"] == 0
    assert state(cluster, worker) == "alive"


@pytest.mark.fault(6)
def test_a_runner_that_froze_is_ended_by_its_timeout(cluster: LocalCluster, gate: Gate) -> None:
    options: dict[str, Any] = {"split_size": 1, "reduce_tasks": 2, "timeout": 1.0}
    job = cluster.submit(held(gate), RECORDS, "sum", **options)
    runner = gate.wait_for("last")
    worker = worker_of(cluster, runner)
    with stopped(runner):
        eventually(lambda: len(gate.waiting("last")) == 2, "second attempt", 5)
        assert state(cluster, worker) == "alive"  # the worker server beats as ever
        gate.open()
        assert answer(cluster.client, job).to_dict() == EXPECTED
        assert not psutil.pid_exists(runner) or "1 s" in told(cluster, job.id, "map-11")


@pytest.mark.fault(7)
def test_a_straggler_gets_a_backup(cluster: LocalCluster, tmp_path: Path) -> None:
    """The first try of one task would take half a minute; its backup needs a moment."""
    mark, here = str(tmp_path / "tried"), os.getpid()

    def mapper(n: int) -> Iterator[tuple[int, int]]:
        import time

        if n == 3 and here not in (os.getpid(), os.getppid()):
            try:
                os.mkdir(mark)
                time.sleep(30)
            except FileExistsError:
                time.sleep(0.1)
        time.sleep(0.1)
        yield n % 3, n

    job = cluster.submit(mapper, RECORDS, "sum", split_size=1, reduce_tasks=2)
    assert answer(cluster.client, job).to_dict() == EXPECTED
    assert "won" in told(cluster, job.id, "^backup of map-3")
    assert cluster.client.look(job.id)["failed"] == 0
    # The loser is stopped: both slots are free for the next job.
    with at_most(2.0, "the next job"):
        again = cluster.run(lambda n: [(n % 3, n)], RECORDS, "sum", split_size=1)
        assert again.to_dict() == EXPECTED


@pytest.mark.fault(9)
def test_a_manager_that_froze_gives_nobody_up(cluster: LocalCluster, gate: Gate) -> None:
    """Nothing was heard of anybody for longer than a worker may be silent, and for no fault."""
    job = cluster.submit(held(gate), RECORDS, "sum", split_size=1, reduce_tasks=2)
    gate.wait_for("last")
    before = cluster.workers()
    with stopped(manager_of(cluster)):
        time.sleep(2.5)  # two seconds without a beat are a death
    with watched(cluster) as seen:
        living = [name for name, row in before.items() if row["state"] != "dead"]
        eventually(
            lambda: all(cluster.workers()[n]["beat"] > before[n]["beat"] for n in living), "reports"
        )
        gate.open()
        assert answer(cluster.client, job).to_dict() == EXPECTED
    assert set(cluster.workers()) == set(before)
    assert len(living) == 2
    assert not any("dead" in seen[name] for name in living), seen
    assert not [text for text in feed(cluster, job.id) if "died" in text]
    view = cluster.client.look(job.id)
    assert (view["failed"], view["redone"]) == (0, 0)


# --- come and go ----------------------------------------------------------------------------------


@pytest.mark.fault(13)
def test_workers_come_and_go_in_mid_job(by_hand: ByHand, gate: Gate) -> None:
    by_hand.start_manager()
    first = by_hand.start_worker()
    client = by_hand.connect()
    try:
        pause = gate.pause

        def mapper(n: int) -> Iterator[tuple[int, int]]:
            pause(str(n))
            yield n % 3, n

        eventually(lambda: client.slots == 1, "worker")
        from mrkernel.engines.api import submit

        job = submit(mapper, RECORDS, "sum", on=client, split_size=1, reduce_tasks=2)
        gate.wait_for()
        by_hand.start_worker()
        eventually(lambda: client.slots == 2, "second worker")
        with at_most(1.0, "work for who joined"):
            eventually(lambda: len(gate.waiting()) == 2, "its task")
        first.terminate()  # told to go, in the middle of a task
        first.wait(10)
        eventually(lambda: client.slots == 1, "end of the first")
        gate.open()
        assert answer(client, job).to_dict() == EXPECTED
        assert client.look(job.id)["failed"] == 0
    finally:
        client.close()


@pytest.mark.fault(12)
def test_all_of_a_cluster_is_killed_and_started_again(by_hand: ByHand, gate: Gate) -> None:
    """A power cut: the journal is all that is left, and the job is done in the end."""
    from mrkernel.engines.api import submit

    by_hand.start_manager()
    worker = by_hand.start_worker()
    client = by_hand.connect()
    job = submit(held(gate), RECORDS, "sum", on=client, split_size=1, reduce_tasks=2)
    gate.wait_for("last")
    eventually(lambda: client.look(job.id)["map"]["done"] == len(RECORDS) - 1, "other maps")
    orphaned = list(spill().glob("mrkernel-worker-*"))
    for pid in family(worker.pid):
        os.kill(pid, signal.SIGKILL)
    by_hand.end_manager(signal.SIGKILL)
    client.close()
    gate.open()
    by_hand.start_manager()
    by_hand.start_worker()
    again = by_hand.connect()
    try:
        assert answer(again, again.attach(job.id)).to_dict() == EXPECTED
        assert again.look(job.id)["failed"] == 0
    finally:
        again.close()
        for folder in orphaned:  # a later worker would sweep it when its lease is over
            shutil.rmtree(folder, ignore_errors=True)


def spill() -> Path:
    """Where workers keep their files in this test run."""
    return Path(os.environ["XDG_CACHE_HOME"]) / "mrkernel" / "spill"


# --- open files -----------------------------------------------------------------------------------


@contextmanager
def few_files(pid: int, more: int) -> Iterator[None]:
    """A process may open so many files more than it has."""
    process = psutil.Process(pid)
    before = process.rlimit(resource.RLIMIT_NOFILE)
    process.rlimit(resource.RLIMIT_NOFILE, (process.num_fds() + more, before[1]))
    try:
        yield
    finally:
        if process.is_running():
            process.rlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.fault(32)
def test_a_manager_without_free_descriptors_goes_on(cluster: LocalCluster, gate: Gate) -> None:
    """New connections wait; who is there is served; nobody dies, and no processor burns."""
    import socket

    connection = cluster.client.connection
    job = cluster.submit(held(gate), RECORDS, "sum", split_size=1, reduce_tasks=2)
    gate.wait_for("last")
    manager = psutil.Process(manager_of(cluster))
    crowd: list[socket.socket] = []
    with few_files(manager.pid, 5), watched(cluster) as seen:
        try:
            for _ in range(20):
                crowd.append(socket.create_connection((connection.host, connection.port)))
            began = time.monotonic(), sum(manager.cpu_times()[:2])
            time.sleep(1.0)
            spent = (sum(manager.cpu_times()[:2]) - began[1]) / (time.monotonic() - began[0])
            with at_most(1.0, "an answer"):
                assert cluster.workers()
            gate.open()
            assert answer(cluster.client, job).to_dict() == EXPECTED
        finally:
            for peer in crowd:
                peer.close()
    assert not any("dead" in states and len(states) > 1 for states in seen.values()), seen
    assert spent < 0.5, f"{spent:.0%} of a processor while it waits for descriptors"
    assert cluster.run(lambda n: [(n % 3, n)], RECORDS, "sum").to_dict() == EXPECTED


@pytest.mark.fault(32)
def test_a_worker_without_free_descriptors_costs_nobody_the_job(
    cluster: LocalCluster, gate: Gate
) -> None:
    """Its runners go on; what it cannot open fails there and is done elsewhere."""
    job = cluster.submit(held(gate), RECORDS, "sum", split_size=1, reduce_tasks=2)
    worker = worker_of(cluster, gate.wait_for("last"))
    server = cluster.workers()[worker]["pid"]
    with few_files(server, 0):
        steadily(lambda: state(cluster, worker) == "alive", 0.6, f"{worker} does not beat")
        gate.open()
        assert answer(cluster.client, job).to_dict() == EXPECTED
        again = cluster.submit(lambda n: [(n % 3, n)], RECORDS, "sum", split_size=1)
        assert answer(cluster.client, again).to_dict() == EXPECTED
    assert state(cluster, worker) == "alive"
    last = cluster.workers()[worker]["beat"]  # of its reports; they go on where there is room
    eventually(lambda: cluster.workers()[worker]["beat"] > last + 0.1, "reports", 3)


@pytest.mark.fault(32)
def test_a_mapper_that_opens_too_many_files_is_told_so(cluster: LocalCluster) -> None:
    from mrkernel.errors import TaskFailedError

    here = os.getpid()

    def mapper(n: int) -> Iterator[tuple[int, int]]:
        import resource

        if here not in (os.getpid(), os.getppid()):
            resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
            kept = [os.open(os.devnull, os.O_RDONLY) for _ in range(40)]
            yield n, len(kept)
        yield n, 1

    with pytest.raises(TaskFailedError, match=r"OSError: \[Errno 24\] Too many open files"):
        cluster.run(mapper, range(2), "sum", split_size=1)
    # That runner has little left to open: it is not the one that fails the next job.
    result = cluster.run(lambda n: [(n % 3, n)], RECORDS, "sum", split_size=1)
    assert result.to_dict() == EXPECTED


# --- clocks ---------------------------------------------------------------------------------------

JUMPING = """
    import sys, time
    from pathlib import Path
    from mrkernel import LocalCluster

    clock, gate = map(Path, sys.argv[1:])

    def mapper(n):
        import os, time
        while n == 11 and not os.path.exists(gate):
            time.sleep(0.005)
        return [(n % 3, n)]

    if __name__ == "__main__":
        with LocalCluster(workers=2, slots=1) as cluster:
            cluster.wait_for_workers()
            gate.touch()
            cluster.run(mapper, range(12), "sum", split_size=1)
            gate.unlink()
            job = cluster.submit(lambda n: mapper(n), range(12), "sum", split_size=1)
            for jump in ("+3600", "-86400"):
                before = time.time()
                clock.write_text(jump)
                time.sleep(0.5)
                print("jumped", round((time.time() - before) / 3600), flush=True)
            gate.touch()
            print(sorted(job.result(20).to_dict().items()))
            print(sorted(row["state"] for row in cluster.workers().values()))
"""


#: Imported by every Python at its start. (libfaketime would do it below Python, but the monotonic
#: sleeps of Python 3.11 fail under it.)
FAKE = """
    import os, time

    real, real_ns = time.time, time.time_ns

    def offset():
        try:
            with open(os.environ["FAKE_CLOCK"]) as file:
                return float(file.read() or 0)
        except OSError:
            return 0.0

    time.time = lambda: real() + offset()
    time.time_ns = lambda: real_ns() + int(offset()) * 10**9
"""


@pytest.mark.fault(50)
def test_clocks_that_jump_change_nothing(tmp_path: Path) -> None:
    """An hour ahead, then a day back: only the monotonic clock decides."""
    clock, script = tmp_path / "clock", tmp_path / "script.py"
    script.write_text(textwrap.dedent(JUMPING))
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(FAKE))
    done = subprocess.run(
        [sys.executable, str(script), str(clock), str(tmp_path / "gate")],
        env=os.environ | {"FAKE_CLOCK": str(clock), "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    *jumps, answer, states = done.stdout.splitlines()
    assert jumps == ["jumped 1", "jumped -25"]
    assert answer == str(sorted(EXPECTED.items()))
    assert states == "['alive', 'alive']"
