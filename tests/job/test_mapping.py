from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrkernel.data.records import ItemBatch
from mrkernel.errors import JobSpecError
from mrkernel.job.failure import Failure, UserCodeError
from mrkernel.job.mapping import MapCall


def batch(*records: Any) -> ItemBatch:
    return ItemBatch(list(records), "words", 100)


def failure(mapper: Any, *records: Any) -> Failure:
    with pytest.raises(UserCodeError) as caught:
        MapCall(mapper).pairs(batch(*records))
    return caught.value.failure


def words(line: str) -> Iterator[tuple[str, int]]:
    for word in line.split():
        yield word, 1


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=4).map(" ".join)), st.data())
def test_slices_together_give_what_a_loop_gives(lines: list[str], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(lines)))
    call = MapCall(words)
    got = call.pairs(batch(*lines), 0, cut) + call.pairs(batch(*lines), cut)
    assert got == [pair for line in lines for pair in words(line)]


def test_forms_of_mappers() -> None:
    class Point(NamedTuple):
        x: int
        y: int

    class Adder:
        def __init__(self, start: int) -> None:
            self.start = start

        def method(self, n: int) -> list[tuple[int, int]]:
            return [(n, n + self.start)]

    assert MapCall(lambda n: [(n, 1)]).pairs(batch(5)) == [(5, 1)]
    assert MapCall(lambda n: [[n, 1]]).pairs(batch(5)) == [(5, 1)]
    assert MapCall(lambda n: [Point(n, 2)]).pairs(batch(5)) == [(5, 2)]
    assert type(MapCall(lambda n: [Point(n, 2)]).pairs(batch(5))[0]) is tuple
    assert MapCall(lambda n: {n: 2}.items()).pairs(batch(5)) == [(5, 2)]
    assert MapCall(lambda n: iter([(n, 1)])).pairs(batch(5)) == [(5, 1)]
    assert MapCall(lambda n, *rest, k=3: [(n, k)]).pairs(batch(5)) == [(5, 3)]
    assert MapCall(Adder(10).method).pairs(batch(1)) == [(1, 11)]
    assert MapCall(partial(lambda a, n: [(n, a)], 7)).pairs(batch(1)) == [(1, 7)]
    assert MapCall(lambda key, n: [(key, n)]).pairs(batch(8, 9), 1) == [(("words", 101), 9)]


def test_a_plain_function_may_leave_records_out() -> None:
    def errors(line: str) -> Any:
        if "ERROR" in line:
            return [(line, 1)]
        return None

    assert MapCall(errors).pairs(batch("ok", "ERROR 1", "ok")) == [("ERROR 1", 1)]


def test_a_class_is_made_once_and_finishes() -> None:
    class Counting:
        def __init__(self) -> None:
            self.seen: dict[str, int] = {}

        def __call__(self, word: str) -> None:
            self.seen[word] = self.seen.get(word, 0) + 1

        def finish(self) -> Iterator[tuple[str, int]]:
            yield from self.seen.items()

    call = MapCall(Counting)
    assert call.pairs(batch("a", "b", "a")) == []
    assert call.pairs(batch("a")) == []
    assert call.finish() == [("a", 3), ("b", 1)]
    assert MapCall(words).finish() == []


def test_the_error_names_line_record_and_place() -> None:
    def broken(n: int) -> Iterator[tuple[int, float]]:
        yield n, 0
        yield n, 1 / (n - 3)

    found = failure(broken, 1, 2, 3, 4)
    assert found.error_type == "ZeroDivisionError"
    assert found.where == "words[102]"
    assert found.record == "3"
    assert [frame.function.rpartition(".")[2] for frame in found.frames] == ["broken"]
    assert found.frames[0].code.strip() == "yield n, 1 / (n - 3)"
    assert found.sentence.startswith("mapper raised ZeroDivisionError: division by zero (line ")
    assert found.sentence.endswith("; words[102])")


def test_library_and_own_frames_are_dropped() -> None:
    found = failure(lambda line: json.loads(line), "{")
    assert [frame.function.rpartition(".")[2] for frame in found.frames] == ["<lambda>"]


@pytest.mark.parametrize("position", [0, 1, 2])
def test_the_failing_record_is_found_anywhere(position: int) -> None:
    records: list[Any] = ["a b", "c", "d"]
    records[position] = None
    found = failure(words, *records)
    assert found.where == f"words[{100 + position}]"


def test_a_leaked_stop_iteration_does_not_lose_records() -> None:
    def first_word(line: str) -> list[tuple[str, int]]:
        return [(next(iter(line.split())), 1)]

    for records in (("a", "", "b"), ("a", "")):
        found = failure(first_word, *records)
        assert found.error_type == "StopIteration"
        assert found.where == "words[101]"
        assert "give next() a default" in found.hint
        assert found.frames[0].function == "first_word"
    assert MapCall(first_word).pairs(batch()) == []


def test_exit_in_a_mapper_is_its_fault() -> None:
    def leave(line: str) -> Any:
        raise SystemExit(3)

    assert failure(leave, "a").hint.startswith("a mapper may not end the process")


def test_an_interrupt_passes() -> None:
    def interrupted(line: str) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        MapCall(interrupted).pairs(batch("a"))


def yields(item: Any) -> Callable[[str], Iterator[Any]]:
    def mapper(line: str) -> Iterator[Any]:
        yield line, 1
        yield item

    return mapper


@pytest.mark.parametrize(
    ("mapper", "sentence"),
    [
        (
            yields("the"),
            "the mapper yields 'the' (a str), not a pair: a pair needs a value: write yield word, "
            "1 instead of yield word (words[100])",
        ),
        (yields("ab"), "the mapper yields 'ab' (a str), not a pair"),
        (yields(7), "a pair needs a value: write yield key, value, such as yield number, 1"),
        (yields(None), "write yield key, value, such as yield word, 1"),
        (yields(("a",)), "('a',) (a tuple of 1 thing), not a pair: a pair needs a value"),
        (yields(("a", 1, 2)), "put the values together: write yield key, (value1, value2)"),
        (
            yields([("a", 1), ("b", 2), ("c", 3)]),
            "write yield from pairs, with the list's own name",
        ),
        (yields({"a": 1}), "write yield from counts.items(), with the dict's own name"),
        (yields(x for x in "ab"), "write yield from pairs, with its own name"),
        (
            lambda line: (line, 1),
            "the mapper returns a pair, ('the cat', 1): write yield key, value",
        ),
        (lambda line: {"a": 1}, "the mapper returns a dict: write return counts.items()"),
        (
            lambda line: line,
            "the mapper returns 'the cat' (a str), not pairs: write yield key, value",
        ),
        (lambda line: 7, "the mapper returns 7 (an int), not pairs: write yield key, value"),
        (lambda line: line.split(), "the mapper returns a list with 'the', which is no pair"),
    ],
)
def test_slips_of_shape(mapper: Any, sentence: str) -> None:
    found = failure(mapper, "the cat")
    assert sentence in found.sentence
    assert found.where == "words[100]"
    assert found.record == "'the cat'"


def test_the_record_of_a_slip_is_found_among_many() -> None:
    def mapper(n: int) -> Iterator[Any]:
        yield n if n == 700 else (n, 1)

    found = failure(mapper, *range(1000))
    assert (found.record, found.where) == ("700", "words[800]")


def nothing() -> Any:
    return [(1, 1)]


def three(a: Any, b: Any, c: Any) -> Any:
    return [(a, b)]


def keyword(record: Any, *, sep: str) -> Any:
    return [(record, sep)]


async def later(record: Any) -> Any:
    return [(record, 1)]


def prints(record: str) -> None:
    print(record, 1)


def forgets(record: str) -> None:
    record.split()


class NoCall:
    def map(self, record: Any) -> Any:
        return []


class NoSelf:
    def __call__() -> Any:  # type: ignore[misc]
        return []


class NeedsArgument:
    def __init__(self, column: str) -> None: ...

    def __call__(self, record: Any) -> Any:
        return []


@pytest.mark.parametrize(
    ("mapper", "sentence"),
    [
        (nothing, "the mapper nothing takes no argument: write def nothing(record) for the record"),
        (three, "the mapper three takes 3 arguments: write def three(record) for the record, or"),
        (keyword, "the mapper keyword needs sep=…, which nobody passes: give it a default"),
        (later, "the mapper later is async: write def later(…), without async"),
        (
            prints,
            "the mapper prints prints and never yields, so it gives no pairs: write yield key, "
            "value in place of print(key, value)",
        ),
        (forgets, "the mapper forgets never yields, so it gives no pairs: write yield key, value"),
        (NoCall, "write its method as def __call__(self, record)"),
        (NoSelf, "NoSelf.__call__ takes no argument: write def __call__(self, record)"),
        (NeedsArgument, "class NeedsArgument needs column to be made"),
        ("wc.py", "the mapper is a str and cannot be called: write def mapper(record)"),
        (None, "the mapper is a NoneType and cannot be called"),
        (dict, "the mapper dict is Python's own dict"),
        (lambda: 1, "the mapper lambda takes no argument: write lambda record: …"),
    ],
)
def test_what_is_no_mapper(mapper: Any, sentence: str) -> None:
    with pytest.raises(JobSpecError) as caught:
        MapCall(mapper)
    assert sentence in str(caught.value)


def test_a_class_that_raises_when_made() -> None:
    class Broken:
        def __init__(self) -> None:
            raise ValueError("no such file")

        def __call__(self, record: Any) -> Any:
            return []

    with pytest.raises(UserCodeError, match=r"mapper raised ValueError: no such file .*Broken\(\)"):
        MapCall(Broken)


ROW = {"year": 1990, "month": 5, "temperature": 3.5}


@pytest.mark.parametrize(
    ("mapper", "record", "hint"),
    [
        (
            lambda row: [(row["yaer"], 1)],
            ROW,
            "record has no column 'yaer'; it has year, month, temperature; did you mean 'year'?",
        ),
        (lambda row: [(row["Year"], 1)], ROW, "did you mean 'year'?"),
        (lambda row: [(row["zzz"], 1)], ROW, "it has year, month, temperature"),
        (lambda row: [(row.year, 1)], ROW, "write record['year'] instead of record.year"),
        (lambda row: [(row["year"], 1)], "1990,5", "cut it first, such as line.split(',')"),
        (lambda line: [(line.split(",")[3], 1)], "1990,5", "this line has fewer fields"),
        (lambda line: [(k, v) for k, v in [line.split(",")]], "a", "another number of fields"),
        (lambda line: [(undefined_name, 1)], "a", "undefined_name is not defined where"),  # noqa: F821
    ],
)
def test_hints(mapper: Any, record: Any, hint: str) -> None:
    assert hint in failure(mapper, record).hint


def test_a_key_error_of_another_dict_gets_no_column_hint() -> None:
    codes = {1991: "b"}
    assert failure(lambda row: [(codes[row["year"]], 1)], ROW).hint == ""
    assert failure(lambda row: [({}["year"], 1)], ROW).hint == ""


def test_a_record_without_working_repr_and_an_error_without_str() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise ValueError

    class Record:
        def __repr__(self) -> str:
            raise ValueError

    def mapper(record: Any) -> Any:
        if record:
            raise Odd
        return []

    found = failure(mapper, Record())
    assert "Record" in found.record
    assert "its __str__ raised ValueError" in found.message


def test_a_long_record_is_cut() -> None:
    found = failure(lambda line: 1 / 0, "x" * 10**6)
    assert len(found.record) <= 200
    assert found.record.startswith("'xxx")


def test_a_failure_in_finish() -> None:
    class Bad:
        def __call__(self, record: Any) -> Any:
            return []

        def finish(self) -> Any:
            return ["word"]

    with pytest.raises(
        UserCodeError, match=r"the mapper's finish\(\) yields 'word' \(a str\), not"
    ):
        MapCall(Bad).finish()


def test_the_dict_that_would_pass_is_refused() -> None:
    call = MapCall(lambda line: {("a", "b"): 3})
    assert call.pairs(batch("x")) == [("a", "b")]
    with pytest.raises(UserCodeError, match="the mapper returns a dict"):
        call.try_one(batch("x"), 0)


def test_a_record_of_many_pairs_comes_in_pieces() -> None:
    def mapper(n: int) -> Iterator[tuple[int, int]]:
        for i in range(n):
            yield n, i

    call, batch = MapCall(mapper), ItemBatch([5, 0, 12, 3], "items")
    pieces = list(call.pieces(batch, most=4))
    assert [len(piece) for piece in pieces] == [4, 4, 4, 4, 4]
    assert list(chain.from_iterable(pieces)) == call.pairs(batch)
    assert len(call.pairs(batch)) == 20
    assert list(call.pieces(batch, 1, 2, most=4)) == []
