"""The watchdog: a job that stands still says what it waits for, and why. Pure."""

from __future__ import annotations

from mrkernel.manager.books import Books
from mrkernel.manager.outputs import Outputs
from mrkernel.manager.records import Job
from mrkernel.manager.transitions import TaskState, WorkerLiveness
from mrkernel.monitor import events as public
from mrkernel.monitor.quantities import names_text

#: Seconds without any progress of a job after which it says what it waits for.
PATIENCE_S = 10.0
#: The same where no worker is there at all: that is soon told, and soon mended.
LONELY_S = 2.0
#: Seconds between two looks.
LOOK_S = 0.5
#: Tasks that are named.
NAMED = 3


class Watchdog:
    """The page about jobs that stand still."""

    def __init__(self, books: Books, outputs: Outputs) -> None:
        self._books = books
        self._outputs = outputs
        self._looked_at = 0.0

    def tick(self, now: float) -> None:
        """Look which jobs stand still, and which go on again."""
        if now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        for job in self._books.running.values():
            patience = PATIENCE_S if self._books.workers else LONELY_S
            still = now - job.moved_at
            sentence = self._why(job, now) if still > patience else ""
            if sentence != job.waiting:
                job.waiting = sentence
                self._books.publish(public.JobWaits(at=now, job=job.id, sentence=sentence))

    def _why(self, job: Job, now: float) -> str:
        workers = self._books.workers.values()
        if not workers:
            return "waiting for a worker, none is here: start one with `mrkernel worker`"
        running = [
            (task, run)
            for worker in workers
            for (job_id, task_id), attempt in worker.assigned.items()
            if job_id == job.id
            for task in (job.tasks[task_id],)
            for run in (task.running[attempt],)
        ]
        if running:
            task, run = min(running, key=lambda pair: pair[1].moved)
            suspect = self._books.workers[run.worker].state is WorkerLiveness.SUSPECT
            what = f"waiting for {task.id} on {run.worker}"
            if suspect:
                return f"{what}: that worker has not been heard of for a while"
            at = f" after {run.records:,} records" if run.records else ""
            advice = "" if job.spec.timeout_s else "; --timeout S would end what hangs"
            return f"{what}: it finished no record for long{at} ({task.label}){advice}"
        if self._outputs.wait_for_a_keeper(job):
            gone = sorted(self._books.orphans)
            return (
                f"waiting for the host of {names_text(gone[:NAMED])}: map output lies there, and "
                "no worker serves it; in a moment it is made again elsewhere"
            )
        if job.maps_left and self._outputs.wait_for_parts(job):
            return f"waiting for a part of {names_text(sorted(job.reads))}, which is made again"
        if all(worker.state is WorkerLiveness.SUSPECT for worker in workers):
            return "waiting for workers: none of them has been heard of for a while"
        if all(worker.barred for worker in workers):
            return "waiting for workers: all of them are barred for a while after failures"
        ready = [task.id for task in job.tasks.values() if task.state is TaskState.READY]
        if ready:
            return f"waiting for a free slot for {names_text(ready[:NAMED])}: other jobs have them"
        return "waiting for other tasks of the job"
