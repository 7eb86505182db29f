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


def eventually(look: Callable[[], bool], what: str, within: float = 30.0) -> None:
    deadline = time.monotonic() + within
    while not look():
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.005)


def children(pid: int) -> list[psutil.Process]:
    return list(psutil.Process(pid).children(recursive=True))


def running(pid: int) -> bool:
    """Whether a process lives; one that nobody has waited for does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


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


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_of_its_owner_does_not_keep_it(supervisor: SupervisorProcess) -> None:
    """As multiprocessing makes them: they have all that their parent has open."""
    supervisor.wait_ready()
    child = os.fork()
    if not child:
        time.sleep(60)
        os._exit(0)
    try:
        stdin = supervisor._process.stdin
        assert stdin is not None
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdin.fileno())  # the owner is killed
        eventually(lambda: not supervisor.alive, "end of the supervisor")
        assert list(SPILL.iterdir()) == []
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


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


def test_what_was_begun_is_taken_over_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    class Begun:
        def __init__(
            self, slots: list[int], *, embedded: bool, beat_s: float | None = None
        ) -> None:
            made.append(self)

    monkeypatch.setattr(local, "SupervisorProcess", Begun)
    monkeypatch.setattr(local, "_begun", None)
    local.begin_inside()
    local.begin_inside()
    usual = local.shares_of_cores(None)
    assert len(made) == 1
    assert local.start_supervisor(usual, embedded=False, beat_s=None) is made[1]
    assert local.start_supervisor([*usual, 1], embedded=True, beat_s=None) is made[2]
    assert local.start_supervisor(usual, embedded=True, beat_s=None) is made[0]
    assert local.start_supervisor(usual, embedded=True, beat_s=None) is made[3]


def test_a_cluster_is_begun_only_where_no_other_would_be_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    managers: list[object] = []
    monkeypatch.setattr(local, "running_managers", lambda: managers)
    monkeypatch.delenv("MRKERNEL_ADDRESS", raising=False)
    assert local.is_inside(None)
    assert local.is_inside("local")
    assert not local.is_inside("inline")
    managers.append(object())
    assert not local.is_inside(None)
    managers.append(object())  # nobody could choose between two
    assert local.is_inside(None)
    monkeypatch.setenv("MRKERNEL_ADDRESS", "host:1")
    assert not local.is_inside(None)


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


# --- What dies is started again -------------------------------------------------------------------


def managers(supervisor: SupervisorProcess, state: Path) -> list[int]:
    """The process that holds the state directory's lock, as the lock file says, if it lives."""
    try:
        pid = int((state / "lock").read_text())
    except (OSError, ValueError):
        return []
    alive = [child.pid for child in psutil.Process(supervisor.pid).children()]
    return [pid] if pid in alive else []


def manager_of(supervisor: SupervisorProcess, state: Path, *, but: int = 0) -> int:
    """Wait until there is a manager that is another one than before."""
    eventually(lambda: set(managers(supervisor, state)) - {0, but} != set(), "manager")
    return managers(supervisor, state)[0]


def test_a_manager_that_dies_is_started_again_at_the_same_place(
    supervisor: SupervisorProcess,
) -> None:
    connection = supervisor.wait_ready()
    state = Path(connection.state)
    first = manager_of(supervisor, state)
    eventually((state / "identity.json").exists, "identity")  # the lock comes before it
    identity = (state / "identity.json").read_bytes()
    os.kill(first, signal.SIGKILL)
    second = manager_of(supervisor, state, but=first)
    assert (state / "identity.json").read_bytes() == identity
    assert connection.token.encode() in identity
    assert (state / "identity.json").stat().st_mode & 0o777 == 0o600

    def listens() -> bool:
        with socket.socket() as knocking:
            return knocking.connect_ex((connection.host, connection.port)) == 0

    eventually(listens, "manager at the same place")
    assert supervisor.alive
    supervisor.restart_manager()  # as who holds it can ask for
    third = manager_of(supervisor, state, but=second)
    assert len({first, second, third}) == 3
    supervisor.stop()
    assert list(SPILL.iterdir()) == []
    with pytest.raises(ClusterError, match="start a new one"):
        supervisor.restart_manager()


def test_a_manager_that_dies_again_and_again_ends_the_cluster_with_a_sentence(
    capfd: pytest.CaptureFixture[str],
) -> None:
    supervisor = SupervisorProcess([1], embedded=True)
    try:
        state = Path(supervisor.wait_ready().state)
        pid = manager_of(supervisor, state)
        (state / "journal").write_bytes(b"this is no journal" * 3)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not supervisor.alive, "end of the supervisor")
    finally:
        supervisor.stop()
    said = capfd.readouterr().err
    assert "is damaged at byte 0" in said
    assert said.count("this cluster ends") == 1
    assert "Traceback" not in said
    assert list(SPILL.iterdir()) == []


def test_workers_are_replaced_however_many_die(supervisor: SupervisorProcess) -> None:
    """Pauses grow while they die as soon as they live; nobody is given up."""
    gone = {manager_of(supervisor, Path(supervisor.wait_ready().state))}  # or never a worker

    def workers() -> set[int]:
        return {child.pid for child in psutil.Process(supervisor.pid).children()} - gone

    for _ in range(6):
        eventually(lambda: len(workers()) == 2, "two workers")
        for pid in workers():
            os.kill(pid, signal.SIGKILL)
            gone.add(pid)
    eventually(lambda: len(workers()) == 2, "two workers")
    assert supervisor.alive


def test_what_a_killed_supervisor_left_goes_when_the_next_one_starts() -> None:
    killed = SupervisorProcess([1], embedded=True)
    connection = killed.wait_ready()
    pids = [child.pid for child in children(killed.pid)]
    os.kill(killed.pid, signal.SIGKILL)
    eventually(lambda: not killed.alive, "end of the supervisor")
    eventually(lambda: not any(map(running, pids)), "end of its children")
    file = Path(os.environ["JUPYTER_RUNTIME_DIR"]) / f"mrkernel-{connection.id}.json"
    (left,) = SPILL.iterdir()
    assert left.is_dir()
    assert file.exists()
    killed.stop()
    following = SupervisorProcess([1], embedded=True)
    try:
        following.wait_ready()
        eventually(lambda: not left.exists() and not file.exists(), "sweeping")
        assert len(list(SPILL.iterdir())) == 1
    finally:
        following.stop()
