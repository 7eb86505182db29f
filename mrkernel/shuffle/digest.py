"""Digests: one number for all pairs of a run, the same in whatever order and form they are. Pure.

Two attempts of a map task with different digests made different pairs: the mapper is not
deterministic. The digest is the sum, modulo 2^64, of one number for each pair, so it does not
change with the order of the values of a key (a mapper may iterate over a set), with spills (when
memory is short depends on the speed of the machine), nor with the form of a column.

It costs 8 to 20 ns a pair, a fiftieth of a map task. So it leaves things out: of strings it sees
the length and the first and last eight bytes; of values that are pickled (lists, dicts, objects)
only how many there are; of a range-partitioned run no keys. What a built-in folds while the pairs
come has no digest: a state does not say how it came about.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from mrkernel.shuffle.block import Block
from mrkernel.shuffle.columns import KINDS, ArrowColumn, Column, to_arrow
from mrkernel.shuffle.dict_column import DictColumn
from mrkernel.shuffle.tuple_column import TupleColumn

_MASK = (1 << 64) - 1
_MIX_1, _MIX_2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_KEY, _LENGTH = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93
#: Far apart: values that differ by little differ in type still.
_SALT = {kind: place * 0x2545F4914F6CDD1D & _MASK for place, kind in enumerate(KINDS.values(), 1)}
_double = struct.Struct("<d")


class Digest:
    """Adds up.

    Attributes:
        total: the digest of all pairs so far; 0 for none.
        hashes: of the keys of the groups in hand, a list of ints or an array of uint64; None
            leaves keys out.
    """

    def __init__(self) -> None:
        self.total = 0
        self.hashes: Sequence[int] | Any | None = None

    def add(self, block: Block, groups: Any = None) -> None:
        """Add a block.

        Args:
            groups: the places of its keys in ``hashes``; None: it has all of them, in order.
        """
        hashes: Any = self.hashes
        values = block.columns[0]
        if not (block.keys.typed or isinstance(values, ArrowColumn | DictColumn)):
            self._add_lists(block, values)
            return
        import numpy as np

        numbers = np.zeros(1, np.uint64)
        if hashes is not None:
            hashes = np.asarray(hashes, np.uint64)
            numbers = (hashes if groups is None else hashes[groups]) * np.uint64(_KEY)
            if block.counts is not None:
                numbers = np.repeat(numbers, block.count_array())
        self.total += int(_mixed(numbers + _numbers(values)).sum(dtype=np.uint64))
        self.total &= _MASK

    def _add_lists(self, block: Block, values: Column) -> None:
        """Without numpy, which a small job does not import."""
        hashes = [0] * block.groups if self.hashes is None else self.hashes
        some = iter(values.to_list())
        for number, count in zip(hashes, block.count_list(), strict=True):
            key = int(number) * _KEY
            for _ in range(count):
                self.total += _mix((key + number_of(next(some))) & _MASK)
        self.total &= _MASK


def number_of(value: Any) -> int:
    """Give the number of one value: 0 for one that would have to be pickled."""
    kind = KINDS.get(type(value), "object")
    if kind == "object":
        return 0
    if kind in ("str", "bytes"):
        try:
            data: bytes = value.encode() if kind == "str" else value
        except UnicodeEncodeError:
            return 0  # a lone surrogate
        first = int.from_bytes(data[:8].ljust(8, b"\0"), "big")
        last = int.from_bytes(data[-8:].ljust(8, b"\0"), "big")
        bits = _mix((first + len(data) * _LENGTH) & _MASK) + last
    elif kind == "float":
        bits = int.from_bytes(_double.pack(value), "little")
    elif -(1 << 63) <= value < 1 << 63:
        bits = int(value) & _MASK
    else:
        return 0
    return _mix((bits + _SALT[kind]) & _MASK)


def _numbers(column: Column) -> Any:
    """Give `number_of` of each value, as an array of uint64."""
    import numpy as np

    if isinstance(column, DictColumn):
        return _numbers(column.words)[column.codes]
    if isinstance(column, ArrowColumn):
        return _numbers_of_typed(column)
    if isinstance(column, TupleColumn):
        return np.zeros(len(column), np.uint64)
    values = column.to_list()
    numbers = np.zeros(len(values), np.uint64)
    plain = KINDS.keys() & set(map(type, values))
    types = list(map(type, values)) if plain else []
    for kind in plain:
        places = [place for place, each in enumerate(types) if each is kind]
        some = [values[place] for place in places]
        typed = to_arrow(some, KINDS[kind])
        if typed is None:  # one does not fit: a big int, a lone surrogate
            numbers[places] = np.fromiter(map(number_of, some), np.uint64, len(some))
        else:
            numbers[places] = _numbers_of_typed(typed)
    return numbers


def _numbers_of_typed(column: ArrowColumn) -> Any:
    import numpy as np

    salt = np.uint64(_SALT[column.kind])
    if column.kind in ("int", "float"):
        return _mixed(column.numpy().view(np.uint64) + salt)
    if column.kind == "bool":
        return _mixed(np.array(column.to_list(), np.uint64) + salt)
    from mrkernel.shuffle.order import both_ends

    first, last, lengths = both_ends(column)
    first += lengths.astype(np.uint64) * np.uint64(_LENGTH)
    bits = _mixed(first)
    bits += last
    bits += salt
    return _mixed(bits)


def _mix(bits: int) -> int:
    """Spread bits as splitmix64 does (Steele, Lea, Flood: Fast splittable PRNGs, 2014)."""
    bits = ((bits ^ (bits >> 30)) * _MIX_1) & _MASK
    bits = ((bits ^ (bits >> 27)) * _MIX_2) & _MASK
    return bits ^ (bits >> 31)


def _mixed(bits: Any) -> Any:
    """Do as `_mix` for an array, in its place."""
    import numpy as np

    bits ^= bits >> np.uint64(30)
    bits *= np.uint64(_MIX_1)
    bits ^= bits >> np.uint64(27)
    bits *= np.uint64(_MIX_2)
    bits ^= bits >> np.uint64(31)
    return bits
