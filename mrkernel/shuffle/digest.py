"""Digests: one number for all pairs of a run, the same in whatever order and form they are. Pure.

Two attempts of a map task with different digests made different pairs: the mapper is not
deterministic. The digest is the sum, modulo 2^64, of one number for each pair, so it does not
change with the order of the values of a key (a mapper may iterate over a set), with spills (when
memory is short depends on the speed of the machine), nor with the form of a column.

It costs 8 to 20 ns a pair, a fiftieth of a map task. So it leaves things out: of strings it sees
the length and the first and last eight bytes; of values that are pickled (lists, dicts, objects)
only how many there are, because bytes of a pickle change with the order of a set and with who
shares an object, and looking into each value costs 250 ns and more; of a range-partitioned run no
keys.

What a built-in folds while the pairs come has another digest (`FoldDigest`), of what is the same
however often and wherever the fold was cut by spills: the number of pairs, and by key the number of
values (count) or the sum of ints (sum); of all else the keys. Runs for a single reduce task leave
keys out, because nobody has hashed them. It is made of states, of which there are few: it costs 0.5
to 1.5 % of a map task.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain, repeat
from typing import Any

from mrkernel.shuffle.block import Block
from mrkernel.shuffle.columns import KINDS, ArrowColumn, Column, to_arrow
from mrkernel.shuffle.dict_column import DictColumn
from mrkernel.shuffle.rest_column import RestColumn
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


#: Bits by which a fold remembers which keys it has seen: 1 MB when they are many.
_SEEN_BITS = 20
_SEEN_SHIFT = 64 - _SEEN_BITS
#: So many keys are remembered one by one.
_FEW_KEYS = 1 << 12


class FoldDigest:
    """Adds up states of a built-in, or pairs that are to become some.

    Two runs of the same pairs have the same digest, whatever was folded when: counts and sums of
    ints are additive, and a key that is seen twice is seen.

    Args:
        name: the built-in.

    Attributes:
        hashes: as of a `Digest`.
    """

    def __init__(self, name: str) -> None:
        self.hashes: Sequence[int] | Any | None = None
        self._name = name
        self._sum = 0
        self._few: set[int] = set()  # places in ``_many`` of keys, until that is made
        self._many: Any = None

    def total(self, pairs: int) -> int:
        """Return the digest of all that was added, and never 0, which means: not known.

        Args:
            pairs: how many were folded.
        """
        total = self._sum + _mix((pairs * _LENGTH + 1) & _MASK)
        if self._many is None:
            total += sum(_mix((place * _KEY + 1) & _MASK) for place in self._few)
        else:
            import numpy as np

            places = np.flatnonzero(self._many).astype(np.uint64)
            places *= np.uint64(_KEY)
            places += np.uint64(1)
            total += int(_mixed(places).sum(dtype=np.uint64))
        return total & _MASK or 1

    def add(self, block: Block, groups: Any = None, *, states: bool) -> None:
        """Add a block.

        Args:
            groups: the places of its keys in ``hashes``; None: it has all of them, in order.
            states: its values are states; False: they are what the mapper gave.
        """
        hashes: Any = self.hashes
        if hashes is not None and groups is not None:
            hashes = hashes[groups]
        values = block.columns[0]
        if self._name == "count" and not states:
            self._add_counts(hashes, block)
            return
        if self._name not in ("sum", "count"):
            self._see(hashes)
        elif isinstance(values, ArrowColumn) and values.kind == "int":
            import numpy as np

            weights = self._weights(hashes, block.groups)
            if block.counts is not None:
                weights = np.repeat(weights, block.count_array())
            self._sum += int((weights * values.numpy().view(np.uint64)).sum(dtype=np.uint64))
        elif isinstance(values, ArrowColumn | DictColumn) and values.kind != "bool":
            self._see(hashes)
        else:
            self._add_list(hashes, block, values.to_list())
        self._sum &= _MASK

    def _add_counts(self, hashes: Any, block: Block) -> None:
        """Count the pairs of each key."""
        if not block.keys.typed:
            self._add_list(hashes, block, [1] * block.pairs)
            return
        import numpy as np

        weights = self._weights(hashes, block.groups)
        self._sum += int((weights * block.count_array().view(np.uint64)).sum(dtype=np.uint64))
        self._sum &= _MASK

    def _add_list(self, hashes: Any, block: Block, values: list[Any]) -> None:
        numbers: Any = repeat(0, block.groups) if hashes is None else map(int, hashes)
        if block.counts is not None:
            numbers = chain.from_iterable(map(repeat, numbers, block.count_list()))
        added = 0
        for number, value in zip(numbers, values, strict=True):
            if isinstance(value, int):
                added += value * _mix((number * _KEY + 1) & _MASK)
            elif hashes is not None:
                self._see((number,))
        self._sum = (self._sum + added) & _MASK

    @staticmethod
    def _weights(hashes: Any, size: int) -> Any:
        import numpy as np

        if hashes is None:
            return np.full(size, _mix(1), np.uint64)
        return _mixed(np.asarray(hashes, np.uint64) * np.uint64(_KEY) + np.uint64(1))

    def _see(self, hashes: Any) -> None:
        """Remember keys."""
        if hashes is None:
            return
        if self._many is None and len(self._few) + len(hashes) <= _FEW_KEYS:
            self._few.update((int(number) * _KEY & _MASK) >> _SEEN_SHIFT for number in hashes)
            return
        import numpy as np

        if self._many is None:
            self._many = np.zeros(1 << _SEEN_BITS, bool)
            self._many[list(self._few)] = True
        places = np.asarray(hashes, np.uint64) * np.uint64(_KEY) >> np.uint64(_SEEN_SHIFT)
        self._many[places] = True


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

    if isinstance(column, RestColumn):
        column = column.rests
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
