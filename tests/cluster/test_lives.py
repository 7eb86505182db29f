"""Who outlives whom: every row of the table in DESIGN.md, section 4.

| thing | tests |
|---|---|
| embedded cluster | ends with its owner, however that goes; a killed supervisor's files go later |
| manager | ``test_manager_restart`` |
| worker server | looks for its manager as long as its lease; another one takes its place |
| runner | ends with its worker server, at once |
| map output | adopted by another worker of the host; deleted when the result is released |
| what only the client has | ``test_manager_restart``: the job of a killed kernel goes on |
| result | small: the client's own; others until released (``test_manager_restart``) |
| journal, spill, connection files | in the platform's directories, for their owner only |
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from by_hand import ByHand
from watching import Gate, alive, at_most, eventually, family, steadily, told, worker_of

from mrkernel.deploy.sweep import LEASE_S
from mrkernel.engines.local import LocalCluster
from mrkernel.errors import ClusterError, JobError, MRKernelError

#: An owner: starts a cluster whose every slot runs something that would run for ever.
OWNER = """
    import json, os, sys, time
    import mrkernel

    here, marks = os.getpid(), sys.argv[1]

    def mapper(record):
        import subprocess
        if here not in (os.getpid(), os.getppid()):
            with open(f"{marks}/{os.getpid()}", "w"):
                pass
            subprocess.run(["sleep", "3600"])
        yield record, 1

    if __name__ == "__main__":
        cluster = mrkernel.LocalCluster(workers=2, slots=1)
        job = cluster.submit(mapper, range(2), "sum", split_size=1)
        while len(os.listdir(marks)) < 2:
            time.sleep(0.005)
        print(json.dumps({"supervisor": cluster._supervisor.pid}), flush=True)
        sys.stdin.read()
"""


def files(kind: str = "") -> list[Path]:
    """What clusters (or "worker": workers by themselves) have on disk: connection files, spill."""
    spill = (Path(os.environ["XDG_CACHE_HOME"]) / "mrkernel" / "spill").glob("*")
    if kind:
        return sorted(path for path in spill if kind in path.name)
    runtime = Path(os.environ["JUPYTER_RUNTIME_DIR"]).glob("mrkernel*")
    return sorted([*runtime, *spill])


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    script = tmp_path / "owner.py"
    script.write_text(textwrap.dedent(OWNER))
    (tmp_path / "marks").mkdir()
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "marks")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=tmp_path,
    )
    yield process
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()
    eventually(lambda: not files(), "end of all files", 5)


def cluster_of(owner: subprocess.Popen[str]) -> list[int]:
    """Wait until all its slots are busy; return the processes of its cluster."""
    assert owner.stdout is not None
    supervisor: int = json.loads(owner.stdout.readline())["supervisor"]
    # A manager; two workers, with a template, a runner and a program each.
    eventually(lambda: len(family(supervisor)) == 1 + 1 + 2 * 4, "family of ten", 5)
    return family(supervisor)


def interrupt(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)


def end_input(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()


@pytest.mark.parametrize(
    "end",
    [subprocess.Popen.kill, subprocess.Popen.terminate, interrupt, end_input],
    ids=["SIGKILL", "SIGTERM", "SIGINT", "by itself"],
)
def test_the_owner_is_gone_and_two_seconds_later_so_is_all_of_it(
    owner: subprocess.Popen[str], end: Callable[[subprocess.Popen[str]], None]
) -> None:
    pids = cluster_of(owner)
    assert len(files()) == 2
    with at_most(2.0, "the end of the cluster"):
        end(owner)
        eventually(lambda: not alive(pids), "end of all processes", 5)
        eventually(lambda: not files(), "end of all files", 5)


def test_the_interrupt_key_does_not_reach_the_cluster(owner: subprocess.Popen[str]) -> None:
    """It signals every process of the terminal's foreground group."""
    pids = cluster_of(owner)
    group = os.getpgid(owner.pid)
    assert not [pid for pid in pids if os.getpgid(pid) == group or os.getsid(pid) == group]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_supervisor_is_gone_and_its_children_too(
    owner: subprocess.Popen[str], number: int
) -> None:
    pids = cluster_of(owner)
    os.kill(pids[0], number)
    with at_most(2.0, "the end of the cluster"):
        eventually(lambda: not alive(pids), "end of all processes", 5)
    if number == signal.SIGTERM:
        assert files() == []
    else:
        sweep_up()


def sweep_up() -> None:
    """Nobody was left to do it: the next cluster of this user does."""
    assert len(files()) == 2
    with LocalCluster(workers=1, slots=1) as following:
        following.wait_for_workers()
        eventually(lambda: len(files()) == 2, "sweeping")  # its own
    assert files() == []


def test_stop_takes_everything_and_twice_is_nothing() -> None:
    cluster = LocalCluster(workers=1, slots=2)
    cluster.wait_for_workers()
    pids = family(cluster._supervisor.pid)
    assert len(pids) >= 4
    with at_most(2.0, "stop"):
        cluster.stop()
    assert alive(pids) == []
    assert files() == []
    cluster.stop()
    with pytest.raises(ClusterError, match="start a new one"):
        cluster.run(lambda record: [(record, 1)], range(3), "sum")


def test_a_cluster_that_never_got_going_leaves_nothing() -> None:
    cluster = LocalCluster(workers=2, slots=1)
    pid = cluster._supervisor.pid
    cluster.stop()
    eventually(lambda: not alive([pid]), "end of the supervisor", 2)
    assert files() == []


def test_whoever_waits_for_a_job_is_told_that_the_cluster_is_gone(gate: Gate) -> None:
    """Nobody is left who would start the manager again."""
    pause = gate.pause

    def mapper(record: int) -> Iterator[tuple[int, int]]:
        pause("x")
        yield record, 1

    with LocalCluster(workers=1, slots=1) as cluster:
        job = cluster.submit(mapper, range(3), "sum")
        gate.wait_for()
        pids = family(cluster._supervisor.pid)
        os.kill(pids[0], signal.SIGKILL)
        with at_most(2.0, "the news"), pytest.raises(JobError, match="run it again"):
            job.result(20)
        eventually(lambda: not alive(pids), "end of the rest", 3)
        with pytest.raises(MRKernelError):
            cluster.workers()
    sweep_up()


def test_a_program_that_the_runner_started_in_the_background_ends_with_the_cluster(
    tmp_path: Path,
) -> None:
    here, mark = os.getpid(), str(tmp_path / "pid")

    def mapper(record: int) -> Iterator[tuple[int, int]]:
        if here not in (os.getpid(), os.getppid()):
            program = subprocess.Popen(["sleep", "3600"])
            Path(mark).write_text(str(program.pid))
        yield record, 1

    with LocalCluster(workers=1, slots=1) as cluster:
        cluster.run(mapper, range(1), "sum")
        pid = int(Path(mark).read_text())
        assert alive([pid])
    eventually(lambda: not alive([pid]), "end of the program", 2)


def test_two_clusters_do_not_know_each_other() -> None:
    with LocalCluster(workers=1, slots=1) as one, LocalCluster(workers=1, slots=1) as other:
        one.wait_for_workers()
        other.wait_for_workers()
        assert one.address != other.address
        assert one.client.connection.secret != other.client.connection.secret
        one.stop()
        assert other.run(lambda record: [(record, 1)], range(2), "sum").to_dict() == {0: 1, 1: 1}


def test_a_worker_whose_manager_is_gone_looks_for_it_and_then_ends(tmp_path: Path) -> None:
    """Without a supervisor: the lease decides."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    script = tmp_path / "worker.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys
            from pathlib import Path
            from mrkernel.worker.config import WorkerConfig
            from mrkernel.worker.server import main

            directory = Path(sys.argv[1])
            main(WorkerConfig(("127.0.0.1", {port}), b"t" * 32, 1, directory, lease_s=0.2))
            """
        )
    )
    directory = tmp_path / "worker"
    done: Any = subprocess.run(
        [sys.executable, str(script), str(directory)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    assert f"no manager answers at 127.0.0.1:{port}" in done.stderr
    assert not directory.exists()


# --- Workers, runners, and what they made ---------------------------------------------------------


def test_runners_end_with_their_worker_server(cluster: LocalCluster, gate: Gate) -> None:
    pause = gate.pause

    def mapper(record: int) -> Iterator[tuple[int, int]]:
        pause("x")
        yield record, 1

    job = cluster.submit(mapper, range(2), "sum", split_size=1)
    runner = gate.wait_for()
    worker = worker_of(cluster, runner)
    below = family(cluster.workers()[worker]["pid"])
    assert runner in below
    with at_most(1.0, "the end of the runners"):
        cluster.kill(worker)
        eventually(lambda: not alive(below), "end of the runners", 5)
    gate.open()
    assert job.result(30).to_dict() == {0: 1, 1: 1}


@pytest.mark.fault(3)
@pytest.mark.fault(2, 3)
def test_map_output_of_a_dead_worker_is_served_by_another_of_its_host(
    cluster: LocalCluster, tmp_path: Path, another_gate: Callable[[str], Gate]
) -> None:
    """All maps are done when it dies: none runs again."""
    marks, here = tmp_path / "marks", os.getpid()
    marks.mkdir()
    reducing = another_gate("reducing")
    pause = reducing.pause

    def mapper(record: int) -> Iterator[tuple[int, bytes]]:
        if here not in (os.getpid(), os.getppid()):
            with open(f"{marks}/{record}", "ab") as file:
                file.write(b"x")
        yield record % 4, os.urandom(50_000)  # too much to travel in a message

    def reducer(key: int, values: Any) -> int:
        pause("reduce")
        return sum(len(value) for value in values)

    job = cluster.submit(mapper, range(20), reducer, split_size=1, reduce_tasks=4)
    runner = reducing.wait_for("reduce")
    worker = worker_of(cluster, runner)
    cluster.kill(worker)
    eventually(lambda: "was killed (SIGKILL)" in cluster.workers()[worker]["end"], "death")
    reducing.open()
    assert job.result(30).to_dict() == dict.fromkeys(range(4), 250_000)
    assert {path.stat().st_size for path in marks.iterdir()} == {1}
    told(cluster, job.id, rf"{worker} was killed .* finished tasks kept: w\d+ serves their output")
    assert cluster.client.look(job.id)["redone"] == 0


def test_files_of_a_job_are_deleted_when_its_result_is_released(cluster: LocalCluster) -> None:
    state = Path(cluster.client.connection.state)
    job = cluster.submit(
        lambda record: [(record, os.urandom(100_000))], range(10), "first", split_size=1
    )
    result = job.result(30)
    assert len(result) == 10
    result.release()
    eventually(lambda: not list(state.parent.glob(f"worker-*/{job.id}")), "end of its files", 5)


def test_a_small_result_is_the_clients_own() -> None:
    with LocalCluster(workers=1, slots=1) as cluster:
        result = cluster.run(lambda record: [(record, "x" * 100_000)], range(10), "first")
    assert {len(value) for _, value in result} == {100_000}


def test_files_are_where_they_belong_and_nobody_elses(cluster: LocalCluster) -> None:
    """In the platform's directories; nobody else may read them, and none has the token in it."""
    connection = cluster.client.connection
    root = Path(os.environ["XDG_CACHE_HOME"]) / "mrkernel" / "spill"
    directory = Path(connection.state).parent
    assert directory.parent == root
    for path in (directory, Path(connection.state), *directory.glob("worker-*")):
        assert path.stat().st_mode & 0o077 == 0, path
    secrets = (connection.token.encode(), connection.secret)
    having = [
        path
        for path in directory.rglob("*")
        if path.is_file() and any(secret in path.read_bytes() for secret in secrets)
    ]
    assert having == [Path(connection.state) / "identity.json"]
    assert having[0].stat().st_mode & 0o777 == 0o600
    runtime = Path(os.environ["JUPYTER_RUNTIME_DIR"]) / f"mrkernel-{connection.id}.json"
    assert runtime.stat().st_mode & 0o777 == 0o600
    for pid in family(cluster._supervisor.pid):
        for what in ("cmdline", "environ"):
            assert connection.token.encode() not in Path(f"/proc/{pid}/{what}").read_bytes()


def test_what_a_killed_worker_left_goes_when_its_lease_is_over(by_hand: ByHand) -> None:
    by_hand.start_manager()
    killed = by_hand.start_worker()
    (left,) = files("worker")
    with by_hand.connect() as client:
        eventually(lambda: len(client.living_workers()) == 1, "worker")
    killed.kill()
    killed.wait()
    second = by_hand.start_worker()
    assert left.exists()  # its manager may want another worker to serve it
    second.terminate()
    second.communicate()
    assert files("worker") == [left]
    then = time.time() - LEASE_S - 60
    for path in (*left.rglob("*"), left):
        os.utime(path, (then, then))
    by_hand.start_worker()
    assert not left.exists()


@pytest.mark.fault(8)
def test_a_worker_waits_for_its_manager_and_is_another_one_then(by_hand: ByHand) -> None:
    """Long enough for a person to start it again; the lease is the command's, 10 minutes."""
    by_hand.start_manager()
    worker = by_hand.start_worker()
    with by_hand.connect() as client:
        eventually(lambda: list(client.living_workers()) == ["w1"], "worker")
        by_hand.end_manager()
        steadily(lambda: worker.poll() is None, 0.5, "it did not wait")
        by_hand.start_manager()
        eventually(lambda: list(client.living_workers()) == ["w2"], "its return")
        assert client.living_workers()["w2"]["pid"] == worker.pid
