"""A supervisor by itself: what it says, what it takes with it, what it does with bad children."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from mrkernel.deploy import local
from mrkernel.deploy.local import SupervisorProcess, usable_cores
from mrkernel.errors import ClusterError
from mrkernel.security.token import read_connection_file

SPILL = Path(os.environ["XDG_CACHE_HOME"]) / "mrkernel" / "spill"


def eventually(look: Callable[[], bool], what: str, within: float = 5.0) -> None:
    deadline = time.monotonic() + within
    while not look():
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.005)


def children(pid: int) -> list[psutil.Process]:
    return list(psutil.Process(pid).children(recursive=True))


@pytest.fixture
def supervisor() -> Iterator[SupervisorProcess]:
    made = SupervisorProcess([1, 2], embedded=True)
    yield made
    made.stop()


def test_it_says_where_its_manager_is(supervisor: SupervisorProcess) -> None:
    connection = supervisor.wait_ready()
    assert connection.pid == supervisor.pid
    assert connection.embedded
    assert supervisor.alive
    path = Path(os.environ["JUPYTER_RUNTIME_DIR"]) / f"mrkernel-{connection.id}.json"
    assert read_connection_file(path) == connection
    supervisor.stop()
    assert not path.exists()
    assert not supervisor.alive
    assert list(SPILL.iterdir()) == []
    supervisor.stop()


def test_it_does_not_hear_the_interrupt_key(supervisor: SupervisorProcess) -> None:
    connection = supervisor.wait_ready()
    eventually(lambda: len(children(supervisor.pid)) == 1 + 2 + 2 + 3, "cluster")
    for pid in (supervisor.pid, *(p.pid for p in children(supervisor.pid))):
        assert os.getsid(pid) == supervisor.pid != os.getsid(0)
    os.kill(supervisor.pid, signal.SIGINT)  # nor if somebody sends it straight there
    with socket.create_connection((connection.host, connection.port)):
        assert supervisor.alive


def test_it_ends_well_when_it_is_told_to_twice(supervisor: SupervisorProcess) -> None:
    """A second SIGTERM comes while it cleans up."""
    connection = supervisor.wait_ready()
    eventually(lambda: len(children(supervisor.pid)) == 8, "cluster")
    pids = [p.pid for p in children(supervisor.pid)]
    for _ in range(20):
        if supervisor.alive:
            os.kill(supervisor.pid, signal.SIGTERM)
            time.sleep(0.001)
    eventually(lambda: not supervisor.alive, "end of the supervisor")
    eventually(lambda: not any(map(psutil.pid_exists, pids)), "end of its children")
    assert list(SPILL.iterdir()) == []
    assert not list(Path(os.environ["JUPYTER_RUNTIME_DIR"]).glob(f"*{connection.id}*"))


def test_a_cluster_that_cannot_start_says_so(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "file" / "below"))
    supervisor = SupervisorProcess([1], embedded=True)
    with pytest.raises(ClusterError, match="did not start"):
        supervisor.wait_ready()
    assert not supervisor.alive
    assert "NotADirectoryError" in capfd.readouterr().err


def test_it_is_killed_when_it_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "STOP_S", 0.05)
    monkeypatch.setattr(sys, "executable", "/bin/sleep")
    real = subprocess.Popen

    def popen(command: list[str], **options: object) -> object:
        return real(["/bin/sleep", "3600"], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", popen)
    supervisor = SupervisorProcess([1], embedded=True)
    supervisor.stop()
    assert not supervisor.alive


def test_it_tells_ready_in_one_line_of_json() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "mrkernel.deploy.supervisor", "--slots", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    assert set(said) == {"connection_file", "manager_pid"}
    assert psutil.Process(said["manager_pid"]).ppid() == process.pid
    connection = read_connection_file(Path(said["connection_file"]))
    assert not connection.embedded
    process.communicate()
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("maximum", "affinity", "cores"),
    [
        ("max 100000", 8, 8),
        ("150000 100000", 8, 2),
        ("50000 100000", 8, 1),
        ("800000 100000", 2, 2),
    ],
)
def test_usable_cores(
    monkeypatch: pytest.MonkeyPatch, maximum: str, affinity: int, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)))
    monkeypatch.setattr(Path, "read_text", lambda path: maximum)
    assert usable_cores() == cores


def test_usable_cores_without_a_cgroup(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 5})
    monkeypatch.setattr(Path, "read_text", nothing)
    assert usable_cores() == 3
