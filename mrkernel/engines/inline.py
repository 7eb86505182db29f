"""The inline engine: the whole job in this process, through the real state machine.

No sockets, no other processes, no pickling of functions: ``breakpoint()``, coverage and a debugger
work in a mapper. There are always at least two map and two reduce tasks where the input allows, so
that code that only works with one shows it here.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
import time
import weakref
from collections import deque
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

from mrkernel.data.host import host_id
from mrkernel.engines.base import OnPrint, PreparedJob
from mrkernel.engines.delivery import deliver, is_copied
from mrkernel.engines.job import Job
from mrkernel.engines.retry import make_retriable
from mrkernel.errors import InputError, JobSpecError, TaskFailedError
from mrkernel.ids import JobId
from mrkernel.job import counters, randomness
from mrkernel.job.failure import Failure, UserCodeError
from mrkernel.manager.events import Event, PeerId, PeerJoined, Received
from mrkernel.manager.instructions import Publish, Send
from mrkernel.manager.state import ManagerState
from mrkernel.manager.workers import Home
from mrkernel.monitor.broker import Broker
from mrkernel.monitor.live import LivePicture
from mrkernel.protocol.client_messages import Ended, Refused, Submit
from mrkernel.protocol.worker_messages import (
    Failed,
    FetchFailed,
    Finished,
    JobInfo,
    Register,
    RunSource,
    Start,
)
from mrkernel.shuffle.run import Read, RunIndex, file_read, read_index, run_name
from mrkernel.worker.attempt import JobContext, run_attempt
from mrkernel.worker.progress import ProgressCell
from mrkernel.worker.reduce_inputs import FetchError

_CLIENT, _WORKER = PeerId(1), PeerId(2)
SLOTS = 2
_numbers = itertools.count(1)


class InlineEngine:
    """Runs jobs in the thread that submits them, one task after the other."""

    label = "this process"
    slots = SLOTS
    in_process = True
    cluster_id = ""

    def __init__(self) -> None:
        #: What jobs left behind that may be extended, for as long as somebody has the job.
        self._runs: WeakValueDictionary[str, _InlineRun] = WeakValueDictionary()

    def submit_prepared(self, prepared: PreparedJob, on_print: OnPrint | None = None) -> Job:
        """Run the job to its end; the Job that comes back has ended."""
        run = self._runs.get(prepared.extends) if prepared.extends else _InlineRun()
        if run is None:
            raise JobSpecError(f"nothing is left of job {prepared.extends}: run it again")
        kept = bool(prepared.extends)
        try:
            # Chance and counters of this process are the user's: they come back as they were.
            with counters.collect(), randomness.seeded(prepared.spec.seed, "inline"):
                ended = run.run(prepared)
            picture = run.picture
            job = Job(
                f"inline-{next(_numbers)}",
                prepared.spec.name,
                watch=lambda: picture,
                cancel=lambda: None,
                notes=prepared.notes,
            )
            make_retriable(job, self, prepared)
            if prepared.chain is not None:
                job.chain = partial(prepared.chain, self)
            if ended.outcome == "done":
                result = deliver(
                    ended,
                    b"",
                    output=prepared.output,
                    sample=run.sample,
                    release=partial(run.remove, ended.job),
                )
                if ended.bad:
                    run.ids[job.id] = ended.job
                    self._runs[job.id] = run
                elif not is_copied(ended):  # too large for memory: its files live as long as it
                    run.remove_runs(ended.job)
                kept = kept or bool(ended.bad) or not is_copied(ended)
                job.succeed(result)
            elif run.slip is not None:
                job.fail(run.slip)  # as a preflight would: it has nothing to do with a record
            else:
                error = TaskFailedError(f"job failed: {ended.sentence}", ended.failure)
                # The user's own exception, with its live frames, for a debugger.
                error.__cause__ = run.error
                job.fail(error)
        finally:
            if not kept:
                run.close()
        return job


class _InlineRun:
    """One job: a manager's state and the one worker that obeys it, taking turns."""

    def __init__(self) -> None:
        self.picture = LivePicture()
        self.error: BaseException | None = None  #: the user's own, with its frames
        self.slip: JobSpecError | None = None  #: the functions, or what they are made of
        self.ids: dict[str, JobId] = {}  #: what the manager calls jobs that may be extended
        self._prepared: PreparedJob | None = None
        self._directory = Path(tempfile.mkdtemp(prefix="mrkernel-inline-"))
        #: Removes its directory; happens at the latest when nobody has it any more.
        self.close = weakref.finalize(self, shutil.rmtree, self._directory, ignore_errors=True)
        self._state: ManagerState | None = None
        self._broker = Broker(wall=time.time() - time.monotonic())
        self._events: deque[Event] = deque()
        self._starts: deque[Start] = deque()
        self._contexts: dict[JobId, JobContext] = {}
        self._tickets = itertools.count(1)
        self._ended: Ended | None = None
        self._read = 0  # bytes of input

    def run(self, prepared: PreparedJob) -> Ended:
        """Run a job, which may extend one before; its functions are those of ``prepared``."""
        self._prepared, self._ended, self._read = prepared, None, 0
        self.picture, self.error, self.slip = LivePicture(), None, None
        if self._state is None:
            self._state = ManagerState(Home(prepared.spec.python, in_process=True))
            here = str(self._directory)
            me = Register("here", host_id(), 0, SLOTS, prepared.spec.python, "", 0, here)
            self._events += [
                PeerJoined(_WORKER, "worker"),
                Received(_WORKER, me),
                PeerJoined(_CLIENT, "client"),
            ]
        submit = Submit(
            next(self._tickets),
            prepared.spec,
            prepared.splits,
            extends=self.ids.get(prepared.extends, JobId("")),
        )
        self._events.append(Received(_CLIENT, submit))
        ended: Ended | None = None
        while ended is None:
            while self._events:
                self._handle(self._events.popleft())
            ended = self._ended
            if ended is None:
                if not self._starts:
                    raise JobSpecError("the job stands still without a task to run: a bug of ours")
                self._events.append(Received(_WORKER, self._attempt(self._starts.popleft())))
        return ended

    @property
    def sample(self) -> str:
        """Which part of the input was looked at; "": all of it."""
        sample = None if self._prepared is None else self._prepared.sample
        return "" if sample is None else sample.describe(self._read)

    def remove_runs(self, job: JobId) -> None:
        """Remove a job's map output, which nobody needs any more."""
        for path in (self._directory / job).glob("*.run"):
            path.unlink()

    def remove(self, job: JobId) -> None:
        """Remove all that is left of a job."""
        shutil.rmtree(self._directory / job, ignore_errors=True)

    def _handle(self, event: Event) -> None:
        now = time.monotonic()
        assert self._state is not None
        for instruction in self._state.handle(event, now):
            match instruction:
                case Publish(public):
                    self._broker.publish(public)
                    job = getattr(public, "job", None)
                    if job is not None:
                        snapshot = self._broker.snapshot(job)
                        if snapshot is not None:
                            self.picture.receive({"topic": job, "snapshot": snapshot})
                case Send(_, JobInfo() as info):
                    self._contexts[info.job] = self._make_context(info)
                case Send(_, Start() as start):
                    self._starts.append(start)
                case Send(_, Ended() as ended):
                    self._ended = ended
                case Send(_, Refused(_, sentence)):
                    raise JobSpecError(sentence)

    def _make_context(self, info: JobInfo) -> JobContext:
        directory = self._directory / info.job
        directory.mkdir()
        assert self._prepared is not None
        return JobContext(
            job=info.job,
            spec=info.spec,
            functions=self._prepared.functions,
            directory=directory,
            read_blob=self._prepared.blobs.__getitem__,
            open_run=partial(_open_run, info.job),
            progress=ProgressCell(),
        )

    def _attempt(self, start: Start) -> Finished | Failed | FetchFailed:
        me = (start.job, start.task, start.attempt)
        try:
            finished = run_attempt(start, self._contexts[start.job])
            self._read += finished.bytes_in if start.split is not None else 0
            return finished
        except UserCodeError as error:
            self.error = error.__cause__ or error
            return Failed(*me, error.failure)
        except JobSpecError as error:
            self.error = error
            if not isinstance(error, InputError):
                self.slip = error
            return Failed(*me, Failure(kind="input", sentence=str(error)))
        except FetchError as error:
            where = (error.map_index, error.map_attempt, error.worker)
            return FetchFailed(*me, *where, error.reason)


def _open_run(job: JobId, source: RunSource, index: int, attempt: int) -> tuple[Read, RunIndex]:
    path = Path(source.directory) / (source.job or job) / run_name(index, attempt)
    return file_read(path), read_index(path)
