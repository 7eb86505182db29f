"""A manager and workers as a person starts them, each in a terminal of its own."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from mrkernel.engines.remote import ManagerClient, connect
from mrkernel.security.token import running_managers


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port: int = unused.getsockname()[1]
        return port


class ByHand:
    """``mrkernel manager`` and ``mrkernel worker``; ended with ``close``.

    Attributes:
        state: the manager's state directory.
        manager: its process; None: it was not started, or was killed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.manager: subprocess.Popen[str] | None = None
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, *words: str, wait: bool = True) -> subprocess.Popen[str]:
        """Start ``mrkernel ...``; wait for its first line."""
        process = subprocess.Popen(
            [sys.executable, "-m", "mrkernel", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            start_new_session=True,
        )
        self._processes.append(process)
        assert process.stdout is not None
        if wait:
            line = process.stdout.readline()
            if not line:
                _, error = process.communicate()
                raise AssertionError(f"mrkernel {words[0]} did not start: {error}")
        return process

    def start_manager(self, *, lines: int = 2, missed: int = 20) -> str:
        """Start the manager; return the last of so many lines that it says.

        Args:
            missed: beats after which a worker counts as dead.
        """
        words = ["manager", "--port", str(self.port), "--state", str(self.state)]
        # As fast as a local cluster's, for tests must not wait: 10 s are a good default for a LAN.
        self.manager = self.start(*words, "--beat", "0.1", "--missed", f"{missed}")
        assert self.manager.stdout is not None
        return [self.manager.stdout.readline() for _ in range(1, lines)][-1]

    def start_worker(self, slots: int = 1) -> subprocess.Popen[str]:
        """Start a worker."""
        return self.start("worker", "--manager-port", str(self.port), "--slots", str(slots))

    def end_manager(self, number: int = signal.SIGKILL) -> str:
        """Signal the manager and wait until it is gone; return what it said last."""
        assert self.manager is not None
        manager, self.manager = self.manager, None
        manager.send_signal(number)
        out, _ = manager.communicate(timeout=20)
        return out

    def run_script(self, source: str, *words: str) -> subprocess.Popen[str]:
        """Run a program as a user writes it."""
        path = self.folder / f"script{len(self._processes)}.py"
        path.write_text(textwrap.dedent(source))
        process = subprocess.Popen(
            [sys.executable, str(path), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
        )
        self._processes.append(process)
        return process

    def connect(self) -> ManagerClient:
        """Be a client."""
        return connect(self.address)

    def close(self) -> None:
        """End all of them, the workers first."""
        for process in reversed(self._processes):
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=20)
        running_managers()  # as whoever looks next: a killed manager's connection file goes


def marked(folder: Path) -> Iterator[tuple[int, int]]:
    """How often each record was mapped: (record, times)."""
    for path in folder.iterdir():
        yield int(path.name), path.stat().st_size
