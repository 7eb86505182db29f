"""A manager and workers on hosts of a ``Lan``, with a client in the test itself.

The command line refuses to listen where others could hear; so these processes are started by small
programs of the test's own. The manager has a second door, a listening socket that it inherits from
the test: through it the client, which is on the machine itself, talks to it undisturbed by whatever
happens to the network.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from lan import Host, Lan
from watching import PATIENCE_S, alive, end, eventually, family, watched

from mrkernel.engines.api import submit
from mrkernel.engines.remote import ManagerClient
from mrkernel.security.token import ConnectionFile

PORT = 6000
TOKEN = bytes(range(32))

#: A job of twelve maps whose output is too large to travel in messages (20 kB each, compressed),
#: while its result, which the client could not fetch from hosts that it does not see, is not.
RECORDS = [bytes([n]) * 100 for n in range(60)]
SPLIT = 500  #: bytes, of its pickled records


def spread(record: bytes) -> Iterator[tuple[int, str]]:
    """A mapper: for each record a text for each of seven keys."""
    import random

    for key in range(7):
        yield key, random.Random(record[0] * 7 + key).randbytes(700).hex()


def digest(key: int, texts: Any) -> str:
    """A reducer: what all texts of a key make, in whatever order."""
    import hashlib

    return hashlib.sha256("".join(sorted(texts)).encode()).hexdigest()


EXPECTED = {
    key: digest(key, [text for record in RECORDS for k, text in spread(record) if k == key])
    for key in range(7)
}

MANAGER = """
    import asyncio, os, socket, sys
    from pathlib import Path

    # A manager never unpickles: were it to, it would be gone, and the test would see it.
    sys.addaudithook(lambda event, _: os._exit(99) if event == "pickle.find_class" else None)

    import mrkernel.manager.stores

    import mrkernel.manager.workers

    mrkernel.manager.stores.GRACE_S = 1.0  # before maps of a silent host run again: tests wait
    mrkernel.manager.workers.FLAPS = 1000  # tests cut the same worker off again and again

    from mrkernel.manager.server import ManagerServer, serve
    from mrkernel.manager.state_directory import StateDirectory
    from mrkernel.manager.workers import Liveness

    door, address, port, token, state, beat_s, missed = sys.argv[1:]
    liveness = Liveness.of(float(beat_s), missed=int(missed))

    async def live():
        with StateDirectory.open(Path(state), token=bytes.fromhex(token)) as directory:
            server = ManagerServer(
                directory.token, liveness=liveness, directory=directory, host=address
            )
            listening = socket.socket(fileno=int(door))
            listening.setblocking(False)
            server.add_socket(listening)
            server.listen(int(port), address)
            print("ready", flush=True)
            await serve(server, asyncio.Event())

    asyncio.run(live())
"""

WORKER = """
    import os, sys
    from pathlib import Path

    import mrkernel.data.host

    name, manager, port, token, directory, lease_s = sys.argv[1:]
    mrkernel.data.host.host_id = lambda: name  # before anybody imports it from there

    import mrkernel.shuffle.transfer

    mrkernel.shuffle.transfer.CONNECT_TIMEOUT_S = 1.5  # of 5: tests wait for it

    from mrkernel.worker.config import WorkerConfig
    from mrkernel.worker.server import main

    config = WorkerConfig(
        (manager, int(port)),
        bytes.fromhex(token),
        1,
        Path(directory),
        host="0.0.0.0",  # told is the address that it has
        lease_s=float(lease_s),
    )
    sys.exit(main(config))
"""


class LanCluster:
    """A manager on the first host, a worker of one slot on each of the others.

    Args:
        lease_s: how long workers look for a lost manager.
        beats: seconds between heartbeats, and how many missed are death; as in embedded clusters.
        disks: mount options of a memory file system that a host writes to, by host: a disk
            as small as wanted. It is mounted where the hosts are, so nobody else ever sees it.

    Attributes:
        client: of the test, on the machine itself.
        processes: the worker server of each host, and the manager's.
    """

    def __init__(
        self,
        lan: Lan,
        folder: Path,
        *,
        lease_s: float = 30.0,
        beats: tuple[float, int] = (0.1, 20),
        disks: dict[str, str] | None = None,
    ) -> None:
        self.lan = lan
        self.folder = folder
        self.disks = disks or {}
        self.lease_s = lease_s
        self.beats = beats
        self.manager, *self.worker_hosts = lan.hosts.values()
        self.processes: dict[str, subprocess.Popen[Any]] = {}
        self.client = self._start_manager()
        for host in self.worker_hosts:
            self.add(host)
        self.wait()

    def _start_manager(self) -> ManagerClient:
        state = self._disk(self.manager) / "state"
        with socket.create_server(("127.0.0.1", 0)) as door:
            arguments = [str(door.fileno()), self.manager.address, str(PORT), TOKEN.hex()]
            arguments += [str(state), *map(str, self.beats)]
            process = self.manager.popen(
                *(sys.executable, "-c", textwrap.dedent(MANAGER), *arguments),
                stdout=subprocess.PIPE,
                pass_fds=[door.fileno()],
            )
            self.processes["manager"] = process
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            where = ConnectionFile(
                id="lan",
                host="127.0.0.1",
                port=door.getsockname()[1],
                token=TOKEN.hex(),
                pid=process.pid,
            )
            return ManagerClient(where)

    def add(self, host: Host) -> None:
        """Start the worker of a host."""
        directory = self._disk(host) / "worker"
        arguments = [host.name, self.manager.address, str(PORT), TOKEN.hex()]
        self.processes[host.name] = host.popen(
            *(sys.executable, "-c", textwrap.dedent(WORKER), *arguments),
            *(str(directory), str(self.lease_s)),
            env={**os.environ, "PYTHONHASHSEED": "0"},
            start_new_session=True,
        )

    def _disk(self, host: Host) -> Path:
        """A folder for the files of a host's process."""
        disk = self.folder / f"{host.name}-{time.monotonic_ns()}"
        disk.mkdir()
        if host.name in self.disks:
            options = self.disks[host.name]
            self.lan.run("mount", "-t", "tmpfs", "-o", options, "none", str(disk))
        return disk

    # --- jobs and workers -------------------------------------------------------------------------

    def submit(self, mapper: Any, inputs: Any, reducer: Any = None, **options: Any) -> Any:
        """Submit a job."""
        return submit(mapper, inputs, reducer, on=self.client, **options)

    def workers(self) -> dict[str, dict[str, Any]]:
        """The rows of the worker table, as they are now."""
        rows: dict[str, dict[str, Any]] = self.client.look("cluster")["workers"]
        return rows

    def worker_on(self, host: Host) -> str:
        """What the worker server of a host is called now; "": it is not registered, or dead."""
        pid = self.processes[host.name].pid
        rows = self.workers().items()
        return next((n for n, row in rows if row["pid"] == pid and row["state"] != "dead"), "")

    def host_of(self, runner: int) -> Host:
        """Where a task runs."""
        return next(h for h in self.worker_hosts if runner in family(self.processes[h.name].pid))

    def wait(self) -> None:
        """Wait until the worker of every host lives."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            rows = self.workers()
            living = {row["pid"] for row in rows.values() if row["state"] == "alive"}
            if all(self.processes[host.name].pid in living for host in self.worker_hosts):
                return
            assert time.monotonic() < deadline, f"not on every host lives a worker: {rows}"
            time.sleep(0.01)

    def watched(self) -> AbstractContextManager[dict[str, set[str]]]:
        """The states that each worker is seen in."""
        return watched(self)

    def until(self, worker: str, state: str, within: float = PATIENCE_S) -> float:
        """Wait until a worker is in a state; return how long that took, in seconds."""
        began = time.monotonic()
        eventually(lambda: self.workers()[worker]["state"] == state, f"{state} {worker}", within)
        return time.monotonic() - began

    # --- the end ----------------------------------------------------------------------------------

    def kill(self, host: Host) -> None:
        """End all processes of a worker at once, as a power cut does."""
        process = self.processes.pop(host.name)
        pids = family(process.pid)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        eventually(lambda: not alive(pids), "end of the runners", 5)

    def close(self) -> None:
        """End all of it."""
        self.client.close()
        end(self.processes.values())
