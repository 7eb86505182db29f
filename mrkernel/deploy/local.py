"""Starting a supervisor as a child of this program, and ending it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mrkernel.errors import ClusterError
from mrkernel.security.token import ConnectionFile, read_connection_file, running_managers

#: A cluster inside a session has at most so many workers, however many cores there are.
MOST_WORKERS = 4
START_S = 30.0
STOP_S = 5.0
#: What a supervisor obeys, a line each: its owner, on its standard input, and its manager.
RESTART_MANAGER = b"restart-manager"
ADD_WORKER = b"add-worker"  #: and its slots
LET_GO = b"let-go"  #: and a worker's process: do not start it again when it has ended
KILL = b"kill"  #: and a worker's process

#: One slot is one core: libraries with thread pools of their own would fight over it.
_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "ARROW_NUM_THREADS",
)


def shares_of_cores(workers: int | None) -> list[int]:
    """Deal the usable cores out to so many workers, as slots, at least one each; None: up to 4."""
    cores = usable_cores()
    count = workers if workers is not None else min(MOST_WORKERS, cores)
    return [max(1, cores * (i + 1) // count - cores * i // count) for i in range(count)]


def usable_cores() -> int:
    """Return how many cores this process may use: affinity and cgroup quota respected."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, min(cores, quota) if quota else cores)


def _cgroup_quota() -> int | None:
    """Return the cores a cgroup allows, rounded up; None without a quota."""
    try:
        allowed, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            allowed = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").read_text().strip()
            period = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if allowed in ("max", "-1"):
        return None
    return max(1, -(-int(allowed) // int(period)))


def _let_go(supervisor: weakref.ref[subprocess.Popen[bytes]]) -> None:
    """Let a forked child of this program not hold the input whose end is the cluster's end."""
    process = supervisor()
    if process is not None and process.stdin is not None and not process.stdin.closed:
        # Not closed: the number is the file object's still, which closes it once more.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, process.stdin.fileno(), inheritable=False)
        os.close(null)


class SupervisorProcess:
    """A running supervisor; it ends when this program does, however that ends.

    Args:
        slots: of each worker.
        embedded: whether other programs may not choose this cluster.
        beat_s: seconds between heartbeats; None: as is good on one machine.
    """

    def __init__(
        self, slots: Sequence[int], *, embedded: bool, beat_s: float | None = None
    ) -> None:
        command = [sys.executable, "-m", "mrkernel.deploy.supervisor"]
        command += ["--slots", ",".join(map(str, slots))]
        if beat_s is not None:
            command += ["--beat", str(beat_s)]
        if embedded:
            command.append("--embedded")
        environment = dict(os.environ)
        # Sets of strings are iterated alike on every worker, so re-run tasks repeat their output.
        environment.setdefault("PYTHONHASHSEED", "0")
        for name in _ONE_THREAD:
            environment.setdefault(name, "1")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # The interrupt key signals the whole foreground group; the cluster is not in it.
            start_new_session=True,
            env=environment,
        )
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=partial(_let_go, weakref.ref(self._process)))

    def wait_ready(self) -> ConnectionFile:
        """Wait until the manager listens.

        Raises:
            ClusterError: it ended, or was not ready in time.
        """
        stdout = self._process.stdout
        assert stdout is not None
        ready, _, _ = select.select([stdout], [], [], START_S)
        line = stdout.readline() if ready else b""
        if not line:
            self.stop()
            raise ClusterError(
                "the local cluster did not start: its own message stands above, "
                f"it ended with status {self._process.returncode}"
            )
        return read_connection_file(Path(json.loads(line)["connection_file"]))

    def restart_manager(self) -> None:
        """Let it kill the manager (SIGKILL), and start another, as it does for any that dies.

        Raises:
            ClusterError: it has ended.
        """
        self._tell(RESTART_MANAGER)

    def add_worker(self, slots: int) -> None:
        """Let it start one more worker.

        Raises:
            ClusterError: it has ended.
        """
        self._tell(b"%s %d" % (ADD_WORKER, slots))

    def let_go(self, pid: int) -> None:
        """Let it not start that worker again.

        Raises:
            ClusterError: it has ended.
        """
        self._tell(b"%s %d" % (LET_GO, pid))

    def _tell(self, line: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(line + b"\n")
            stdin.flush()
        except (ValueError, OSError) as error:  # closed by us, or by its end
            raise ClusterError("this cluster has ended: start a new one") from error

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """End the cluster and wait until it and its files are gone."""
        process = self._process
        if process.stdin is not None and not process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):  # it ended before it heard all
                process.stdin.close()
        stdout, deadline = process.stdout, time.monotonic() + STOP_S
        if stdout is not None and not stdout.closed:
            # It ends when its output does: ``wait`` with a timeout would only look now and then.
            while select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                if not os.read(stdout.fileno(), 4096):
                    break
            else:
                process.kill()
            stdout.close()
        process.wait()


_begun: SupervisorProcess | None = None


def is_inside(on: str | None) -> bool:
    """Whether a job goes to the cluster inside this session, if nothing else was chosen there.

    Args:
        on: "local", or where else; None: nobody says.
    """
    if on is not None:
        return on == "local"
    return not os.environ.get("MRKERNEL_ADDRESS") and len(running_managers()) != 1


def begin_inside() -> None:
    """Start the processes of the cluster inside this session before they are asked for.

    They take longer than anything else before a first job, which can be got ready meanwhile. Where
    nothing comes of it they end with this program.
    """
    global _begun
    if _begun is None:
        _begun = SupervisorProcess(shares_of_cores(None), embedded=True)


def start_supervisor(
    slots: list[int], *, embedded: bool, beat_s: float | None
) -> SupervisorProcess:
    """Start a supervisor, or take over the one that was begun, if it is such a one."""
    global _begun
    if _begun is not None and embedded and beat_s is None and slots == shares_of_cores(None):
        begun, _begun = _begun, None
        return begun
    return SupervisorProcess(slots, embedded=embedded, beat_s=beat_s)
