"""How much longer a job takes when something of it dies or lags, and what runs again."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.fault_jobs import Marks, digest, steady
from benchmarks.meter import median, rounds
from benchmarks.plan import Plan
from benchmarks.table import Row
from mrkernel.engines.local import LocalCluster

LOST_TASK_S = 0.7  #: Ray 0.9, PySpark 0.7, dask 4.9 and nine tasks again, ipyparallel 12.1
TIMES = 1.3  #: one of four workers is killed, or slow
WASTE = 0.05  #: of a healthy cluster's attempts may be backups

Strike = Callable[[LocalCluster, Marks], None]


def lost_task(plan: Plan) -> Iterator[Row]:
    """Measure one SIGKILL of a task process among tasks of a second on two workers.

    It falls half-way into its task, so half of that is lost work, which nobody can save; the peers
    of ``LOST_TASK_S`` were struck 8.4 s after their start, which is 0.4 s into a task.

    Raises:
        AssertionError: the answers differ.
    """
    tasks, seconds = plan.second_tasks
    longer, again, lost = [], [], []
    with LocalCluster(workers=2, slots=1) as cluster:
        cluster.wait_for_workers()
        for _ in rounds(plan.rounds, plan.recovery_s):
            calm, _ = _run(cluster, tasks, seconds, 1)
            kill = _KillTask(seconds / 2)
            struck, marks = _run(cluster, tasks, seconds, 1, kill, tasks // 2 * seconds / 2)
            longer.append(struck - calm)
            lost.append(kill.after_s)
            again.append(marks)
    yield Row(
        f"{tasks} tasks of {seconds:g} s on two workers, SIGKILL of one task process: longer",
        f"{median(longer):.2f} s",
        f"{median(lost):.2f} s, work lost",
        goal=f"<= {LOST_TASK_S:g} s",
        met=median(longer) <= LOST_TASK_S if plan.judged else None,
    )
    yield Row(
        "… tasks that run again",
        f"{median(again):.0f}",
        goal="1",
        met=median(again) == 1 if plan.judged else None,
    )


def one_of_four(plan: Plan) -> Iterator[Row]:
    """Measure a SIGKILL of a worker server half-way: its output is adopted, and it is replaced."""
    yield from _compare(plan, "one of four workers killed half-way", _kill_worker)


def slow_worker(plan: Plan) -> Iterator[Row]:
    """Measure a worker whose runners get a tenth of the time."""
    yield from _compare(plan, "one of four workers 10 times slower, from the first second", _slow)


def backup_waste(plan: Plan) -> Iterator[Row]:
    """Count the attempts beside others where nobody is slow."""
    tasks, seconds = plan.recovery_tasks
    wasted = 0
    jobs = 0
    with LocalCluster(workers=4, slots=1) as cluster:
        cluster.wait_for_workers()
        for _ in rounds(3 * plan.rounds, plan.recovery_s):
            _, again = _run(cluster, tasks, seconds, 4)
            wasted += again
            jobs += 1
    share = wasted / (jobs * tasks)
    yield Row(
        f"backup attempts on a healthy cluster, of {jobs * tasks} tasks",
        f"{share:.1%}",
        goal=f"<= {WASTE:.0%}",
        met=share <= WASTE if plan.judged else None,
    )


def _compare(plan: Plan, what: str, strike: Strike) -> Iterator[Row]:
    tasks, seconds = plan.recovery_tasks
    times, calms, strucks, again = [], [], [], []
    for _ in rounds(plan.rounds, plan.recovery_s):
        with LocalCluster(workers=4, slots=1) as cluster:
            cluster.wait_for_workers()
            calm, _ = _run(cluster, tasks, seconds, 4)
            delay = calm / 2 if strike is _kill_worker else 0.2 * calm
            struck, repeated = _run(cluster, tasks, seconds, 4, strike, delay)
        times.append(struck / calm)
        calms.append(calm)
        strucks.append(struck)
        again.append(repeated)
    yield Row(
        what,
        f"{median(strucks):.2f} s, {median(again):.0f} tasks again",
        f"{median(calms):.2f} s, undisturbed",
        median(times),
        goal=f"wall × <= {TIMES}",
        met=median(times) <= TIMES if plan.judged else None,
    )


def _run(
    cluster: LocalCluster,
    tasks: int,
    seconds: float,
    reduces: int,
    strike: Strike | None = None,
    after_s: float = 0.0,
) -> tuple[float, int]:
    """Run a job; return its seconds and how many map tasks began again.

    Raises:
        AssertionError: it did not read every value once.
    """
    with tempfile.TemporaryDirectory() as name:
        marks = Marks(Path(name) / "marks")
        mapper = steady(marks, seconds)
        began = time.perf_counter()
        job = cluster.submit(
            mapper, iter(range(tasks)), digest(), split_size=1, reduce_tasks=reduces, attempts=10
        )
        striking = None
        if strike is not None:
            striking = threading.Timer(after_s, strike, (cluster, marks))
            striking.start()
        answer: dict[int, Any] = job.result().to_dict()
        took = time.perf_counter() - began
        if striking is not None:
            striking.join()
        assert {key: count for key, (count, _) in answer.items()} == dict.fromkeys(
            range(10), 2 * tasks
        ), answer
        return took, marks.again()


class _KillTask:
    """Kills the process whose task begins next, so many seconds later.

    Attributes:
        after_s: how long the task had run then.
    """

    def __init__(self, after_s: float) -> None:
        self.after_s = after_s

    def __call__(self, _: LocalCluster, marks: Marks) -> None:
        seen = len(marks.all())
        while len(now := marks.all()) == seen:
            time.sleep(0.005)
        began = now[-1].at
        time.sleep(max(0.0, began + self.after_s - time.monotonic()))
        os.kill(now[-1].pid, signal.SIGKILL)
        self.after_s = time.monotonic() - began


def _kill_worker(cluster: LocalCluster, _: Marks) -> None:
    cluster.kill(next(iter(cluster.living_workers())))


def _slow(cluster: LocalCluster, _: Marks) -> None:
    cluster.slow(next(iter(cluster.living_workers())), 10)
