"""Pairs as rows of a table: which columns keys and values make. Pure.

The key comes first, then the value.

* A tuple is a row: it fills as many columns as it has items (``key_1``, ``key_2`` ...; ``value_1``
  ...), a named tuple by its fields. None leaves them all empty.
* A dict fills a column per field, named as the field; those that some dicts lack are empty there.
* A list is one value, as an inverted index has it: its length is no property of the table. Only
  where ``--columns`` names exactly as many columns as lists of one length would fill do they fill
  them.
* Anything else is one column: ``key``, ``value``.

Where tuples differ in length, or tuples, dicts and others are mixed, no table holds them apart:
each is one cell then, rather than the end of a long job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from typing import Any

from mrkernel.errors import JobSpecError

#: What a key or a value fills. "none": nothing is known (no rows, or only None); "one": a cell.
_NONE, _ONE, _TUPLE, _LIST, _DICT = "none", "one", "tuple", "list", "dict"


@dataclass(frozen=True)
class Spread:
    """The columns that the keys, or the values, of some pairs fill.

    Attributes:
        kind: "none", "one", "tuple", "list" or "dict".
        width: items of the tuples or lists.
        fields: of the dicts, or of named tuples.
    """

    kind: str = _NONE
    width: int = 1
    fields: tuple[Any, ...] = ()

    @classmethod
    def of(cls, cells: Any) -> Spread:
        """See what some cells fill; Arrow arrays are plain cells."""
        if not isinstance(cells, list):
            return cls(_ONE) if len(cells) else cls()
        types = set(map(type, cells))
        types.discard(type(None))
        if not types:
            return cls()
        if all(issubclass(each, dict) for each in types):
            dicts = [cell for cell in cells if cell is not None]
            fields = tuple(dict.fromkeys(chain.from_iterable(dicts)))
            return cls(_DICT, len(fields), fields)
        for base, kind in ((tuple, _TUPLE), (list, _LIST)):
            if all(issubclass(each, base) for each in types):
                widths = {len(cell) for cell in cells if cell is not None}
                if len(widths) > 1 or 0 in widths:
                    break
                named = {getattr(each, "_fields", ()) for each in types}
                return cls(kind, widths.pop(), named.pop() if len(named) == 1 else ())
        return cls(_ONE)

    def joined(self, other: Spread) -> Spread:
        """See what the pairs of both fill."""
        if self == other or other.kind == _NONE:
            return self
        if self.kind == _NONE:
            return other
        if self.kind == other.kind == _DICT:
            fields = tuple(dict.fromkeys((*self.fields, *other.fields)))
            return Spread(_DICT, len(fields), fields)
        if self.kind == other.kind == _TUPLE and self.width == other.width:
            return Spread(_TUPLE, self.width)
        return Spread(_ONE)

    @property
    def columns(self) -> int:
        """Number of columns; of lists, when they are one cell each."""
        return self.width if self.kind in (_TUPLE, _DICT) else 1

    def names(self, role: str, taken: Sequence[str] = ()) -> list[str]:
        """Name the columns; ``role`` is "key" or "value", ``taken`` what others are called."""
        if self.fields:
            names = list(map(str, self.fields))
            used = set(taken)
            for place, name in enumerate(names):
                while names[place] in used:
                    names[place] = f"{role}_{name}" if names[place] == name else names[place] + "_"
                used.add(names[place])
            return names
        if self.kind == _TUPLE and self.width > 1:
            return [f"{role}_{number}" for number in range(1, self.width + 1)]
        return [role] if self.columns else []

    def spread(self, cells: Any) -> list[Any]:
        """Deal cells out to columns."""
        if self.kind == _DICT:
            rows = [{} if cell is None else cell for cell in cells]
            return [[row.get(field) for row in rows] for field in self.fields]
        if self.kind == _TUPLE:
            nothing = (None,) * self.width
            rows = cells
            if type(None) in set(map(type, cells)):
                rows = [nothing if cell is None else cell for cell in cells]
            return list(map(list, zip(*rows, strict=True))) if rows else [[]] * self.width
        return [cells]


@dataclass(frozen=True)
class RowShape:
    """The columns of a table of pairs."""

    key: Spread = Spread()
    value: Spread = Spread()

    @classmethod
    def of(cls, keys: Any, values: Any) -> RowShape:
        """See what some pairs fill.

        Args:
            keys: a list, or an Arrow array.
            values: as many.
        """
        return cls(Spread.of(keys), Spread.of(values))

    def joined(self, other: RowShape) -> RowShape:
        """See what the pairs of both fill."""
        return RowShape(self.key.joined(other.key), self.value.joined(other.value))

    def named(self) -> RowShape:
        """The same with the names of fields in place of the fields."""
        both = (replace(s, fields=tuple(map(str, s.fields))) for s in (self.key, self.value))
        return RowShape(*both)

    def fitted(self, columns: Sequence[str] | None) -> RowShape:
        """Let lists fill columns where that is what ``--columns`` asks for."""
        value = self.value
        if columns is not None and value.kind == _LIST:
            kind = _TUPLE if self.key.columns + value.width == len(columns) else _ONE
            return RowShape(self.key, Spread(kind, value.width if kind == _TUPLE else 1))
        return self

    @property
    def columns(self) -> int:
        """Number of columns."""
        return self.key.columns + self.value.columns

    def names(self, columns: Sequence[str] | None = None) -> tuple[str, ...]:
        """Name the columns.

        Args:
            columns: the names that the user wants; None: by role and field.

        Raises:
            JobSpecError: they are too many or too few.
        """
        keys = self.key.names("key")
        own = (*keys, *self.value.names("value", keys))
        if columns is None:
            return own
        # Of no rows nothing is known, and of None as the only value not how many it stands for.
        fits = self.key.kind == _NONE or (self.value.kind == _NONE and len(columns) > len(own))
        if len(columns) != len(own) and not fits:
            raise misnamed(columns, own)
        return tuple(columns)

    def refuse(self, columns: Sequence[str]) -> None:
        """Refuse names of which there cannot be the right number, having seen a few pairs only.

        Raises:
            JobSpecError: they are too few; or too many, where more pairs bring no more columns.
        """
        if _NONE in (self.key.kind, self.value.kind) or self.value.kind == _LIST:
            return
        own = self.names()
        if len(columns) < len(own) or (len(columns) > len(own) and self.value.kind != _DICT):
            raise misnamed(columns, own)

    def cells(self, keys: Any, values: Any, width: int) -> list[Any]:
        """Deal pairs out to columns.

        Args:
            width: columns of the table; more than the pairs fill where nothing is known of them.
        """
        columns = [*self.key.spread(keys), *self.value.spread(values)]
        empty: list[Any] = [None] * len(keys)
        return [*columns, *repeat(empty, width - len(columns))][:width]


def misnamed(columns: Sequence[str], own: Sequence[str]) -> JobSpecError:
    """Say that ``--columns`` has another number of names than rows have columns."""
    return JobSpecError(
        f"--columns has {_count(columns, 'name')} and the rows have "
        f"{_count(own, 'column')} ({', '.join(own)}): give {len(own)} names"
    )


def _count(names: Sequence[str], noun: str) -> str:
    return f"{len(names)} {noun}{'s' * (len(names) != 1)}"
