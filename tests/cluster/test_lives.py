"""Who outlives whom: nothing of a cluster is left once its owner is gone, however it went."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from watching import Gate, alive, at_most, eventually, family

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


def files() -> list[Path]:
    """What clusters have on disk: connection files and spill."""
    runtime = Path(os.environ["JUPYTER_RUNTIME_DIR"]).glob("mrkernel*")
    spill = (Path(os.environ["XDG_CACHE_HOME"]) / "mrkernel" / "spill").glob("*")
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
        leave_no_litter()  # nobody was left to do it


def leave_no_litter() -> None:
    import shutil

    for path in files():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


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


def test_whoever_waits_for_a_job_is_told_that_the_manager_is_gone(gate: Gate) -> None:
    pause = gate.pause

    def mapper(record: int) -> Iterator[tuple[int, int]]:
        pause("x")
        yield record, 1

    with LocalCluster(workers=1, slots=1) as cluster:
        job = cluster.submit(mapper, range(3), "sum")
        gate.wait_for()
        pids = family(cluster._supervisor.pid)
        manager = next(
            pid for pid in pids if listens(pid, cluster.client.connection.port) and pid != pids[0]
        )
        os.kill(manager, signal.SIGKILL)
        with at_most(2.0, "the news"), pytest.raises(JobError, match="run it again"):
            job.result(20)
        eventually(lambda: not alive(pids), "end of the rest", 3)
        with pytest.raises(MRKernelError):
            cluster.workers()


def listens(pid: int, port: int) -> bool:
    connections = psutil.Process(pid).net_connections("tcp")
    return any(c.status == psutil.CONN_ESTABLISHED and c.laddr.port == port for c in connections)


def test_every_worker_that_dies_is_replaced_until_it_is_no_use() -> None:
    """A worker that dies at once each time would keep the machine busy for ever."""
    from mrkernel.deploy.supervisor import FLAPS

    with LocalCluster(workers=1, slots=1) as cluster:
        for number in range(1, FLAPS + 1):
            cluster.wait_for_workers(1)
            cluster.kill(f"w{number}")
            eventually(lambda n=number: cluster.workers()[f"w{n}"]["state"] == "dead", "death")  # type: ignore[misc]
        cluster.wait_for_workers(1)
        assert cluster.run(lambda record: [(record, 1)], range(3), "sum").to_dict() == {
            0: 1,
            1: 1,
            2: 1,
        }


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
            from mrkernel.worker.server import WorkerConfig, main

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
