"""Slips and broken inputs: one sentence that says what to write instead, and nothing is lost."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jobs import functions
from refusals import matches, pair, refused

import mrkernel
from mrkernel.errors import JobSpecError, MRKernelError, TaskFailedError

# --- functions ------------------------------------------------------------------------------------


class NoCall:
    def map(self, record: Any) -> list[Any]:
        return []


class NeedsMore:
    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, record: Any) -> list[Any]:
        return []


class Raises:
    def __init__(self) -> None:
        raise OSError("no such database")

    def __call__(self, record: Any) -> list[Any]:
        return []


async def later(record: Any) -> Any:
    return [(record, 1)]


def prints(record: Any) -> None:
    print(record, 1)


def forgets_return(key: Any, values: Any) -> None:
    sum(values)


MAPPERS = {
    "missing": (None, "has no mapper: write def mapper"),
    "a number": (5, "the mapper is an int and cannot be called: write def mapper"),
    "a name": ("mapper", "the mapper is a str and cannot be called"),
    "no argument": (lambda: [1], "takes no argument: write lambda record"),
    "too many": (lambda a, b, c: [], "takes 3 arguments: write lambda record"),
    "async": (later, "is async: write def later"),
    "prints": (prints, "prints and never yields.* write yield key, value in place of print"),
    "a type": (int, "is Python's own int: write def mapper"),
    "a class without call": (NoCall, "write its method as def __call__"),
    "a class with arguments": (NeedsMore, "needs path to be made"),
}


@pytest.mark.parametrize("slip", MAPPERS)
def test_a_mapper_that_cannot_be_one(place: Any, slip: str) -> None:
    mapper, said = MAPPERS[slip]
    assert matches(said, refused(place, JobSpecError, mapper, [1], "sum"))


@pytest.mark.parametrize(
    ("reducer", "said"),
    [
        (None, "has no reducer: write def reducer.*--reducer none for a map-only job"),
        (5, "the reducer is an int and cannot be called: write def reducer"),
        ("summ", "no built-in reducer 'summ': did you mean 'sum'"),
        ("top:0", "write top:N with N from 1"),
        (sum, 'is Python\'s own sum.*"sum" in quotes'),
        (lambda key: 1, "takes 1 argument: write lambda key, values"),
        (forgets_return, "no return, so it gives nothing back: end it with return"),
    ],
)
def test_a_reducer_that_cannot_be_one(place: Any, reducer: Any, said: str) -> None:
    assert matches(said, refused(place, JobSpecError, pair, [1], reducer))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"combiner": "avg"}, "no built-in combiner 'avg': there are sum, min, max"),
        ({"combiner": "mean"}, "mean is no combiner, because"),
        ({"combiner": "count"}, "it would count counts"),
        ({"combiner": 5}, "the combiner is an int and cannot be called"),
        ({"combiner": lambda key: 1}, "takes 1 argument: write lambda key, values"),
        ({"partitioner": "hash"}, "the partitioner is a str and cannot be called"),
    ],
)
def test_a_combiner_or_partitioner_that_cannot_be_one(place: Any, options: Any, said: str) -> None:
    assert matches(said, refused(place, JobSpecError, pair, [1], "sum", **options))


@pytest.mark.parametrize("option", ["combiner", "partitioner", "reduce_tasks"])
def test_a_map_only_job_has_no_shuffle(place: Any, option: str) -> None:
    value = {"combiner": "sum", "partitioner": len, "reduce_tasks": 2}[option]
    said = refused(place, JobSpecError, pair, [1], "none", **{option: value})
    assert f"leave --{option.replace('_', '-')} out" in said


def test_a_class_that_raises_when_it_is_made(place: Any) -> None:
    said = refused(place, TaskFailedError, Raises, [1], "sum")
    assert matches(r"mapper raised OSError: no such database \(line \d+ of .*Raises\(\)\)", said)


# --- pairs ----------------------------------------------------------------------------------------

SLIPS: dict[str, tuple[Callable[[], Any], str]] = {
    "a word": (lambda: "word", "write yield word, 1 instead of yield word"),
    "two letters": (lambda: "ab", "write yield word, 1 instead of yield word"),
    "nothing": (lambda: None, "write yield key, value"),
    "a single": (lambda: (1,), "a pair needs a value: write yield key, 1"),
    "a triple": (
        lambda: (1, 2, 3),
        r"put the values together: write yield key, \(value1, value2\)",
    ),
    "a dict": (lambda: {"a": 1}, r"write yield from counts\.items\(\)"),
    "a list of pairs": (lambda: [(1, 2), (3, 4), (5, 6)], "write yield from pairs"),
    "a list as key": (lambda: ([1], 1), r"key is a list: write tuple\(key\)"),
    "a list in a key": (lambda: ((1, [2]), 1), r"key is a list: write tuple\(key\)"),
    "a set as key": (lambda: ({1}, 1), r"key is a set: write tuple\(sorted\(key\)\)"),
    "a dict as key": (lambda: ({}, 1), r"key is a dict: write tuple\(sorted\(key\.items\(\)\)\)"),
    "an object as key": (
        lambda: (threading.Lock, 1),
        "keys are None, bool, int, float, str, bytes",
    ),
    "a complex as key": (lambda: (1j, 1), r"write str\(key\)"),
    "a generator": (lambda: (1, (x for x in ())), "generator"),
    "a lock": (lambda: (1, threading.Lock()), "lock.*cannot be sent"),
    "a deep key": (
        lambda: (functions.nested(99), 1),
        "nested more than 50 deep: write a flat tuple",
    ),
}


@pytest.mark.parametrize("late", [False, True], ids=["first", "late"])
@pytest.mark.parametrize("slip", SLIPS)
def test_a_mapper_that_yields_what_is_no_pair(place: Any, slip: str, late: bool) -> None:
    """Whether the first record shows it, or one that only a worker sees."""

    given, wanted = SLIPS[slip]

    def mapper(record: int) -> Iterator[Any]:
        yield record, 1
        if record == 50 * late:
            yield given()

    found = refused(place, TaskFailedError, mapper, range(60), "list", split_size=200)
    assert matches(wanted, found)
    if "lock" not in slip and "generator" not in slip:
        assert f"input[{50 * late}]" in found


@pytest.mark.parametrize(
    ("reducer", "said"),
    [
        (lambda key, values: map(str, values), r"gives a map.*write return list\(…\)"),
        (lambda key, values: threading.Lock(), "lock.*cannot be sent"),
        (lambda key, values: (v for v in values), "yields 1 .*not a pair"),
        (lambda key, values: (([v], 1) for v in values), r"a reducer's key is a list.*\(group 0\)"),
        (lambda key, values: None if key == 0 else 1, "did you forget return"),
        (lambda key, values: values[0], r"write list\(values\)\[\.\.\.\]"),
        (lambda key, values: sum(key, values), "reducer raised TypeError"),
    ],
)
def test_a_reducer_that_gives_what_cannot_be_kept(place: Any, reducer: Any, said: str) -> None:
    assert matches(said, refused(place, TaskFailedError, lambda n: [(0, 1)], range(3), reducer))


def test_a_reducer_that_slips_late_is_told_by_its_group(place: Any) -> None:
    def key_of(key: int, values: Any) -> Iterator[tuple[Any, int]]:
        yield key, 1
        yield {key} if key == 50 else key, 1

    def value_of(key: int, values: Any) -> Any:
        return threading.Lock() if key == 50 else 1

    class Finishes:
        def __call__(self, key: int, values: Any) -> None:
            self.last = key

        def finish(self) -> list[tuple[Any, Any]]:
            return [([1], 2)] if self.last > 20 else []

    for reducer, said in [
        (key_of, r"a reducer's key is a set: write tuple\(sorted\(key\)\) \(group 50\)"),
        (value_of, r"the value of key 50 is a lock and cannot be sent"),
        (Finishes, r"a reducer's key is a list: write tuple\(key\) \(finish\(\)\)"),
    ]:
        assert matches(said, refused(place, TaskFailedError, pair, range(60), reducer))


@pytest.mark.parametrize(
    ("partitioner", "said"),
    [
        (lambda key, partitions: partitions, "gave 2 for key .*from 0 to 1"),
        (lambda key, partitions: -1, "gave -1 for key"),
        (lambda key, partitions: "a", "gave a str for key"),
        (lambda key, partitions: 0.0, "gave a float"),
        (lambda key, partitions: None, "gave a NoneType"),
        (lambda key, partitions: 1 // 0, "partitioner raised ZeroDivisionError"),
        (lambda key, partitions: sys.exit(3), "partitioner raised SystemExit"),
    ],
)
def test_a_partitioner_out_of_range(place: Any, partitioner: Any, said: str) -> None:
    options = {"partitioner": partitioner, "reduce_tasks": 2}
    assert matches(said, refused(place, TaskFailedError, pair, [1], "sum", **options))


def test_a_combiner_that_changes_its_key(place: Any) -> None:
    def combiner(key: int, values: Any) -> Iterator[tuple[int, int]]:
        yield key + (key > 30), 1

    said = refused(place, TaskFailedError, pair, range(60), "sum", combiner=combiner)
    assert matches(
        # Two map tasks have such keys, and whichever is first ends the job.
        r"combiner yields the key \d\d in the group \d\d: a combiner must keep its key",
        said,
    )


def test_a_message_of_the_user_s_may_hold_anything(place: Any) -> None:
    def mapper(record: int) -> Iterator[Any]:
        if record == 50:
            raise ValueError("\ud800" + "x" * 10**6 + "\nsecond line")
        yield record, 1

    found = refused(place, TaskFailedError, mapper, range(60), "count")
    assert r"ValueError: \ud800xxx" in found
    assert "input[50]" in found


def test_values_that_cannot_be_compared(place: Any) -> None:
    pairs = [(0, "a"), (0, 1)]
    said = refused(place, TaskFailedError, lambda r: pairs, [1], "list", sort_values=True)
    assert matches(r"--sort-values raised TypeError.*\(group 0\): values of one group must", said)
    said = refused(place, TaskFailedError, lambda r: pairs, [1], "sum")
    assert matches(r"group 0\): sum needs numbers: let the mapper yield int", said)
    for name in ("sum", "mean", "stats"):
        said = refused(place, TaskFailedError, lambda r: [(0, b"1")], [1], name)
        assert matches(rf"group 0\): {name} needs numbers, and the values are bytes, as pro", said)


class Fragile:
    """Sent well, made again never, and not to be ordered for another reason than its type."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __setstate__(self, state: Any) -> None:
        raise LookupError("no such shelf")

    def __lt__(self, other: Any) -> bool:
        raise LookupError("no such order")


def count(key: int, values: Any) -> int:
    return len(values)


def fragile(record: int) -> Iterator[tuple[int, Any]]:
    yield record // 100, Fragile(record) if record >= 100 else record  # late: no trial meets it


def test_values_whose_own_code_fails(place: Any) -> None:
    said = refused(place, TaskFailedError, fragile, range(200), count, sort_values=True)
    assert matches(r"LookupError: '?no such (shelf|order)", said)


@pytest.mark.fault(36)
def test_functions_that_cannot_be_sent_are_told_by_variable(cluster: Any) -> None:
    lock = threading.Lock()

    def guarded(record: int) -> list[tuple[int, int]]:
        with lock:
            return [(record, 1)]

    def mapper(record: int) -> list[tuple[int, int]]:
        return guarded(record)

    said = refused(cluster, JobSpecError, mapper, [1], "sum")
    assert matches("`lock` used by `guarded` used by `mapper` is a _thread.lock and cannot", said)


# --- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reducer_tasks": 2}, "no option 'reducer_tasks': did you mean reduce_tasks"),
        ({"reduce": "sum"}, "no option 'reduce'"),
        ({"Output": "x"}, "no option 'Output': did you mean output"),
        ({"into": "x"}, "no option 'into'"),
        ({"reduce_tasks": 0}, "reduce_tasks=0: write a whole number from 1"),
        ({"reduce_tasks": 10**9}, "reduce_tasks=1000000000: write a number up to 100,000"),
        ({"reduce_tasks": 1.5}, "reduce_tasks=1.5: write a whole number from 1"),
        ({"attempts": -1}, "attempts=-1: write a whole number from 1"),
        ({"split_size": "many"}, "split_size='many': write a size in bytes, such as"),
        ({"slot_memory": 0}, "slot_memory=0: write a size in bytes"),
        ({"timeout": "soon"}, "timeout='soon': write a number of seconds"),
        ({"on_error": "hide"}, "on_error='hide': write fail, skip or skip:N"),
        ({"on_error": "skip:0"}, "on_error='skip:0': write skip, or skip:N where N, a whole"),
        ({"no_backup": "maybe"}, "no_backup='maybe': write 1, true, yes or on"),
        ({"encoding": "klingon"}, "no text encoding 'klingon': write one"),
        ({"encoding": 8}, "encoding=8: write a text"),
        ({"errors": "hide"}, "--errors hide is unknown: write strict, replace"),
        ({"errors": 1}, "errors=1: write a text"),
        ({"name": 5}, "name=5: write a text"),
        ({"output": 5}, "output=5: write the path of a file or directory"),
    ],
)
def test_an_option_that_makes_no_sense(place: Any, options: Any, said: str) -> None:
    assert matches(said, refused(place, JobSpecError, pair, [1], "sum", **options))


def test_a_split_size_that_makes_millions_of_tasks(place: Any, tmp_path: Path) -> None:
    with (tmp_path / "a.txt").open("wb") as file:
        file.truncate(10**12)
    for inputs in (tmp_path, range(200_000)):
        said = refused(place, JobSpecError, pair, inputs, "sum", split_size=1)
        assert matches("makes [0-9,]+000 map tasks: write a larger one, or leave it out", said)


def test_an_option_that_is_none_is_as_it_is_when_not_given(place: Any) -> None:
    names = ["combiner", "partitioner", "reduce_tasks", "split_size", "encoding", "errors"]
    names += ["sort_values", "output", "overwrite", "name", "attempts", "timeout", "slot_memory"]
    names += ["on_error", "no_backup"]
    options = dict.fromkeys(names)
    assert mrkernel.run(pair, [1, 1], "sum", on=place, **options).to_dict() == {1: 2}


def test_a_number_may_be_as_large_as_one_likes(place: Any) -> None:
    options = {"slot_memory": 10**30, "attempts": 10**30, "split_size": 10**30}
    options["on_error"] = f"skip:{10**30}"
    assert mrkernel.run(pair, [1, 1], "sum", on=place, **options).to_dict() == {1: 2}


def test_a_name_may_be_any_text(place: Any) -> None:
    assert mrkernel.run(pair, [1], "sum", on=place, name="é\ud800").name == "é?"


@pytest.mark.parametrize("on", ["inlin", "localhost:1", 5, "127.0.0.1:99999"])
def test_a_place_that_is_none(on: Any) -> None:
    with pytest.raises(MRKernelError) as caught:
        mrkernel.run(pair, [1], "sum", on=on)
    assert "\n" not in str(caught.value)
