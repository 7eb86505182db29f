"""The jobs that a client of a manager follows: what they print, how they end, and their results."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

from mrkernel.data.outputs import Output
from mrkernel.engines.base import OnPrint
from mrkernel.engines.delivery import deliver, is_copied
from mrkernel.engines.job import Job
from mrkernel.errors import (
    ClusterError,
    JobCancelledError,
    JobError,
    MRKernelError,
    TaskFailedError,
)
from mrkernel.ids import JobId
from mrkernel.protocol.client_messages import Ended, JobPrinted
from mrkernel.protocol.worker_messages import PartPlace

logger = logging.getLogger("mrkernel.engines")


@dataclass(slots=True)
class _Running:
    """A job that has not ended, as who follows it sees it."""

    job: Job
    output: Output | None
    on_print: OnPrint | None
    heard: Counter[int] = field(default_factory=Counter)  #: what it printed, each by its hash
    known: Counter[int] = field(default_factory=Counter)  #: of this, what will be told again
    again: bool = False  #: a part of its result was gone, and its end is awaited once more


class RunningJobs:
    """The jobs followed over one connection, those included that nobody has a ``Job`` of yet.

    Args:
        secret: the cluster's, to read results from workers.
        release: tells the manager that a job's runs (True) or all of it is needed no more.
        places: asks where the parts of an ended job's result are now; waits until they are there.
        attach: asks the manager for the end of a job once more.
    """

    def __init__(
        self,
        secret: bytes,
        *,
        release: Callable[[JobId, bool], None],
        places: Callable[[JobId], Sequence[PartPlace]],
        attach: Callable[[JobId], None],
    ) -> None:
        self._secret = secret
        self._release = release
        self._places = places
        self._attach = attach
        self._lock = threading.Lock()
        self._running: dict[JobId, _Running] = {}
        #: What came of a job before its submitter had its id.
        self._early: dict[JobId, list[JobPrinted | Ended | MRKernelError]] = {}
        self._followed: set[JobId] = set()
        self._ends: dict[JobId, list[Future[Ended]]] = {}

    def get(self, job_id: JobId) -> Job | None:
        """The job, if it is followed and has not ended."""
        running = self._running.get(job_id)
        return None if running is None else running.job

    def expect(self, job_id: JobId) -> None:
        """The manager has accepted a job: what comes of it is kept for whoever asks for it."""
        with self._lock:
            if job_id not in self._running:
                self._followed.discard(job_id)
                self._early.setdefault(job_id, [])

    def drop(self, job_id: JobId) -> None:
        """Nobody will ask for a job that was expected."""
        with self._lock:
            self._early.pop(job_id, None)
            self._followed.add(job_id)

    def add(self, job: Job, output: Output | None, on_print: OnPrint | None) -> None:
        """Follow a job that was expected to its end."""
        job_id = JobId(job.id)
        with self._lock:
            self._running[job_id] = _Running(job, output, on_print)
        while True:
            with self._lock:
                early = self._early.get(job_id)
                if not early:
                    # Only now: what comes meanwhile, on another thread, waits behind what came.
                    self._early.pop(job_id, None)
                    self._followed.add(job_id)
                    return
                each = early.pop(0)
            if isinstance(each, MRKernelError):
                self.fail(job_id, each)
            else:
                self._take(each)

    def next_end(self, job_id: JobId) -> Future[Ended]:
        """The next word about the end of a job."""
        future: Future[Ended] = Future()
        with self._lock:
            self._followed.add(job_id)
            self._ends.setdefault(job_id, []).append(future)
        return future

    def attach_again(self) -> list[JobId]:
        """The jobs to attach to on a new connection; what they printed will be told again."""
        with self._lock:
            for running in self._running.values():
                running.known = Counter(running.heard)
            for early in self._early.values():
                early[:] = [each for each in early if isinstance(each, MRKernelError)]
            return list(dict.fromkeys([*self._running, *self._early, *self._ends]))

    def heard(self, message: JobPrinted | Ended) -> None:
        """Something came of a job."""
        with self._lock:
            if message.job not in self._followed:
                self._early.setdefault(message.job, []).append(message)
                return
        self._take(message)

    def _take(self, message: JobPrinted | Ended) -> None:
        if isinstance(message, Ended):
            self._ended(message)
        else:
            self._printed(message)

    def fail(self, job_id: JobId, error: MRKernelError) -> None:
        """A job is gone with the manager that knew it."""
        with self._lock:
            running = self._running.pop(job_id, None)
            ends = self._ends.pop(job_id, [])
            if running is None and job_id in self._early:
                self._early[job_id] = [error]
        for end in ends:
            end.set_exception(error)
        if running is not None:
            running.job.fail(error)

    def _printed(self, message: JobPrinted) -> None:
        running = self._running.get(message.job)
        if running is None or running.on_print is None:
            return
        mark = hash((message.task, message.worker, message.text, message.dropped))
        if running.known[mark] > 0:
            running.known[mark] -= 1
            return
        running.heard[mark] += 1
        try:
            running.on_print(message.task, message.worker, message.text, message.dropped)
        except Exception:
            # A broken listener must not deafen everybody who waits on this thread.
            running.on_print = None
            logger.exception("what job %s prints is shown no more", message.job)

    # --- the end of a job -------------------------------------------------------------------------

    def _ended(self, ended: Ended) -> None:
        with self._lock:
            running = self._running.pop(ended.job, None)
            ends = self._ends.pop(ended.job, [])
        for end in ends:
            end.set_result(ended)
        if running is None:
            return  # it ended before: who attached twice is told twice
        if ended.outcome == "cancelled":
            why = f": {ended.sentence}" if ended.sentence else ""
            running.job.fail(JobCancelledError(f"job {ended.job} was cancelled{why}"))
        elif ended.outcome == "failed":
            running.job.fail(
                TaskFailedError(f"job {ended.job} failed: {ended.sentence}", ended.failure)
            )
        elif running.output is None and all(part.data is not None for part in ended.parts):
            self._deliver(running, ended)
        else:
            # Reading parts and writing output takes time the connection's thread does not have.
            name = f"mrk-deliver-{ended.job}"
            threading.Thread(target=self._deliver, args=(running, ended), name=name).start()

    def _deliver(self, running: _Running, ended: Ended) -> None:
        try:
            result = deliver(
                ended,
                self._secret,
                output=running.output,
                release=partial(self._release, ended.job, False),
                places=partial(self._places, ended.job),
            )
        except ClusterError as error:
            if running.again:
                running.job.fail(error)
                return
            # A part went with its worker just now: the manager knows, and has it made again.
            running.again = True
            with self._lock:
                self._running[ended.job] = running
                running.known = Counter(running.heard)
            self._attach(ended.job)
            return
        except Exception as error:  # noqa: BLE001 - whoever waits for the result raises it
            running.job.fail(error)
            return
        running.job.succeed(result)
        if is_copied(ended) and not ended.bad:
            # What lies on workers only may have to be made again: its inputs stay as well. So do
            # those of a job that left records out: they may be tried again.
            self._release(ended.job, True)


def lost_with(job_id: str, why: object) -> JobError:
    """The error of a job whose manager is gone for good."""
    return JobError(
        f"the manager of job {job_id} is gone ({why}), and the job with it: "
        "start a cluster and run it again"
    )
