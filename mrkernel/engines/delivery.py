"""From the end of a job to its result: small results are copied, output is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from mrkernel.data.host import host_id
from mrkernel.data.outputs import Output
from mrkernel.engines.result import JobResult, ResultPart
from mrkernel.errors import ClusterError, CorruptRunError, JobError, JobSpecError, MRKernelError
from mrkernel.protocol.client_messages import Ended
from mrkernel.protocol.worker_messages import PartPlace
from mrkernel.shuffle.run import (
    Read,
    RunIndex,
    file_read,
    memory_index,
    memory_read,
    read_index,
    tail_index,
)
from mrkernel.shuffle.transfer import RunReader

#: Results up to this size come along at the end; larger ones stay in the cluster and are read when
#: they are asked for.
COPIED_BYTES = 16 << 20


def deliver(
    ended: Ended,
    token: bytes,
    *,
    output: Output | None,
    release: Callable[[], None],
    sample: str = "",
    places: Callable[[], Sequence[PartPlace]] | None = None,
) -> JobResult:
    """Make the result of a job that is done, and write its output if it has one.

    Args:
        output: where to write it; None: nowhere.
        release: lets the cluster delete it.
        sample: which part of the input it is about; "": all of it.
        places: where the parts are by now, asked when one has gone from its place; None: they
            cannot move.

    Raises:
        ClusterError: a part cannot be read from the worker that holds it.
        OutputExistsError: the output appeared while the job ran.
        JobError: the output cannot be written, or a value of it not be turned into text.
    """
    copy = is_copied(ended)
    with ExitStack() as stack:
        read_remote = stack.enter_context(_remote_reader(token))
        parts = [_part(place, token, copy, read_remote, places) for place in ended.parts]
        result = JobResult(
            parts,
            job=ended.job,
            name=ended.name,
            counters=ended.counters,
            seconds=ended.seconds,
            map_only=ended.map_only,
            release=release,
            bad=ended.bad,
        )
        result.sample = sample
        if output is not None:
            result.paths = _written(result, output)
            result.output = output.place
    return result


def is_copied(ended: Ended) -> bool:
    """Whether the result is small enough to come along whole."""
    return sum(place.nbytes for place in ended.parts) <= COPIED_BYTES


def _written(result: JobResult, output: Output) -> list[Any]:
    try:
        return result.write(output)
    except JobSpecError as error:
        # The job has run: it is its output that failed, which is not to be taken for wrong usage.
        raise JobError(str(error)) from error
    except MRKernelError:
        raise
    except OSError as error:
        raise JobError(
            f"{output.place} cannot be written ({error.strerror or error}): make room there or "
            "choose another output, and run the job again"
        ) from error
    except Exception as error:
        raise JobError(
            f"a key or value of the result cannot be made into text for {output.place} "
            f"({type(error).__name__}: {error}): yield plain data, or mend its __repr__"
        ) from error


def _part(
    place: PartPlace,
    token: bytes,
    copy: bool,
    read_remote: Callable[[PartPlace, int, int], bytes],
    places: Callable[[], Sequence[PartPlace]] | None,
) -> ResultPart:
    if not place.nbytes:
        return ResultPart(place.index, 0, 0, memory_read(b""), RunIndex)
    data = place.data
    if data is None and copy:
        data = _copied(place, read_remote)
    if data is not None:
        read = memory_read(data)
        return ResultPart(place.index, place.pairs, place.nbytes, read, partial(memory_index, data))
    held = _Held(place, token, places)
    return ResultPart(place.index, place.pairs, place.nbytes, held.read, held.load_index)


def _copied(place: PartPlace, read_remote: Callable[[PartPlace, int, int], bytes]) -> bytes:
    path = _path_here(place)
    try:
        return read_remote(place, 0, -1) if path is None else path.read_bytes()
    except CorruptRunError:
        raise
    except (OSError, ClusterError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ClusterError(
            f"part {place.index} of the result cannot be read on {place.worker} ({reason}): "
            "run the job again"
        ) from error


def _path_here(place: PartPlace) -> Path | None:
    """The part's file, if it can be opened from here."""
    path = Path(place.directory) / place.name
    return path if place.host_id == host_id() and path.exists() else None


class _Held:
    """A part that a worker holds, and another one later if that one dies.

    Args:
        places: see ``deliver``.

    Raises (every method):
        ClusterError: it is gone.
    """

    def __init__(
        self, place: PartPlace, token: bytes, places: Callable[[], Sequence[PartPlace]] | None
    ) -> None:
        self._place = place
        self._token = token
        self._places = places
        self._index: RunIndex | None = None
        self._read: Read = partial(_read_once, place, token)

    def load_index(self) -> RunIndex:
        """Read what is where in it."""
        try:
            self._index = self._load()
        except CorruptRunError:
            raise
        except (OSError, ClusterError) as error:
            self._move(error)
            self._index = self._load()
        return self._index

    def read(self, offset: int, length: int) -> bytes | memoryview:
        """Read a range of it."""
        try:
            return self._read(offset, length)
        except CorruptRunError:
            raise
        except (OSError, ClusterError) as error:
            self._move(error)
            if self._load() != self._index:
                raise ClusterError(
                    f"part {self._place.index} of the result was lost while it was read, and made "
                    "again in another order: attach to the job again (%mr_jobs lists it)"
                ) from error
            return self._read(offset, length)

    def _load(self) -> RunIndex:
        path = _path_here(self._place)
        if path is None:
            self._read = partial(_read_once, self._place, self._token)
            return _index_of(self._place, self._token)
        self._read = file_read(path)
        return read_index(path)

    def _move(self, error: OSError | ClusterError) -> None:
        """Find out where the part is by now; what that worker held, another one makes again."""
        try:
            found = {place.index: place for place in (self._places() if self._places else ())}
            self._place = found[self._place.index]
        except (KeyError, MRKernelError) as gone:
            reason = error.strerror if isinstance(error, OSError) else error
            place = self._place
            raise ClusterError(
                f"part {place.index} of the result is not on {place.worker} any more ({reason}): "
                "its cluster has ended, or the result was released; run the job again"
            ) from gone


@contextmanager
def _remote_reader(token: bytes) -> Iterator[Callable[[PartPlace, int, int], bytes]]:
    """One connection per worker for as long as the context lives."""
    readers: dict[tuple[str, int], RunReader] = {}

    def read(place: PartPlace, offset: int, length: int) -> bytes:
        address = (place.data_host, place.data_port)
        if address not in readers:
            readers[address] = RunReader(address, token)
        return readers[address].read(place.name, offset, length)

    try:
        yield read
    finally:
        for reader in readers.values():
            reader.close()


def _read_once(place: PartPlace, token: bytes, offset: int, length: int) -> bytes:
    reader = RunReader((place.data_host, place.data_port), token)
    try:
        data = reader.read(place.name, offset, length)
    finally:
        reader.close()
    if length >= 0 and len(data) != length:
        raise ClusterError(f"part {place.index} on {place.worker} is shorter than it was")
    return data


def _index_of(place: PartPlace, token: bytes) -> RunIndex:
    reader = RunReader((place.data_host, place.data_port), token)
    try:
        return tail_index(partial(reader.read, place.name), place.name)
    finally:
        reader.close()
