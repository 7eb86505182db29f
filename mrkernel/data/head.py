"""The first records of a split, for ``--sample``: what comes after them is not read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mrkernel.data.records import Batch


class HeadBatch(Batch):
    """The first records of a batch, with its keys and places."""

    __slots__ = ("_batch", "_size")

    def __init__(self, batch: Batch, size: int) -> None:
        # Not super(): it would ask for records, which a batch mapper has no use for.
        self._batch = batch
        self._size = size
        self.nbytes = -(-batch.nbytes * size // max(1, len(batch)))
        self._keys = None

    def __len__(self) -> int:
        return self._size

    def __getattr__(self, name: str) -> Any:
        if name != "records":
            raise AttributeError(name)
        self.records = self._batch.records[: self._size]
        return self.records

    def anew(self, start: int, stop: int) -> list[Any]:
        return self._batch.anew(start, stop)

    def key(self, index: int) -> tuple[str, int]:
        return self._batch.key(index)

    def _all_keys(self) -> list[tuple[str, int]]:
        return self._batch.keys()[: self._size]

    def arguments(self, start: int, stop: int) -> tuple[list[Any], list[Any]]:
        return self._batch.arguments(start, min(stop, self._size))

    def mark(self, index: int) -> Any:
        return self._batch.mark(index)

    def where(self, index: int) -> str:
        return self._batch.where(index)

    def near(self, index: int) -> str:
        return self._batch.near(index)

    def table(self) -> Any:
        return self._batch.table().slice(0, self._size)


def head(batches: Iterable[Batch], records: int) -> Iterator[Batch]:
    """Yield the batches that hold the first ``records`` records, the last one cut to size."""
    left = records
    for batch in batches:
        size = len(batch)
        yield batch if size <= left else HeadBatch(batch, left)
        left -= size
        if left <= 0:
            return
