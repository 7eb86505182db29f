"""What a job failed on, called again here: the same exception at the same line, frames alive."""

from __future__ import annotations

import random
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mrkernel.config import JobOptions
from mrkernel.data import pickles
from mrkernel.engines.debugging import failure_of, replay, replay_packed, users_traceback
from mrkernel.engines.job import Job
from mrkernel.engines.prepare import prepare
from mrkernel.errors import JobSpecError, KeyTypeError, TaskFailedError
from mrkernel.job.evidence import MOST_BYTES, evidence_of, evidence_of_group
from mrkernel.job.failure import Failure
from mrkernel.job.functions import Functions

#: Beyond what is tried before a job starts.
FAR = 200


def submit(engine: Any, mapper: Any, reducer: Any, inputs: Any = None, **options: Any) -> Job:
    numbers = list(range(FAR + 1)) if inputs is None else inputs
    prepared, _ = prepare(
        mapper, [numbers], reducer, JobOptions.from_keywords(options), lambda: engine
    )
    return engine.submit_prepared(prepared)  # type: ignore[no-any-return]


def raised(call: Callable[[], None]) -> BaseException:
    try:
        call()
    except (Exception, SystemExit) as error:
        return error
    raise AssertionError("nothing was raised")


def innermost(error: BaseException) -> tuple[str, int, dict[str, Any]]:
    """Function, line and variables of the frame that ``%debug`` stands in."""
    step = error.__traceback__
    assert step is not None
    while step.tb_next is not None:
        step = step.tb_next
    return step.tb_frame.f_code.co_name, step.tb_lineno, dict(step.tb_frame.f_locals)


class Broken(Exception):
    """Of this file."""


def yields(number: int) -> Iterator[tuple[int, int]]:
    yield number % 2, number
    double = number * 2
    if number == FAR:
        raise Broken(f"at {double}")


def returns(number: int) -> list[tuple[int, int]]:
    double = number * 2
    return [(number % 2, 1 // (2 * FAR - double))]


def with_key(key: tuple[str, int], number: int) -> Iterator[tuple[int, int]]:
    double = number * 2
    yield key[1] % 2, double // (FAR - key[1])


class Stateful:
    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, number: int) -> Iterator[tuple[int, int]]:
        self.seen += 1
        double = number * 2
        if number == FAR:
            raise Broken(double)
        yield number, self.seen


MAPPERS = [yields, returns, with_key, Stateful]


@pytest.mark.parametrize("mapper", MAPPERS, ids=lambda mapper: mapper.__name__)
def test_a_mapper_raises_the_same_at_the_same_line(place: Any, mapper: Any) -> None:
    job = submit(place, mapper, "list")
    failure = failure_of(job.error if job.wait(60) else None, job.id)
    assert (failure.role, failure.index is not None) == ("mapper", True)
    told: list[str] = []
    error = raised(lambda: replay(Functions(mapper), failure, tell=told.append))
    assert (type(error).__name__, str(error)) == (failure.error_type, failure.message)
    _, line, variables = innermost(error)
    assert line == failure.frames[-1].line
    assert variables["number"] == FAR
    assert variables["double"] == 2 * FAR
    assert bool(told) == (mapper is Stateful)


def draws(number: int) -> list[tuple[int, float]]:
    drawn = random.random()
    return [(number, drawn / (FAR - number))]


def test_what_chance_was_like_in_the_task_is_not_known_here() -> None:
    """And is said of a function that asks for it: where it was depends on all records before."""
    told: list[str] = []
    for index in (FAR, 0, None):
        evidence = evidence_of(("numbers", FAR), FAR)
        failure = Failure(kind="user", sentence="", role="mapper", index=index, evidence=evidence)
        raised(lambda f=failure: replay(Functions(draws), f, tell=told.append))  # type: ignore[misc]
        raised(lambda f=failure: replay(Functions(returns), f, tell=told.append))  # type: ignore[misc]
    assert (
        told
        == [
            "the mapper draws from random, which is seeded anew here: in the task it had drawn "
            "before, and got other numbers"
        ]
        * 2
    )


def test_the_traceback_begins_in_the_users_code() -> None:
    failure = Failure(
        kind="user", sentence="", role="mapper", evidence=evidence_of(("numbers", FAR), FAR)
    )
    error = raised(lambda: replay(Functions(returns), failure))
    # Without the frames of this test, which is no user's.
    error.__traceback__ = error.__traceback__.tb_next.tb_next if error.__traceback__ else None
    assert error.__traceback__ is not None
    assert "debugging.py" in error.__traceback__.tb_frame.f_code.co_filename  # replay
    begins = users_traceback(error)
    assert begins is not None
    assert begins.tb_frame.f_code is returns.__code__


def first_fails(key: int, values: Any) -> Iterator[tuple[int, int]]:
    total = sum(values)
    yield key, total
    if key == FAR:
        raise Broken(total)


def gives_back(key: int, values: Any) -> float:
    total = sum(values)
    return total / (FAR - key)


class Reducing:
    def __call__(self, key: int, values: Any) -> int:
        total = sum(values)
        if len(values) != 1 or key == FAR:
            raise KeyError(total)
        return total


@pytest.mark.parametrize("role", ["reducer", "combiner"])
@pytest.mark.parametrize("function", [first_fails, gives_back, Reducing], ids=lambda f: f.__name__)
def test_a_group_fails_in_the_same_way(place: Any, function: Any, role: str) -> None:
    if role == "combiner":
        job = submit(place, lambda n: [(n, n)], "list", combiner=function)
    else:
        job = submit(place, lambda n: [(n, n)], function)
    failure = failure_of(job.error if job.wait(60) else None, job.id)
    assert failure.role == role
    assert pickles.loads(failure.evidence) == (FAR, [FAR])
    functions = Functions(None, reducer=function, combiner=function)
    error = raised(lambda: replay(functions, failure))
    assert (type(error).__name__, str(error)) == (failure.error_type, failure.message)
    _, line, variables = innermost(error)
    assert line == failure.frames[-1].line
    assert (variables["key"], variables["total"]) == (FAR, FAR)


def test_a_partitioner(place: Any) -> None:
    def deal(key: int, partitions: int) -> int:
        return 0 if key < FAR else 1 // (key - FAR)

    job = submit(place, lambda n: [(n, n)], "list", partitioner=deal)
    failure = failure_of(job.error if job.wait(60) else None, job.id)
    assert (failure.role, failure.error_type) == ("partitioner", "ZeroDivisionError")
    error = raised(lambda: replay(Functions(None, partitioner=deal), failure))
    assert innermost(error)[2]["key"] == FAR


def test_what_is_refused_is_refused_again(place: Any) -> None:
    def no_pair(number: int) -> Iterator[Any]:
        yield (number, 1) if number < FAR else number

    job = submit(place, no_pair, "list")
    failure = failure_of(job.error if job.wait(60) else None, job.id)
    with pytest.raises(TypeError, match=r"the mapper yields 200 \(an int\), not a pair"):
        replay(Functions(no_pair), failure)

    def bad_key(number: int) -> Iterator[Any]:
        yield number if number < FAR else {number}, 1

    job = submit(place, bad_key, "list")
    failure = failure_of(job.error if job.wait(60) else None, job.id)
    assert failure.index is not None
    with pytest.raises(KeyTypeError, match="key is a set: write tuple"):
        replay(Functions(bad_key), failure)


def test_the_record_is_as_it_was_before_the_mapper_changed_it(place: Any) -> None:
    def change(row: dict[str, str]) -> Iterator[tuple[str, float]]:
        yield "sum", float(row.pop("n"))

    rows = [{"n": str(n) if n < FAR else "x"} for n in range(FAR + 1)]
    job = submit(place, change, "sum", rows)
    failure = failure_of(job.error if job.wait(60) else None, job.id)
    error = raised(lambda: replay(Functions(change), failure))
    assert str(error) == "could not convert string to float: 'x'"


def test_counters_and_chance_of_this_process_stay_as_they_are() -> None:
    import mrkernel

    def mapper(number: int) -> Any:
        mrkernel.counter("here").add(1)
        random.random()
        raise ValueError(number)

    failure = Failure(kind="user", sentence="s", role="mapper", evidence=evidence_of(("x", 0), 5))
    state = random.getstate()
    with pytest.raises(ValueError, match=r"^5$"):
        replay(Functions(mapper), failure)
    assert random.getstate() == state


NO = {"kind": "user", "sentence": "what it said", "role": "mapper"}


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (
            Failure(**{**NO, "kind": "crash"}, where="a.txt, byte 3"),
            r"crashed at a\.txt, byte 3, and would take",
        ),
        (
            Failure(**{**NO, "kind": "timeout"}),
            "did not come back, and would take this one along: call",
        ),
        (Failure(**{**NO, "kind": "input", "role": ""}), "no function of yours .* what it said"),
        (Failure(**NO, where="finish()"), r"^finish\(\) of the mapper failed, which sees all"),
        (
            Failure(**NO),
            "was not kept, because it is too large or cannot be sent: run the job with",
        ),
        (
            Failure(**NO, hint="to see it again: ./map.sh < a.txt"),
            r"^the mapper is a program; to see it again: \./map.sh <",
        ),
        (Failure(**{**NO, "role": "reducer"}, evidence=b"x"), "the reducer is the built-in sum"),
        (
            Failure(**NO, evidence=evidence_of(("a", 0), 1), where="a[0]"),
            r"^the mapper goes well here for a\[0\], where it failed with: what it said; does it",
        ),
        (Failure(**NO, evidence=b"no pickle"), "what it failed on cannot be made again here"),
    ],
)
def test_what_cannot_be_done_again_is_said(failure: Failure, says: str) -> None:
    functions = Functions(lambda record: [(1, record)], "sum")
    with pytest.raises(JobSpecError, match=says):
        replay(functions, failure)


def test_a_job_that_did_not_fail() -> None:
    with pytest.raises(JobSpecError, match="job j1 did not fail: there is nothing to debug"):
        failure_of(None, "j1")
    with pytest.raises(JobSpecError, match="job j1 ended without a failed task"):
        failure_of(TaskFailedError("cancelled"), "j1")


def test_evidence_has_a_limit() -> None:
    assert evidence_of("k", b"x" * MOST_BYTES) == b""
    assert evidence_of("k", (x for x in ())) == b""
    assert evidence_of_group("k", range(MOST_BYTES + 1)) == b""
    assert pickles.loads(evidence_of_group("k", range(3))) == ("k", [0, 1, 2])

    class Hostile:
        def __reduce__(self) -> Any:
            raise SystemExit(3)

    assert evidence_of("k", Hostile()) == b""


# --- from elsewhere -------------------------------------------------------------------------------


def test_another_program_gets_functions_and_failure_from_the_manager(cluster: Any) -> None:
    job = submit(cluster, yields, "list")
    with pytest.raises(TaskFailedError):
        job.result(60)
    failure = failure_of(job.error, job.id)
    error = raised(lambda: replay_packed(lambda: cluster.client.functions(job.id), failure))
    assert (type(error).__name__, str(error)) == ("Broken", f"at {2 * FAR}")
    assert innermost(error)[2]["double"] == 2 * FAR


def test_the_command_line_shows_the_frames_and_fails(cluster: Any, tmp_path: Path) -> None:
    source = "def mapper(line):\n    number = int(line)\n    yield number, 1\n"
    (tmp_path / "m.py").write_text(source)
    (tmp_path / "lines.txt").write_text("1\n" * 5000 + "x\n")
    connection = cluster.client.connection
    address = f"{connection.host}:{connection.port}"
    run = [sys.executable, "-m", "mrkernel"]
    words = ["submit", "lines.txt", "--map", "m.py", "--reduce", "sum", "--on", address, "--quiet"]

    def said(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*run, *words], cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )

    failed = said(*words)
    assert failed.returncode == 1
    job_id = failed.stderr.partition("job ")[2].split()[0]
    again = said("debug", job_id, "--on", address)
    assert again.returncode == 1
    assert "number = int(line)" in again.stderr
    assert again.stderr.rstrip().endswith("invalid literal for int() with base 10: 'x'")
    wrong = said("debug", "j999", "--on", address)
    assert wrong.returncode == 2
    assert "there is no job 'j999' here" in wrong.stderr


def test_the_traceback_can_be_printed() -> None:
    failure = Failure(kind="user", sentence="s", role="mapper", evidence=evidence_of(("x", 0), FAR))
    error = raised(lambda: replay(Functions(yields), failure))
    assert "raise Broken" in "".join(traceback.format_exception(error))
