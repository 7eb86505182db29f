"""``mrkernel manager`` and ``mrkernel worker``: processes that serve until they are stopped."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import os
import signal
import socket
import sys
import tempfile
from typing import Any

from mrkernel.errors import ClusterError, JobSpecError, SecurityError

#: Where people know a manager to be; its own data ports are any free ones.
DEFAULT_PORT = 6000


def add_commands(commands: Any) -> None:
    """Add the two commands."""
    manager = commands.add_parser(
        "manager", help="schedule jobs for workers of yours on this machine"
    )
    manager.add_argument("--host", default="127.0.0.1", help="address to listen on")
    manager.add_argument(
        "--port", type=_port, default=DEFAULT_PORT, help=f"default {DEFAULT_PORT}; 0 = any free"
    )
    manager.set_defaults(call=run_manager, parser=manager)
    worker = commands.add_parser("worker", help="run tasks for a manager of yours")
    worker.add_argument("--manager-host", default="127.0.0.1", metavar="H")
    worker.add_argument("--manager-port", type=_port, metavar="P", help="default: my only manager")
    worker.add_argument("--slots", type=int, metavar="N", help="default: the usable cores")
    worker.add_argument("--host", default="127.0.0.1", help="address to serve map output on")
    worker.add_argument("--port", type=_port, default=0, help="port for it; default any free")
    worker.set_defaults(call=run_worker, parser=worker)


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
    _check_loopback(arguments.host, "a manager")
    listener = _listen(arguments.host, arguments.port)
    return asyncio.run(_manage(listener))


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=128)
    except OSError as error:
        raise ClusterError(
            f"cannot listen on {host}:{port}: {error.strerror}; give another --port, or 0 for "
            "any free one"
        ) from error


async def _manage(listener: socket.socket) -> int:
    from mrkernel.manager.server import ManagerServer, serve
    from mrkernel.manager.state import ManagerState
    from mrkernel.security.token import (
        ConnectionFile,
        make_id,
        make_token,
        write_connection_file,
    )
    from mrkernel.worker.server import python_version

    host, port = listener.getsockname()[:2]
    token = make_token()
    connection = ConnectionFile(
        id=make_id(), host=host, port=port, token=token.hex(), pid=os.getpid()
    )
    path = write_connection_file(connection)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        server = ManagerServer(token, ManagerState(python=python_version()))
        listener.setblocking(False)
        server.add_socket(listener)
        print(f"manager {connection.id} listens on {host}:{port}; add workers with", flush=True)  # noqa: T201
        print(f"  mrkernel worker --manager-host {host} --manager-port {port}", flush=True)  # noqa: T201
        await serve(server, stop)
    finally:
        path.unlink(missing_ok=True)
    return 0


def run_worker(arguments: argparse.Namespace) -> int:
    """Serve a manager until it is gone for good."""
    from mrkernel.deploy.local import usable_cores
    from mrkernel.deploy.supervisor import spill_root
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
    from mrkernel.worker.server import WorkerConfig, main

    print(f"worker with {slots} slots for {connection.host}:{connection.port}", flush=True)  # noqa: T201
    with tempfile.TemporaryDirectory(prefix="mrkernel-worker-", dir=spill_root()) as directory:
        return main(
            WorkerConfig(
                manager=(connection.host, connection.port),
                token=connection.secret,
                slots=slots,
                directory=_below(directory),
                host=arguments.host,
                port=arguments.port,
            )
        )


def _again(arguments: argparse.Namespace) -> list[str]:
    words = ["--manager-host", arguments.manager_host, "--host", arguments.host]
    words += ["--port", str(arguments.port)]
    if arguments.manager_port is not None:
        words += ["--manager-port", str(arguments.manager_port)]
    if arguments.slots is not None:
        words += ["--slots", str(arguments.slots)]
    return words


def _below(directory: str) -> Any:
    from pathlib import Path

    return Path(directory) / "worker"
