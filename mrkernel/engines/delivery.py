"""From the end of a job to its result: small results are copied, output is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from mrkernel.data.host import host_id
from mrkernel.engines.result import JobResult, ResultPart
from mrkernel.errors import ClusterError
from mrkernel.protocol.messages import Ended, PartPlace
from mrkernel.shuffle.run import (
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
    output: Path | None,
    overwrite: bool,
    release: Callable[[], None],
) -> JobResult:
    """Make the result of a job that is done, and write its output if it has one.

    Raises:
        ClusterError: a part cannot be read from the worker that holds it.
        OutputExistsError: the output appeared while the job ran.
    """
    copy = sum(place.nbytes for place in ended.parts) <= COPIED_BYTES
    with ExitStack() as stack:
        read_remote = stack.enter_context(_remote_reader(token))
        parts = [_part(place, token, copy, read_remote) for place in ended.parts]
        result = JobResult(
            parts,
            job=ended.job,
            name=ended.name,
            counters=ended.counters,
            seconds=ended.seconds,
            map_only=ended.map_only,
            release=release,
        )
        if output is not None:
            result.paths = result.save(output, overwrite=overwrite)
    return result


def _part(
    place: PartPlace,
    token: bytes,
    copy: bool,
    read_remote: Callable[[PartPlace, int, int], bytes],
) -> ResultPart:
    path = Path(place.directory) / place.name
    data = place.data
    if data is None and copy:
        data = path.read_bytes() if _is_here(place, path) else read_remote(place, 0, -1)
    if data is not None:
        read = memory_read(data)
        return ResultPart(place.index, place.pairs, place.nbytes, read, partial(memory_index, data))
    if _is_here(place, path):
        return ResultPart(
            place.index, place.pairs, place.nbytes, file_read(path), partial(read_index, path)
        )
    return ResultPart(
        place.index,
        place.pairs,
        place.nbytes,
        partial(_read_once, place, token),
        partial(_index_of, place, token),
    )


def _is_here(place: PartPlace, path: Path) -> bool:
    return place.host_id == host_id() and path.exists()


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
