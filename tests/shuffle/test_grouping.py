from __future__ import annotations

from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import exactly, group
from pairs_strategy import key_kinds, values

from mrkernel.shuffle.block import Block
from mrkernel.shuffle.columns import pack
from mrkernel.shuffle.grouping import deal, group_repeats
from mrkernel.shuffle.key_column import KeyColumn
from mrkernel.shuffle.partition import partition_of, partitions_of

#: Blocks as they wait for a flush: keys in any order, with one value each or several.
waiting = st.lists(
    key_kinds.flatmap(
        lambda kind: st.lists(
            st.tuples(kind, st.lists(values, min_size=1, max_size=3)), min_size=1, max_size=12
        )
    ),
    min_size=1,
    max_size=4,
)


def block_of(groups: list[tuple[Any, list[Any]]], least: int) -> Block:
    every = list(chain.from_iterable(some for _, some in groups))
    counts = None if len(every) == len(groups) else [len(some) for _, some in groups]
    keys = KeyColumn.of([key for key, _ in groups], least=least)
    return Block(keys, counts, [pack(every, least=least)])


def groups_of(block: Block) -> list[tuple[Any, list[Any]]]:
    found = []
    some = iter(block.columns[0].to_list())
    for key, count in zip(block.keys.to_list(), block.count_list(), strict=True):
        found.append((key, [next(some) for _ in range(count)]))
    assert list(some) == []
    return found


@given(waiting, st.integers(1, 4), st.sampled_from([0, 10**9]))
@settings(max_examples=120)
def test_every_part_is_dealt_its_groups(
    drawn: list[list[tuple[Any, list[Any]]]], parts: int, least: int
) -> None:
    blocks = [block_of(groups, least) for groups in drawn]
    dealt = dict(deal(blocks, lambda keys: partitions_of(keys, parts), parts))
    assert blocks == []
    pairs = [(key, value) for groups in drawn for key, some in groups for value in some]
    for part in range(parts):
        mine = [pair for pair in pairs if partition_of(pair[0], parts) == part]
        found = groups_of(dealt[part]) if part in dealt else []
        assert exactly(found) == exactly(group(mine))


@pytest.mark.parametrize("kind", ["str", "bytes", "int", "float"])
@pytest.mark.parametrize("several", [False, True])
def test_repeats_come_together(kind: str, several: bool) -> None:
    make: dict[str, Any] = {"str": str, "bytes": lambda i: b"%d" % i, "int": int, "float": float}
    keys = [make[kind](i * 7919 % 97) for i in range(6_000)]
    groups = [(key, [i, -i] if several and i % 3 else [i]) for i, key in enumerate(keys)]
    block = block_of(groups, 0)
    found = group_repeats(block, numbers=True)
    assert found is not None
    assert found.groups == 97
    pairs = [(key, value) for key, some in groups for value in some]
    assert exactly(sorted(groups_of(found))) == exactly(sorted(group(pairs)))
    if kind in ("int", "float"):
        assert group_repeats(block) is None


def test_keys_that_hardly_repeat_stay() -> None:
    assert group_repeats(block_of([(f"{i}", [i]) for i in range(6_000)], 0)) is None
    # The first of them repeat, all together do not.
    late = block_of([(f"{i}" if i > 2000 else "a", [i]) for i in range(6_000)], 0)
    assert group_repeats(late) is None
