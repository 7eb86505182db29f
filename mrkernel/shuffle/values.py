"""Values: what a reducer gets with its key. Re-iterable, with a length, and gone after the call."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection, Iterator
from itertools import islice, repeat
from pathlib import Path
from typing import Any, NoReturn
from zlib import crc32

from mrkernel.errors import CorruptRunError
from mrkernel.job.failure import short
from mrkernel.shuffle.assembly import load
from mrkernel.shuffle.columns import Column


class Values:
    """The values of one group, in order; can be iterated any number of times.

    Args:
        items: a list, or something that re-reads them from disk.
    """

    __slots__ = ("_items",)
    _items: Collection[Any]

    def __init__(self, items: Collection[Any]) -> None:
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __bool__(self) -> bool:
        return len(self._items) > 0

    def __contains__(self, value: object) -> bool:
        return value in iter(self._items)

    def __getitem__(self, index: object) -> NoReturn:
        raise TypeError("values may be larger than memory: write list(values)[...]")

    def __repr__(self) -> str:
        if isinstance(self._items, _Closed):
            return "<Values, closed>"
        first = ", ".join(short(value) for value in islice(iter(self._items), 3))
        more = ", ..." if len(self._items) > 3 else ""
        return f"<Values of {len(self._items)}: {first}{more}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("values end with the reducer's call: write list(values) to keep them")

    def close(self) -> None:
        """End their life: the call they were made for is over."""
        self._items = _CLOSED


class SpilledValues:
    """Values of one group on disk, read again, block by block, at each iteration.

    Args:
        path: a scratch file, made at the first `append`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: list[tuple[int, int, int]] = []  # offset, length, crc32
        self._size = 0
        self._end = 0

    def append(self, column: Column) -> None:
        """Add values at the end."""
        data = column.dump()
        with self._path.open("ab") as file:
            file.write(data)
        self._places.append((self._end, len(data), crc32(data)))
        self._end += len(data)
        self._size += len(column)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        for column in self.columns():
            yield from column.to_list()

    def __contains__(self, value: object) -> bool:
        return value in iter(self)

    def columns(self) -> Iterator[Column]:
        """Read the values column by column, as they were appended.

        Raises:
            CorruptRunError: the disk gave back other bytes.
        """
        if not self._places:
            return
        with self._path.open("rb", buffering=0) as file:
            for offset, length, crc in self._places:
                file.seek(offset)
                data = file.read(length)
                if crc32(data) != crc:
                    name = os.fspath(self._path)
                    raise CorruptRunError(f"{name} is damaged at byte {offset}", name, offset)
                yield load(data)

    def close(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)


class _Closed(Collection[Any]):
    def _refuse(self) -> NoReturn:
        raise ValueError(
            "these values ended with the reducer's call: write list(values) in it to keep them"
        )

    def __iter__(self) -> Iterator[Any]:
        self._refuse()

    def __len__(self) -> int:
        self._refuse()

    def __contains__(self, value: object) -> bool:
        self._refuse()


_CLOSED = _Closed()
#: Sets the items of values, as an assignment does, but can be called from C loops.
_set_items = vars(Values)["_items"].__set__


class OpenGroups:
    """Groups whose values are all in memory: for reducers that are called in a loop in C.

    Attributes:
        keys: one per group.
        items: the values of each group.
        values: the same, as the reducer gets them: made in bulk for 90 ns each, with their lists;
            one by one they cost 330 (measured).
    """

    __slots__ = ("items", "keys", "values")

    def __init__(self, keys: list[Any], items: list[list[Any]]) -> None:
        self.keys = keys
        self.items = items
        self.values: list[Values] = list(map(Values.__new__, repeat(Values, len(items))))
        deque(map(_set_items, self.values, items), 0)

    def close(self) -> Iterator[None]:
        """Give an iterator that ends the life of one group's values after the other's."""
        return map(_set_items, self.values, repeat(_CLOSED))

    def reopen(self, place: int) -> None:
        """Let the values of one group live on."""
        _set_items(self.values[place], self.items[place])
