"""Signals at random to the processes of a local cluster: SIGKILL, SIGSTOP and SIGCONT."""

from __future__ import annotations

import heapq
import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

from mrkernel import LocalCluster
from mrkernel.errors import MRKernelError

#: What is done, and how often relative to the others.
WEIGHTS = {
    "SIGKILL a task runner": 8,
    "SIGKILL a worker server": 3,
    "SIGSTOP a worker, runners and all": 3,
    "SIGSTOP a worker server": 2,
    "SIGSTOP a task runner": 3,
    "SIGKILL the manager": 2,
    "SIGSTOP the manager": 1,
}
#: Seconds for which something stands still: less and more than it takes to be given up for dead.
STILL_S = (0.05, 3.0)


class Signals:
    """A thread that hurts a cluster until it is told to stop.

    Args:
        pause_s: between two faults.

    Attributes:
        done: how often what was done.
    """

    def __init__(
        self, cluster: LocalCluster, chance: random.Random, pause_s: tuple[float, float]
    ) -> None:
        self.done: Counter[str] = Counter()
        self._chance = chance
        self._pause_s = pause_s
        connection = cluster.client.connection
        self._supervisor = psutil.Process(connection.pid)
        self._lock = Path(connection.state) / "lock"  # the manager's pid is in it
        self._cluster = cluster
        self._still: list[tuple[float, int]] = []  #: (when to let it on, pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="signals")

    def __enter__(self) -> Signals:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            due = time.monotonic()
            while not self._stop.is_set():
                if time.monotonic() >= due:
                    (what,) = self._chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
                    with suppress(psutil.Error, OSError, ValueError, MRKernelError):
                        self.done[what] += self._do(what)
                    due = time.monotonic() + self._chance.uniform(*self._pause_s)
                self._let_on(time.monotonic())
                self._stop.wait(0.01)
        finally:
            self._let_on(float("inf"))

    def _do(self, what: str) -> bool:
        manager = int(self._lock.read_text())  # ValueError: the next one is just beginning
        if what == "SIGKILL the manager":
            self._cluster.restart_manager()
            return True
        if what == "SIGSTOP the manager":
            return self._halt([manager])
        workers = [child for child in self._supervisor.children() if child.pid != manager]
        workers = [worker for worker in workers if worker.children()]  # it has its template
        if not workers:
            return False
        worker = self._chance.choice(sorted(workers, key=lambda process: process.pid))
        if what == "SIGKILL a worker server":
            os.kill(worker.pid, signal.SIGKILL)
            return True
        if what == "SIGSTOP a worker server":
            return self._halt([worker.pid])
        runners = [child.pid for template in worker.children() for child in template.children()]
        if what == "SIGSTOP a worker, runners and all":
            return self._halt([worker.pid, *runners])
        if not runners:
            return False
        runner = self._chance.choice(sorted(runners))
        if what == "SIGSTOP a task runner":
            return self._halt([runner])
        os.kill(runner, signal.SIGKILL)
        return True

    def _halt(self, pids: list[int]) -> bool:
        until = time.monotonic() + self._chance.uniform(*STILL_S)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
            heapq.heappush(self._still, (until, pid))
        return True

    def _let_on(self, now: float) -> None:
        while self._still and self._still[0][0] <= now:
            _, pid = heapq.heappop(self._still)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
