"""Joining equal keys: blocks in any order become one block of distinct, ascending keys. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, chain, repeat
from typing import Any

from mrkernel.data.arrays import as_numpy
from mrkernel.shuffle.assembly import concat
from mrkernel.shuffle.block import Block
from mrkernel.shuffle.columns import ArrowColumn, Column, ListColumn, pack
from mrkernel.shuffle.key_column import KeyColumn, concat_keys

#: Keys that are looked at for repeats: what has none among them is not worth a hash table.
_SAMPLE = 4096


def join(blocks: Sequence[Block]) -> Block:
    """Sort the groups of some blocks by key and join those of one key.

    Args:
        blocks: at least one, none of them empty; result parts with and without keys of their own
            may mix. Keys may be in any order and repeat, within a block too.

    Returns:
        One block; pairs of one key in the order of ``blocks``. A key shows its simplest spelling.
    """
    if len({len(block.columns) for block in blocks}) > 1:
        blocks = [with_own_keys(block) for block in blocks]
    keys = concat_keys([block.keys for block in blocks])
    columns = [concat(each) for each in zip(*(block.columns for block in blocks), strict=True)]
    if isinstance(keys.column, ArrowColumn):
        return _join_arrays(keys, keys.column, blocks, columns)
    return _join_lists(keys, blocks, columns)


def with_own_keys(block: Block) -> Block:
    """Give a block of a result part a column of keys, if it only has values."""
    if len(block.columns) > 1:
        return block
    keys = block.keys.to_list()
    if block.counts is not None:
        keys = list(chain.from_iterable(map(repeat, keys, block.count_list())))
    return Block(block.keys, block.counts, [pack(keys), *block.columns], block.continues)


def split_groups(block: Block, parts: Sequence[int] | Any, limit: int) -> list[tuple[int, Block]]:
    """Deal out the groups of a block.

    Args:
        parts: a number below ``limit`` for each group.

    Returns:
        (number, its groups in their order) for each number that has any, ascending.
    """
    if limit == 1:
        return [(0, block)]
    if isinstance(parts, list) and not block.keys.typed:
        chosen: dict[int, list[int]] = {}
        for place, part in enumerate(parts):
            chosen.setdefault(part, []).append(place)
        return [(part, _take_list(block, chosen[part])) for part in sorted(chosen)]
    import numpy as np

    from mrkernel.shuffle.order import counting_order, expand

    parts = np.asarray(parts, np.int64)
    order = counting_order(parts, limit)
    keys = block.keys.take(order)
    if block.counts is None:
        places, counts = order, None
        ends = np.cumsum(np.bincount(parts, minlength=limit))
        pair_ends = ends
    else:
        counts = block.count_array()
        starts = np.cumsum(counts) - counts
        counts = counts[order]
        places = expand(starts[order], counts)
        ends = np.cumsum(np.bincount(parts, minlength=limit))
        pair_ends = np.concatenate((np.zeros(1, np.int64), np.cumsum(counts)))[ends]
    columns = [column.take(places) for column in block.columns]
    dealt = []
    start = pair_start = 0
    for part, (end, pair_end) in enumerate(zip(ends.tolist(), pair_ends.tolist(), strict=True)):
        if end > start:
            dealt.append(
                (
                    part,
                    Block(
                        keys.slice(start, end),
                        None if counts is None else counts[start:end],
                        [column.slice(pair_start, pair_end) for column in columns],
                    ),
                )
            )
        start, pair_start = end, pair_end
    return dealt


def deal(
    blocks: list[Block],
    number: Callable[[KeyColumn], Sequence[int] | Any],
    limit: int,
    look: Callable[[Block, Any], None] | None = None,
) -> Iterator[tuple[int, Block]]:
    """Join blocks as `join` does, and deal out the groups as `split_groups` does.

    Values are moved once instead of twice, and only those of one part at a time.

    Args:
        blocks: at least one, with one column of values each; emptied, to free them early.
        number: gives for distinct keys a number below ``limit`` each.
        look: is shown blocks that have each group once, and which of the distinct keys are
            theirs (None: all of them, in order).

    Yields:
        (number, its groups, keys ascending) for each number that has any, ascending.
    """
    keys = concat_keys([block.keys for block in blocks])
    if not isinstance(keys.column, ArrowColumn):
        joined = join(blocks)
        blocks.clear()
        parts = number(joined.keys)
        if look is not None:
            look(joined, None)
        yield from split_groups(joined, parts, limit)
        return
    import numpy as np

    from mrkernel.shuffle.order import counting_order, expand, group

    each = begins = None
    if not all(block.counts is None for block in blocks):
        each = np.concatenate([block.count_array() for block in blocks])
        begins = np.cumsum(each) - each
    columns = [block.columns[0] for block in blocks]
    blocks.clear()
    values = concat(columns)
    del columns
    order, starts = group(keys.column)
    items = np.diff(starts, append=len(order))
    distinct = _distinct(keys, order, starts)
    del keys
    parts = number(distinct)
    dealt = np.arange(len(starts))
    ends = [len(starts)]
    if limit > 1:
        parts = np.asarray(parts, np.int64)
        dealt = counting_order(parts, limit)
        ends = np.cumsum(np.bincount(parts, minlength=limit)).tolist()
    start = 0
    for part, end in enumerate(ends):
        if end == start:
            continue
        groups = dealt[start:end]
        start = end
        counts = items[groups]
        places = order if len(ends) == 1 else order[expand(starts[groups], counts)]
        if each is not None and begins is not None:
            repeats = each[places]
            places = expand(begins[places], repeats)
            counts = np.add.reduceat(repeats, np.cumsum(counts) - counts)
        own = distinct if len(ends) == 1 else distinct.take(groups)
        counts = None if len(places) == len(own) else counts
        block = Block(own, counts, [values.take(places)])
        if look is not None:
            look(block, groups)
        yield part, block


def group_repeats(block: Block, *, numbers: bool = False) -> Block | None:
    """Bring equal keys of a block together, in any order; None where few are equal.

    Args:
        numbers: group keys that are numbers, too; worth it only if that shortens the values.

    Looking a string up in Arrow's hash table costs 20 to 40 ns (in the cache), sorting it 60 to
    100; only the distinct ones are sorted later, with those of other blocks.
    """
    keys = block.keys
    column = keys.column
    if not isinstance(column, ArrowColumn):
        return None
    if keys.kind in ("int", "float") and numbers:
        joined = join([block])
        return joined if 2 * joined.groups <= block.groups else None
    if keys.kind not in ("str", "bytes"):
        return None
    import numpy as np

    from mrkernel.shuffle.order import counting_order, expand

    sample = column.array.slice(0, _SAMPLE)
    if 20 * len(sample.dictionary_encode().dictionary) > 19 * _SAMPLE:
        return None
    encoded = column.array.dictionary_encode()
    distinct = len(encoded.dictionary)
    if 2 * distinct > len(column):
        return None
    codes = as_numpy(encoded.indices, "<i4")
    places = counting_order(codes, distinct)
    counts = np.bincount(codes, minlength=distinct)
    if block.counts is not None:
        each = block.count_array()
        repeats = each[places]
        places = expand((np.cumsum(each) - each)[places], repeats)
        counts = np.add.reduceat(repeats, np.cumsum(counts) - counts)
    found = KeyColumn(keys.kind, ArrowColumn(encoded.dictionary, column.kind))
    return Block(found, counts, [each_column.take(places) for each_column in block.columns])


def _distinct(keys: KeyColumn, order: Any, starts: Any) -> KeyColumn:
    distinct = KeyColumn(keys.kind, keys.column.take(order[starts]))
    if keys.spelling is not None:
        distinct.spelling = _simplest(keys.spelling, order, starts)
    return distinct


def _join_arrays(
    keys: KeyColumn, column: ArrowColumn, blocks: Sequence[Block], columns: Sequence[Column]
) -> Block:
    import numpy as np

    from mrkernel.shuffle.order import expand, group

    order, starts = group(column)
    if all(block.counts is None for block in blocks):
        places = order
        counts = np.diff(starts, append=len(order))
    else:
        each = np.concatenate([block.count_array() for block in blocks])
        begins = np.cumsum(each) - each
        each = each[order]
        places = expand(begins[order], each)
        counts = np.add.reduceat(each, starts)
    return Block(
        _distinct(keys, order, starts),
        None if len(places) == len(starts) else counts,
        [each.take(places) for each in columns],
    )


def _simplest(spelling: Column, order: Any, starts: Any) -> Column:
    """Give the smallest spelling of each group."""
    import numpy as np

    firsts = spelling.take(order[starts])
    if len(starts) == len(order):
        return firsts
    best = list(firsts.to_list())
    every = spelling.take(order).to_list()
    ends = np.append(starts[1:], len(order))
    for place in np.flatnonzero(ends - starts > 1).tolist():
        if best[place]:  # keys without numbers have one spelling
            best[place] = min(every[starts[place] : ends[place]])
    return ListColumn(best, "bytes")


def _join_lists(keys: KeyColumn, blocks: Sequence[Block], columns: Sequence[Column]) -> Block:
    compared = keys.column.to_list()
    order = sorted(range(len(compared)), key=compared.__getitem__)
    each = list(chain.from_iterable(block.count_list() for block in blocks))
    ones = all(block.counts is None for block in blocks)
    starts = list(accumulate(each, initial=0))
    firsts: list[int] = []
    counts: list[int] = []
    spelled = keys.spelling.to_list() if keys.spelling is not None else None
    spellings: list[bytes] = []
    last: Any = None
    for place in order:
        key = compared[place]
        if firsts and key == last:
            counts[-1] += each[place]
            if spelled is not None and spelled[place] < spellings[-1]:
                spellings[-1] = spelled[place]
        else:
            firsts.append(place)
            counts.append(each[place])
            last = key
            if spelled is not None:
                spellings.append(spelled[place])
    distinct = keys.take(firsts)
    if spelled is not None:
        distinct.spelling = ListColumn(spellings, "bytes")
    places = order if ones else _ranges(starts, order)
    if places == list(range(len(places))):
        taken = list(columns)
    else:
        taken = [column.take(places) for column in columns]
    return Block(distinct, None if len(places) == len(firsts) else counts, taken)


def _take_list(block: Block, groups: list[int]) -> Block:
    if block.counts is None:
        return Block(
            block.keys.take(groups), None, [column.take(groups) for column in block.columns]
        )
    counts = block.count_list()
    places = _ranges(list(accumulate(counts, initial=0)), groups)
    return Block(
        block.keys.take(groups),
        [counts[group] for group in groups],
        [column.take(places) for column in block.columns],
    )


def _ranges(starts: Sequence[int], order: Sequence[int]) -> list[int]:
    """Spell out the pairs of each group: ``starts`` has one item more than there are groups."""
    return list(chain.from_iterable(range(starts[at], starts[at + 1]) for at in order))
