"""Key columns: keys of one plain type as they are, all others by encoding and spelling. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

from mrkernel.shuffle import keys as _keys
from mrkernel.shuffle.assembly import concat
from mrkernel.shuffle.columns import (
    KINDS,
    ArrowColumn,
    Column,
    ListColumn,
    from_numbers,
    to_arrow,
    typed_from,
)

_KEY_TYPES: dict[type, str] = {kind: KINDS[kind] for kind in (str, bytes, int, float)}


class KeyColumn:
    """An immutable sequence of keys.

    Attributes:
        kind: "str", "bytes", "int" or "float" if all keys have exactly that type (a float column
            has neither NaN nor -0.0, so that values compare as their encodings do); else "encoded".
        column: the keys, or their encodings (kind "bytes").
        spelling: one spelling per key where kind is "encoded", else None.
    """

    __slots__ = ("column", "kind", "spelling")

    def __init__(self, kind: str, column: Column, spelling: Column | None = None) -> None:
        self.kind = kind
        self.column = column
        self.spelling = spelling

    @classmethod
    def of(cls, keys: list[Any], *, least: int | None = None) -> KeyColumn:
        """Make a column of plain keys (see `keys.check`).

        Args:
            keys: not copied; must not be changed afterwards.
            least: fewer keys stay a Python list; None: by `columns.typed_from`.
        """
        types = set(map(type, keys))
        kind = _KEY_TYPES.get(next(iter(types)), "encoded") if len(types) == 1 else "encoded"
        if kind == "float":
            if True in map(math.isnan, keys):
                kind = "encoded"
            elif 0.0 in keys:
                keys = [key + 0.0 for key in keys]  # -0.0 + 0.0 is 0.0
        if not keys:
            return cls("str", ListColumn(keys, "str"))
        if kind == "encoded":
            return cls._encoded(*_keys.encode_all(keys), least=least)
        if len(keys) < (typed_from() if least is None else least):
            return cls(kind, ListColumn(keys, kind))
        column = to_arrow(keys, kind)
        if column is None:  # an int beyond 64 bits, a lone surrogate
            return cls._encoded(*_keys.encode_all(keys), least=least)
        return cls(kind, column)

    @classmethod
    def of_column(cls, column: Column) -> KeyColumn:
        """Make a column of keys of a column of any values; typed ones stay as they are.

        Raises:
            KeyTypeError: one is of a type that keys cannot have; ``index`` is its place.
        """
        if isinstance(column, ArrowColumn):
            if column.kind in ("str", "bytes", "int"):
                return cls(column.kind, column)
            if column.kind == "float":
                numbers = column.numpy()
                if not (numbers != numbers).any():  # NaN
                    return cls("float", from_numbers(numbers + 0.0, "float"))  # no -0.0
        keys, _ = _keys.check(column.to_list())
        return cls.of(list(keys))

    @classmethod
    def of_checked(cls, column: Column) -> KeyColumn:
        """Make a column of keys of a column of plain keys (see `keys.check`)."""
        return cls.of(column.values) if isinstance(column, ListColumn) else cls.of_column(column)

    @classmethod
    def _encoded(
        cls, encoded: list[bytes], spelled: list[bytes], *, least: int | None = None
    ) -> KeyColumn:
        column: Column = ListColumn(encoded, "bytes")
        spelling: Column = ListColumn(spelled, "bytes")
        if len(encoded) >= (typed_from() if least is None else least):
            column = to_arrow(encoded, "bytes") or column
            spelling = to_arrow(spelled, "bytes") or spelling
        return cls("encoded", column, spelling)

    def __len__(self) -> int:
        return len(self.column)

    def __repr__(self) -> str:
        return f"<KeyColumn of {len(self)} {self.kind}>"

    @property
    def nbytes(self) -> int:
        """Bytes in memory; an estimate."""
        return self.column.nbytes + (self.spelling.nbytes if self.spelling is not None else 0)

    @property
    def typed(self) -> bool:
        """Whether the keys are in Arrow arrays."""
        return isinstance(self.column, ArrowColumn)

    def at(self, index: int) -> Any:
        """Give what key ``index`` is compared by: within one kind it sorts as the key does."""
        return self.column.at(index)

    def to_list(self) -> list[Any]:
        """Give the keys as Python values."""
        if self.spelling is None:
            return self.column.to_list()
        return list(map(_keys.decode, self.column.to_list(), self.spelling.to_list()))

    def encoded(self) -> KeyColumn:
        """Give the same keys as a column of kind "encoded"."""
        if self.spelling is not None:
            return self
        return self._encoded(
            *_keys.encode_all(self.column.to_list()),
            least=0 if self.typed else None,
        )

    def slice(self, start: int, stop: int) -> KeyColumn:
        """Give the keys from ``start`` up to ``stop``."""
        spelling = None if self.spelling is None else self.spelling.slice(start, stop)
        return KeyColumn(self.kind, self.column.slice(start, stop), spelling)

    def take(self, order: Any) -> KeyColumn:
        """Give the keys at the positions ``order``."""
        spelling = None if self.spelling is None else self.spelling.take(order)
        return KeyColumn(self.kind, self.column.take(order), spelling)

    def arrow(self) -> KeyColumn:
        """Give the same keys typed; encoded first if one does not fit."""
        if self.typed:
            return self
        if self.kind != "encoded":
            column = to_arrow(self.column.to_list(), self.kind)
            if column is not None:
                return KeyColumn(self.kind, column)
        both = self.encoded()
        assert both.spelling is not None
        return self._encoded(both.column.to_list(), both.spelling.to_list(), least=0)


def concat_keys(columns: Sequence[KeyColumn]) -> KeyColumn:
    """Join key columns: of their own kind where all agree, by their encodings otherwise."""
    if len(columns) == 1:
        return columns[0]
    kinds = {column.kind for column in columns if len(column)}
    columns = [column for column in columns if len(column)]
    if not columns:
        return KeyColumn("str", ListColumn([], "str"))
    if len(kinds) == 1 and "encoded" not in kinds:
        kind = kinds.pop()
        if any(column.typed for column in columns):
            columns = [column.arrow() for column in columns]
            kinds = {column.kind for column in columns}
            kind = kinds.pop()
        elif sum(map(len, columns)) >= typed_from():
            every = list(chain.from_iterable(column.column.to_list() for column in columns))
            return KeyColumn(kind, ListColumn(every, kind)).arrow()
        if not kinds and kind != "encoded":
            return KeyColumn(kind, concat([column.column for column in columns]))
    columns = [column.encoded() for column in columns]
    spellings = [column.spelling for column in columns if column.spelling is not None]
    joined, spelled = concat([column.column for column in columns]), concat(spellings)
    return KeyColumn("encoded", joined, spelled)
