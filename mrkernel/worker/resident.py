"""Input that stays in a runner: what jobs in a loop read again is read and parsed once.

Only what no mapper can change is kept: text, and tables, of which records are made anew for each
job. A loop that reads more than fits would push out each piece just before it is wanted, so what
does not fit is not kept, and what was used last goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

from mrkernel.data.records import Batch, RecordReader
from mrkernel.data.splits import FileSplit, MemorySplit, PackedSplit, ParquetSplit, Split

#: A batch takes about so many times the bytes of input that it is of.
FACTOR = 3


def can_stay(split: Split) -> bool:
    """Whether it is known that equal splits have equal records."""
    match split:
        case PackedSplit(files):
            return all(map(can_stay, files))
        case FileSplit() | ParquetSplit():
            return split.mtime_ns != 0 or bool(split.version)
        case MemorySplit():
            return bool(split.blob)
        case _:
            return False


class Resident:
    """The splits that one runner holds, those used longest ago first.

    Attributes:
        nbytes: of all of them, about.
    """

    def __init__(self) -> None:
        self.nbytes = 0
        self._held: OrderedDict[bytes, tuple[int, list[Batch]]] = OrderedDict()

    def open(self, key: bytes, limit: int, read: Callable[[], RecordReader]) -> RecordReader:
        """Read a split from here, or else as ``read`` does, and keep it.

        Args:
            key: equal for splits that hold the same records.
            limit: bytes that all splits here may take.
        """
        if key not in self._held:
            return RecordReader(self._keeping(key, limit, read))
        self._held.move_to_end(key)
        found = (batch.again() for batch in self._held[key][1])
        return RecordReader(batch for batch in found if batch is not None)

    def _keeping(self, key: bytes, limit: int, read: Callable[[], RecordReader]) -> Iterator[Batch]:
        kept: list[Batch] | None = []
        size = 0
        with read() as batches:
            for batch in batches:
                spare = batch.again() if kept is not None else None
                size += FACTOR * batch.nbytes
                if spare is None or size > limit:
                    kept = None
                elif kept is not None:
                    kept.append(spare)
                del spare
                yield batch
        if kept is not None:
            while self._held and self.nbytes + size > limit:
                self.nbytes -= self._held.popitem(last=False)[1][0]
            self._held[key] = size, kept
            self.nbytes += size
