"""Batches: records that were read together, as Python objects or as a table, and their places.

Whoever makes a batch says what it holds; records, tables and keys that nobody asks for are never
made. ``records`` of a table are dicts, made from its columns at the speed of C.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from itertools import accumulate, repeat
from typing import Any, NamedTuple

from mrkernel.data import pickles
from mrkernel.data.tables import rows, table_of_items

Key = tuple[str, int]


class Unreadable(NamedTuple):
    """In the place of a record that cannot be read, for jobs that go on without it."""

    text: str  #: what stands there
    reason: str  #: why it is no record: "not JSON, character 7 (…)"


def called_with(mark: Any, record: Any) -> tuple[Any, Any]:
    """What a mapper of two parameters gets for a record; see ``Batch.mark``."""
    return record if mark is None else (mark, record)


class Batch:
    """Records read together, and where each came from.

    Attributes:
        records: the records, in input order.
        nbytes: bytes of input they took.
    """

    __slots__ = ("_keys", "nbytes", "records")

    def __init__(self, records: list[Any], nbytes: int) -> None:
        self.records = records
        self.nbytes = nbytes
        self._keys: list[Key] | None = None

    def __len__(self) -> int:
        return len(self.records)

    def anew(self, start: int, stop: int) -> list[Any]:
        """The records ``start`` to ``stop`` (excluded) as they were read, whatever became of them.

        A mapper may change a record that it gets (a dict, an object): who calls it again for the
        same record needs the record as it was.
        """
        raise NotImplementedError

    def again(self) -> Batch | None:
        """A batch of the same records that shares nothing a mapper can change; None: there is none.

        To be asked for before the records are.
        """
        return None

    def key(self, index: int) -> Key:
        """The key of record ``index`` of this batch: (path, byte offset) or (name, index)."""
        return self.keys()[index]

    def keys(self) -> list[Key]:
        """The keys of all records; worked out at the first call."""
        if self._keys is None:
            self._keys = self._all_keys()
        return self._keys

    def _all_keys(self) -> list[Key]:
        raise NotImplementedError

    def arguments(self, start: int, stop: int) -> tuple[list[Any], list[Any]]:
        """What a mapper of two parameters gets for the records ``start`` to ``stop`` (excluded)."""
        return self.keys()[start:stop], self.records[start:stop]

    def mark(self, index: int) -> Any:
        """The first of these two for record ``index``; None: the record is a pair, and both."""
        return self.key(index)

    def where(self, index: int) -> str:
        """The place of record ``index`` for people: ``data/a.txt, byte 1234``."""
        raise NotImplementedError

    def near(self, index: int) -> str:
        """The place of record ``index``, or of one before it where that takes no counting."""
        return self.where(index)

    def table(self) -> Any:
        """The records as a ``pyarrow.Table``.

        Raises: InputError: Arrow has no type for them; names the place.
        """
        raise NotImplementedError


#: Types of records that no mapper can change.
_UNCHANGEABLE = frozenset({str, bytes, int, float, bool, complex, type(None)})


class ItemBatch(Batch):
    """Items from memory; the key is (name, index over the whole input)."""

    __slots__ = ("_each", "_remake", "first", "name")

    def __init__(
        self,
        records: list[Any],
        name: str = "items",
        first: int = 0,
        nbytes: int = 0,
        remake: Callable[[], list[Any]] | None = None,
    ) -> None:
        """``remake`` makes all records once more; None: they cannot be changed, or nobody cares."""
        super().__init__(records, nbytes)
        self.name = name
        self.first = first
        self._remake = remake
        self._each: list[bytes] | None = None  # pickled one by one, once somebody asked

    def anew(self, start: int, stop: int) -> list[Any]:
        records = self.records[start:stop]
        if self._remake is None or set(map(type, records)) <= _UNCHANGEABLE:
            return records
        if self._each is None:  # not all of them again for every record that somebody asks for
            try:
                self._each = list(map(pickles.dumps, self._remake()))
            except Exception:  # noqa: BLE001 - of the user's own pickling: then they are as they are
                self._remake = None
                return records
        return list(map(pickles.loads, self._each[start:stop]))

    def key(self, index: int) -> Key:
        return self.name, self.first + index

    def _all_keys(self) -> list[Key]:
        first = self.first
        return list(zip(repeat(self.name), range(first, first + len(self.records)), strict=False))

    def where(self, index: int) -> str:
        return f"{self.name}[{self.first + index}]"

    def table(self) -> Any:
        """The items as a table: dicts by their fields, all else as one column ``item``."""
        return table_of_items(self.records, self.where(0), self.name)


class KeyedBatch(Batch):
    """Records that were read before, from anywhere, with the marks they had then."""

    __slots__ = ("_given", "_marks")

    def __init__(self, given: list[tuple[str, bytes]], nbytes: int) -> None:
        """``given`` has of each its place for people, and a pickled (mark, record)."""
        loaded = [pickles.loads(data) for _, data in given]
        super().__init__([record for _, record in loaded], nbytes)
        self._marks = [mark for mark, _ in loaded]
        self._given = given

    def _all_keys(self) -> list[Key]:
        places = enumerate(zip(self._marks, self._given, strict=True))
        return [mark if type(mark) is tuple else (at, n) for n, (mark, (at, _)) in places]

    def arguments(self, start: int, stop: int) -> tuple[list[Any], list[Any]]:
        given = list(map(called_with, self._marks[start:stop], self.records[start:stop]))
        return [first for first, _ in given], [second for _, second in given]

    def mark(self, index: int) -> Any:
        return self._marks[index]

    def anew(self, start: int, stop: int) -> list[Any]:
        return [pickles.loads(data)[1] for _, data in self._given[start:stop]]

    def where(self, index: int) -> str:
        return self._given[index][0]

    def table(self) -> Any:
        """As of items from memory."""
        return table_of_items(self.records, self.where(0), self.key(0)[0])


class PairBatch(ItemBatch):
    """Pairs that another job gave; a mapper of two parameters gets key and value."""

    __slots__ = ()

    def arguments(self, start: int, stop: int) -> tuple[list[Any], list[Any]]:
        pairs = self.records[start:stop]
        return [key for key, _ in pairs], [value for _, value in pairs]

    def mark(self, index: int) -> Any:
        return None

    def table(self) -> Any:
        """The pairs as a table of two columns, ``key`` and ``value``."""
        columns = [{"key": key, "value": value} for key, value in self.records]
        return table_of_items(columns, self.where(0), self.name)


class LineBatch(Batch):
    """Lines of a text file; the key is (path, byte offset of the line's first byte)."""

    __slots__ = ("_base", "_encoding", "_text", "path")

    def __init__(
        self, records: list[Any], path: str, base: int, text: memoryview | str, encoding: str
    ) -> None:
        """``text`` is what the lines were cut from, ``base`` its first byte's place in the file."""
        nbytes = (
            len(text) if isinstance(text, memoryview) else len(text.encode(encoding, "replace"))
        )
        super().__init__(records, nbytes)
        self.path = path
        self._base = base
        self._text = text
        self._encoding = encoding

    @property
    def raw(self) -> memoryview | bytes:
        """The bytes the lines were cut from, line ends and all."""
        text = self._text
        return text if isinstance(text, memoryview) else text.encode(self._encoding, "replace")

    def anew(self, start: int, stop: int) -> list[Any]:
        return self.records[start:stop]  # str, or bytes: nobody changes them

    def key(self, index: int) -> Key:
        return self.keys()[index] if index else (self.path, self._base)

    def _all_keys(self) -> list[Key]:
        starts = accumulate(self._lengths(), initial=self._base)
        return list(zip(repeat(self.path, len(self.records)), starts, strict=False))

    def _lengths(self) -> Iterator[int]:
        """Bytes of each line with its end."""
        if isinstance(self._text, memoryview):
            return (len(line) + 1 for line in bytes(self._text).split(b"\n"))
        encoding = self._encoding
        newline = len("\n".encode(encoding))
        lines = self._text.split("\n")
        return (len(line.encode(encoding, "replace")) + newline for line in lines)

    def where(self, index: int) -> str:
        return f"{self.path}, byte {self.key(index)[1]}"

    def near(self, index: int) -> str:
        if index and self._keys is None:
            return f"{self.path}, after byte {self._base}"
        return self.where(index)

    def table(self) -> Any:
        """The lines as a table of one column, ``line``."""
        return table_of_items(self.records, self.where(0), self.path, "line")


class TableBatch(Batch):
    """Rows of a table; the key is (path or name, number of the row from 0)."""

    __slots__ = ("_first", "_name", "_table", "_unit")

    def __init__(
        self, table: Any, name: str, first: int, nbytes: int, unit: str = ", row "
    ) -> None:
        """``first`` is the number of the table's first row; ``unit`` stands before a number."""
        # Not super(): it would set what is made when it is asked for.
        self.nbytes = nbytes
        self._keys = None
        self._table = table
        self._name = name
        self._first = first
        self._unit = unit

    def __getattr__(self, name: str) -> Any:
        if name != "records":
            raise AttributeError(name)
        self.records = rows(self._table)
        return self.records

    def again(self) -> Batch:
        return TableBatch(self._table, self._name, self._first, self.nbytes, self._unit)

    def __len__(self) -> int:
        size: int = self._table.num_rows
        return size

    def anew(self, start: int, stop: int) -> list[Any]:
        return rows(self._table.slice(start, stop - start))

    def key(self, index: int) -> Key:
        return self._name, self._first + index

    def _all_keys(self) -> list[Key]:
        numbers = range(self._first, self._first + len(self))
        return list(zip(repeat(self._name), numbers, strict=False))

    def where(self, index: int) -> str:
        end = "]" if self._unit == "[" else ""
        return f"{self._name}{self._unit}{self._first + index}{end}"

    def table(self) -> Any:
        return self._table


class TaggedBatch(Batch):
    """Records of an input that the user gave a name; a mapper of two parameters gets that first."""

    __slots__ = ("_batch", "_source")

    def __init__(self, batch: Batch, source: str) -> None:
        # Not super(): it would ask for records, which a batch mapper has no use for.
        self.nbytes = batch.nbytes
        self._keys = None
        self._batch = batch
        self._source = source

    def __len__(self) -> int:
        return len(self._batch)

    def __getattr__(self, name: str) -> Any:
        if name != "records":
            raise AttributeError(name)
        self.records = self._batch.records
        return self.records

    def again(self) -> Batch | None:
        batch = self._batch.again()
        return None if batch is None else TaggedBatch(batch, self._source)

    def anew(self, start: int, stop: int) -> list[Any]:
        return self._batch.anew(start, stop)

    def key(self, index: int) -> Key:
        return self._batch.key(index)

    def _all_keys(self) -> list[Key]:
        return self._batch.keys()

    def arguments(self, start: int, stop: int) -> tuple[list[Any], list[Any]]:
        records = self.records[start:stop]
        return [self._source] * len(records), records

    def mark(self, index: int) -> Any:
        return self._source

    def where(self, index: int) -> str:
        return self._batch.where(index)

    def near(self, index: int) -> str:
        return self._batch.near(index)

    def table(self) -> Any:
        return self._batch.table()


def tagged(batches: Iterator[Batch], source: str) -> Iterator[Batch]:
    """Tag records with the name that the user gave their input; "": none, and they stay as is."""
    return (TaggedBatch(batch, source) for batch in batches) if source else batches


class RecordReader:
    """The batches of one split; iterate once, then ``close`` (or use ``with``)."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches
        self._overlapping = _overlapping(batches)

    def __iter__(self) -> Iterator[Batch]:
        return self._overlapping

    def __enter__(self) -> RecordReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, also when not all was read."""
        self._overlapping.close()
        close = getattr(self._batches, "close", None)
        if close is not None:
            close()


def _overlapping(batches: Iterator[Batch]) -> Generator[Batch, None, None]:
    """Hold each batch until the records of the next one are made.

    Were all records of one freed before those of the next are made, Python would give their memory
    back to the system and ask for it again: half as much time once more for lines.
    """
    held = []
    for batch in batches:
        yield batch
        held = [batch]
    del held
