"""Rest columns: what follows the key in each line that a program wrote. Pure.

Separator and line end are part of it, so key and rest one after the other are the very bytes that
came: a line without a separator stays one.
"""

from __future__ import annotations

from typing import Any

from mrkernel.shuffle.columns import HEAD, Column


class RestColumn(Column):
    """Values of kind "bytes", each with the separator before it and the line end behind it.

    Attributes:
        rests: a column of bytes, typed or of repeated words; a rest that is a line end alone has
            neither separator nor value.
    """

    __slots__ = ("rests",)

    def __init__(self, rests: Column) -> None:
        self.rests = rests
        self.kind = "bytes"

    def __len__(self) -> int:
        return len(self.rests)

    @property
    def nbytes(self) -> int:
        return self.rests.nbytes

    def at(self, index: int) -> bytes:
        value: bytes = self.rests.at(index)[1:-1]
        return value

    def to_list(self) -> list[bytes]:
        return [rest[1:-1] for rest in self.rests.to_list()]

    def slice(self, start: int, stop: int) -> RestColumn:
        return RestColumn(self.rests.slice(start, stop))

    def take(self, order: Any) -> RestColumn:
        return RestColumn(self.rests.take(order))

    def dump(self) -> bytes:
        return HEAD.pack(b"R", 0, len(self)) + self.rests.dump()
