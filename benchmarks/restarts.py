"""The manager is killed at the boundaries of its journal's records; another one goes on.

The journal is watched while a job of 200 tasks runs; as soon as it has so many records the manager
gets a SIGKILL, so what it wrote ends with that record or one of the next. The old journal is read
afterwards, through a descriptor that was opened before: maps that stand in it must not begin again.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.fault_jobs import Marks, digest, steady
from benchmarks.meter import median, percentile
from benchmarks.plan import Plan
from benchmarks.table import Row
from mrkernel.engines.local import LocalCluster
from mrkernel.errors import ClusterError
from mrkernel.manager.facts import TaskDone, decode_facts
from mrkernel.manager.journal import read_records

MAPS, REDUCES = 190, 10
LIMIT_S = 2.0  #: until something is handed out again
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Restart:
    """One kill.

    Attributes:
        record: after which of the journal's records of the job, at least.
        again_s: from the kill until an attempt began to run.
        rerun: maps that stood in the journal and began again.
    """

    record: int
    again_s: float
    rerun: int


def measure(plan: Plan) -> Iterator[Row]:
    """Measure it.

    Raises:
        AssertionError: an answer differs, or a manager did not go on.
    """
    found = restart_at(plan.restarts, seed=1)
    waits = [restart.again_s for restart in found]
    worst = percentile(waits, 99)
    yield Row(
        f"manager killed at {len(found)} record boundaries of a job of {MAPS + REDUCES} tasks, to "
        "the next task that begins: 99th percentile",
        f"{worst:.2f} s",
        f"{median(waits):.2f} s, median",
        goal=f"<= {LIMIT_S:g} s",
        met=worst <= LIMIT_S if plan.judged else None,
    )
    rerun = sum(restart.rerun for restart in found)
    yield Row(
        "… map tasks of the journal that ran again",
        f"{rerun}",
        goal="0",
        met=rerun == 0 if plan.judged else None,
    )


def restart_at(number: int | None, seed: int) -> list[Restart]:
    """Kill the manager at so many boundaries by chance; None: at every one."""
    with LocalCluster(workers=4, slots=1) as cluster, tempfile.TemporaryDirectory() as folder:
        cluster.wait_for_workers()
        calm, records, _ = _run(cluster, Path(folder) / "calm", None)
        boundaries = list(range(1, records + 1))
        if number is not None:
            boundaries = sorted(random.Random(seed).choices(boundaries, k=number))
        return list(_restarts(cluster, Path(folder), boundaries, calm))


def _restarts(
    cluster: LocalCluster, folder: Path, boundaries: Sequence[int], calm: dict[int, Any]
) -> Iterator[Restart]:
    for turn, record in enumerate(boundaries):
        cluster.wait_for_workers()
        answer, _, restart = _run(cluster, folder / f"{turn}", record)
        assert answer == calm, f"another answer after a restart at record {record}"
        if restart is not None:
            yield restart


def _run(
    cluster: LocalCluster, folder: Path, record: int | None
) -> tuple[dict[int, Any], int, Restart | None]:
    """Run a job; return its answer, the records it added to the journal, and what a kill did."""
    marks = Marks(folder)
    with _Journal(Path(cluster.client.connection.state) / "journal") as journal:
        before = journal.count()
        job = cluster.submit(
            steady(marks, 0.01, 10),
            iter(range(MAPS)),
            digest(),
            split_size=1,
            reduce_tasks=REDUCES,
        )
        killed = None
        if record is not None:
            while journal.count() < before + record and not job.wait(0):
                time.sleep(0.0005)
            # The supervisor kills it: a death that it did not ask for would soon cost a pause.
            manager = psutil.Process(int((journal.path.parent / "lock").read_text()))
            cluster.restart_manager()
            manager.wait(PATIENCE_S)
            killed = time.monotonic()
        answer: dict[int, Any] = job.result(PATIENCE_S).to_dict()
        restart = None
        if killed is not None and record is not None:
            restart = _judge(record, killed, journal.maps_done(job.id), marks)
        records = journal.count() - before
    return answer, records, restart


def _judge(record: int, killed: float, journaled: set[int], marks: Marks) -> Restart | None:
    # What was handed out before the manager died may still begin for a moment.
    after = [mark for mark in marks.all() if mark.at > killed]
    later = [mark for mark in after if mark.at > killed + 0.05]
    if not later:
        return None  # only reduce tasks were left, which leave no mark
    rerun = sum(mark.index in journaled for mark in after)
    return Restart(record, later[0].at - killed, rerun)


class _Journal:
    """A journal that somebody else writes, as far as it was when it was opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb")
        self._payloads: list[bytes] = []
        self._end = 0  #: of the last whole record that was read

    def __enter__(self) -> _Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def count(self) -> int:
        """How many records it has now."""
        data = os.pread(self._file.fileno(), 1 << 30, self._end)
        end = 0
        with suppress(ClusterError):  # read in the middle of a write
            for end, payload in read_records(data):  # noqa: B007
                self._payloads.append(payload)
        self._end += end
        return len(self._payloads)

    def maps_done(self, job: str) -> set[int]:
        """The maps of a job that it has as done."""
        self.count()
        facts = [fact for payload in self._payloads for fact in decode_facts(payload)]
        done = [f.finished.task for f in facts if isinstance(f, TaskDone) and f.finished.job == job]
        return {int(task[4:]) for task in done if task.startswith("map-")}
