"""A runner: one process that runs attempts, one after the other, until its worker server hangs up.

It reads its orders from a socket with plain blocking calls: user code may do what it likes to this
process, and nothing else lives in it.
"""

from __future__ import annotations

import gc
import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mrkernel.errors import (
    ClusterError,
    CorruptRunError,
    InputUnreachableError,
    JobSpecError,
    SecurityError,
)
from mrkernel.ids import JobId
from mrkernel.job.failure import Failure, UserCodeError
from mrkernel.protocol.framing import FRAME_LIMIT, FrameDecoder
from mrkernel.protocol.messages import MessageDecoder, frame_of
from mrkernel.protocol.worker_messages import (
    Failed,
    FetchFailed,
    Finished,
    JobInfo,
    PartPlace,
    RunSource,
    Start,
    ToRunner,
)
from mrkernel.shuffle.run import (
    Read,
    RunIndex,
    file_read,
    memory_index,
    memory_read,
    read_index,
    run_name,
    tail_index,
)
from mrkernel.shuffle.shares import (
    ShareError,
    fetch_all,
    fetch_shares,
    find_shares,
    share_files,
)
from mrkernel.shuffle.transfer import RunReader
from mrkernel.worker.attempt import JobContext, run_attempt
from mrkernel.worker.disks import disk_failure
from mrkernel.worker.end_marks import EndMarks
from mrkernel.worker.heap import keep_freed_memory
from mrkernel.worker.peak_memory import PeakMemory
from mrkernel.worker.progress import ProgressCell
from mrkernel.worker.reduce_inputs import FetchError
from mrkernel.worker.resident import Resident

#: A run up to this size is read with one open instead of four, and held: ten thousand of them must
#: fit in memory.
SMALL_RUN = 8 << 10


@dataclass(frozen=True, slots=True)
class RunnerHome:
    """What every runner of a worker knows by being forked from its template."""

    directory: Path
    token: bytes
    host_id: str
    always_fetch: bool = False  #: read runs over TCP even where the file is at hand


def read_small(path: str, limit: int) -> bytes | None:
    """Return what is in a file of up to ``limit`` bytes; None: it is larger.

    A task may read thousands of these, and ``open`` alone costs more than all of this.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, limit + 1)
    finally:
        os.close(descriptor)
    return data if len(data) <= limit else None


def warm_up() -> None:
    """Import in the template what no runner should have to import again."""
    import cloudpickle
    import numpy
    import pyarrow
    import pyarrow.compute

    import mrkernel.job.functions
    import mrkernel.shuffle.merge
    import mrkernel.shuffle.sort_buffer

    del cloudpickle, numpy, mrkernel
    keep_freed_memory()
    pyarrow.set_cpu_count(1)  # a slot is one core
    # What exists now is shared with every runner: collecting it would only copy its pages.
    gc.collect()
    gc.freeze()


def run_tasks(conversation: socket.socket, cell: int, home: RunnerHome) -> None:
    """Be a runner until the other end hangs up."""
    # Attempts make millions of tuples and no cycles worth hunting for every 700 of them.
    gc.set_threshold(100_000, 20, 100)
    runner = _TaskRunner(home, ProgressCell(cell))
    frames = FrameDecoder(FRAME_LIMIT)
    decoder = MessageDecoder(ToRunner)
    marks = EndMarks()
    try:
        while data := conversation.recv(256 << 10):
            for _, payload in frames.feed(data):
                for message in decoder.decode(payload):
                    reply = runner.obey(message)
                    if reply is not None:
                        marks.write()
                        conversation.sendall(frame_of(reply))
    finally:
        marks.close()


def _read_there(reader: RunReader, name: str, offset: int, length: int) -> bytes:
    try:
        return reader.read(name, offset, length)
    except ClusterError as error:
        raise ConnectionError(str(error)) from error


class _TaskRunner:
    def __init__(self, home: RunnerHome, progress: ProgressCell) -> None:
        self._home = home
        self._progress = progress
        self._peak = PeakMemory()
        self._resident = Resident()
        self._info: JobInfo | None = None  # of one job: its functions may be large
        self._current: JobContext | None = None
        self._shares: dict[tuple[int, int], tuple[Read, RunIndex]] = {}  # of other hosts' runs

    def obey(self, message: JobInfo | Start) -> Finished | Failed | FetchFailed | None:
        if isinstance(message, JobInfo):
            self._info = message
            return None
        self._peak.begin()
        try:
            context = self._context(message.job)
            remote = [source for source in message.sources if not self._is_here(source)]
            if remote:
                self._fetch(message, context, remote)
            done = run_attempt(message, context)
            if remote:
                self._remove_shares(message)
            return done
        except UserCodeError as error:
            return Failed(message.job, message.task, message.attempt, error.failure)
        except JobSpecError as error:
            # InputError among them: the input or the functions, which no other worker mends,
            # unless it has a module that is missing here, or a way to a URL.
            cause = error.__cause__
            missing = isinstance(cause, ModuleNotFoundError)
            elsewhere = missing or isinstance(error, InputUnreachableError)
            failure = Failure(
                kind="environment" if elsewhere else "input",
                sentence=str(error),
                error_type=type(cause if missing else error).__name__,
            )
            return Failed(message.job, message.task, message.attempt, failure)
        except FetchError as error:
            return FetchFailed(
                message.job,
                message.task,
                message.attempt,
                error.map_index,
                error.map_attempt,
                error.worker,
                error.reason,
                blame=error.blame,
                part_of=error.part_of,
            )
        except OSError as error:
            # Ours, not the user's: his exceptions come as UserCodeError. A full or broken disk.
            failure = disk_failure(error, self._home.directory)
            return Failed(message.job, message.task, message.attempt, failure)
        except (SecurityError, CorruptRunError) as error:  # its own spill: a bad disk
            sentence = f"the worker could not write or read its files: {error}"
            kind = type(error).__name__
            failure = Failure(kind="environment", sentence=sentence, error_type=kind)
            return Failed(message.job, message.task, message.attempt, failure)

    def _context(self, job: JobId) -> JobContext:
        """Return the context of a job; the functions of one job at a time are kept unpacked."""
        if self._current is None or self._current.job != job:
            from mrkernel.job.functions import unpack

            info = self._info
            assert info is not None
            assert info.job == job
            packed = info.functions
            functions = unpack(self._read_blob(info.spec.functions) if packed is None else packed)
            self._current = JobContext(
                job=job,
                spec=info.spec,
                functions=functions,
                directory=self._home.directory / job,
                read_blob=self._read_blob,
                open_run=partial(self._open_run, job),
                open_part=self._open_part,
                resident=self._resident,
                progress=self._progress,
                peak_memory=self._peak.read,
            )
        return self._current

    def _read_blob(self, digest: str) -> bytes:
        data = (self._home.directory / "blobs" / digest).read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise SecurityError(f"blob {digest} is damaged on disk")
        return data

    # --- runs of other tasks ----------------------------------------------------------------------

    def _is_here(self, source: RunSource | PartPlace) -> bool:
        """Whether the files of a worker are at hand."""
        return source.host_id == self._home.host_id and not self._home.always_fetch

    def _open_run(
        self, job: JobId, source: RunSource, index: int, attempt: int
    ) -> tuple[Read, RunIndex]:
        """Open the run of a finished map attempt, or what was fetched of it."""
        if not self._is_here(source):
            return self._shares[index, attempt]
        name = f"{source.job or job}/{run_name(index, attempt)}"
        path = f"{source.directory}/{name}"
        data = read_small(path, SMALL_RUN)
        if data is None:
            return file_read(path), read_index(path)
        # A negative offset counts from the end.
        tail = tail_index(lambda at, size: data[at : at + size or None], name)
        return memory_read(data), tail

    @contextmanager
    def _open_part(self, place: PartPlace) -> Iterator[tuple[Read, RunIndex]]:
        """Open a result part of another job."""
        if place.data is not None:
            yield memory_read(place.data), memory_index(place.data)
        elif self._is_here(place):
            path = f"{place.directory}/{place.name}"
            yield file_read(path), read_index(path)
        else:
            try:
                reader = RunReader((place.data_host, place.data_port), self._home.token)
            except ClusterError as error:
                raise ConnectionError(str(error)) from error
            try:
                read = partial(_read_there, reader, place.name)
                yield read, tail_index(read, place.name)
            finally:
                reader.close()

    def _fetch(self, start: Start, context: JobContext, sources: list[RunSource]) -> None:
        """Copy what other hosts hold of the partition, but for what the worker server has fetched.

        Raises:
            FetchError: one of the runs cannot be read.
        """
        directory = self._home.directory / start.job
        directory.mkdir(exist_ok=True)
        here = find_shares(directory, start.index)

        def fetch(source: RunSource, stop: threading.Event) -> None:
            try:
                fetch_shares(
                    source,
                    source.job or start.job,
                    start.index,
                    directory,
                    self._home.token,
                    here=here,
                    took=lambda nbytes: context.progress.add(0, nbytes),
                    stop=stop,
                )
            except ShareError as error:
                raise FetchError(*error.run, source.worker, error.reason, error.blame) from error

        fetch_all(sources, fetch)
        self._shares = find_shares(directory, start.index)

    def _remove_shares(self, start: Start) -> None:
        """Nobody else wants them: only a failed attempt leaves them to the next."""
        self._shares = {}
        for path in share_files(self._home.directory / start.job, start.index):
            path.unlink(missing_ok=True)
