"""Every built-in, however its values are dealt out and folded on the way, is what it is of all."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from oracle import exactly

from mrkernel.job.builtins import builtin_reducer
from mrkernel.shuffle.block import Block
from mrkernel.shuffle.columns import ArrowColumn, Column, ListColumn, kind_of, to_arrow
from mrkernel.shuffle.fold import make_fold
from mrkernel.shuffle.fold_block import finish_block, finisher, fold_block, merge_block
from mrkernel.shuffle.grouping import join
from mrkernel.shuffle.key_column import KeyColumn

NAMES = ["sum", "count", "min", "max", "mean", "stats", "first", "list", "set", "top:1", "top:3"]
Groups = list[tuple[str, list[Any]]]
#: One list of pairs for each spill of each map task.
Spills = list[list[tuple[str, Any]]]

small = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.5, 0.1, 1e16, -1e16, 3.0])
floats = {
    "small": small,
    "any": st.floats(),
    "finite": st.floats(allow_nan=False, allow_infinity=False),
    "moderate": st.floats(-1e9, 1e9),
    "close": st.integers(0, 3).map(lambda ulps: 1e9 + ulps * math.ulp(1e9)),
    "strange": small | st.sampled_from([math.nan, math.inf, -math.inf, 1e308, 5e-324]),
}
whole = {
    "few": st.integers(-3, 3),
    "64 bits": st.integers(-(2**63), 2**63 - 1),
    "stamps": st.integers(1_700_000_000, 1_800_000_000),
    "large": st.integers(-(2**70), 2**70),
}
numbers = {
    **{f"float {name}": kind for name, kind in floats.items()},
    **{f"int {name}": kind for name, kind in whole.items()},
    "bool": st.booleans(),
    "mixed": st.integers(-2, 2) | small | st.booleans(),
    "all mixed": st.integers() | st.floats() | st.booleans(),
    "fractions": st.fractions(max_denominator=9) | st.integers(-2, 2),
    "decimals": st.integers(-99, 99).map(lambda n: Decimal(n) / 4) | st.integers(-2, 2),
}
others = {
    "texts": st.text("ab", max_size=2),
    "bytes": st.binary(max_size=2),
    "structs": st.binary(min_size=16, max_size=16) | st.integers(),
    "tuples": st.tuples(st.integers(0, 2), st.sampled_from("ab")),
    "tuples of floats": st.tuples(st.floats(), st.integers(0, 1)),
    "anything": st.none() | st.integers(0, 1) | st.just("a"),
    "lists": st.lists(st.integers(0, 1), max_size=2),
}


def spills(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Spills]:
    pair = st.tuples(st.sampled_from("abc"), values)
    return st.lists(st.lists(pair, min_size=1, max_size=12), min_size=1, max_size=4)


def grouped(pairs: list[tuple[str, Any]]) -> Groups:
    groups: dict[str, list[Any]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return sorted(groups.items())


def column_of(values: list[Any], typed: bool) -> Column:
    kind = kind_of(values)
    column = to_arrow(values, kind) if typed and kind != "object" else None
    return column or ListColumn(values)


def block_of(groups: Groups, typed: bool) -> Block:
    counts = [len(values) for _, values in groups]
    values = [value for _, some in groups for value in some]
    keys = KeyColumn.of([key for key, _ in groups], least=0 if typed else 99)
    return Block(keys, None if set(counts) == {1} else counts, [column_of(values, typed)])


def groups_of(block: Block) -> Groups:
    values = iter(block.columns[0].to_list())
    return [
        (key, [next(values) for _ in range(count)])
        for key, count in zip(block.keys.to_list(), block.count_list(), strict=True)
    ]


def retyped(block: Block, typed: bool) -> Block:
    """As merge sees it: short columns joined to a long one become typed."""
    return block_of(groups_of(block), typed)


def reduced(name: str, blocks: list[Block], typed: bool, merged: bool) -> list[tuple[str, Any]]:
    """Do what reduce does with blocks of states."""
    block = retyped(join(blocks), typed)
    if merged:
        block = retyped(merge_block(block, name), typed)
    finished = finish_block(block, name)
    if finished is not None:
        assert finished.counts is None
        return list(zip(finished.keys.to_list(), finished.columns[0].to_list(), strict=True))
    finish: Callable[[Any], Any] = finisher(name) or builtin_reducer(name)
    return [(key, outcome(finish, states)) for key, states in groups_of(block)]


def outcome(function: Callable[[Any], Any], values: list[Any]) -> Any:
    try:
        return function(values)
    except (TypeError, OverflowError, ArithmeticError) as error:
        return type(error).__name__


def same(got: Any, want: Any) -> bool:
    """Say whether results are alike; a deviation may be off in the last digit."""
    if isinstance(got, dict) and isinstance(want, dict):
        one, other = got.pop("std"), want.pop("std")
        if exactly(one) != exactly(other):
            assert type(one) is type(other), (one, other)
            digit = math.ulp(other) if type(other) is float else abs(other) * Decimal("1e-26")
            assert abs(one - other) <= digit, (one, other)
        return bool(exactly(got) == exactly(want))
    if isinstance(got, set):
        return sorted(map(exactly, got)) == sorted(map(exactly, want))
    return bool(exactly(got) == exactly(want))


def check(name: str, parts: Spills, typed: bool, merged: bool, in_dicts: bool) -> None:
    blocks = []
    for part in parts:
        fold = make_fold(name) if in_dicts else None
        if fold is not None and fold.add(part):
            blocks += fold.drain()
        else:
            blocks.append(retyped(fold_block(block_of(grouped(part), typed), name), typed))
    got = reduced(name, blocks, typed, merged)
    reduce = builtin_reducer(name)
    # A tuple with NaN in it stands in no order to others: which of them are largest is chance.
    values = [value for part in parts for _, value in part if type(value) is tuple]
    assume(not name.startswith("top") or all(part == part for value in values for part in value))
    every = grouped([pair for part in parts for pair in part])
    assert [key for key, _ in got] == [key for key, _ in every]
    for (_, result), (_, values) in zip(got, every, strict=True):
        want = outcome(reduce, values)
        assert same(result, want), (values, result, want)


@pytest.mark.parametrize("name", NAMES)
@given(
    st.sampled_from(sorted(numbers)).flatmap(lambda kind: spills(numbers[kind])),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
@example([[("a", math.nan), ("a", 1.0)], [("a", 0.0)]], True, True, False)
@example([[("a", 1.0)], [("a", math.nan), ("a", 0.0)]], True, False, False)
@example([[("a", math.nan)], [("a", 0.0), ("a", 2.0), ("a", 1.0), ("a", 5.0)]], True, True, False)
@example([[("a", 1), ("a", 1.0), ("a", True), ("a", 0)], [("a", False)]], False, False, True)
@example([[("a", 1e300), ("a", 1e-300), ("a", 5e-324)], [("a", -1e300)]], True, True, False)
@example([[("a", 0.0), ("a", -0.0)], [("a", -0.0)]], True, True, False)
@settings(max_examples=60)
def test_numbers_fold_to_what_all_of_them_give(
    name: str, parts: Spills, typed: bool, merged: bool, in_dicts: bool
) -> None:
    check(name, parts, typed, merged, in_dicts)


@pytest.mark.parametrize("name", NAMES)
@given(
    st.sampled_from(sorted(others)).flatmap(lambda kind: spills(others[kind])),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=30)
def test_other_values_fold_to_what_all_of_them_give(
    name: str, parts: Spills, typed: bool, merged: bool, in_dicts: bool
) -> None:
    check(name, parts, typed, merged, in_dicts)


def long_groups() -> Groups:
    """Groups of 1 to 40,000 values, ill-conditioned, with NaN and infinities in some."""
    chance = random.Random(7)
    groups: Groups = []
    for number, size in enumerate([1, 40_000, 3, 1, 1, 17_000, 2, 900, 33_000, 1, 5]):
        values = [chance.uniform(-1, 1) * 10.0 ** chance.randint(-12, 12) for _ in range(size)]
        values += [-value for value in values[: size // 2]]
        if number % 4 == 3:
            values.insert(size // 2, math.nan)
        if number == 7:
            values += [math.inf, 1.0]
        groups.append((f"k{number:02}", values))
    groups.append(("near", [1e9 + i * math.ulp(1e9) for i in range(3000)]))
    return groups


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("list", "set")])
@pytest.mark.parametrize("parts", [1, 5])
def test_long_groups(name: str, parts: int) -> None:
    groups = long_groups()
    dealt = [
        [(key, values[len(values) * at // parts : len(values) * (at + 1) // parts])]
        for at in range(parts)
        for key, values in groups
    ]
    blocks = [fold_block(block_of([pair], True), name) for (pair,) in dealt if pair[1]]
    whole = [fold_block(block_of(groups, True), name)] if parts == 1 else blocks
    got = reduced(name, whole, True, parts > 1)
    reduce = builtin_reducer(name)
    for (key, result), (_, values) in zip(got, groups, strict=True):
        assert same(result, reduce(values)), key


@pytest.mark.parametrize("name", ["sum", "mean", "stats", "max", "count"])
def test_large_ints(name: str) -> None:
    groups: Groups = [
        ("a", [2**62] * 3000),
        ("b", [1_700_000_000 + n for n in range(3000)]),
        ("c", [-(2**63), 2**63 - 1, -1]),
        ("d", [7]),
    ]
    blocks = [fold_block(block_of(groups, True), name) for _ in range(2)]
    reduce = builtin_reducer(name)
    for (_, result), (_, values) in zip(reduced(name, blocks, True, True), groups, strict=True):
        assert same(result, reduce(values * 2))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "list"])
def test_typed_columns_stay_typed(name: str) -> None:
    values = [float(n * 7 % 1000) for n in range(20_000)]
    block = block_of([(f"k{n}", values[n * 20 : n * 20 + 20]) for n in range(1000)], True)
    folded = fold_block(block, name)
    assert isinstance(folded.columns[0], ArrowColumn)
    merged = merge_block(join([folded, folded]), name)
    assert merged.pairs == folded.pairs  # nothing is kept twice
    finished = finish_block(merged, name)
    if name in ("set", "top:1", "top:3"):
        assert finished is None  # sets and lists are Python's
    else:
        assert finished is not None
        assert name == "stats" or isinstance(finished.columns[0], ArrowColumn)


@pytest.mark.parametrize("kind", ["ints", "prices", "close"])
def test_any_cut_gives_the_same_deviation_to_the_last_digit(kind: str) -> None:
    chance = random.Random(3)
    draw: dict[str, Callable[[], Any]] = {
        "ints": lambda: chance.randint(-999, 99_999),
        "prices": lambda: round(chance.uniform(0, 100), 2),
        "close": lambda: chance.gauss(1e6, 1),
    }
    groups: Groups = [(f"k{n:03}", [draw[kind]() for _ in range(2 + n % 37)]) for n in range(600)]
    want = [builtin_reducer("stats")(values) for _, values in groups]
    for parts in (1, 2):
        blocks = [
            fold_block(
                block_of([(key, values[at::parts]) for key, values in groups], True), "stats"
            )
            for at in range(parts)
        ]
        assert [result for _, result in reduced("stats", blocks, True, False)] == want
