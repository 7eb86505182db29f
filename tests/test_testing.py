"""``mrkernel.testing``: jobs in this process, for tests of people's own mappers and reducers."""

from __future__ import annotations

import os
import pdb
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import mrkernel
from mrkernel.errors import JobSpecError, TaskFailedError
from mrkernel.testing import run

LINES = ["the quick brown fox", "jumps over the lazy dog", "the end"]


def words(line: str) -> Iterator[tuple[str, int]]:
    for word in line.split():
        yield word, 1


def total(word: str, ones: Any) -> Iterator[tuple[str, int]]:
    yield word, sum(ones)


def test_a_list_of_text_is_a_list_of_lines(mapreduce: Callable[..., Any]) -> None:
    assert mapreduce is run
    result = mapreduce(words, total, LINES)
    assert result.to_dict()["the"] == 3
    assert len(result) == 9


def test_records_may_be_anything_that_can_be_iterated() -> None:
    for records in ([1, 2], (1, 2), iter([1, 2]), range(1, 3), {1: "a", 2: "b"}.keys()):
        assert run(lambda n: [(n, n)], "sum", records).to_dict() == {1: 1, 2: 2}
    assert run(words, total, []).to_dict() == {}


def test_options_are_those_of_run() -> None:
    result = run(words, "none", LINES, split_size=1)
    assert [word for word, _ in result] == " ".join(LINES).split()
    assert run(words, "sum", LINES, combiner="sum", reduce_tasks=1).lookup("the") == [3]
    with pytest.raises(JobSpecError, match="did you mean reduce_tasks"):
        run(words, "sum", LINES, reduce_task=1)


def test_functions_run_here_and_are_the_ones_given() -> None:
    """In this process, in this thread, and what they change is changed."""
    seen: list[Any] = []

    class Mapper:
        made = 0

        def __init__(self) -> None:
            Mapper.made += 1

        def __call__(self, line: str) -> Iterator[tuple[str, int]]:
            seen.append((os.getpid(), threading.get_ident(), line))
            yield from words(line)

    def reducer(word: str, ones: Any) -> int:
        seen.append(word)
        return sum(ones)

    run(Mapper, reducer, LINES)
    me = (os.getpid(), threading.get_ident())
    assert [each[2] for each in seen[:3]] == LINES
    assert {each[:2] for each in seen[:3]} == {me}
    assert sorted(seen[3:]) == sorted(set(" ".join(LINES).split()))
    assert Mapper.made >= 2


def test_there_are_two_maps_and_two_reduces() -> None:
    """Code that needs to see everything in one task fails here, and not in production."""

    class Counts:
        def __init__(self) -> None:
            self.records = 0

        def __call__(self, record: int) -> None:
            self.records += 1

        def finish(self) -> Iterator[tuple[int, int]]:
            yield self.records, 1

    class Groups:
        def __call__(self, key: Any, values: Any) -> None:
            return None

        def finish(self) -> Iterator[tuple[str, int]]:
            yield "task", 1

    assert len(list(run(Counts, "none", range(10)))) >= 2
    assert list(run(lambda n: [(n, 1)], Groups, range(10))) == [("task", 1)] * 2


def test_a_failure_is_caused_by_the_exception_itself() -> None:
    def mapper(line: str) -> Iterator[tuple[str, float]]:
        divisor = len(line) - len(LINES[1])
        yield line, 1 / divisor

    with pytest.raises(TaskFailedError, match=r"ZeroDivisionError.*input\[1\]") as caught:
        run(mapper, total, LINES)
    cause = caught.value.__cause__
    assert type(cause) is ZeroDivisionError
    trace = cause.__traceback__
    assert trace is not None
    while trace.tb_next is not None:
        trace = trace.tb_next
    assert trace.tb_frame.f_code.co_name == "mapper"
    assert trace.tb_frame.f_locals == {"line": LINES[1], "divisor": 0}
    failure: Any = caught.value.failure
    assert (failure.where, failure.record) == ("input[1]", repr(LINES[1]))


def test_a_slip_is_no_task_that_failed() -> None:
    with pytest.raises(JobSpecError, match="takes no argument"):
        run(lambda: [1], total, LINES)
    with pytest.raises(JobSpecError, match="takes 1 argument"):
        run(words, lambda word: 1, LINES)
    with pytest.raises(JobSpecError, match="write its method as def __call__"):
        run(type("NoCall", (), {}), total, LINES)


def test_breakpoint_stops_in_the_mapper(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[dict[str, Any]] = []

    def hook() -> None:
        frame = sys._getframe(1)
        stopped.append({"name": frame.f_code.co_name, **frame.f_locals})

    def mapper(line: str) -> Iterator[tuple[str, int]]:
        first = line.split()[0]
        breakpoint()
        yield first, 1

    monkeypatch.setattr(sys, "breakpointhook", hook)
    run(mapper, total, LINES)
    assert stopped == [{"name": "mapper", "line": s, "first": s.split()[0]} for s in LINES]


def test_a_debugger_looks_at_the_frames_of_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """``%debug`` and ``pytest --pdb`` begin at the line of the user's."""

    def reducer(word: str, ones: Any) -> int:
        counts = list(ones)
        return counts[99]

    with pytest.raises(TaskFailedError) as caught:
        run(words, reducer, LINES)
    debugger = pdb.Pdb(readrc=False)
    debugger.reset()
    assert caught.value.__cause__ is not None
    debugger.setup(None, caught.value.__cause__.__traceback__)
    debugger.onecmd("p counts")
    assert capsys.readouterr().out.strip() in ("[1]", "[1, 1, 1]")


def test_a_tracer_sees_every_line() -> None:
    """Coverage counts by ``sys.settrace``, in the thread where it was set."""
    lines: set[int] = set()
    codes = {words.__code__, total.__code__}

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code not in codes:
            return None
        if event == "line":
            lines.add(frame.f_lineno)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run(words, total, LINES)
    finally:
        sys.settrace(before)
    wanted = {line for code in codes for _, _, line in code.co_lines() if line}
    assert lines == wanted - {code.co_firstlineno for code in codes}


def test_prints_and_counters_are_here(capsys: pytest.CaptureFixture[str]) -> None:
    def mapper(line: str) -> Iterator[tuple[str, int]]:
        print(line)
        mrkernel.counter("lines").add()
        yield from words(line)

    result = run(mapper, total, LINES)
    assert result.counters == {"lines": 3}
    assert capsys.readouterr().out.splitlines() == LINES


def test_chance_is_that_of_a_cluster_and_afterwards_as_before() -> None:
    random.seed(1)
    state = random.getstate()
    drawn = [run(lambda n: [(n, random.random())], "first", [1, 2]).to_dict() for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert random.getstate() == state


def test_the_plugin_costs_pytest_nothing() -> None:
    """It is loaded by every pytest of the environment, whatever that tests."""
    code = "import sys, mrkernel.testing.plugin, mrkernel.testing as t; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    costly = {"numpy", "pyarrow", "cloudpickle", "tornado", "asyncio", "IPython", "msgspec"}
    assert not costly & set(done.stdout.split())


def test_a_grader_needs_nothing_but_the_fixture(tmp_path: Path) -> None:
    (tmp_path / "test_homework.py").write_text(
        "def mapper(line):\n    yield len(line), 1\n\n"
        "def test_lengths(mapreduce):\n"
        "    assert mapreduce(mapper, 'sum', ['a', 'bb', 'c']).to_dict() == {1: 2, 2: 1}\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True)
    assert "1 passed" in done.stdout, done.stdout
