"""Watching a cluster from outside: its processes, its feeds, and tasks that wait to be seen.

A test holds a task where it wants it with files: the user's function leaves a mark in a folder and
waits for the word to go on. What a test sees then happened there, however fast the machine is.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil

T = TypeVar("T")

#: Longest that anything here takes on a busy machine; only a failure waits so long.
PATIENCE_S = 20.0


def eventually(look: Callable[[], T], what: str, within: float = PATIENCE_S) -> T:
    """Look until something is there; return it.

    Raises:
        AssertionError: it is not there in time; says ``what``.
    """
    deadline = time.monotonic() + within
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"after {within:g} s: no {what}"
        time.sleep(0.005)


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
    """Fail when the block takes longer."""
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert took <= seconds, f"{what} took {took:.2f} s, and may take {seconds:g} s"
