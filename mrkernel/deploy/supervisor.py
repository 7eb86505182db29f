"""The supervisor of a local cluster: imports once, forks the manager and the workers, starts anew
those that die, and takes everything with it when its owner is gone.

Its owner (a kernel, a program, a terminal) holds the writing end of its standard input: when that
ends, for whatever reason, the cluster and its files are gone within moments. It runs in a session
of its own, so the interrupt key of the owner does not reach it. A line on its standard input makes
it kill the manager or a worker, for lectures and tests, start one more worker, or not start one
again when it has ended.

What a manager needs to go on where the one before ended belongs to the supervisor: the listening
sockets, at which clients, workers and browsers wait meanwhile; the state directory; and a pair of
sockets, on which it is told how worker servers ended, one line of JSON each, and says what its web
page is asked for, in the lines of standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import math
import os
import select
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from mrkernel.deploy import local as deploy
from mrkernel.deploy.restarts import Restarts
from mrkernel.deploy.sweep import make_cluster_directory, remove, sweep
from mrkernel.errors import MRKernelError
from mrkernel.logs import set_up
from mrkernel.security.token import (
    ConnectionFile,
    make_id,
    make_token,
    running_managers,
    write_connection_file,
)

if TYPE_CHECKING:
    from mrkernel.worker.memory import Victims

#: A manager that dies so often in a row, each time as soon as it lives, takes the cluster with it.
MANAGER_LIVES = 5
#: Seconds children get to end themselves before they are killed.
GRACE_S = 1.0
#: As in the command line: objects more than before between two looks for garbage.
GARBAGE_AFTER = 10_000


@dataclass(slots=True)
class _Child:
    """The manager, or one of the workers, over all its lives."""

    start: Callable[[], int]  #: forks it and returns its pid
    restarts: Restarts
    pid: int = 0  #: 0 while it is dead
    born: float = 0.0
    due: float | None = 0.0  #: when it is to be started, if it is dead; None: never
    goes: bool = False  #: its next death is its last


@dataclass(slots=True)
class _Cluster:
    """What the supervisor holds together."""

    id: str
    token: bytes
    directory: Path
    listener: socket.socket
    web: socket.socket  #: where browsers come
    line: tuple[int, int]  #: a pair of sockets: the manager's end, and ours
    beat_s: float | None  #: between heartbeats; None: as is good on one machine
    manager: _Child | None = None
    workers: list[_Child] = field(default_factory=list)
    workers_started: int = 0
    connection_file: Path | None = None
    ends: bool = False  #: somebody said so
    victims: Victims | None = None  #: of the kernel, for want of memory; None before workers start

    @property
    def state(self) -> Path:
        """The manager's state directory."""
        return self.directory / "manager"

    @property
    def children(self) -> list[_Child]:
        return [*([self.manager] if self.manager else []), *self.workers]


def main(argv: list[str] | None = None) -> int:
    """Run a local cluster until standard input ends."""
    gc.set_threshold(GARBAGE_AFTER)
    parser = argparse.ArgumentParser(prog="mrkernel.deploy.supervisor", allow_abbrev=False)
    parser.add_argument("--slots", required=True, help="slots of each worker: 1,1")
    parser.add_argument("--embedded", action="store_true")
    parser.add_argument("--beat", type=float, help="seconds between heartbeats")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wake_read = _wake_up_pipe()
    cluster = _Cluster(
        make_id(),
        make_token(),
        make_cluster_directory(),
        socket.create_server(("127.0.0.1", 0), backlog=128),
        socket.create_server(("127.0.0.1", 0), backlog=16),
        _line_to_manager(),
        arguments.beat,
    )

    def end(*_: object) -> None:
        # No exception: it may be raised where nobody lets it pass, as in a weak reference.
        cluster.ends = True

    signal.signal(signal.SIGTERM, end)
    try:
        cluster.manager = _Child(lambda: _fork_manager(cluster), Restarts(MANAGER_LIVES))
        _start(cluster.manager)
        cluster.connection_file = write_connection_file(
            ConnectionFile(
                id=cluster.id,
                host="127.0.0.1",
                port=cluster.listener.getsockname()[1],
                token=cluster.token.hex(),
                pid=os.getpid(),
                embedded=arguments.embedded,
                state=str(cluster.state),
                web_port=cluster.web.getsockname()[1],
            )
        )
        ready = {
            "connection_file": str(cluster.connection_file),
            "manager_pid": cluster.manager.pid,
        }
        with contextlib.suppress(BrokenPipeError):  # the owner is gone: _watch sees it too
            os.write(1, json.dumps(ready).encode() + b"\n")
        # Once, here, for all workers and for those that replace dead ones.
        import mrkernel.worker.server
        from mrkernel.worker.memory import Victims
        from mrkernel.worker.task_runner import warm_up

        warm_up()
        cluster.victims = Victims()
        for slots in map(int, arguments.slots.split(",")):
            worker = _worker(cluster, slots)
            cluster.workers.append(worker)
            _start(worker)
        # Now that all have begun: what others who were killed left behind.
        sweep()
        running_managers(embedded=True)
        import mrkernel.deploy.manager  # noqa: F401 - the next one is to be there at once

        return _watch(cluster, wake_read)
    finally:
        _clean_up(cluster, wake_read)


def _line_to_manager() -> tuple[int, int]:
    theirs, ours = socket.socketpair()
    for end in (theirs, ours):
        end.setblocking(False)
    return theirs.detach(), ours.detach()


def _wake_up_pipe() -> int:
    """Let signals wake a ``select``; return the descriptor to wait for."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    return wake_read


# --- watching ---------------------------------------------------------------------------------


def _watch(cluster: _Cluster, wake_read: int) -> int:
    """Start anew whoever dies until the owner is gone, or the manager is of no use."""
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(wake_read, selectors.EVENT_READ)
    selector.register(cluster.line[1], selectors.EVENT_READ)
    heard = {0: b"", cluster.line[1]: b""}
    while not cluster.ends:
        for key, _ in selector.select(_patience(cluster)):
            if key.fd == wake_read:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake_read, 4096)
                continue
            data = os.read(key.fd, 4096)
            if not data:
                return 0
            *lines, heard[key.fd] = (heard[key.fd] + data).split(b"\n")
            for line in lines:
                _obey(cluster, line)
        _bury(cluster)
        now = time.monotonic()
        for child in cluster.children:
            if not child.pid and child.due is not None and child.due <= now:
                _start(child)
        if cluster.manager is not None and not cluster.manager.pid and cluster.manager.due is None:
            sys.stderr.write(
                f"mrkernel: the manager died {MANAGER_LIVES} times, each time as soon as it was "
                "started: this cluster ends; what stands above may say why\n"
            )
            return 1
    return 0


def _obey(cluster: _Cluster, line: bytes) -> None:
    """Do what the owner says, or the manager."""
    match line.split():
        case [deploy.RESTART_MANAGER] if cluster.manager and cluster.manager.pid:
            cluster.manager.born = -math.inf  # this death says nothing against the next life
            os.kill(cluster.manager.pid, signal.SIGKILL)
        case [deploy.ADD_WORKER, slots]:
            cluster.workers.append(_worker(cluster, int(slots)))  # started as one that is due
        case [deploy.LET_GO, pid]:
            for worker in cluster.workers:
                worker.goes |= worker.pid == int(pid)
        case [deploy.KILL, pid]:
            # A child of ours that is not reaped yet: the number is nobody else's.
            for worker in cluster.workers:
                if worker.pid == int(pid):
                    os.kill(worker.pid, signal.SIGKILL)


def _patience(cluster: _Cluster) -> float | None:
    """Return the seconds until somebody is to be started; None: nobody is."""
    due = [c.due for c in cluster.children if not c.pid and c.due is not None]
    return max(0.0, min(due) - time.monotonic()) if due else None


def _bury(cluster: _Cluster) -> None:
    """Reap the dead, say when each is started again, and tell the manager of workers."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        for child in cluster.children:
            if child.pid != pid:
                continue
            _died(child)
            if child is not cluster.manager:
                _tell(cluster, pid, os.waitstatus_to_exitcode(status))
            if child.goes:
                cluster.workers.remove(child)


def _tell(cluster: _Cluster, pid: int, status: int) -> None:
    """Tell the manager, or the next one, how a worker server ended."""
    from mrkernel.worker.deaths import Death
    from mrkernel.worker.template import signal_name

    assert cluster.victims is not None
    killed_for_memory = status == -signal.SIGKILL and cluster.victims.any_new()
    death = Death(max(0, status), signal_name(status), out_of_memory=killed_for_memory)
    line = json.dumps({"pid": pid, "cause": death.cause}).encode() + b"\n"
    # When the socket is full the manager is frozen; that must not hold up who would restart it.
    with contextlib.suppress(BlockingIOError):
        os.write(cluster.line[1], line)


# --- children ---------------------------------------------------------------------------------


def _worker(cluster: _Cluster, slots: int) -> _Child:
    return _Child(lambda: _fork_worker(cluster, slots), Restarts())


def _start(child: _Child) -> None:
    child.born = time.monotonic()
    try:
        child.pid = child.start()
    except OSError as error:  # no room for one more process: there may be some later
        sys.stderr.write(f"mrkernel: cannot start a process of the cluster: {error.strerror}\n")
        _died(child)


def _died(child: _Child) -> None:
    """Decide when it is started again."""
    now = time.monotonic()
    pause_s = child.restarts.died(now - child.born)
    child.pid = 0
    child.due = None if pause_s is None else now + pause_s


def _fork() -> int:
    """Fork; a SIGTERM ends the child from its first moment on, without our own handler."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return pid


def _fork_manager(cluster: _Cluster) -> int:
    parent = os.getpid()
    return _fork() or _in_child(parent, "manager", lambda: _manager_main(cluster))


def _fork_worker(cluster: _Cluster, slots: int) -> int:
    cluster.workers_started += 1
    parent = os.getpid()
    return _fork() or _in_child(parent, "worker", lambda: _worker_main(cluster, slots))


def _in_child(parent: int, process: str, life: Callable[[], int]) -> NoReturn:
    from mrkernel.worker.template import die_with_parent

    status = 1
    try:
        die_with_parent(parent)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        # What is logged as an error is a bug of ours: the owner's terminal is told.
        with contextlib.suppress(ValueError, OSError):  # a log is no reason not to live
            set_up(process, quiet="error")
        status = life()
    except MRKernelError as error:
        sys.stderr.write(f"mrkernel: {error}\n")
    except BaseException:  # noqa: BLE001 - told here; the frames above are the supervisor's
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _manager_main(cluster: _Cluster) -> int:
    from mrkernel.deploy.manager import manage
    from mrkernel.manager.state_directory import StateDirectory
    from mrkernel.manager.workers import EMBEDDED, Liveness

    liveness = EMBEDDED
    if cluster.beat_s is not None:
        missed = round(liveness.dead_after_s / liveness.beat_s)
        liveness = Liveness.of(cluster.beat_s, missed, liveness.lease_s)
    os.close(cluster.line[1])
    # Its facts need not survive the machine: the cluster would not either.
    with StateDirectory.open(
        cluster.state, durable=False, cluster=cluster.id, token=cluster.token
    ) as directory:
        life = manage(
            *(directory, cluster.listener, asyncio.Event()),
            liveness=liveness,
            supervisor=cluster.line[0],
            web=cluster.web,
        )
        asyncio.run(life)
    return 0


def _worker_main(cluster: _Cluster, slots: int) -> int:
    from mrkernel.worker.config import WorkerConfig
    from mrkernel.worker.server import main as worker_main

    address = cluster.listener.getsockname()
    cluster.listener.close()
    cluster.web.close()
    for descriptor in cluster.line:
        os.close(descriptor)
    directory = cluster.directory / f"worker-{cluster.workers_started}"
    manager = (address[0], address[1])
    return worker_main(WorkerConfig(manager, cluster.token, slots, directory, supervised=True))


# --- the end ----------------------------------------------------------------------------------


def _clean_up(cluster: _Cluster, wake_read: int) -> None:
    """End the children and remove every file."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if cluster.connection_file is not None:
        cluster.connection_file.unlink(missing_ok=True)
    left = {child.pid for child in cluster.children if child.pid}
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGCONT)  # one that is frozen would not hear of it
    deadline = time.monotonic() + GRACE_S
    while left:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid:
            left.discard(pid)
            continue
        patience = deadline - time.monotonic()
        if patience <= 0 or not select.select([wake_read], [], [], patience)[0]:
            break
        os.read(wake_read, 4096)  # a child ended
    for pid in left:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    with contextlib.suppress(OSError):  # the next sweep tries again
        remove(cluster.directory)


if __name__ == "__main__":
    sys.exit(main())
