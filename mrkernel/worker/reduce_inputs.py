"""What other tasks made and an attempt reads, from disk, other hosts, and messages.

A reduce attempt reads the runs of its partition; a map attempt of a chained job, a result part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

from mrkernel.data.records import Batch
from mrkernel.data.splits import PartSplit
from mrkernel.errors import ClusterError, CorruptRunError, MRKernelError
from mrkernel.ids import JobId, WorkerId
from mrkernel.protocol.worker_messages import PartPlace, RunSource, Start
from mrkernel.shuffle.pairs import pair_batches
from mrkernel.shuffle.run import (
    Read,
    RunIndex,
    SegmentReader,
    memory_index,
    memory_read,
    run_name,
    segment_readers,
)
from mrkernel.shuffle.shares import Blame
from mrkernel.worker.progress import ProgressCell

#: Opens the run of a map attempt that a source holds: (source, map index, attempt).
RunOpener = Callable[[RunSource, int, int], tuple[Read, RunIndex]]
#: Opens a result part of another job, wherever it is.
PartOpener = Callable[[PartPlace], AbstractContextManager[tuple[Read, RunIndex]]]


class FetchError(MRKernelError):
    """The run of one map attempt cannot be read, so that map has to run again.

    Attributes:
        blame: the disk that it lies on, the network between, or nobody: it is gone.
        part_of: the job whose result part it is that cannot be read; "": it is a run.
    """

    def __init__(
        self,
        map_index: int,
        map_attempt: int,
        worker: WorkerId,
        reason: str,
        blame: Blame = "gone",
        part_of: str = "",
    ) -> None:
        super().__init__(map_index, map_attempt, worker, reason, blame, part_of)
        self.map_index = map_index
        self.map_attempt = map_attempt
        self.worker = worker
        self.reason = reason
        self.blame = blame
        self.part_of = JobId(part_of)

    def __str__(self) -> str:
        what = f"part {self.map_index} of {self.part_of}" if self.part_of else ""
        return f"{what or f'map-{self.map_index}'} on {self.worker}: {self.reason}"


class ReduceInputs:
    """The runs a reduce attempt reads; every way they can fail becomes a ``FetchError``.

    Attributes:
        segments: by map task, then by spill: the order of the input.
        nbytes: bytes of this partition in all of them.
    """

    def __init__(self, start: Start, open_run: RunOpener, progress: ProgressCell) -> None:
        """Open them.

        Raises: FetchError: one cannot be opened.
        """
        self.nbytes = 0
        self._progress = progress
        self._origin: dict[str, Callable[[str, Blame], FetchError]] = {}
        opened: list[tuple[int, list[SegmentReader]]] = []
        for source in start.sources:
            for map_index, attempt in source.runs:
                name = run_name(map_index, attempt)
                lost = partial(FetchError, map_index, attempt, source.worker)
                self._origin[name] = lost
                try:
                    read, index = open_run(source, map_index, attempt)
                except (OSError, ClusterError) as error:
                    raise lost(*_reason(error)) from error
                self.nbytes += index.partition(start.index).nbytes
                read = partial(self._read, read, lost)
                opened.append((map_index, segment_readers(read, name, index, start.index)))
        for map_index, data in start.carried:
            index = memory_index(data)
            self.nbytes += index.partition(start.index).nbytes
            name = f"the run of map-{map_index}, which came along,"
            opened.append((map_index, segment_readers(memory_read(data), name, index, start.index)))
        opened.sort(key=lambda pair: pair[0])
        self.segments = [segment for _, segments in opened for segment in segments]

    def corrupt(self, error: CorruptRunError) -> MRKernelError:
        """Say whose run it is that fails its checksum; our own scratch is nobody else's."""
        lost = self._origin.get(error.path or "")
        return error if lost is None else lost(str(error), "disk")

    def _read(
        self, read: Read, lost: Callable[[str, Blame], FetchError], offset: int, length: int
    ) -> bytes | memoryview:
        try:
            data = read(offset, length)
        except (OSError, ClusterError) as error:
            raise lost(*_reason(error)) from error
        self._progress.add(0, length)
        return data


def read_part(split: PartSplit, place: PartPlace, open_part: PartOpener) -> Iterator[Batch]:
    """Read the pairs of a split from the part that another job made.

    Raises:
        FetchError: the part cannot be read.
        InputError: it is another one than when the job was planned.
    """
    try:
        with open_part(place) as (read, index):
            yield from pair_batches(split, read, index)
    except (OSError, ClusterError) as error:
        reason, blame = _reason(error)
        raise FetchError(
            split.part, place.attempt, place.worker, reason, blame, split.job
        ) from error


def _reason(error: Exception) -> tuple[str, Blame]:
    if isinstance(error, FileNotFoundError):
        return "the file is gone", "gone"
    if isinstance(error, ConnectionError):
        return str(error), "network"
    if isinstance(error, OSError):
        return error.strerror or str(error), "disk"
    return str(error), "disk" if isinstance(error, CorruptRunError) else "gone"
