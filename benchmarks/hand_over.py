"""How soon a task goes on elsewhere when its worker is killed, or stands still.

Three workers of one slot and two tasks that wait: the third can always take over. When the manager
started the next attempt is taken from the job's picture, on the clock that all processes of a
machine share.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psutil

from benchmarks.meter import median, percentile
from benchmarks.plan import Plan
from benchmarks.table import Row
from mrkernel.deploy.restarts import SHORT_LIFE_S
from mrkernel.engines.local import LocalCluster
from mrkernel.manager.workers import EMBEDDED

KILLED_MS = 50.0  #: 99 of 100 kills
#: Two missed beats, and half of one for their jitter and the tick that looks.
FROZEN_MS = 1e3 * 2.5 * EMBEDDED.beat_s
#: A task whose workers died so often would be blamed: another job, then.
KILLS_OF_A_JOB = 6
PATIENCE_S = 10.0
#: Who has lived so long is replaced at once.
OLD_S = SHORT_LIFE_S + 0.1


def killed(plan: Plan) -> Iterator[Row]:
    """Measure SIGKILL of a worker server to the next attempt of its task.

    Raises:
        AssertionError: a task was not taken up.
    """
    # A backup beside a worker that was doubted for a moment would go on for ever.
    samples = _sample(plan.hand_overs, KILLS_OF_A_JOB, _kill, no_backup=True)
    worst = percentile(samples, 99)
    yield Row(
        f"SIGKILL of a worker to its task's next start: 99th percentile of {len(samples)}",
        f"{worst:.1f} ms",
        f"{median(samples):.1f} ms, median",
        goal=f"<= {KILLED_MS:.0f} ms",
        met=worst <= KILLED_MS if plan.judged else None,
    )


def frozen(plan: Plan) -> Iterator[Row]:
    """Measure SIGSTOP of a worker, runners and all, to the backup of its task.

    Raises:
        AssertionError: no backup was started.
    """
    # A job each: there both attempts go on after it.
    samples = _sample(max(1, plan.hand_overs // 4), 1, _freeze)
    worst = percentile(samples, 99)
    yield Row(
        f"SIGSTOP of a worker to its task's backup: 99th percentile of {len(samples)}",
        f"{worst:.0f} ms",
        f"{median(samples):.0f} ms, median",
        goal=f"<= {FROZEN_MS:.0f} ms: 2 missed beats",
        met=worst <= FROZEN_MS if plan.judged else None,
    )


def _sample(
    number: int,
    of_a_job: int,
    strike: Callable[[LocalCluster, dict[str, Any]], float],
    **options: Any,
) -> list[float]:
    """Strike so often; return the milliseconds until the task went on."""
    found: list[float] = []

    def mapper(_: int) -> Any:
        import time

        time.sleep(600)
        return []

    with LocalCluster(workers=3, slots=1) as cluster:
        while len(found) < number:
            cluster.wait_for_workers()
            job = cluster.submit(
                mapper, iter(range(2)), "sum", split_size=1, timeout=None, **options
            )
            for _ in range(min(of_a_job, number - len(found))):
                cluster.wait_for_workers()
                busy = _wait(lambda: _busy(cluster, job.id), "task that runs")  # noqa: B023
                at = strike(cluster, busy)
                task = busy["tasks"][0]
                again = _wait(lambda: _again(cluster, job.id, task, at), "next attempt")  # noqa: B023
                found.append(1e3 * (again - at))
                _let_on(cluster)
            job.cancel()
            job.wait(PATIENCE_S)
    return found


def _busy(cluster: LocalCluster, job: str) -> dict[str, Any] | None:
    """A worker that runs a task alone, when both tasks run once and all workers are there."""
    rows = [row for row in cluster.client.look(job)["workers"].values() if row["state"] == "alive"]
    busy = [row for row in rows if row["tasks"]]
    running = [task["task"] for row in busy for task in row["tasks"]]
    calm = len(rows) == 3 and sorted(running) == ["map-0", "map-1"]
    # The runner has begun, as the file system of processes sees it.
    return busy[0] if calm and all(_runners(row["pid"]) for row in busy) else None


def _again(cluster: LocalCluster, job: str, task: dict[str, Any], at: float) -> float | None:
    """When the next attempt of a task was started."""
    for row in cluster.client.look(job)["workers"].values():
        for each in row["tasks"]:
            if each["task"] == task["task"] and each["attempt"] > task["attempt"]:
                started: float = each["at"]
                return max(started, at)
    return None


def _kill(_: LocalCluster, row: dict[str, Any]) -> float:
    # Those who die young are replaced ever later, and this waits for whoever replaces them.
    time.sleep(max(0.0, psutil.Process(row["pid"]).create_time() + OLD_S - time.time()))
    at = time.monotonic()
    os.kill(row["pid"], signal.SIGKILL)
    return at


def _freeze(_: LocalCluster, row: dict[str, Any]) -> float:
    # Thawed workers beat at once, and the next task begins at once: this is to fall at any moment
    # between two beats.
    time.sleep(random.uniform(0, EMBEDDED.beat_s))
    at = time.monotonic()
    for pid in (row["pid"], *_runners(row["pid"])):
        os.kill(pid, signal.SIGSTOP)
    return at


def _let_on(cluster: LocalCluster) -> None:
    """Let those go on that stand still."""
    for row in cluster.workers().values():
        if row["state"] == "dead":
            continue
        for pid in (row["pid"], *_runners(row["pid"])):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _runners(worker: int) -> list[int]:
    with suppress(psutil.NoSuchProcess):
        templates = psutil.Process(worker).children()
        return [child.pid for template in templates for child in template.children()]
    return []


def _wait(look: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = look()
        if found is not None:
            return found
        assert time.monotonic() < deadline, f"no {what} within {PATIENCE_S:.0f} s"
        time.sleep(0.002)
