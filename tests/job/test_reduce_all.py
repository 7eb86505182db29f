"""`ReduceCall.reduce_all`, the loop in C, gives what `ReduceCall.reduce`, the plain one, gives."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from oracle import exactly

from mrkernel.job.failure import UserCodeError
from mrkernel.job.reducing import ReduceCall, Reduced
from mrkernel.shuffle.values import OpenGroups, Values

GROUPS: list[tuple[str, list[int]]] = [(f"k{i}", list(range(i % 4 + 1))) for i in range(9)]


def opened(groups: list[tuple[str, list[int]]] | None = None) -> OpenGroups:
    groups = GROUPS if groups is None else groups
    return OpenGroups([key for key, _ in groups], [list(items) for _, items in groups])


def each(groups: list[tuple[str, list[int]]]) -> Iterator[tuple[str, Values]]:
    for key, items in groups:
        yield key, Values(items)


def one(key: Any, values: Any) -> Any:
    yield key, sum(values)


def none_or_several(key: Any, values: Any) -> Any:
    for value in values:
        if value:
            yield key, value


def other_keys(key: Any, values: Any) -> Any:
    yield key, 0
    if len(values) == 2:
        yield "k0", 1


def borrowed(key: Any, values: Any) -> Any:
    """Two groups' worth of pairs from every second group: as many as groups, not one of each."""
    if len(values) % 2:
        yield key, 0
        yield key + "", 1


def the_values(key: Any, values: Any) -> Any:
    yield key, values
    yield [key, values]


def returns(key: Any, values: Any) -> Any:
    return max(values)


def returns_none_later(key: Any, values: Any) -> Any:
    if key == "k0":
        return len(values)
    return [None][0 if values else 1]


def returns_the_values(key: Any, values: Any) -> Any:
    return values


def returns_generators(key: Any, values: Any) -> Any:
    return ((key, value) for value in values)


def sometimes_a_generator(key: Any, values: Any) -> Any:
    return len(values) if len(values) < 3 else one(key, values)


class Gathers:
    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, key: Any, values: Any) -> Any:
        self.seen += len(values)

    def finish(self) -> Any:
        yield "all", self.seen


class Yields:
    def __call__(self, key: Any, values: Any) -> Any:
        yield key, list(values)


REDUCERS: list[Any] = [
    one,
    none_or_several,
    other_keys,
    borrowed,
    the_values,
    returns,
    returns_none_later,
    returns_the_values,
    returns_generators,
    sometimes_a_generator,
    Gathers,
    Yields,
    "sum",
    "max",
    "set",
]


def flat(reduced: Reduced) -> Any:
    out_keys = reduced.out_keys
    if out_keys is None:
        out_keys = [
            key
            for key, count in zip(reduced.keys, reduced.counts, strict=True)
            for _ in range(count)
        ]
    return exactly([reduced.keys, reduced.counts, out_keys, list(reduced.values)])


@pytest.mark.parametrize("reducer", REDUCERS)
@pytest.mark.parametrize("number", [0, 1, 2, 9])
def test_both_loops_agree(reducer: Any, number: int) -> None:
    plain, fast = ReduceCall(reducer), ReduceCall(reducer)
    for groups in (GROUPS[:number], GROUPS[number:]):
        given = opened(groups)
        assert flat(fast.reduce_all(given)) == flat(plain.reduce(each(groups)))
        if not isinstance(reducer, str):
            assert all(repr(values) == "<Values, closed>" for values in given.values)
    assert exactly(fast.finish()) == exactly(plain.finish())


def raises(key: Any, values: Any) -> Any:
    yield key, 1
    if key == "k5":
        raise ZeroDivisionError("no")


def raises_at_once(key: Any, values: Any) -> Any:
    return 1 // (key != "k5")


def stops(key: Any, values: Any) -> Any:
    return next(iter([1] if key != "k5" else []))


def stops_inside(key: Any, values: Any) -> Any:
    yield key, next(iter([1] if key != "k5" else []))


def lazy(key: Any, values: Any) -> Any:
    return map(str, values) if key == "k5" else 1


def no_pair(key: Any, values: Any) -> Any:
    yield (key, 1) if key != "k5" else key


def never(key: Any, values: Any) -> Any:
    return [None][0 if values else 1]


def bad_generator(key: Any, values: Any) -> Any:
    return (1 // value for value in values) if key == "k5" else 1


@pytest.mark.parametrize(
    "reducer",
    [raises, raises_at_once, stops, stops_inside, lazy, no_pair, never, bad_generator],
)
def test_both_loops_fail_alike(reducer: Callable[..., Any]) -> None:
    with pytest.raises(UserCodeError) as plain:
        ReduceCall(reducer).reduce(each(GROUPS))
    with pytest.raises(UserCodeError) as fast:
        ReduceCall(reducer).reduce_all(opened())
    ours, theirs = fast.value.failure, plain.value.failure
    assert (ours.sentence, ours.where, ours.record) == (
        theirs.sentence,
        theirs.where,
        theirs.record,
    )


def test_built_ins_fail_alike() -> None:
    groups: Any = [("a", [1]), ("b", ["x", 1])]
    with pytest.raises(UserCodeError) as plain:
        ReduceCall("sum").reduce(each(groups))
    with pytest.raises(UserCodeError) as fast:
        ReduceCall("sum").reduce_all(opened(groups))
    assert fast.value.failure.sentence == plain.value.failure.sentence


def test_values_end_before_the_next_call() -> None:
    kept: list[Any] = []
    told = collections.Counter[str]()

    def keeps(key: Any, values: Any) -> Any:
        for old in kept:
            try:
                list(old)
            except ValueError as error:
                told[str(error)[:12]] += 1
        kept[:] = [values]
        yield key, len(values)

    for reducer in (keeps, lambda key, values: next(keeps(key, values))[1]):
        kept.clear()
        told.clear()
        ReduceCall(reducer).reduce_all(opened())
        assert told == {"these values": 8}
