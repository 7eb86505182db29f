"""Watching a cluster from outside: its processes, its feeds, and tasks that wait to be seen.

A test holds a task where it wants it with files: the user's function leaves a mark in a folder and
waits for the word to go on. What a test sees then happened there, however fast the machine is.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

T = TypeVar("T")

#: Longest that anything here takes on a busy machine; only a failure waits so long.
PATIENCE_S = 20.0

#: What a busy machine may add to a bound that is promised; benchmarks measure on a quiet one.
BUSY_S = 1.5


def crowding() -> float:
    """How many runnable threads share a processor, 1 at least: all takes so many times longer."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def eventually(look: Callable[[], T], what: str, within: float = PATIENCE_S) -> T:
    """Look until something is there; return it.

    Args:
        within: seconds, on a machine that does nothing else.

    Raises:
        AssertionError: it is not there in time; says ``what``.
    """
    began = time.monotonic()
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() - began < within * crowding(), f"after {within:g} s: no {what}"
        time.sleep(0.005)


def steadily(look: Callable[[], bool], seconds: float, what: str) -> None:
    """Fail when something stops being so within a time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert look(), what
        time.sleep(0.02)


class Gate:
    """A place in user code where tasks wait until the test lets them on.

    Attributes:
        pause: to be called in a mapper or reducer, with a name; it does nothing in this process,
            where the first records are tried before the job starts.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        here, marks = os.getpid(), str(folder)

        def pause(name: str) -> None:
            import os
            import time

            if here in (os.getpid(), os.getppid()) or os.path.exists(f"{marks}/open"):
                return
            with open(f"{marks}/{name}.{os.getpid()}", "w"):
                pass
            while not os.path.exists(f"{marks}/open"):
                time.sleep(0.002)

        self.pause = pause

    def open(self) -> None:
        """Let everybody on, now and later."""
        (self.folder / "open").touch()

    def waiting(self, name: str = "*") -> list[int]:
        """The processes that came to wait here, the dead ones as well."""
        return [int(path.suffix[1:]) for path in self.folder.glob(f"{name}.*")]

    def wait_for(self, name: str = "*") -> int:
        """Wait until a task waits here; return its process."""
        return eventually(lambda: self.waiting(name), f"task waiting at {name}")[0]


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """The processes stand still."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGCONT)


@contextmanager
def watched(cluster: Any) -> Iterator[dict[str, set[str]]]:
    """The states that each worker is seen in, every few milliseconds."""
    seen: dict[str, set[str]] = {}
    done = threading.Event()

    def watch() -> None:
        while True:
            for name, row in cluster.workers().items():
                seen.setdefault(name, set()).add(row["state"])
            if done.wait(0.02):
                return

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield seen
    finally:
        done.set()
        watching.join()


@pytest.fixture
def gate_of_test(tmp_path: Path) -> Iterator[Gate]:
    """A gate for one test, in the folders that have it."""
    made = Gate(tmp_path / "gate")
    yield made
    made.open()  # whatever happened: nobody waits for ever


def worker_of(cluster: Any, runner: int) -> str:
    """The id of the worker that a runner process belongs to."""
    parents = {parent.pid for parent in psutil.Process(runner).parents()}
    rows: dict[str, Any] = cluster.workers()
    living = [(name, row) for name, row in rows.items() if row["state"] != "dead"]
    return next(name for name, row in living if row["pid"] in parents)


def feed(cluster: Any, job: str) -> list[str]:
    """The sentences of a job's feed."""
    return [line["text"] for line in cluster.client.look(job)["feed"]]


def told(cluster: Any, job: str, pattern: str) -> str:
    """The one sentence of a job's feed that matches."""
    found = [text for text in feed(cluster, job) if re.search(pattern, text)]
    assert len(found) == 1, f"{len(found)} sentences match {pattern!r} in {feed(cluster, job)}"
    return found[0]


def answer(client: Any, job: Any, within: float = PATIENCE_S) -> Any:
    """Wait for a job's result; one that does not come in time shows how far the job is.

    Args:
        client: who can ``look`` at it.
    """
    if not job.wait(within):
        raise AssertionError(f"{job} after {within:g} s: {client.look(job.id)}")
    return job.result(1)


def alive(pids: Iterable[int]) -> list[int]:
    """Those of the processes that run; one that has ended and was not waited for does not."""
    living = []
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                living.append(pid)
        except psutil.NoSuchProcess:
            continue
    return living


def family(pid: int) -> list[int]:
    """A process and all that it started, at any remove."""
    try:
        process = psutil.Process(pid)
        return [pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


@contextmanager
def at_most(seconds: float, what: str) -> Iterator[None]:
    """Fail when the block takes longer, by more than what else this machine does adds."""
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert took <= seconds + BUSY_S * crowding(), (
        f"{what} took {took:.2f} s, and may take {seconds:g} s"
    )


def end(processes: Iterable[subprocess.Popen[Any]]) -> None:
    """Tell all of them to go, and wait until they are gone."""
    for process in (told := list(processes)):
        process.send_signal(signal.SIGTERM)
    for process in told:
        process.wait(PATIENCE_S)
        if process.stdout is not None:
            process.stdout.close()
