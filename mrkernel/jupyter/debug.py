"""``%mr_debug``: the record or group that a job failed on, once more, in this kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from IPython.core.error import UsageError

from mrkernel.engines.debugging import failure_of, replay, replay_packed, users_traceback
from mrkernel.engines.job import Job
from mrkernel.errors import MRKernelError, TaskFailedError
from mrkernel.job.failure import Failure
from mrkernel.job.functions import Functions


class FailedJobs:
    """What failed in this notebook, the last one kept, with the functions as they are here."""

    def __init__(self) -> None:
        self._last: tuple[Failure, Functions] | None = None
        self._by_job: dict[str, tuple[Failure, Functions]] = {}

    def watch(self, job: Job) -> None:
        """A job was submitted here."""
        job.on_end(self._ended)

    @contextmanager
    def of_trial(self, functions: Mapping[str, Any]) -> Iterator[None]:
        """While the functions are tried on the first records, before there is a job."""
        try:
            yield
        except TaskFailedError as error:
            if isinstance(error.failure, Failure):
                self._last = error.failure, Functions(**functions)
            raise

    def debug(self, line: str, attach: Callable[[], Any]) -> None:
        """Do again what failed; the exception that comes is the user's own.

        Args:
            line: of the magic: a job's id, or "" for what failed last.
            attach: gives a client of the cluster, for a job of which this kernel knows nothing.

        Raises:
            UsageError: nothing has failed here.
            BaseException: what failed, again.
        """
        __tracebackhide__ = True  # of IPython: the user's frames are what is looked at
        try:
            self._debug(line.split(), attach)
        except (MRKernelError, UsageError):
            raise
        except BaseException as error:
            error.__traceback__ = users_traceback(error)
            raise

    def _debug(self, words: list[str], attach: Callable[[], Any]) -> None:
        if len(words) > 1:
            raise UsageError("write %mr_debug, or %mr_debug ID (%mr_jobs lists them)")
        if words:
            known = self._by_job.get(words[0])
        elif self._last is None:
            raise UsageError(
                "no job has failed in this notebook: write %mr_debug ID (%mr_jobs lists them)"
            )
        else:
            known = self._last
        if known is not None:
            failure, functions = known
            replay(functions, failure, tell=_tell)
        else:
            self._of_another_program(words[0], attach())

    def _of_another_program(self, job_id: str, client: Any) -> None:
        job = client.attach(job_id)
        client.look("cluster")  # its end, if it has one, has come before the answer
        if not job.wait(0):
            raise UsageError(f"job {job_id} is running: wait until it has ended")
        failure = failure_of(job.error, job_id)
        replay_packed(lambda: client.functions(job_id), failure, tell=_tell)

    def _ended(self, job: Job) -> None:
        failure = getattr(job.error, "failure", None)
        if isinstance(failure, Failure) and job.functions is not None:
            self._last = self._by_job[job.id] = failure, job.functions


def _tell(sentence: str) -> None:
    print(f"note: {sentence}")  # noqa: T201
