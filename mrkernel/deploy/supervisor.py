"""The supervisor of a local cluster: imports once, forks the manager and the workers, replaces
workers that die, and takes everything with it when its owner is gone.

Its owner (a kernel, a program, a terminal) holds the writing end of its standard input: when that
ends, for whatever reason, the cluster and its files are gone within moments. It runs in a session
of its own, so the interrupt key of the owner does not reach it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import select
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from mrkernel.security.token import ConnectionFile, make_id, make_token, write_connection_file

#: A worker that dies this often within ``FLAP_WINDOW_S`` is not replaced any more.
FLAPS = 10
FLAP_WINDOW_S = 60.0
#: Seconds children get to end themselves before they are killed.
GRACE_S = 1.0


@dataclass(slots=True)
class _Cluster:
    """What the supervisor holds together."""

    id: str
    token: bytes
    directory: Path
    slots: list[int]  #: of each worker
    listener: socket.socket
    connection_file: Path | None = None
    manager_pid: int = 0
    workers: dict[int, int] = field(default_factory=dict)  #: pid → slots
    workers_started: int = 0
    deaths: list[float] = field(default_factory=list)


def main(argv: list[str] | None = None) -> int:
    """Run a local cluster until standard input ends."""
    parser = argparse.ArgumentParser(prog="mrkernel.deploy.supervisor", allow_abbrev=False)
    parser.add_argument("--slots", required=True, help="slots of each worker: 1,1")
    parser.add_argument("--embedded", action="store_true")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    cluster = _Cluster(
        make_id(),
        make_token(),
        Path(tempfile.mkdtemp(prefix="mrkernel-", dir=spill_root())),
        [int(n) for n in arguments.slots.split(",")],
        listener,
    )
    try:
        _start_manager(cluster)
        cluster.connection_file = write_connection_file(
            ConnectionFile(
                id=cluster.id,
                host="127.0.0.1",
                port=listener.getsockname()[1],
                token=cluster.token.hex(),
                pid=os.getpid(),
                embedded=arguments.embedded,
            )
        )
        ready = {
            "connection_file": str(cluster.connection_file),
            "manager_pid": cluster.manager_pid,
        }
        with contextlib.suppress(BrokenPipeError):  # the owner is gone: _watch sees it too
            os.write(1, json.dumps(ready).encode() + b"\n")
        # Once, here, for all workers and for those that replace dead ones.
        import mrkernel.worker.server  # noqa: F401
        from mrkernel.worker.task_runner import warm_up

        warm_up()
        for slots in cluster.slots:
            _start_worker(cluster, slots)
        return _watch(cluster, wake_read)
    finally:
        _clean_up(cluster, wake_read)


def spill_root() -> Path:
    """Return where spills and runs go: a real disk of the user's, never a memory file system."""
    from platformdirs import user_cache_path

    root = user_cache_path("mrkernel") / "spill"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return root


def _end(*_: object) -> None:
    # Once is enough: another one must not find us half-way through cleaning up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(0)


def _watch(cluster: _Cluster, wake_read: int) -> int:
    """Replace workers that die until the owner is gone or the manager is."""
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(wake_read, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fd == 0:
                if not os.read(0, 4096):
                    return 0
                continue
            with contextlib.suppress(BlockingIOError):
                os.read(wake_read, 4096)
            if not _bury(cluster):
                return 1


def _bury(cluster: _Cluster) -> bool:
    """Reap the dead; False when the manager is among them."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return bool(cluster.manager_pid)
        if not pid:
            return True
        if pid == cluster.manager_pid:
            cluster.manager_pid = 0
            return False
        slots = cluster.workers.pop(pid, None)
        if slots is None:
            continue
        now = time.monotonic()
        cluster.deaths = [at for at in cluster.deaths if now - at < FLAP_WINDOW_S] + [now]
        if len(cluster.deaths) <= FLAPS:
            _start_worker(cluster, slots)
        else:
            sys.stderr.write("mrkernel: workers keep dying; this one is not replaced\n")


def _fork() -> int:
    """Fork; a SIGTERM ends the child from its first moment on, without our own handler."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return pid


def _start_manager(cluster: _Cluster) -> None:
    pid = _fork()
    if pid:
        cluster.manager_pid = pid
        return
    _in_child(lambda: _manager_main(cluster))


def _start_worker(cluster: _Cluster, slots: int) -> None:
    cluster.workers_started += 1
    pid = _fork()
    if pid:
        cluster.workers[pid] = slots
        return
    _in_child(lambda: _worker_main(cluster, slots))


def _in_child(life: Callable[[], int]) -> NoReturn:
    from mrkernel.worker.template import die_with_parent

    status = 1
    try:
        die_with_parent()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        # What is logged as an error is a bug of ours: the owner's terminal is told.
        logging.basicConfig(level=logging.ERROR, format="mrkernel: %(message)s")
        status = life()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        raise
    finally:
        os._exit(status)


def _manager_main(cluster: _Cluster) -> int:
    from mrkernel.manager.server import ManagerServer, serve
    from mrkernel.manager.state import ManagerState

    async def live() -> None:
        state = ManagerState(python=f"{sys.version_info[0]}.{sys.version_info[1]}")
        server = ManagerServer(cluster.token, state)
        cluster.listener.setblocking(False)
        server.add_socket(cluster.listener)
        await serve(server, asyncio.Event())

    asyncio.run(live())
    return 0


def _worker_main(cluster: _Cluster, slots: int) -> int:
    from mrkernel.worker.server import WorkerConfig
    from mrkernel.worker.server import main as worker_main

    address = cluster.listener.getsockname()
    cluster.listener.close()
    directory = cluster.directory / f"worker-{cluster.workers_started}"
    return worker_main(WorkerConfig((address[0], address[1]), cluster.token, slots, directory))


def _clean_up(cluster: _Cluster, wake_read: int) -> None:
    """End the children and remove every file."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if cluster.connection_file is not None:
        cluster.connection_file.unlink(missing_ok=True)
    pids = [*cluster.workers, *([cluster.manager_pid] if cluster.manager_pid else [])]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    left = set(pids)
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
    shutil.rmtree(cluster.directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
