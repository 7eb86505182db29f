"""Job: one running or ended job, the same on every engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from functools import cached_property, partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrkernel.engines.bad_records import BadRecords
from mrkernel.engines.result import JobResult
from mrkernel.engines.timeline import JobTimeline
from mrkernel.errors import ClusterError, JobCancelledError, JobError, JobSpecError
from mrkernel.job.functions import Functions
from mrkernel.monitor.live import LivePicture
from mrkernel.monitor.report import report_html

if TYPE_CHECKING:
    from mrkernel.engines.base import Engine

#: Seconds a cancelled job gets to say so, everywhere.
CANCEL_S = 2.0
#: Seconds that a first picture of a job may take.
LOOK_S = 5.0


class Job:
    """A submitted job. Await it, or call ``result()``.

    Attributes:
        id: as the cluster calls it, "j3".
        name: as the user calls it.
        notes: what was remarked while it was prepared, one sentence each.
        functions: those it was submitted with; None: it was submitted elsewhere.
        engine: where its result lies; None: nowhere.
        chain: submits a job there: (mapper, inputs, reducer, options).
        retry: submits its bad records again: (its id, they, the mended mapper, options said anew);
            None: it was submitted elsewhere.
    """

    def __init__(
        self,
        job_id: str,
        name: str,
        *,
        watch: Callable[[], LivePicture],
        cancel: Callable[[], None],
        page: Callable[[], str] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.id = job_id
        self.name = name
        self.notes = notes
        self.functions: Functions | None = None
        self.retry: Callable[[str, BadRecords, Any, dict[str, Any]], Job] | None = None
        self.engine: Engine | None = None
        self.chain: Callable[..., Job] | None = None
        self._watch = watch
        self._cancel = cancel
        self._page = page
        self._outcome: Future[JobResult] = Future()

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.name!r}: {self.status}>"

    @cached_property
    def picture(self) -> LivePicture:
        """The live view's data; kept up to date by the engine from the first look on."""
        return self._watch()

    @property
    def status(self) -> str:
        """ "running", "done", "failed" or "cancelled"."""
        if not self._outcome.done():
            return "running"
        error = self._outcome.exception()
        if error is None:
            return "done"
        return "cancelled" if isinstance(error, JobCancelledError) else "failed"

    @property
    def web_url(self) -> str:
        """The address of its page in a browser on this machine.

        It lets in whoever has it: do not leave it in a notebook that others get.

        Raises:
            ClusterError: it has none.
        """
        if self._page is None:
            raise ClusterError(f"job {self.id} runs in this process: no manager, no web page")
        return self._page()

    @property
    def error(self) -> BaseException | None:
        """Why it has failed or was cancelled; None while it runs, and when it is done."""
        return self._outcome.exception() if self._outcome.done() else None

    @property
    def progress(self) -> float:
        """How much is behind us, from 0 to 1; map and reduce tasks weigh the same."""
        if self._outcome.done() and self._outcome.exception() is None:
            return 1.0
        return done_share(self.picture.snapshot())

    @property
    def counters(self) -> dict[str, int]:
        """The counters of the committed attempts; empty until the job is done."""
        if self._outcome.done() and self._outcome.exception() is None:
            return dict(self._outcome.result().counters)
        return {}

    @property
    def bad_records(self) -> BadRecords:
        """The records that it went on without; empty until the job is done."""
        if self._outcome.done() and self._outcome.exception() is None:
            return self._outcome.result().bad_records
        return BadRecords()

    def retry_bad_records(self, mapper: Any = None, **options: Any) -> Job:
        """Run a new job over the bad records of this one, and merge it with the rest of this one.

        Everything but the mapper stays as it was: reducer, combiner, number of reduce tasks. The
        values of records that were bad come after all others of their key.

        Args:
            mapper: the mended one; None: the function that now has its name in the notebook.
            **options: ``output``, ``output_format``, ``columns``, ``overwrite``, ``name``,
                ``on_error`` (default: as in this job), as for ``submit``.

        Raises:
            JobError: this job failed.
            JobSpecError: it has no bad records, or they cannot be tried again; says why.
        """
        return self.result().retry_bad_records(mapper, **options)

    def events(self) -> Iterator[str]:
        """Yield the lines of the feed until the job has ended; one that grew comes again, whole."""
        told: dict[int, str] = {}
        self.on_end(lambda _: self.picture.wake())
        while True:
            ended = self._outcome.done()
            picture = self.last_picture()
            for line in picture.get("feed", []):
                if told.get(line["n"]) != line["text"]:
                    told[line["n"]] = line["text"]
                    yield line["text"]
            if ended:
                return
            seen = picture.get("seq")
            self.picture.wait_for(lambda p: p.get("seq") != seen or self._outcome.done())  # noqa: B023

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended, however; False when ``timeout`` seconds were not enough."""
        try:
            self._outcome.exception(timeout)
        except FutureTimeout:
            return False
        return True

    def result(self, timeout: float | None = None) -> JobResult:
        """Wait for the result.

        Raises:
            JobError: it failed (``TaskFailedError``) or was cancelled (``JobCancelledError``).
            TimeoutError: ``timeout`` seconds were not enough; the job goes on.
        """
        return self._retriable(self._outcome.result(timeout))

    def _retriable(self, result: JobResult) -> JobResult:
        """Let who has only the result try its bad records again."""
        result.engine, result.chain = self.engine, self.chain
        if result.retry is None and self.retry is not None:
            result.retry = partial(self.retry, self.id, result.bad_records)
        return result

    def cancel(self) -> None:
        """Stop it everywhere; the cluster stays usable. No-op when it has ended."""
        if not self._outcome.done():
            self._cancel()

    def settle(self, timeout: float = CANCEL_S) -> bool:
        """Cancel, and wait until it is over; False when it did not end in time."""
        self.cancel()
        return self.wait(timeout)

    def last_picture(self, timeout: float = 0.5) -> dict[str, Any]:
        """Return the picture; of an ended job the last one, which may come a moment later."""
        if self._outcome.done():
            self.picture.wait_for(lambda p: bool(p) and p["ended"] is not None, timeout)
        return self.picture.snapshot()

    def timeline(self) -> JobTimeline:
        """Return what ran where and when, so far: to show in a cell, or to iterate over.

        Raises:
            ClusterError: there is no picture of the job.
        """
        return JobTimeline(self._any_picture())

    def report(self, path: str | PathLike[str]) -> Path:
        """Write all there is to see of the job, so far, as one HTML file that needs no other.

        Args:
            path: of the file; one that is there is replaced.

        Returns: where it is, absolute.

        Raises:
            ClusterError: there is no picture of the job.
            JobSpecError: there can be no such file; says why.
        """
        html = report_html(self._any_picture(), self.counters)
        where = Path(path).expanduser().absolute()
        try:
            where.write_text(html, encoding="utf-8")
        except OSError as error:
            reason = error.strerror or str(error)
            if isinstance(error, IsADirectoryError):
                reason = f"it is a folder: name a file in it, such as {where / 'report.html'}"
            elif isinstance(error, FileNotFoundError):
                reason = f"there is no folder {where.parent}: make it, or name another"
            raise JobSpecError(f"the report cannot be written to {where}: {reason}") from error
        return where

    def _any_picture(self) -> dict[str, Any]:
        """The newest picture; waits for the first."""
        self.picture.wait_for(bool, LOOK_S)
        picture = self.last_picture()
        if not picture:
            raise ClusterError(f"there is no picture of job {self.id}: its manager does not answer")
        return picture

    def __await__(self) -> Generator[Any, None, JobResult]:
        return asyncio.wrap_future(self._outcome).__await__()

    # --- for engines ------------------------------------------------------------------------------

    def succeed(self, result: JobResult) -> None:
        """The result is there."""
        self._outcome.set_result(self._retriable(result))

    def fail(self, error: BaseException) -> None:
        """It ended otherwise."""
        if not isinstance(error, JobError):
            error.add_note(f"in job {self.id}")
        self._outcome.set_exception(error)

    def on_end(self, call: Callable[[Job], None]) -> None:
        """Call ``call`` when it has ended, from whatever thread; at once if it has."""
        self._outcome.add_done_callback(lambda _: call(self))


def done_share(picture: dict[str, Any]) -> float:
    """Return how much of a job is done, as its picture has it, from 0 to 1."""
    bars = [picture[phase] for phase in ("map", "reduce") if picture.get(phase)]
    total = sum(bar["total"] for bar in bars)
    return sum(bar["done"] for bar in bars) / total if total else 0.0
