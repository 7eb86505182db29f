"""``mrkernel manager`` and ``mrkernel worker``: processes that serve until they are stopped."""

from __future__ import annotations

import argparse
import asyncio
import errno
import ipaddress
import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrkernel.config import parse_bytes
from mrkernel.errors import ClusterError, JobSpecError, SecurityError
from mrkernel.monitor.quantities import names_text, plural

if TYPE_CHECKING:
    from mrkernel.manager.server import ManagerServer
    from mrkernel.manager.state_directory import StateDirectory
    from mrkernel.manager.workers import Liveness

#: Where people know a manager to be; its own data ports are any free ones.
DEFAULT_PORT = 6000
#: Seconds that workers look for a manager that went away: time for a person to start it again.
LEASE_S = 600.0
#: In a state directory: the port that workers and clients know.
PORT = "port"
WEB_PORT = "web-port"  #: likewise, of browsers


def add_commands(commands: Any) -> None:
    """Add the two commands."""
    manager = commands.add_parser(
        "manager", help="schedule jobs for workers of yours on this machine"
    )
    manager.add_argument("--host", default="127.0.0.1", help="address to listen on")
    manager.add_argument(
        "--port", type=_port, default=DEFAULT_PORT, help=f"default {DEFAULT_PORT}; 0 = any free"
    )
    manager.add_argument(
        "--web-port", type=_port, metavar="P", help="of its web page; default: any free"
    )
    manager.add_argument("--no-web", action="store_true", help="no web page")
    manager.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="where its journal is: started again with the same one it goes on with its jobs; "
        "default: one of yours for each --port",
    )
    manager.add_argument(
        "--beat", type=_seconds, default=2.0, metavar="S", help="between heartbeats; default 2"
    )
    manager.add_argument(
        "--missed", type=int, default=5, metavar="N",
        help="heartbeats after which a silent worker counts as dead; default 5",
    )  # fmt: skip
    manager.add_argument(
        "--keep", type=_bytes, metavar="BYTES",
        help="of the results of all jobs; when there are more, the oldest that no client holds are "
        "deleted, which is said before and when it happens; default 10G",
    )  # fmt: skip
    manager.set_defaults(call=run_manager, parser=manager)
    worker = commands.add_parser("worker", help="run tasks for a manager of yours")
    worker.add_argument("--manager-host", default="127.0.0.1", metavar="H")
    worker.add_argument("--manager-port", type=_port, metavar="P", help="default: my only manager")
    worker.add_argument("--slots", type=int, metavar="N", help="default: the usable cores")
    worker.add_argument("--host", default="127.0.0.1", help="address to serve map output on")
    worker.add_argument("--port", type=_port, default=0, help="port for it; default any free")
    worker.set_defaults(call=run_worker, parser=worker)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.05 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r}: write seconds, from 0.05 to 3600")
    return seconds


def _bytes(text: str) -> int:
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: write {error}") from None


def _port(text: str) -> int:
    if text.isdecimal() and int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no port: write a number from 0 to 65535")


def _check_loopback(host: str, what: str) -> None:
    """Refuse to listen where others could reach us: there is no encryption yet."""
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError as error:
        raise JobSpecError(f"{host!r} is no address of this machine: {error.strerror}") from error
    if not all(ipaddress.ip_address(address).is_loopback for address in addresses):
        raise SecurityError(
            f"{what} listens on this machine only (127.0.0.1): on {host} others could read your "
            "data, because connections are not encrypted"
        )


def run_manager(arguments: argparse.Namespace) -> int:
    """Serve until interrupted."""
    from mrkernel.manager.budget import BUDGET
    from mrkernel.manager.state_directory import StateDirectory
    from mrkernel.manager.workers import Liveness
    from mrkernel.security.token import make_id

    _check_loopback(arguments.host, "a manager")
    if arguments.missed < 3:
        raise JobSpecError(
            f"--missed {arguments.missed}: after 2 a worker is suspect; write 3 or more"
        )
    liveness = Liveness.of(arguments.beat, arguments.missed, LEASE_S)
    keep = BUDGET if arguments.keep is None else arguments.keep
    name = make_id()
    state: Path | None = arguments.state
    if state is None:
        state = state_root() / f"manager-{arguments.port or name}"
    # One that nobody can name again is of use only while it has a job to go on with.
    fleeting = arguments.state is None and not arguments.port
    listener = _listen(arguments.host, arguments.port or _last_port(state, PORT))
    web = None
    if not arguments.no_web:
        port = arguments.web_port or _last_port(state, WEB_PORT)
        try:
            web = _listen(arguments.host, port, "--web-port")
        except ClusterError:
            listener.close()
            raise
    try:
        directory = StateDirectory.open(state.absolute(), cluster=name)
    except OSError as error:
        listener.close()
        if web is not None:
            web.close()
        raise ClusterError(
            f"{state} cannot be the state directory: {error.strerror}; give another --state"
        ) from error
    with directory:
        return asyncio.run(_manage(directory, listener, web, liveness, keep, fleeting=fleeting))


def state_root() -> Path:
    """Return where the state directories of managers are that were not told where."""
    from platformdirs import user_state_path

    return user_state_path("mrkernel")


def _last_port(state: Path, which: str) -> int:
    """Return the port that a state directory's manager had last, if it is still free; else 0."""
    try:
        port = int((state / which).read_text())
        socket.create_server(("127.0.0.1", port)).close()
    except (OSError, ValueError, OverflowError):
        return 0
    return port


def _listen(host: str, port: int, option: str = "--port") -> socket.socket:
    from mrkernel.security.token import running_managers

    try:
        return socket.create_server((host, port), backlog=128)
    except OSError as error:
        whose = error.strerror
        for manager in running_managers(embedded=True):
            if error.errno == errno.EADDRINUSE and manager.port == port:
                whose = f"your manager {manager.id} (process {manager.pid}) listens there"
        raise ClusterError(
            f"cannot listen on {host}:{port}: {whose}; give another {option}, or 0 for any free one"
        ) from error


async def _manage(
    directory: StateDirectory,
    listener: socket.socket,
    web: socket.socket | None,
    liveness: Liveness,
    keep: int,
    *,
    fleeting: bool,
) -> int:
    from mrkernel.deploy.manager import manage
    from mrkernel.security.token import ConnectionFile, write_connection_file

    host, port = listener.getsockname()[:2]
    web_port = web.getsockname()[1] if web is not None else 0
    path: Path | None = None
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def ready(server: ManagerServer) -> None:
        nonlocal path
        (directory.path / PORT).write_text(str(port))
        connection = ConnectionFile(
            id=directory.cluster,
            host=host,
            port=port,
            token=directory.token.hex(),
            pid=os.getpid(),
            state=str(directory.path),
            web_port=web_port,
        )
        path = write_connection_file(connection)
        _say(f"manager {directory.cluster} listens on {host}:{port}; add workers with")
        _say(f"  mrkernel worker --manager-host {host} --manager-port {port}")
        if web_port:
            (directory.path / WEB_PORT).write_text(str(web_port))
            # What is not a terminal may be a log, which others may read.
            seen = sys.stdout.isatty()
            _say(
                f"web page: {connection.web_url() if seen else '`mrkernel watch --web` says where'}"
            )
        if server.taken_up:
            _say(f"took up {plural(server.taken_up, 'job')} from its journal")

    try:
        server = await manage(
            directory, listener, stop, liveness=liveness, keep=keep, web=web, ready=ready
        )
    finally:
        if path is not None:
            path.unlink(missing_ok=True)
    running = [job.id for job in server.state.jobs.values() if job.ended_at is None]
    if running:
        again = f"mrkernel manager --port {port} --state {directory.path}"
        _say(
            f"stopped; workers look for it for {LEASE_S / 60:.0f} min: start it again to go on "
            f"with {names_text(running)}:\n  {again}"
        )
    elif fleeting:
        shutil.rmtree(directory.path)
    return 0


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def run_worker(arguments: argparse.Namespace) -> int:
    """Serve a manager until it is gone for good."""
    from mrkernel.deploy.local import usable_cores
    from mrkernel.deploy.sweep import make_worker_directory, sweep
    from mrkernel.security.token import find_manager

    _check_loopback(arguments.host, "a worker")
    slots = usable_cores() if arguments.slots is None else arguments.slots
    if slots < 1:
        raise JobSpecError(f"--slots {slots}: a worker has at least one slot")
    address = None
    if arguments.manager_port is not None:
        address = f"{arguments.manager_host}:{arguments.manager_port}"
    connection = find_manager(address)
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Sets of strings are iterated alike on every worker only under one seed, which Python
        # takes at its start: start again.
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "mrkernel.worker", *_again(arguments)])
    if arguments.port:
        _listen(arguments.host, arguments.port).close()  # one clear sentence if it is taken
    from mrkernel.worker.config import WorkerConfig
    from mrkernel.worker.server import main

    sweep()
    directory = make_worker_directory()
    _end_with(directory)
    _say(f"worker with {plural(slots, 'slot')} for {connection.host}:{connection.port}")
    try:
        return main(
            WorkerConfig(
                manager=(connection.host, connection.port),
                token=connection.secret,
                slots=slots,
                directory=directory / "worker",
                host=arguments.host,
                port=arguments.port,
                lease_s=LEASE_S,
            )
        )
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _end_with(directory: Path) -> None:
    """Leave nothing behind, also before the worker server listens to signals itself."""
    here = os.getpid()

    def end(*_: object) -> None:
        if os.getpid() == here:
            shutil.rmtree(directory, ignore_errors=True)
        # At once: an exception may be raised where nobody lets it pass, as in a weak reference.
        os._exit(0)

    signal.signal(signal.SIGTERM, end)


def _again(arguments: argparse.Namespace) -> list[str]:
    words = ["--manager-host", arguments.manager_host, "--host", arguments.host]
    words += ["--port", str(arguments.port)]
    if arguments.manager_port is not None:
        words += ["--manager-port", str(arguments.manager_port)]
    if arguments.slots is not None:
        words += ["--slots", str(arguments.slots)]
    return words
