from __future__ import annotations

import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mrkernel.data.records import ItemBatch, Unreadable
from mrkernel.data.row_shape import RowShape
from mrkernel.errors import JobSpecError, KeyTypeError
from mrkernel.job import counters
from mrkernel.job.failure import UserCodeError
from mrkernel.job.functions import Functions, pack
from mrkernel.job.preflight import Preflight, preflight

BATCH = ItemBatch(["the cat", "the dog"] * 20, "lines")


def fly(mapper: Any, reducer: Any = None, combiner: Any = None, **options: Any) -> Preflight:
    batch = options.pop("batch", BATCH)
    return preflight(pack(Functions(mapper, reducer, combiner)).data, batch, **options)


def words(line: str) -> Iterator[tuple[str, int]]:
    for word in line.split():
        yield word, 1


def total(key: str, values: Any) -> Iterator[tuple[str, int]]:
    yield key, sum(values)


def longest(key: str, values: Any) -> Iterator[tuple[str, int]]:
    yield key, max(0, *values)


def test_a_reducer_that_could_be_a_built_in_is_told() -> None:
    advice = fly(words, total, total).advice
    assert advice is not None
    assert advice.startswith("the reducer does what the built-in sum does: write --reducer sum")
    assert fly(words, "sum").advice is None


def test_twenty_records_go_through_everything() -> None:
    shape = RowShape.of(["word"], [1])
    flight = fly(words, longest, longest)
    assert flight == Preflight(records=20, pairs=40, groups=3, shape=shape)
    assert fly(words) == Preflight(20, 40, 3, shape=shape)
    assert fly(words, "sum", "sum", batch=ItemBatch([])) == Preflight(0, 0, 0)


def test_nothing_of_it_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []

    def mapper(line: str) -> Iterator[tuple[str, float]]:
        print("hello")
        print("oh", file=sys.stderr)
        seen.append(line)
        counters.counter("lines").add()
        yield line, random.random()

    counters.begin()
    random.seed(5)
    expected = random.random()
    random.seed(5)
    fly(mapper)
    assert random.random() == expected
    assert seen == []
    assert counters.take() == {}
    assert capsys.readouterr() == ("", "")


def test_a_slip_in_the_reducer_shows_before_any_record() -> None:
    def forgets(key: str, values: Any) -> None:
        sum(values)

    with pytest.raises(JobSpecError, match="the reducer forgets has no return"):
        fly(words, forgets)


def test_user_errors_are_the_workers() -> None:
    with pytest.raises(UserCodeError, match=r"mapper raised AttributeError.*lines\[0\]"):
        fly(lambda line: [(line.wrong, 1)])
    with pytest.raises(UserCodeError, match=r"reducer raised ZeroDivisionError.*group 'the'"):
        fly(words, lambda key, values: 1 / 0)


def of_two(key: str, values: Any) -> Iterator[tuple[str, int]]:
    [one, other] = values
    yield key, one + other


def test_a_reducer_may_need_its_whole_group() -> None:
    two = ItemBatch(["the", "cat"], "lines")
    tried = fly(words, of_two, batch=two, whole=lambda: False)
    [note] = tried.notes
    assert note.startswith("reducer raised ValueError: not enough values to unpack")
    assert note.endswith(
        "the groups of the first 2 records, which others may join, so the job goes on"
    )
    assert (tried.records, tried.groups) == (2, 0)
    with pytest.raises(UserCodeError, match="reducer raised ValueError"):
        fly(words, of_two, batch=two)


def test_what_no_other_record_mends_is_refused_all_the_same() -> None:
    def misspells(key: str, values: Any) -> Iterator[tuple[str, int]]:
        yield key, sun(values)  # type: ignore[name-defined]  # noqa: F821 - the slip

    def more() -> bool:
        return False

    with pytest.raises(UserCodeError, match=r"NameError.*sun"):
        fly(words, misspells, whole=more)
    with pytest.raises(UserCodeError, match="combiner raised ValueError"):
        fly(words, total, of_two, batch=ItemBatch(["cat"], "lines"), whole=more)
    with pytest.raises(UserCodeError, match="reducer gives a _thread"):
        fly(words, lambda key, values: threading.Lock(), whole=more)


def test_a_dict_whose_keys_look_like_pairs() -> None:
    with pytest.raises(UserCodeError, match="the mapper returns a dict"):
        fly(lambda line: {("a", "b"): 1})


def test_keys_are_checked() -> None:
    with pytest.raises(
        UserCodeError, match=r"the mapper's key \['the', 'cat'\] is a list.*tuple\(key\)"
    ):
        fly(lambda line: [(line.split(), 1)])

    def check(key: Any) -> Any:
        raise KeyTypeError("a mapper's key is a set: write tuple(sorted(key))")

    with pytest.raises(UserCodeError, match=r"is a set: write tuple.*\(lines\[0\]\)") as caught:
        fly(lambda line: [(frozenset(line), 1)], check_key=check)
    assert caught.value.failure.record == "'the cat'"


def test_values_must_be_sendable() -> None:
    def generator(line: str) -> Iterator[Any]:
        yield line, (word for word in line.split())

    with pytest.raises(
        UserCodeError, match=r"gives a generator as a value.*write list\(…\) around it"
    ):
        fly(generator)

    def lock(line: str) -> Iterator[Any]:
        yield line, threading.Lock()

    with pytest.raises(UserCodeError, match=r"gives a _thread\.lock as a value.*lines\[0\]"):
        fly(lock)
    with pytest.raises(UserCodeError, match=r"the reducer gives a _thread\.lock.*group 'the'"):
        fly(words, lambda key, values: threading.Lock())


def test_a_mapper_that_prints_through_another_function() -> None:
    def show(line: str) -> Any:
        return print(line, 1)

    with pytest.raises(
        UserCodeError, match=r"the mapper prints \('the cat 1'\) and gives no pairs"
    ):
        fly(show)


def test_a_mapper_whose_records_all_fall_through_gets_a_note() -> None:
    def errors(line: str) -> Any:
        if "ERROR" in line:
            return [(line, 1)]
        return None

    (note,) = fly(errors).notes
    assert note == "the mapper returned None for the first 20 records, so they gave no pairs"
    (note,) = fly(errors, batch=ItemBatch(["fine"], "a list")).notes
    assert note == "the mapper returned None for the first record, so it gave no pairs"


def test_a_class_that_gives_its_pairs_in_the_end_is_not_silent() -> None:
    class Gathers:
        def __init__(self) -> None:
            self.records = 0

        def __call__(self, line: str) -> None:
            self.records += 1
            print(line)

        def finish(self) -> Any:
            yield "records", self.records

    assert fly(Gathers, total).notes == ()


def test_a_generator_without_pairs_is_fine() -> None:
    def none(line: str) -> Iterator[Any]:
        if "ERROR" in line:
            yield line, 1

    assert fly(none, total) == Preflight(20, 0, 0)


@pytest.mark.timeout(60, method="thread")  # the default method has the alarm for itself
def test_a_slow_record_ends_the_trial() -> None:
    def slow(line: str) -> Iterator[Any]:
        while True:
            pass
        yield line, 1

    began = time.monotonic()
    found = fly(slow, total, budget_s=0.05)
    assert time.monotonic() - began < 2
    assert found.records == 0
    assert found.notes == ("the first record took over 0.1 s, so nothing was tried here",)
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.timeout(60, method="thread")
def test_an_import_is_never_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = "import time\nend = time.monotonic() + 0.2\nwhile time.monotonic() < end: pass\n"
    (tmp_path / "slow_import_nine.py").write_text(waits)
    monkeypatch.syspath_prepend(tmp_path)

    def mapper(line: str) -> Iterator[Any]:
        import slow_import_nine

        yield slow_import_nine.end and line, 1
        while True:
            pass

    found = fly(mapper, budget_s=0.05)
    assert found.records == 0
    assert "slow_import_nine" not in sys.modules  # a whole module came and went


def test_other_threads_go_on_printing(capsys: pytest.CaptureFixture[str]) -> None:
    def mapper(line: str) -> Iterator[Any]:
        thread = threading.Thread(target=print, args=("from beside",))
        thread.start()
        thread.join()
        print("swallowed")
        yield line, 1

    fly(mapper, records=1)
    assert capsys.readouterr().out == "from beside\n"


def test_without_an_alarm_time_is_looked_at_between_records() -> None:
    def slow(line: str) -> Iterator[Any]:
        end = time.monotonic() + 0.02
        while time.monotonic() < end:
            pass
        yield line, 1

    found: list[Preflight] = []
    thread = threading.Thread(target=lambda: found.append(fly(slow, total, budget_s=0.05)))
    thread.start()
    thread.join()
    assert 1 <= found[0].records < 20
    assert "so no more was tried here" in found[0].notes[0]


def test_values_are_what_the_worker_gives() -> None:
    class Values(list[Any]):
        def close(self) -> None:
            self.clear()

    def reducer(key: str, values: Any) -> Any:
        return type(values).__name__

    def check(key: str, values: Any) -> Any:
        assert type(values).__name__ == "Values"
        return 1

    assert fly(words, check, make_values=Values).groups == 3


def test_finish_of_a_class_is_tried() -> None:
    class Bad:
        def __call__(self, line: str) -> None:
            pass

        def finish(self) -> Any:
            return ["word"]

    with pytest.raises(UserCodeError, match=r"finish\(\) yields 'word'"):
        fly(Bad)


def test_records_that_will_be_skipped_are_a_note() -> None:
    def mapper(line: str) -> Iterator[tuple[str, int]]:
        yield line, 1
        if line == "the dog":
            raise ValueError("a dog")

    packed = pack(Functions(mapper, "sum")).data
    tried = preflight(packed, BATCH, skip=1000)
    assert (tried.records, tried.pairs) == (20, 10)
    (note,) = tried.notes
    assert note.startswith("10 of the first 20 records will be skipped: mapper raised ValueError: ")
    with pytest.raises(UserCodeError) as caught:
        preflight(packed, BATCH, skip=9)
    assert caught.value.failure.index == 19
    assert caught.value.failure.evidence


def test_what_could_not_be_read_is_not_tried() -> None:
    batch = ItemBatch([Unreadable("{", "not JSON"), "a"], "lines")
    packed = pack(Functions(lambda line: [(line, 1)], "sum")).data
    tried = preflight(packed, batch, skip=1)
    assert (tried.records, tried.pairs, tried.notes) == (2, 1, ())
