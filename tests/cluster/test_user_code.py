"""User code at its worst: it raises, crashes, never ends. One sentence each; the cluster stays."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from watching import Gate, alive, at_most, eventually, feed

from mrkernel.engines.local import LocalCluster
from mrkernel.engines.remote import connect
from mrkernel.errors import JobCancelledError, TaskFailedError
from mrkernel.ids import JobId
from mrkernel.job.failure import Failure

#: The first records are tried in a fork of this process. What follows happens on workers only.
HERE = os.getpid()
Pairs = Iterator[tuple[str, int]]


@pytest.fixture
def works(cluster: LocalCluster) -> Iterator[Callable[[], None]]:
    """Assert that the cluster does a job, at once and with the workers it had."""
    workers = {name for name, row in cluster.workers().items() if row["state"] == "alive"}

    def check() -> None:
        with at_most(2.0, "the next job"):
            result = cluster.run(lambda line: [(line, 1)], iter("abcabc"), "sum", split_size=1)
            assert result.to_dict() == {"a": 2, "b": 2, "c": 2}
        rows = cluster.workers()
        assert {name for name, row in rows.items() if row["state"] == "alive"} == workers

    yield check
    check()  # after every test here


def failure_of(cluster: LocalCluster, mapper: Any, inputs: Any = None, **options: Any) -> Any:
    """Run a job that must fail; return its error."""
    lines = iter("abcdef") if inputs is None else inputs
    with pytest.raises(TaskFailedError) as caught:
        cluster.run(mapper, lines, "sum", **{"split_size": 1, **options})
    return caught.value


# --- it raises ------------------------------------------------------------------------------------


@pytest.mark.fault(33)
def test_a_mapper_that_raises_fails_the_job_at_once_and_shows_where(
    cluster: LocalCluster, works: Callable[[], None], tmp_path: Path
) -> None:
    data = tmp_path / "numbers.txt"
    data.write_text("".join(f"{n}\n" for n in range(300)) + "three hundred\n")

    def mapper(line: str) -> Pairs:
        yield "sum", int(line)

    error = failure_of(cluster, mapper, str(data), split_size=200)
    failure: Failure = error.failure
    assert failure.error_type == "ValueError"
    assert failure.record == "'three hundred'"
    assert failure.where == f"{data}, byte 1090"
    assert [frame.code.strip() for frame in failure.frames] == ['yield "sum", int(line)']
    assert failure.frames[0].file.endswith("test_user_code.py")
    assert "mapper raised ValueError: invalid literal for int()" in str(error)
    assert "byte 1090" in str(error)


def test_a_failing_job_stops_the_others_of_it(
    cluster: LocalCluster, works: Callable[[], None], gate: Gate
) -> None:
    pause = gate.pause

    def mapper(line: str) -> Pairs:
        if line == "b" and HERE not in (os.getpid(), os.getppid()):
            while not gate_folder.glob("a.*"):
                pass
            raise ValueError("no b here")
        if line == "a":
            pause("a")
        yield line, 1

    gate_folder = gate.folder
    error = failure_of(cluster, mapper)
    assert "no b here" in str(error)
    for runner in gate.waiting("a"):  # it waited, and the gate was never opened
        eventually(lambda pid=runner: not alive([pid]), "end of the other attempt", 2)  # type: ignore[misc]


@pytest.mark.parametrize("role", ["reducer", "partitioner", "combiner"])
def test_the_others_raise_too(cluster: LocalCluster, works: Callable[[], None], role: str) -> None:
    def bad_reducer(key: str, values: Any) -> int:
        return sum(values) // (HERE in (os.getpid(), os.getppid()))

    def bad_partitioner(key: str, tasks: int) -> int:
        raise KeyError(key)

    options: dict[str, Any] = {"reducer": {"reducer": bad_reducer}}.get(role, {"reducer": "sum"})
    if role == "partitioner":
        options["partitioner"] = bad_partitioner
    if role == "combiner":
        options["combiner"] = bad_reducer
    with pytest.raises(TaskFailedError) as caught:
        cluster.run(lambda line: [(line, 1)], iter("abc"), **options)
    assert caught.value.failure is not None
    assert caught.value.failure.kind == "user"
    wrong = "KeyError" if role == "partitioner" else "ZeroDivisionError"
    assert f"{role} raised {wrong}" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (["list"], "list"),
        ({"a": 1}, "dict"),
        (object(), "object"),
    ],
)
def test_a_key_that_is_none_is_found_on_the_worker_too(
    cluster: LocalCluster, works: Callable[[], None], value: object, said: str
) -> None:
    def mapper(line: str) -> Iterator[tuple[Any, int]]:
        yield (value if HERE not in (os.getpid(), os.getppid()) and line == "e" else line), 1

    error = failure_of(cluster, mapper)
    assert said in str(error)
    assert error.failure.record == "'e'"


def test_an_unpicklable_value_is_found_on_the_worker_too(
    cluster: LocalCluster, works: Callable[[], None]
) -> None:
    def mapper(line: str) -> Iterator[tuple[str, Any]]:
        import threading

        yield line, (threading.Lock() if HERE not in (os.getpid(), os.getppid()) else 1)

    with pytest.raises(TaskFailedError, match="lock"):
        cluster.run(mapper, iter("abc"), "list")


# --- it ends its process --------------------------------------------------------------------------


def segfault() -> None:
    import ctypes

    ctypes.string_at(0)


def exit_with_3() -> None:
    os._exit(3)


def abort() -> None:
    os.abort()


def kill_itself() -> None:
    import signal

    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.fault(34)
@pytest.mark.parametrize(
    ("crash", "said"),
    [
        (segfault, r"crashed \(SIGSEGV\)"),
        (exit_with_3, "ended itself with exit status 3"),
        (abort, r"crashed \(SIGABRT\)"),
        (kill_itself, r"ended by a signal \(SIGTERM\)"),
    ],
)
def test_a_crash_is_tried_elsewhere_and_then_blamed_by_name(
    cluster: LocalCluster, works: Callable[[], None], crash: Callable[[], None], said: str
) -> None:
    def mapper(line: str) -> Pairs:
        if line == "d" and HERE not in (os.getpid(), os.getppid()):
            crash()
        yield line, 1

    job = cluster.submit(mapper, iter("abcdef"), "sum", split_size=1, attempts=2)
    with pytest.raises(TaskFailedError, match=rf"map-3 failed 2 times, last on w\d+: .*{said}"):
        job.result(20)
    tried = [line for line in feed(cluster, job.id) if re.search(said, line)]
    assert len({re.findall(r"w\d+", line)[0] for line in tried[:2]}) == 2, tried


@pytest.mark.parametrize("crash", [segfault, exit_with_3, abort, kill_itself])
def test_a_crash_at_the_very_first_record_does_not_reach_this_process(
    cluster: LocalCluster, works: Callable[[], None], crash: Callable[[], None]
) -> None:
    """It is tried on that one before a worker gets it."""

    def mapper(line: str) -> Pairs:
        crash()
        yield line, 1

    error = failure_of(cluster, mapper, attempts=1)
    assert re.search(r"map-\d failed on w\d+: its Python process", str(error))


@pytest.mark.fault(34)
def test_a_segfault_shows_the_line(cluster: LocalCluster, works: Callable[[], None]) -> None:
    def mapper(line: str) -> Pairs:
        if HERE not in (os.getpid(), os.getppid()):
            segfault()
        yield line, 1

    error = failure_of(cluster, mapper, attempts=1)
    assert error.failure.error_type == "Fatal Python error"
    assert error.failure.message == "Segmentation fault"
    frames = [(Path(frame.file).name, frame.function) for frame in error.failure.frames]
    assert frames == [("test_user_code.py", "mapper"), ("test_user_code.py", "segfault")]


@pytest.mark.fault(34)
def test_a_crash_that_does_not_come_again_costs_one_attempt(
    cluster: LocalCluster, works: Callable[[], None], tmp_path: Path
) -> None:
    flag = str(tmp_path / "once")

    def mapper(line: str) -> Pairs:
        if line == "d" and HERE not in (os.getpid(), os.getppid()) and not os.path.exists(flag):
            with open(flag, "w"):
                pass
            os._exit(3)
        yield line, 1

    result = cluster.run(mapper, iter("abcdef"), "sum", split_size=1)
    assert result.to_dict() == dict.fromkeys("abcdef", 1)


def test_leaving_by_the_front_door_is_an_error_of_the_mapper(
    cluster: LocalCluster, works: Callable[[], None]
) -> None:
    def mapper(line: str) -> Pairs:
        if HERE not in (os.getpid(), os.getppid()):
            sys.exit("bye")
        yield line, 1

    error = failure_of(cluster, mapper)
    assert "SystemExit" in str(error)
    assert error.failure.kind == "user"


# --- it never ends --------------------------------------------------------------------------------


def spin() -> None:
    while True:
        pass


def sleep() -> None:
    import time

    time.sleep(3600)


def loop_in_c() -> None:
    sum(range(10**12))


def match_for_ever() -> None:
    re.match(r"(a+)+$", "a" * 60 + "b")


def run_a_program() -> None:
    subprocess.run(["sleep", "3600"], check=True)


def shrug_off_signals() -> None:
    import signal
    import time

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            time.sleep(3600)
        except BaseException:
            continue


ENDLESS = [spin, sleep, loop_in_c, match_for_ever, run_a_program, shrug_off_signals]


@pytest.mark.fault(11, 35)
@pytest.mark.parametrize("hang", ENDLESS, ids=lambda hang: hang.__name__)
def test_cancel_reaches_everything(
    cluster: LocalCluster, works: Callable[[], None], gate: Gate, hang: Callable[[], None]
) -> None:
    marks = str(gate.folder)

    def mapper(line: str) -> Pairs:
        if HERE not in (os.getpid(), os.getppid()):
            with open(f"{marks}/{line}.{os.getpid()}", "w"):
                pass
            hang()
        yield line, 1

    job = cluster.submit(mapper, iter("ab"), "sum", split_size=1)
    runners = [gate.wait_for("a"), gate.wait_for("b")]
    if hang is run_a_program:
        import psutil

        eventually(
            lambda: all(psutil.Process(pid).children() for pid in runners), "programs started"
        )
        runners += [child.pid for pid in runners for child in psutil.Process(pid).children()]
    with at_most(2.0, "cancel"):
        job.cancel()
        with pytest.raises(JobCancelledError, match="was cancelled"):
            job.result(20)
        eventually(lambda: not alive(runners), "end of the runners and what they started", 2)
    works()


@pytest.mark.fault(35)
@pytest.mark.parametrize("hang", [spin, loop_in_c, sleep], ids=lambda hang: hang.__name__)
def test_a_task_that_never_ends_ends_at_its_timeout(
    cluster: LocalCluster, works: Callable[[], None], hang: Callable[[], None]
) -> None:
    def mapper(line: str) -> Pairs:
        if line == "c" and HERE not in (os.getpid(), os.getppid()):
            hang()
        yield line, 1

    with at_most(5.0, "the end"):
        error = failure_of(cluster, mapper, attempts=1, timeout=0.3)
    assert re.search(r"map-2 failed on w\d+: no record was finished for 0\.3 s", str(error))
    assert error.failure.kind == "timeout"


def test_slow_is_not_endless(cluster: LocalCluster, works: Callable[[], None]) -> None:
    """Every record takes less than the timeout; the task takes far more, after a quick start."""

    def mapper(line: str) -> Pairs:
        import time

        if line.startswith("slow") and HERE not in (os.getpid(), os.getppid()):
            time.sleep(0.1)
        yield line[:4], 1

    def reducer(key: str, values: Any) -> int:
        import time

        time.sleep(0.1 if HERE not in (os.getpid(), os.getppid()) else 0)
        return sum(values)

    lines = ["fast"] * 200 + ["slow"] * 12 + [f"{n:04}" for n in range(12)]
    result = cluster.run(mapper, iter(lines), reducer, timeout=1.0, attempts=1, reduce_tasks=1)
    assert result.to_dict() == {"fast": 200, "slow": 12, **{f"{n:04}": 1 for n in range(12)}}


def test_cancelling_what_is_over_or_not_there_is_nothing(cluster: LocalCluster) -> None:
    job = cluster.submit(lambda line: [(line, 1)], iter("ab"), "sum")
    result = job.result(20)
    job.cancel()
    assert job.status == "done"
    assert len(result) == 2
    from mrkernel.protocol.client_messages import CancelJob

    cluster.client._link.say(CancelJob(JobId("j999")))
    assert cluster.workers()


# --- it prints ------------------------------------------------------------------------------------


def prints_of(cluster: LocalCluster, gate: Gate, mapper: Any) -> tuple[str, int]:
    """Run a job that waits at the gate until somebody listens; return what it printed."""
    heard: list[tuple[str, str, str, int]] = []
    job = cluster.submit(mapper, iter(["x"]), "sum")
    gate.wait_for()
    listener = connect(cluster.address)
    try:
        attached = listener.attach(job.id, lambda *line: heard.append(line))
        gate.open()
        assert attached.result(20).to_dict() == {"x": 1}
    finally:
        listener.close()
    assert {(task, worker[0]) for task, worker, _, _ in heard} == {("map-0", "w")}
    return "".join(text for _, _, text, _ in heard), sum(dropped for *_, dropped in heard)


def test_what_it_prints_arrives(
    cluster: LocalCluster, works: Callable[[], None], gate: Gate
) -> None:
    pause = gate.pause

    def mapper(line: str) -> Pairs:
        pause("x")
        print("hello, Zoë 🐜", flush=True)
        print("to stderr", file=sys.stderr)
        if HERE not in (os.getpid(), os.getppid()):
            subprocess.run(["echo", "from a program"], check=True)
        yield line, 1

    text, dropped = prints_of(cluster, gate, mapper)
    assert text == "hello, Zoë 🐜\nto stderr\nfrom a program\n"
    assert dropped == 0


def test_too_much_print_is_cut_and_counted(
    cluster: LocalCluster, works: Callable[[], None], gate: Gate
) -> None:
    pause = gate.pause

    def mapper(line: str) -> Pairs:
        pause("x")
        if HERE not in (os.getpid(), os.getppid()):
            for _ in range(20_000):
                print("blah " * 20)
        yield line, 1

    text, dropped = prints_of(cluster, gate, mapper)
    assert len(text) <= 20_000
    assert text.startswith("blah blah")
    assert len(text) + dropped == 20_000 * 101


def test_no_character_is_cut_in_two(
    cluster: LocalCluster, works: Callable[[], None], gate: Gate
) -> None:
    pause = gate.pause

    def mapper(line: str) -> Pairs:
        import time

        pause("x")
        if HERE not in (os.getpid(), os.getppid()):
            for byte in "żółć".encode():  # as a slow C library would
                os.write(1, bytes([byte]))
                time.sleep(0.06)
        yield line, 1

    text, _ = prints_of(cluster, gate, mapper)
    assert text == "żółć"
