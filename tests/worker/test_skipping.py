"""``--on-error skip`` in one map task: exactly bad records are left out, wherever slices are cut.

The oracle is a loop over the records which forgets what a record gave and counted when it raises.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrkernel.data import pickles
from mrkernel.data.head import head
from mrkernel.data.records import Batch, ItemBatch, Unreadable
from mrkernel.job import counters, randomness
from mrkernel.job.bad_records import BadRecord
from mrkernel.job.counters import counter
from mrkernel.job.failure import UserCodeError
from mrkernel.job.mapping import MapCall
from mrkernel.worker import skipping
from mrkernel.worker.map_records import Done, map_records
from mrkernel.worker.progress import ProgressCell
from mrkernel.worker.skipping import Skipping

Pairs = list[tuple[Any, Any]]


class Kept:
    """A sink."""

    def __init__(self) -> None:
        self.pairs: Pairs = []

    def add(self, pairs: Pairs) -> None:
        self.pairs += pairs

    def add_columns(self, keys: Any, values: Any) -> None:
        raise NotImplementedError


def batches_of(records: list[Any], cuts: list[int] = []) -> Iterator[Batch]:  # noqa: B006
    edges = [0, *sorted(cuts), len(records)]
    for start, stop in pairwise(edges):
        data = pickles.dumps(records[start:stop])
        yield ItemBatch(
            pickles.loads(data), "items", start, 10, lambda data=data: pickles.loads(data)
        )


def skipped(
    mapper: Any,
    records: list[Any],
    *,
    most: int = 1000,
    skip: tuple[int, ...] = (),
    cuts: list[int] = [],  # noqa: B006
    exact: bool = False,
    stateful: bool = False,
    first_slice: int = 16,
    cell: ProgressCell | None = None,
) -> tuple[Pairs, dict[str, int], list[BadRecord]]:
    """Run a map task over the records; give pairs, counters and bad records."""
    done, kept = Done(), Kept()
    randomness.seed(0, "map-0")
    with patch.object(skipping, "FIRST_SLICE", first_slice), counters.collect() as counted:
        Skipping("map-0", most, skip, stateful=stateful, exact=exact).map_records(
            batches_of(records, cuts), MapCall(mapper), kept, cell or ProgressCell(), done
        )
    assert done.records == len(records)
    assert done.pairs == len(kept.pairs)
    return kept.pairs, counted, done.bad


def forgetting(mapper: Callable[[Any], Any], records: list[Any]) -> tuple[Pairs, dict[str, int]]:
    """The oracle."""
    pairs: Pairs = []
    sums: dict[str, int] = {}
    for record in records:
        with counters.collect() as counted:
            try:
                made = [(key, value) for key, value in mapper(record)]
            except Exception:
                continue
        if all(type(key) in (int, str) for key, _ in made):
            pairs += made
            for name, n in counted.items():
                sums[name] = sums.get(name, 0) + n
    return pairs, sums


def picky(number: int) -> Iterator[tuple[Any, Any]]:
    """Raises for some records, early or late, and gives keys and pairs that are none for others."""
    counter("seen").add(1)
    yield number % 5, number
    if number % 7 == 0:
        raise ValueError(number)
    counter("half").add(number)
    if number % 11 == 0:
        yield [number], 1
    yield "all", 1
    if number % 13 == 0:
        yield number  # type: ignore[misc]
    counter("done").add(1)


@given(
    st.lists(st.integers(1, 200), max_size=60),
    st.lists(st.integers(0, 60), max_size=3),
    st.integers(1, 20),
    st.booleans(),
    st.booleans(),
)
def test_a_task_is_as_if_its_bad_records_were_not_there(
    numbers: list[int], cuts: list[int], first: int, exact: bool, stateful: bool
) -> None:
    cuts = [min(cut, len(numbers)) for cut in cuts]
    got, counted, bad = skipped(
        picky, numbers, cuts=cuts, first_slice=first, exact=exact, stateful=stateful
    )
    assert (got, counted) == forgetting(picky, numbers)
    wrong = [n for n, number in enumerate(numbers) if any(number % p == 0 for p in (7, 11, 13))]
    assert [each.index for each in bad] == wrong
    assert [each.offset for each in bad] == wrong
    assert [pickles.loads(each.pickled)[1] for each in bad] == [numbers[n] for n in wrong]
    assert {each.file for each in bad} <= {"items"}


def test_ten_bad_lines_of_a_hundred_thousand_are_exactly_ten() -> None:
    lines = [str(n) for n in range(100_000)]
    chosen = sorted(random.Random(4).sample(range(100_000), 10))
    for place in chosen:
        lines[place] = f"x{place}"

    def number(line: str) -> Iterator[tuple[int, int]]:
        yield int(line) % 10, int(line)

    pairs, _, bad = skipped(number, lines, most=10)
    assert len(pairs) == 99_990
    assert sum(value for _, value in pairs) == sum(set(range(100_000)) - set(chosen))
    assert [each.index for each in bad] == chosen
    assert [each.record for each in bad] == [f"'x{place}'" for place in chosen]
    assert bad[0].error == f"ValueError: invalid literal for int() with base 10: 'x{chosen[0]}'"
    assert "in number" in bad[0].traceback
    assert "yield int(line) % 10, int(line)" in bad[0].traceback
    with pytest.raises(UserCodeError) as caught:
        skipped(number, lines, most=9)
    failure = caught.value.failure
    assert failure.kind == "user"
    assert failure.sentence.startswith(
        "10 records of map-0 are bad, and --on-error skip:9 goes on without 9 records: mend the "
        f"mapper, or allow more (items[{chosen[0]}]: ValueError: invalid literal"
    )
    assert failure.index == chosen[9]  # the one too many, for a debugger
    assert pickles.loads(failure.evidence) == (("items", chosen[9]), f"x{chosen[9]}")


def test_chance_does_not_depend_on_slices() -> None:
    def chancy(number: int) -> Iterator[tuple[int, float]]:
        drawn = random.random()
        if number % 9 == 0:
            raise KeyError(number)
        yield number, drawn

    numbers = list(range(1, 50))
    one_by_one = skipped(chancy, numbers, exact=True)[0]
    for first in (1, 2, 7, 16, 100):
        assert skipped(chancy, numbers, first_slice=first)[0] == one_by_one


def test_records_that_the_mapper_changes_are_mapped_as_they_were_read() -> None:
    def change(row: dict[str, Any]) -> Iterator[tuple[str, float]]:
        price = row["price"] = float(row.pop("price")) * 2
        yield row.pop("name"), price

    rows = [{"name": f"n{n}", "price": "x" if n == 5 else str(n)} for n in range(12)]
    pairs, _, bad = skipped(change, rows)
    assert pairs == [(f"n{n}", 2.0 * n) for n in range(12) if n != 5]
    (only,) = bad
    assert pickles.loads(only.pickled) == (("items", 5), {"name": "n5", "price": "x"})
    assert only.record == "{'name': 'n5', 'price': 'x'}"


def test_the_head_of_a_batch_is_mapped_like_a_batch() -> None:
    def change(row: dict[str, str]) -> Iterator[tuple[str, int]]:
        yield "n", int(row.pop("n"))

    rows = [{"n": "x" if n == 3 else str(n)} for n in range(9)]
    done, kept = Done(), Kept()
    work = Skipping("map-0", 9, (), stateful=False, exact=False)
    work.map_records(head(batches_of(rows), 6), MapCall(change), kept, ProgressCell(), done)
    assert [value for _, value in kept.pairs] == [0, 1, 2, 4, 5]
    assert [bad.index for bad in done.bad] == [3]


def test_a_class_sees_every_record_once_and_its_end_is_never_skipped() -> None:
    class Running:
        def __init__(self) -> None:
            self.calls = 0

        def __call__(self, number: int) -> Iterator[tuple[str, int]]:
            self.calls += 1
            if number == 3:
                raise ValueError("three")
            yield "calls", self.calls

        def finish(self) -> Iterator[tuple[str, int]]:
            yield "end", self.calls

    pairs, _, bad = skipped(Running, [1, 2, 3, 4], stateful=True)
    assert pairs == [("calls", 1), ("calls", 2), ("calls", 4), ("end", 4)]
    assert [each.index for each in bad] == [2]

    class Ends(Running):
        def finish(self) -> Iterator[tuple[str, int]]:
            raise OSError("no end")

    with pytest.raises(UserCodeError, match="no end"):
        skipped(Ends, [1], stateful=True)


def test_a_value_that_cannot_be_sent_is_the_fault_of_its_record() -> None:
    def gives(number: int) -> Iterator[tuple[int, Any]]:
        yield number, [number]
        yield number, (x for x in ()) if number == 2 else number

    pairs, _, bad = skipped(gives, [1, 2, 3])
    assert pairs == [(1, [1]), (1, 1), (3, [3]), (3, 3)]
    assert [each.error for each in bad] == [
        "value 1 is a generator and cannot be sent between processes: yield list(value) instead"
    ]


def test_what_could_not_be_read_is_a_bad_record_of_its_own() -> None:
    records = ["1", Unreadable("{no", "not JSON, character 2 (Expecting value)"), "3"]
    pairs, _, bad = skipped(lambda text: [(text, 1)], records)
    assert pairs == [("1", 1), ("3", 1)]
    (only,) = bad
    assert (only.index, only.record) == (1, "'{no'")
    assert only.error == "not JSON, character 2 (Expecting value)"
    assert (only.traceback, only.pickled) == ("", b"")


def test_records_that_kill_are_not_given_to_the_mapper() -> None:
    seen = []

    def mapper(number: int) -> list[tuple[int, int]]:
        seen.append(number)
        return [(number, 1)]

    pairs, _, bad = skipped(mapper, [10, 20, 30, 40, 50], skip=(1, 3), cuts=[3])
    assert seen == [10, 30, 50]
    assert [key for key, _ in pairs] == [10, 30, 50]
    assert [(each.index, each.error, each.where) for each in bad] == [
        (1, "", "items[1]"),
        (3, "", "items[3]"),
    ]
    assert pickles.loads(bad[1].pickled) == (("items", 3), 40)


def test_a_job_that_skips_nothing_may_still_leave_out_what_kills() -> None:
    pairs, _, bad = skipped(lambda n: [(n, 1 // n)], [1, 0, 1], most=0, skip=(1,))
    assert (len(pairs), [each.index for each in bad]) == (2, [1])
    with pytest.raises(UserCodeError, match=r"^mapper raised ZeroDivisionError") as caught:
        skipped(lambda n: [(n, 1 // n)], [1, 0, 1, 0], most=0, skip=(1,))
    assert caught.value.failure.index == 3


@pytest.mark.parametrize("with_skip", [True, False])
def test_a_careful_task_writes_down_every_record_before_the_mapper_sees_it(with_skip: bool) -> None:
    cell = ProgressCell()
    told = []

    def mapper(number: int) -> list[tuple[int, int]]:
        told.append((cell.place(), cell.index(), cell.read()[1]))
        return [(number, 1)]

    if with_skip:
        skipped(mapper, [10, 20, 30], cuts=[1], exact=True, cell=cell)
    else:
        cuts = batches_of([10, 20, 30], [1])
        map_records(cuts, MapCall(mapper), Kept(), cell, Done(), exact=True)
    assert told == [("items[0]", 0, 0), ("items[1]", 1, 1), ("items[2]", 2, 2)]


def test_without_skip_a_failure_counts_its_record_from_the_beginning_of_the_split() -> None:
    def mapper(number: int) -> list[tuple[int, int]]:
        return [(1 // number, 1)]

    with pytest.raises(UserCodeError) as caught:
        map_records(batches_of([3, 2, 1, 0], [3]), MapCall(mapper), Kept(), ProgressCell(), Done())
    failure = caught.value.failure
    assert (failure.role, failure.index, failure.where) == ("mapper", 3, "items[3]")
    assert pickles.loads(failure.evidence) == (("items", 3), 0)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_many_large_bad_records_are_kept_up_to_a_limit() -> None:
    def refuse(text: str) -> list[tuple[str, int]]:
        raise ValueError(len(text))

    with patch.object(skipping, "PICKLED_BYTES", 250):
        bad = skipped(refuse, ["x" * 100] * 3)[2]
    assert [bool(each.pickled) for each in bad] == [True, False, False]
