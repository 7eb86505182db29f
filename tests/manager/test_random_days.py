"""Random days at the desk: whatever happens, the books agree, and at the evening every job ends.

Where the simulator lives through whole worlds of honest workers, a day here is cheap and rude: half
of all partitions are empty, reports come twice or from the dead, readers complain about anything,
jobs extend jobs that lost half of their output, and the manager is restarted in between.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any
from zlib import crc32

import pytest
from desk import Desk, sent

from mrkernel.data.splits import MemorySplit
from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.job.bad_records import BadRecord
from mrkernel.manager.instructions import Instruction
from mrkernel.manager.transitions import JobState, TaskState
from mrkernel.protocol.client_messages import Attach, CancelJob
from mrkernel.protocol.worker_messages import Finished, PartOutput, Start

STEPS = 80
HOSTS = ("h1", "h2", "h3")
FUNCTIONS = [letter * 64 for letter in "fgh"]
Running = tuple[str, JobId, TaskId, int]


class WatchedDesk(Desk):
    """Each start of a reduce names exactly what there is for it, where it is."""

    def handle(self, event: Any) -> list[Instruction]:
        out = super().handle(event)
        for start in sent(out, Start):
            job = self.state.jobs[start.job]
            if start.split is None and job.tasks[start.task].state is TaskState.RUNNING:
                self._check_sources(start)
        return out

    def _check_sources(self, start: Start) -> None:
        job = self.state.jobs[start.job]
        part = job.tasks[start.task].index
        given = {
            (index, attempt): (source.worker, source.job or job.id)
            for source in start.sources
            for index, attempt in source.runs
        }
        in_files, carried = {}, set()
        for task in job.maps:
            assert task.output is not None
            if task.output.sizes[part] and task.output.data is None:
                in_files[task.index, task.winner] = (task.holder, task.origin or job.id)
            elif task.output.sizes[part]:
                carried.add(task.index)
        assert in_files.items() <= given.items(), start.task
        assert {index for index, _ in start.carried} == carried, start.task


class Day:
    """What may happen, drawn by a seed; each method is one event or a few."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.desk = WatchedDesk()
        self.keys = 0
        self.gone: list[str] = []
        #: What a process has finished, by its instance: it may tell again.
        self.reports: dict[str, list[Finished]] = defaultdict(list)
        for _ in range(self.chance.randint(1, 4)):
            self.join()
        rare = [self.fail, self.complain, self.lose, self.tick, self.wait, self.submit, self.join]
        rare += [self.release, self.cancel, self.restart, self.come_back, self.extend, self.attach]
        rare += [self.fall_silent, self.repeat, self.give_up]
        self.events: list[Callable[[], object]] = [*[self.finish] * 10, *rare]

    def live(self) -> None:
        for _ in range(STEPS):
            self.chance.choice(self.events)()

    def end(self) -> None:
        """Nobody dies any more: all jobs end."""
        if not self.desk.state.workers:
            self.desk.join(slots=2)
        for _ in range(400):
            for worker, job, task, _ in self.running():
                found = self.desk.state.workers.get(WorkerId(worker))
                if found is not None and (job, task) in found.assigned:
                    self.desk.finish(worker, task, job=job, digest=self.digest(job, task))
            running = [j for j in self.desk.state.jobs.values() if j.state is JobState.RUNNING]
            if not running:
                return
            self.desk.wait(0.5)
        raise AssertionError(f"{running[0].id} does not end: {running[0].waiting}")

    # --- workers ----------------------------------------------------------------------------------

    def running(self) -> list[Running]:
        workers = self.desk.state.workers.values()
        return [(w.id, *key, n) for w in workers for key, n in w.assigned.items()]

    def digest(self, job: JobId, task: TaskId) -> int:
        """Equal work has equal digests; that of a job which extends another is the other's."""
        while self.desk.state.jobs[job].extends in self.desk.state.jobs:
            job = self.desk.state.jobs[job].extends
        return 1 + crc32(f"{job}/{task}".encode()) % 1000

    def finish(self) -> None:
        if not (running := self.running()):
            return
        worker, job_id, task, attempt = self.chance.choice(running)
        job = self.desk.state.jobs[job_id]
        given: dict[str, Any] = {}
        if task.startswith("map") and job.reduces:
            given["sizes"] = tuple(self.chance.choice([0, 5, 9]) for _ in job.reduces)
            given["digest"] = self.digest(job_id, task)
            if self.chance.random() < 0.3:
                given["carried"] = b"pairs"
            if job.spec.skip and self.chance.random() < 0.4:
                given["bad"] = (self.bad_record(task),)
        elif self.chance.random() < 0.5:
            given["part"] = PartOutput(f"{job_id}/part-{task}.{attempt}", 100_000, 7)
        report = self.desk.finished(task, attempt, job_id, **given)
        self.reports[self.desk.infos[worker].instance].append(report)
        self.desk.tell(worker, report)

    def bad_record(self, task: str) -> BadRecord:
        index = self.chance.randint(0, 3)
        return BadRecord(
            task=task, index=index, file="/data/a.txt", offset=index, record="'x'",
            error=self.chance.choice(["E", ""]), pickled=b"p",
        )  # fmt: skip

    def fail(self) -> None:
        if not (running := self.running()):
            return
        worker, job, task, _ = self.chance.choice(running)
        kind = self.chance.choice(["crash", "environment", "environment", "timeout", "user"])
        where = {"index": self.chance.randint(0, 3)} if kind == "crash" else {}
        self.desk.fail(worker, task, kind, job=job, **where)

    def complain(self) -> None:
        """A reader names any map that is done, whether it reads it from there or not."""
        reading = [run for run in self.running() if run[2].startswith("reduce")]
        if not reading:
            return
        worker, job, task, _ = self.chance.choice(reading)
        done = [m for m in self.desk.state.jobs[job].maps if m.state is TaskState.DONE]
        if done:
            source = self.chance.choice(done)
            blame = self.chance.choice(["gone", "disk", "network"])
            self.desk.fetch_failed(
                worker, task, source.index, map_attempt=source.winner, job=job,
                source=source.holder or "w1", blame=blame,
            )  # fmt: skip

    def repeat(self) -> None:
        """An old report, from anybody."""
        told = [reports for reports in self.reports.values() if reports]
        if told and self.desk.state.workers:
            worker = self.chance.choice(list(self.desk.state.workers))
            self.desk.tell(worker, self.chance.choice(self.chance.choice(told)))

    def join(self) -> None:
        if len(self.desk.state.workers) < 5:
            self.desk.join(slots=self.chance.randint(1, 3), host=self.chance.choice(HOSTS))

    def lose(self) -> None:
        if self.desk.state.workers:
            worker = self.chance.choice(list(self.desk.state.workers))
            self.gone.append(worker)
            self.desk.lose(worker)

    def come_back(self) -> None:
        if not self.gone:
            return
        worker = self.gone.pop(self.chance.randrange(len(self.gone)))
        before = set(self.desk.state.workers)
        self.desk.return_of(worker)
        for name in set(self.desk.state.workers) - before:
            reports = self.reports[self.desk.infos[name].instance]
            self.desk.offer(name, *(r for r in reports if self.chance.random() < 0.8))

    def tick(self) -> None:
        self.desk.tick(self.chance.choice([0.1, 0.5, 3.0]))

    def wait(self) -> None:
        self.desk.wait(self.chance.choice([0.3, 1.2]))

    def give_up(self) -> None:
        """The grace of what the dead have left ends."""
        if self.chance.random() < 0.3:
            self.desk.wait(10.5)

    def fall_silent(self) -> None:
        beating = [w for w in self.desk.state.workers if self.chance.random() < 0.7]
        self.desk.silence(self.chance.choice([0.5, 2.0, 6.0]), *beating)

    def restart(self) -> None:
        if self.chance.random() < 0.4:
            self.gone += self.desk.state.workers
            self.desk.restart()

    # --- clients ----------------------------------------------------------------------------------

    def submit(self) -> None:
        if len(self.desk.state.jobs) < 6:
            reduces = self.chance.choice([0, 1, 1, 2, 3])
            spec: dict[str, Any] = {} if reduces else {"reducer": "none"}
            spec["skip"] = self.chance.choice([0, 0, 4])
            spec["attempts"] = self.chance.choice([2, 4])
            self.desk.submit(self.chance.randint(0, 4), reduces, **spec, **self.named())

    def extend(self) -> None:
        reduced = [job for job in self.desk.state.jobs.values() if job.reduces]
        if reduced:
            job = self.chance.choice(reduced)
            again = MemorySplit("bad records", 0, 1, b"p", size=1)
            self.desk.submit(
                splits=[again], reduces=len(job.reduces), extends=job.id, skip=4, **self.named()
            )

    def named(self) -> dict[str, Any]:
        self.keys += 1
        return {"functions": self.chance.choice(FUNCTIONS), "key": f"k{self.keys}"}

    def some_job(self) -> JobId | None:
        jobs = list(self.desk.state.jobs)
        return self.chance.choice(jobs) if jobs else None

    def release(self) -> None:
        if job := self.some_job():
            self.desk.release(job, runs_only=self.chance.random() < 0.5)

    def cancel(self) -> None:
        if (job := self.some_job()) and self.chance.random() < 0.3:
            self.desk.ask(CancelJob(job, "by the user"))

    def attach(self) -> None:
        if job := self.some_job():
            self.desk.ask(Attach(999, job))


def live_and_end(seed: int) -> None:
    day = Day(seed)
    day.live()
    day.end()


@pytest.mark.parametrize("seed", range(200))
def test_every_job_of_a_random_day_ends(seed: int) -> None:
    live_and_end(seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1000, 3000))
def test_every_job_of_many_random_days_ends(seed: int) -> None:
    live_and_end(seed)
