"""Folding pairs as they come, while keys are few. Pure.

Two ways, by what they cost for a pair (Python 3.11, 25 keys, slices of 8,000 pairs; a loop by hand
that adds up costs 50 ns, one that keeps least, greatest, sum and count 91 ns):

* a dict from key to sum, count or first value: 45, 35, 25 ns;
* a dict from key to a list of values, all lists folded by `fold_block` when they are long together:
  37 ns to append, 25 to 45 ns to fold: min 65, mean 70, stats with its deviation 84 ns.

Where keys hardly repeat both lose to columns, which are sorted anyway, and `Fold.add` says so. A
dict loses when it leaves the processor's cache; so it is emptied into columns at 32,000 keys, and
given up if it had fewer than 2 pairs for each. That was chosen on source text and on keys at random
(a map task of a word count all told, without its mapper, ns a pair, least of several runs):

    1,000,000 pairs of ...                    so      one dict   columns   a loop by hand
    source text, 200,000 words                187     199        230       150
    25,000 keys at random                     118     116        184       124
    100,000 keys                              173     191        168       377
    250,000 keys                              201     342        194       330
    1,500,000 keys                            273     551        275       334
"""

from __future__ import annotations

import marshal
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice, starmap
from operator import itemgetter
from typing import Any, cast

from mrkernel.shuffle import keys as _keys
from mrkernel.shuffle.block import Block
from mrkernel.shuffle.columns import (
    Column,
    ListColumn,
    from_numbers,
    kind_of,
    pack,
    typed_from,
    weigh,
)
from mrkernel.shuffle.fold_block import fold_block, merge_block
from mrkernel.shuffle.grouping import join
from mrkernel.shuffle.growing import GrowingColumn
from mrkernel.shuffle.key_column import KeyColumn

Pairs = Sequence[tuple[Any, Any]]

_first: Callable[[Any], Any] = itemgetter(0)
_second: Callable[[Any], Any] = itemgetter(1)
_WHOLE = frozenset({int, bool})
_PLAIN = _WHOLE | {float, type(None)}
#: Bytes of a dict entry without its key, and of a list with its append.
_ENTRY, _LIST = 130, 300
#: Values gathered before they are folded.
_GATHER = 1 << 15
#: Lists shorter than this on average cost more than columns.
_LIST_WORTH = 8
#: A dict with more keys than this is emptied, and given up for columns if it had fewer pairs per
#: key.
_MANY_KEYS, _DICT_WORTH = 32_000, 2


class Fold:
    """Folds pairs by a built-in, in the way that suits their values and keys.

    Args:
        name: a built-in reducer that folds.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._way: _Way | None = _way(name)
        self._blocks: list[Block] = []
        self._block_bytes = 0

    @property
    def nbytes(self) -> int:
        """Bytes in memory, estimated."""
        return self._block_bytes + (self._way.nbytes if self._way is not None else 0)

    def add(self, pairs: Pairs) -> bool:
        """Fold a batch; False (and nothing done) if pairs are better kept as they are, for good.

        Raises:
            KeyTypeError: a key is of a type that keys cannot have; has ``index``.
        """
        while self._way is not None:
            if self._way.worth and self._way.add(pairs):
                if isinstance(self._way, _Table) and self._way.full:
                    worth = self._way.worth
                    self._keep(self._way.drain())
                    self._way = self._way if worth else None
                return True
            gather = isinstance(self._way, _Table) and self._way.worth
            self._keep(self._way.drain())
            # Values that no dict folds, such as floats to be summed, may be gathered.
            self._way = _Lists(self._name) if gather else None
        return False

    def drain(self) -> list[Block]:
        """Give states: blocks of groups whose keys are in any order and may repeat; start anew."""
        if self._way is not None:
            self._keep(self._way.drain())
        blocks, self._blocks, self._block_bytes = self._blocks, [], 0
        return blocks

    def _keep(self, blocks: list[Block]) -> None:
        self._blocks += blocks
        self._block_bytes += sum(block.nbytes for block in blocks)


class _Way:
    """One way to fold.

    Where all keys are exactly str, pairs are folded first and the new keys looked at afterwards:
    what is equal to a str key has its spelling, so only keys that were not there matter.
    """

    def __init__(self) -> None:
        self.nbytes = 0
        self._numbers: set[type] = set()  # types of the numbers in keys
        self._only_text = True

    @property
    def worth(self) -> bool:
        """Whether keys repeat often enough to go on."""
        raise NotImplementedError

    def add(self, pairs: Pairs) -> bool:
        """Fold a batch; False, and nothing done, if this way cannot.

        Raises:
            KeyTypeError: a key is of a type that keys cannot have; has ``index``.
        """
        if self._only_text:
            if type(pairs[0][0]) is str:
                done = self._add_text(pairs)
                if done is not None:
                    return done
            self._only_text = False
        keys, leaves = _keys.check(list(map(_first, pairs)))
        numbers = self._numbers | (leaves & _keys.NUMBERS)
        if len(numbers) > 1:
            return False  # Python's equality of keys would lose a spelling (1, 1.0, True)
        self._numbers = numbers
        return self._add(list(zip(keys, map(_second, pairs), strict=True)))

    def drain(self) -> list[Block]:
        """Give states, and start anew."""
        raise NotImplementedError

    def _add(self, pairs: Pairs) -> bool:
        """Fold pairs whose keys are fine; False, and nothing done, if their values are not."""
        raise NotImplementedError

    def _add_text(self, pairs: Pairs) -> bool | None:
        """Fold pairs whose keys should be str; None, and nothing done, if they are not."""
        raise NotImplementedError


class _Table(_Way):
    """A dict from key to what is left of its values."""

    def __init__(self) -> None:
        super().__init__()
        self._table: dict[Any, Any] = {}
        self._keys = GrowingColumn()  # of the table; packed while they are in the cache
        self._pairs = 0

    @property
    def full(self) -> bool:
        """Whether it has left the processor's cache, so that an empty one is faster."""
        return len(self._table) > _MANY_KEYS

    @property
    def worth(self) -> bool:
        return not self.full or self._pairs >= _DICT_WORTH * len(self._table)

    def drain(self) -> list[Block]:
        keys, values = self._keys, list(self._table.values())
        self.__init__()  # type: ignore[misc]
        if not values:
            return []
        column = keys.build(repeats=False)
        if isinstance(column, ListColumn):
            return [Block(KeyColumn.of(column.values), None, [pack(values)])]
        return [Block(KeyColumn.of_column(column), None, [pack(values)])]

    def _add(self, pairs: Pairs) -> bool:
        before = len(self._table)
        if not self._fold(pairs):
            return False
        self._grown(self._new(before), len(pairs))
        return True

    def _add_text(self, pairs: Pairs) -> bool | None:
        before = len(self._table)
        try:
            if not self._fold(pairs):
                return False
        except TypeError:
            _keys.check(list(map(_first, pairs)))  # an unhashable key: says which
            raise
        new = self._new(before)
        if set(map(type, new)) <= {str}:
            self._grown(new, len(pairs))
            return True
        self._undo(pairs)
        for _ in new:
            self._table.popitem()
        return None

    def _new(self, before: int) -> list[Any]:
        """List the keys that came since there were ``before`` of them."""
        return list(islice(reversed(self._table), len(self._table) - before))[::-1]

    def _grown(self, new: list[Any], pairs: int) -> None:
        self._pairs += pairs
        if new:
            self._keys.add(new, kind_of(new))
            sample = new[:32]
            self.nbytes += len(new) * (_ENTRY + 2 * weigh(sample) // len(sample))

    def _fold(self, pairs: Pairs) -> bool:
        raise NotImplementedError

    def _undo(self, pairs: Pairs) -> None:
        """Take pairs back; the caller removes the keys that they brought."""


class _Sums(_Table):
    """Sums ints; bools count as ints, as in Python's ``sum``. Of others `add` does nothing."""

    def _fold(self, pairs: Pairs) -> bool:
        if type(pairs[0][1]) is int:
            done = self._fold_fast(pairs)
            if done is not None:
                return done
        if not set(map(type, map(_second, pairs))) <= _WHOLE:
            return False
        self._add_up(pairs)
        return True

    def _fold_fast(self, pairs: Pairs) -> bool | None:
        """Fold without a look at the type of every value, 18 ns a pair; None if that was wrong."""
        table = self._table
        if 4 * len(table) < len(pairs):  # sums are few: they are looked at instead
            self._table = table.copy()
            try:
                self._add_up(pairs)
            except Exception:  # noqa: BLE001 - of a key or of a value: it is met again elsewhere
                self._table = table
                return None
            if set(map(type, self._table.values())) == {int}:
                return True
            self._table = table
            return False
        values = list(map(_second, pairs))
        if values[0] != 1 or values.count(1) < len(values):
            return None
        try:
            if type(sum(values)) is not int:
                return False  # a float, or the like
        except Exception:  # noqa: BLE001 - of a value that says it is 1
            return False
        # Counting is adding ones, in C; on a Counter `_add_up` would take twice as long.
        count = cast("Callable[[dict[Any, Any], Iterable[Any]], None]", Counter.update)
        count(table, map(_first, pairs))
        return True

    def _add_up(self, pairs: Pairs) -> None:
        table = self._table
        get = table.get
        for key, value in pairs:
            table[key] = get(key, 0) + value

    def _undo(self, pairs: Pairs) -> None:
        for key, value in pairs:
            self._table[key] -= value


class _Counts(_Table):
    """Counts values, whatever they are."""

    def __init__(self) -> None:
        super().__init__()
        self._table: Counter[Any] = Counter()

    def _fold(self, pairs: Pairs) -> bool:
        self._table.update(map(_first, pairs))  # in C
        return True

    def _undo(self, pairs: Pairs) -> None:
        for key, _ in pairs:
            self._table[key] -= 1


class _Firsts(_Table):
    """Keeps the first value of each key, whatever it is."""

    def _fold(self, pairs: Pairs) -> bool:
        before = len(self._table)
        deque(starmap(self._table.setdefault, pairs), 0)
        new = len(self._table) - before
        if new:
            self.nbytes += weigh(list(islice(reversed(self._table.values()), new)))
        return True


class _Lists(_Way):
    """A dict from key to a list of its values; the lists are folded when they are long together."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._appends: dict[Any, Callable[[Any], None]] = {}
        self._lists: dict[Any, list[Any]] = {}
        self._gathered = 0  # values in the lists
        self._value_bytes = 0
        self._blocks: list[Block] = []
        self._block_bytes = 0
        self._merge_at = _GATHER
        self._shrinks = True

    @property
    def worth(self) -> bool:
        few = len(self._lists) * _LIST_WORTH <= max(self._gathered, _GATHER // 2)
        return self._shrinks and few

    def drain(self) -> list[Block]:
        self._fold()
        blocks = self._blocks
        self.__init__(self._name)  # type: ignore[misc]
        return blocks

    def _add_text(self, pairs: Pairs) -> bool | None:
        appends = self._appends
        try:
            for key, value in pairs:
                try:
                    appends[key](value)
                except KeyError:
                    if type(key) is not str:
                        raise
                    self._new(key)(value)
        except (KeyError, TypeError):  # another key than text, or no key at all
            lists = self._lists
            done = sum(map(len, lists.values())) - self._gathered
            for key, _ in pairs[:done]:
                lists[key].pop()
            return None
        self._gathered_more(pairs)
        return True

    def _add(self, pairs: Pairs) -> bool:
        appends = self._appends
        for key, value in pairs:
            try:
                append = appends[key]
            except KeyError:
                append = self._new(key)
            append(value)
        self._gathered_more(pairs)
        return True

    def _new(self, key: Any) -> Callable[[Any], None]:
        values: list[Any] = []
        self._lists[key] = values
        append = self._appends[key] = values.append
        return append

    def _gathered_more(self, pairs: Pairs) -> None:
        self._gathered += len(pairs)
        sample = list(map(_second, pairs[:: len(pairs) // 32 or 1]))
        if set(map(type, sample)) <= _PLAIN:
            self._value_bytes += 40 * len(pairs)
        else:
            self._value_bytes += weigh(list(map(_second, pairs)))
        if self._gathered >= _GATHER:
            self._fold()
        self.nbytes = self._value_bytes + len(self._lists) * _LIST + self._block_bytes

    def _fold(self) -> None:
        keys = [key for key, values in self._lists.items() if values]
        if not keys:
            return
        lists = list(map(self._lists.__getitem__, keys))
        values = list(chain.from_iterable(lists))
        block = Block(KeyColumn.of(keys), list(map(len, lists)), [_packed(values)])
        block = fold_block(block, self._name)
        # What does not fold is kept as columns, not looked at again and again.
        self._shrinks = block.pairs * 2 <= len(values)
        self._blocks.append(block)
        if sum(each.pairs for each in self._blocks) > self._merge_at:
            self._blocks = [merge_block(join(self._blocks), self._name)]
            # Not again soon where that shortens little.
            self._merge_at = max(_GATHER, 2 * self._blocks[0].pairs)
        self._block_bytes = sum(each.nbytes for each in self._blocks)
        for each in lists:
            each.clear()
        self._gathered = self._value_bytes = 0


def _packed(values: list[Any]) -> Column:
    """Make a column as `pack` does, of floats in one pass: 11 ns a value instead of 19.

    Version 2 of marshal writes a float as "g" and its eight bytes, and nothing else like that.
    """
    size = len(values)
    if size < typed_from() or type(values[0]) is not float:
        return pack(values)
    import numpy as np

    try:
        data = marshal.dumps(values, 2)
    except ValueError:
        return pack(values)  # of a type that marshal does not know
    if len(data) == 5 + 9 * size:
        table = np.frombuffer(data, np.uint8, 9 * size, 5).reshape(size, 9)
        if (table[:, 0] == ord("g")).all():
            return from_numbers(table[:, 1:].copy().view("<f8").reshape(-1), "float")
    return pack(values)


def make_fold(name: str) -> Fold | None:
    """Make the fold of a built-in reducer; None for one that keeps all values."""
    return None if name == "list" else Fold(name)


def _way(name: str) -> _Way:
    tables: dict[str, Callable[[], _Way]] = {"sum": _Sums, "count": _Counts, "first": _Firsts}
    return tables[name]() if name in tables else _Lists(name)
