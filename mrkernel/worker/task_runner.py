"""A runner: one process that runs attempts, one after the other, until its worker server hangs up.

It reads its orders from a socket with plain blocking calls: user code may do what it likes to this
process, and nothing else lives in it.
"""

from __future__ import annotations

import gc
import hashlib
import socket
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mrkernel.errors import JobSpecError, SecurityError
from mrkernel.ids import JobId
from mrkernel.job.failure import Failure, UserCodeError
from mrkernel.protocol.framing import FRAME_LIMIT, FrameDecoder
from mrkernel.protocol.messages import (
    Failed,
    FetchFailed,
    Finished,
    JobInfo,
    MessageDecoder,
    RunSource,
    Start,
    ToRunner,
    frame_of,
)
from mrkernel.shuffle.run import Read, RunIndex, file_read, memory_read, read_index, tail_index
from mrkernel.shuffle.transfer import RunReader
from mrkernel.worker.attempt import FetchError, JobContext, run_attempt, run_name
from mrkernel.worker.progress import ProgressCell

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
    while data := conversation.recv(256 << 10):
        for _, payload in frames.feed(data):
            for message in decoder.decode(payload):
                reply = runner.obey(message)
                if reply is not None:
                    conversation.sendall(frame_of(reply))


class _TaskRunner:
    def __init__(self, home: RunnerHome, progress: ProgressCell) -> None:
        self._home = home
        self._progress = progress
        self._infos: dict[JobId, JobInfo] = {}
        self._current: JobContext | None = None
        self._readers: dict[tuple[str, int], RunReader] = {}

    def obey(self, message: JobInfo | Start) -> Finished | Failed | FetchFailed | None:
        if isinstance(message, JobInfo):
            self._infos[message.job] = message
            return None
        try:
            return run_attempt(message, self._context(message.job))
        except UserCodeError as error:
            return Failed(message.job, message.task, message.attempt, error.failure)
        except JobSpecError as error:
            # InputError among them: the input or the functions, which no other worker mends.
            failure = Failure(kind="input", sentence=str(error), error_type=type(error).__name__)
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
            )
        except (OSError, SecurityError) as error:
            # Ours, not the user's: his exceptions come as UserCodeError. A full or broken disk.
            sentence = f"the worker could not write or read its files: {error}"
            kind = type(error).__name__
            failure = Failure(kind="environment", sentence=sentence, error_type=kind)
            return Failed(message.job, message.task, message.attempt, failure)
        finally:
            self._hang_up()

    def _context(self, job: JobId) -> JobContext:
        """Return the context of a job; the functions of one job at a time are kept unpacked."""
        if self._current is None or self._current.job != job:
            from mrkernel.job.functions import unpack

            info = self._infos[job]
            functions = unpack(self._read_blob(info.spec.functions))
            self._current = JobContext(
                job=job,
                spec=info.spec,
                functions=functions,
                directory=self._home.directory / job,
                read_blob=self._read_blob,
                open_run=partial(self._open_run, job),
                progress=self._progress,
            )
        return self._current

    def _read_blob(self, digest: str) -> bytes:
        data = (self._home.directory / "blobs" / digest).read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise SecurityError(f"blob {digest} is damaged on disk")
        return data

    # --- runs of other tasks ----------------------------------------------------------------------

    def _open_run(
        self, job: JobId, source: RunSource, index: int, attempt: int
    ) -> tuple[Read, RunIndex]:
        """Open the run of a finished map attempt: the file itself on this host, else over TCP."""
        name = f"{job}/{run_name(index, attempt)}"
        if source.host_id == self._home.host_id and not self._home.always_fetch:
            path = Path(source.directory) / name
            if path.stat().st_size <= SMALL_RUN:
                data = path.read_bytes()
                # A negative offset counts from the end.
                tail = tail_index(lambda at, size: data[at : at + size or None], name)
                return memory_read(data), tail
            return file_read(path), read_index(path)
        address = (source.data_host, source.data_port)
        reader = self._readers.get(address)
        if reader is None:
            reader = self._readers[address] = RunReader(address, self._home.token)
        read = partial(reader.read, name)
        return read, tail_index(read, name)

    def _hang_up(self) -> None:
        """A connection is kept for one attempt: the next one may find another world."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
