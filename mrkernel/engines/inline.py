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

from mrkernel.data.host import host_id
from mrkernel.engines.base import OnPrint, PreparedJob
from mrkernel.engines.delivery import deliver, is_copied
from mrkernel.engines.job import Job
from mrkernel.errors import InputError, JobSpecError, TaskFailedError
from mrkernel.job import counters, randomness
from mrkernel.job.failure import Failure, UserCodeError
from mrkernel.manager.events import Event, PeerId, PeerJoined, Received
from mrkernel.manager.instructions import Publish, Send
from mrkernel.manager.state import ManagerState
from mrkernel.monitor.broker import Broker
from mrkernel.monitor.live import LivePicture
from mrkernel.protocol.messages import (
    Ended,
    Failed,
    FetchFailed,
    Finished,
    JobInfo,
    Register,
    RunSource,
    Start,
    Submit,
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

    def submit_prepared(self, prepared: PreparedJob, on_print: OnPrint | None = None) -> Job:
        """Run the job to its end; the Job that comes back has ended."""
        directory = Path(tempfile.mkdtemp(prefix="mrkernel-inline-"))
        remove = partial(shutil.rmtree, directory, ignore_errors=True)
        run = _InlineRun(prepared, directory)
        kept = False
        try:
            # Chance and counters of this process are the user's: they come back as they were.
            with counters.collect(), randomness.seeded(prepared.spec.seed, "inline"):
                ended = run.run()
            name = f"inline-{next(_numbers)}"
            job = Job(
                name,
                prepared.spec.name,
                watch=lambda: run.picture,
                cancel=lambda: None,
                notes=prepared.notes,
            )
            if ended.outcome == "done":
                result = deliver(
                    ended,
                    b"",
                    output=prepared.output,
                    sample=run.sample,
                    release=remove,
                )
                kept = not is_copied(ended)
                if kept:  # too large for memory: its files live as long as it does
                    weakref.finalize(result, remove)
                    run.remove_runs()
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
                remove()
        return job


class _InlineRun:
    """One job: a manager's state and the one worker that obeys it, taking turns."""

    def __init__(self, prepared: PreparedJob, directory: Path) -> None:
        self.picture = LivePicture()
        self.error: BaseException | None = None  #: the user's own, with its frames
        self.slip: JobSpecError | None = None  #: the functions, or what they are made of
        self._prepared = prepared
        self._directory = directory
        self._state = ManagerState(python=prepared.spec.python)
        self._broker = Broker(wall=time.time() - time.monotonic())
        self._events: deque[Event] = deque()
        self._starts: deque[Start] = deque()
        self._context: JobContext | None = None
        self._ended: Ended | None = None
        self._read = 0  # bytes of input

    def run(self) -> Ended:
        here = str(self._directory)
        me = Register("here", host_id(), 0, SLOTS, self._prepared.spec.python, "", 0, here)
        self._events += [
            PeerJoined(_WORKER, "worker"),
            Received(_WORKER, me),
            PeerJoined(_CLIENT, "client"),
            Received(_CLIENT, Submit(1, self._prepared.spec, self._prepared.splits)),
        ]
        while self._ended is None:
            while self._events:
                self._handle(self._events.popleft())
            if self._ended is None:
                if not self._starts:
                    raise JobSpecError("the job stands still without a task to run: a bug of ours")
                self._events.append(Received(_WORKER, self._attempt(self._starts.popleft())))
        return self._ended

    @property
    def sample(self) -> str:
        """Which part of the input was looked at; "": all of it."""
        sample = self._prepared.sample
        return "" if sample is None else sample.describe(self._read)

    def remove_runs(self) -> None:
        """Remove the map output, which nobody needs any more."""
        for path in self._directory.glob("*/*.run"):
            path.unlink()

    def _handle(self, event: Event) -> None:
        now = time.monotonic()
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
                    self._context = self._make_context(info)
                case Send(_, Start() as start):
                    self._starts.append(start)
                case Send(_, Ended() as ended):
                    self._ended = ended

    def _make_context(self, info: JobInfo) -> JobContext:
        directory = self._directory / info.job
        directory.mkdir()
        return JobContext(
            job=info.job,
            spec=info.spec,
            functions=self._prepared.functions,
            directory=directory,
            read_blob=self._prepared.blobs.__getitem__,
            open_run=partial(_open_run, directory),
            progress=ProgressCell(),
        )

    def _attempt(self, start: Start) -> Finished | Failed | FetchFailed:
        assert self._context is not None
        me = (start.job, start.task, start.attempt)
        try:
            finished = run_attempt(start, self._context)
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


def _open_run(directory: Path, _: RunSource, index: int, attempt: int) -> tuple[Read, RunIndex]:
    path = directory / run_name(index, attempt)
    return file_read(path), read_index(path)
