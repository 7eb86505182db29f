"""Tuple columns: tuples of one width whose items are plain values, place by place. Pure."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain
from typing import Any

from mrkernel.shuffle.columns import HEAD, KINDS, Column

#: Wider tuples are rows; taking them apart costs what it saves.
_WIDEST = 16
_PLAIN = KINDS.keys() | {type(None)}


class TupleColumn(Column):
    """Values that are exactly tuples, such as (sum, count), as one column for each place.

    So they move, are written and are read as numbers and strings do; as pickled objects they cost
    three times as much (measured: group-by of 4 M (int, str), map task).

    Attributes:
        places: the items in each place; of kind "object" where they have several plain types.
    """

    __slots__ = ("places",)

    def __init__(self, places: Sequence[Column]) -> None:
        self.places = list(places)
        self.kind = "object"

    def __len__(self) -> int:
        return len(self.places[0])

    @property
    def nbytes(self) -> int:
        return sum(place.nbytes for place in self.places)

    def at(self, index: int) -> Any:
        return tuple(place.at(index) for place in self.places)

    def to_list(self) -> list[Any]:
        return list(zip(*(place.to_list() for place in self.places), strict=True))

    def slice(self, start: int, stop: int) -> TupleColumn:
        return TupleColumn([place.slice(start, stop) for place in self.places])

    def take(self, order: Any) -> TupleColumn:
        return TupleColumn([place.take(order) for place in self.places])

    def dump(self) -> bytes:
        parts = [place.dump() for place in self.places]
        lengths = struct.pack(f"<{len(parts) + 1}Q", len(parts), *map(len, parts))
        return b"".join((HEAD.pack(b"T", 0, len(self)), lengths, *parts))


def load_places(body: memoryview) -> list[memoryview]:
    """Read what `TupleColumn.dump` wrote after its head: the dump of each place."""
    (width,) = struct.unpack_from("<Q", body)
    at = 8 * (width + 1)
    places = []
    for length in struct.unpack_from(f"<{width}Q", body, 8):
        places.append(body[at : at + length])
        at += length
    return places


def width_of(values: Sequence[Any]) -> int:
    """Give the one width of values that are exactly tuples of plain items; 0 for any others."""
    if set(map(type, values)) != {tuple} or len(widths := set(map(len, values))) != 1:
        return 0
    width: int = widths.pop()
    plain = width <= _WIDEST and set(map(type, chain.from_iterable(values))) <= _PLAIN
    return width if plain else 0
