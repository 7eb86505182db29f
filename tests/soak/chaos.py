"""Chaos: so many jobs under so many faults; every answer byte by byte, nothing hangs or stays."""

from __future__ import annotations

import os
import random
import re
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mrkernel import LocalCluster
from mrkernel.errors import MRKernelError

from .jobs import make
from .left import Before
from .signals import Signals

#: Seconds after which a job hangs. Without faults none takes three.
HANGS_S = 90.0
#: A task that crashes on three workers is to blame; ours are innocent, and were hit three times.
KILLED_THRICE = re.compile(r"crashed on w\d+, w\d+, w\d+, last: .* was killed \(SIGKILL\) from")
#: Jobs of one cluster; then another one begins, and what this one left is looked for.
JOBS_OF_A_CLUSTER = 25
#: Jobs at one time.
AT_ONCE = 2


@dataclass
class Outcome:
    """What came of it."""

    jobs: Counter[str] = field(default_factory=Counter)  #: by kind
    faults: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    blamed: list[str] = field(default_factory=list)
    """Jobs of which one task was hit by three SIGKILLs on three workers: they fail, as promised."""
    hung: list[str] = field(default_factory=list)
    processes: list[str] = field(default_factory=list)  #: left over
    files: list[str] = field(default_factory=list)  #: left over
    clusters: int = 0
    seconds: float = 0.0

    @property
    def well(self) -> bool:
        """Whether all is as it should be."""
        return not (self.wrong or self.failed or self.hung or self.processes or self.files)

    def lines(self) -> list[str]:
        """Draw a table."""
        rows = [("jobs", self.jobs.total(), _list(self.jobs))]
        rows += [("faults", self.faults.total(), _list(self.faults))]
        for name in ("wrong", "failed", "blamed", "hung", "processes", "files"):
            found = getattr(self, name)
            label = {"wrong": "wrong outputs", "failed": "failed jobs", "hung": "hangs"}
            label["blamed"] = "… a task killed thrice"
            rows.append((label.get(name, f"{name} left over"), len(found), "; ".join(found)[:2000]))
        rows.append(("seconds", round(self.seconds), f"{self.clusters} clusters of 4 workers"))
        return [f"{name:<22} {number:>6,}  {more}".rstrip() for name, number, more in rows]


def _list(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counts.most_common())


def run(
    *,
    jobs: int,
    faults: int,
    seed: int,
    pause_s: tuple[float, float] = (0.15, 0.6),
    seconds: float = float("inf"),
) -> Outcome:
    """Run jobs until there were so many of them and so many faults, or the time is up.

    Args:
        pause_s: between two faults.
        seconds: no job begins after so many.
    """
    outcome, began = Outcome(), time.monotonic()
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        mark = ("MRKERNEL_SOAK", f"{os.getpid()}-{seed}-{time.monotonic_ns()}")
        # A cache of its own: what else runs on this machine leaves its files elsewhere.
        own = {mark[0]: mark[1], "XDG_CACHE_HOME": str(folder / "cache")}
        with _environment(own):
            while not _over(outcome, jobs, faults, began, seconds):
                before = Before(mark, folder / "jobs")
                outcome.clusters += 1
                with LocalCluster(workers=4, slots=1) as cluster:
                    cluster.wait_for_workers()
                    signals = Signals(cluster, random.Random(chance.random()), pause_s)
                    threads = _Threads(
                        cluster, chance, folder / "jobs" / f"{outcome.clusters}", outcome
                    )
                    earlier = outcome.faults.copy()
                    with signals:
                        for number in range(JOBS_OF_A_CLUSTER):
                            outcome.faults = earlier + signals.done
                            if _over(outcome, jobs, faults, began, seconds):
                                break
                            threads.another(number)
                        threads.wait()
                    outcome.faults = earlier + signals.done
                processes, files = before.left()
                outcome.processes += processes
                outcome.files += files
    outcome.seconds = time.monotonic() - began
    return outcome


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _over(outcome: Outcome, jobs: int, faults: int, began: float, seconds: float) -> bool:
    enough = outcome.jobs.total() >= jobs and outcome.faults.total() >= faults
    return enough or time.monotonic() - began > seconds or bool(outcome.hung)


class _Threads:
    """Runs jobs on a cluster, a few at a time."""

    def __init__(
        self, cluster: LocalCluster, chance: random.Random, folder: Path, outcome: Outcome
    ) -> None:
        self._cluster = cluster
        self._chance = chance
        self._folder = folder
        self._outcome = outcome
        self._room = threading.Semaphore(AT_ONCE)
        self._running: list[threading.Thread] = []

    def another(self, number: int) -> None:
        """Run one more, as soon as there is room."""
        self._room.acquire()
        chance = random.Random(self._chance.random())
        arguments = (chance, self._folder / f"job-{number}")
        thread = threading.Thread(target=self._run, args=arguments)
        thread.start()
        self._running.append(thread)

    def wait(self) -> None:
        """Wait for all of them."""
        for thread in self._running:
            thread.join()

    def _run(self, chance: random.Random, folder: Path) -> None:
        outcome = self._outcome
        job = make(chance, folder)
        try:
            found = job.run(self._cluster, HANGS_S)
            if found != job.expected:
                outcome.wrong.append(f"{job.kind}: {found[:200]!r}, not {job.expected[:200]!r}")
        except TimeoutError:
            outcome.hung.append(f"{job.kind}: not done after {HANGS_S:.0f} s")
        except MRKernelError as error:
            thrice = KILLED_THRICE.search(str(error)) is not None
            (outcome.blamed if thrice else outcome.failed).append(
                f"{job.kind}: {type(error).__name__}: {error}"
            )
        except Exception:
            outcome.failed.append(f"{job.kind}: {traceback.format_exc()}")
        finally:
            outcome.jobs[job.kind] += 1
            self._room.release()
