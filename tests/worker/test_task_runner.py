"""A runner obeys: each way an attempt can end is one kind of answer."""

from __future__ import annotations

import gc
import hashlib
import re
import socket
import sys
import threading
import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mrkernel.data.splits import FileSplit, MemorySplit
from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.job import counters, randomness
from mrkernel.job.functions import Functions, pack
from mrkernel.job.spec import JobSpec
from mrkernel.protocol.framing import FRAME_LIMIT, FrameDecoder
from mrkernel.protocol.messages import MessageDecoder, frame_of
from mrkernel.protocol.worker_messages import (
    Failed,
    FetchFailed,
    Finished,
    FromRunner,
    JobInfo,
    RunSource,
    Start,
)
from mrkernel.shuffle.pieces import cut
from mrkernel.shuffle.shares import _ShareFile, cut_share
from mrkernel.worker.progress import ProgressCell, make_cell
from mrkernel.worker.task_runner import RunnerHome, _TaskRunner, run_tasks

JOB = JobId("j1")


class Bench:
    """A runner in this process, with its worker's folder."""

    def __init__(self, folder: Path) -> None:
        self.home = RunnerHome(folder / "worker", b"t" * 32, "here")
        self.blobs = self.home.directory / "blobs"
        self.blobs.mkdir(parents=True)
        self.cell = ProgressCell()
        self.runner = _TaskRunner(self.home, self.cell)
        self.input = folder / "input.txt"
        self.input.write_text("a b\nb c\nc d\n")

    def store(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        (self.blobs / digest).write_bytes(data)
        return digest

    def job(self, mapper: Any, reducer: Any = "sum", **spec: Any) -> JobInfo:
        packed = pack(Functions(mapper, reducer), beside=None)
        facts = {"name": "job", "functions": self.store(packed.data), "reduce_tasks": 2, **spec}
        info = JobInfo(JOB, JobSpec(**facts))
        assert self.runner.obey(info) is None
        return info

    def map(self, split: FileSplit | MemorySplit | None = None, attempt: int = 1) -> Any:
        return self.runner.obey(Start(JOB, TaskId("map-0"), attempt, 0, split or self.split()))

    def split(self) -> FileSplit:
        status = self.input.stat()
        size, date = status.st_size, status.st_mtime_ns
        return FileSplit(str(self.input), 0, size, size, date)

    def reduce(self, index: int = 0, attempt: int = 1, **source: Any) -> Any:
        place = {"host_id": "here", "directory": str(self.home.directory), "runs": ((0, 1),)}
        address = {"data_host": "127.0.0.1", "data_port": 1}
        sources = (RunSource(worker=WorkerId("w1"), **{**place, **address, **source}),)
        task = TaskId(f"reduce-{index}")
        return self.runner.obey(Start(JOB, task, attempt, index, None, sources))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    thresholds = gc.get_threshold()
    # A runner does as it likes with its process; this one is a test's.
    with randomness.seeded(0, "test"), counters.collect():
        yield Bench(tmp_path)
    gc.set_threshold(*thresholds)


def split_words(line: str) -> Iterator[tuple[str, int]]:
    for word in line.split():
        yield word, 1


def test_a_map_and_its_reduces(bench: Bench) -> None:
    bench.job(split_words)
    done = bench.map()
    assert isinstance(done, Finished)
    assert (done.task, done.attempt, done.records, done.pairs, done.bytes_in) == (
        "map-0",
        1,
        3,
        6,
        12,
    )
    assert done.output is not None
    assert len(done.output.sizes) == 2
    parts = [bench.reduce(index) for index in (0, 1)]
    assert all(isinstance(part, Finished) for part in parts)
    assert sum(part.records for part in parts) == 4


def test_an_attempt_tells_the_most_memory_it_had(bench: Bench) -> None:
    def mapper(line: str) -> Iterator[tuple[str, int]]:
        yield line, len(bytearray(b"x" * (150 << 20))) if line == "large" else 1

    bench.job(mapper)
    before = bench.map()
    bench.input.write_text("large\n")
    large = bench.map(attempt=2)
    bench.input.write_text("small\n")
    after = bench.map(attempt=3)
    assert 10 << 20 < before.peak_memory < 4 << 30
    assert large.peak_memory >= before.peak_memory + (100 << 20)
    if Path("/proc/self/clear_refs").exists():  # elsewhere it is the peak of the process's life
        assert after.peak_memory <= large.peak_memory - (100 << 20)


def test_bad_records_are_told_with_the_end_of_an_attempt(bench: Bench) -> None:
    def mapper(line: str) -> Iterator[tuple[str, float]]:
        yield line, 1 / (line != "b c")

    bench.job(mapper, skip=1)
    done = bench.map()
    assert (done.records, done.pairs) == (3, 2)
    assert [(bad.index, bad.offset, bad.record) for bad in done.bad] == [(1, 4, "'b c'")]
    bench.job(mapper, skip=1)
    careful = Start(JOB, TaskId("map-0"), 2, 0, bench.split(), careful=True, skip=(0,))
    done = bench.runner.obey(careful)
    assert isinstance(done, Finished)
    assert [(bad.index, bad.error) for bad in done.bad] == [
        (0, ""),
        (1, "ZeroDivisionError: division by zero"),
    ]
    bench.input.write_text("b c\nb c\n")
    failed = bench.map(attempt=3)
    assert isinstance(failed, Failed)
    assert failed.failure.sentence.startswith("2 records of map-0 are bad, and --on-error skip:1 ")


def test_where_a_task_is_while_no_record_is_to_blame(bench: Bench) -> None:
    places: list[tuple[str, int | None]] = []
    cell = bench.cell

    def noting(key: str, values: Any) -> int:
        places.append((cell.place(), cell.index()))
        return sum(values)

    info = bench.job(split_words, skip=1)
    context = bench.runner._context(JOB)
    bench.runner._current = replace(context, functions=Functions(split_words, noting, noting))
    start = Start(JOB, TaskId("map-0"), 1, 0, bench.split(), careful=True)
    assert isinstance(bench.runner.obey(start), Finished)
    assert set(places) == {("the end of the split, after all records", None)}
    assert info.spec.skip == 1


def test_the_users_fault(bench: Bench) -> None:
    def mapper(line: str) -> Iterator[tuple[str, float]]:
        yield line, 1 / (line != "b c")

    bench.job(mapper)
    failed = bench.map()
    assert isinstance(failed, Failed)
    assert (failed.failure.kind, failed.failure.error_type) == ("user", "ZeroDivisionError")


def test_the_inputs_fault(bench: Bench) -> None:
    bench.job(split_words)
    bench.input.unlink()
    split = FileSplit(str(bench.input), 0, 12, 12, 1)
    failed = bench.map(split)
    assert isinstance(failed, Failed)
    assert failed.failure.kind == "input"
    assert str(bench.input) in failed.failure.sentence


def test_functions_that_cannot_be_made_ready(bench: Bench) -> None:
    """Found here when there was no record to try them on before."""

    def mapper() -> list[tuple[str, int]]:
        return []

    bench.job(mapper)
    failed = bench.map()
    assert isinstance(failed, Failed)
    assert failed.failure.kind in ("user", "input")  # not a crash that is tried four times


@pytest.mark.fault(38)
def test_a_module_that_is_missing_here_may_be_elsewhere(bench: Bench) -> None:
    module = types.ModuleType("not_there")
    module.__file__ = sys.prefix + "/lib/site-packages/not_there.py"  # installed, so not sent along
    sys.modules["not_there"] = module
    exec("def mapper(line): yield line, 1", module.__dict__)
    try:
        bench.job(module.__dict__["mapper"])
    finally:
        del sys.modules["not_there"]
    failed = bench.map()
    assert isinstance(failed, Failed)
    assert failed.failure.kind == "environment"
    assert failed.failure.error_type == "ModuleNotFoundError"
    assert "need the module not_there, which is not installed" in failed.failure.sentence


@pytest.mark.parametrize(
    "spoil",
    [
        Path.unlink,
        lambda path: path.write_bytes(b"damaged"),
    ],
    ids=["gone", "damaged"],
)
def test_the_disks_fault(bench: Bench, spoil: Callable[[Path], object]) -> None:
    info = bench.job(split_words)
    spoil(bench.blobs / info.spec.functions)
    failed = bench.map()
    assert isinstance(failed, Failed)
    assert failed.failure.kind == "environment"
    assert failed.failure.sentence.startswith("the worker could not write or read its files")


def test_a_disk_that_cannot_be_written(bench: Bench) -> None:
    bench.job(split_words)
    (bench.home.directory / JOB).write_text("in the way")
    failed = bench.map()
    assert isinstance(failed, Failed)
    assert failed.failure.kind == "environment"


@pytest.mark.fault(24)
@pytest.mark.parametrize("pairs", [1, 2000], ids=["at the end", "in the middle"])
def test_a_full_disk_is_named_with_what_is_free_and_needed(bench: Bench, pairs: int) -> None:
    def mapper(line: str) -> Iterator[tuple[str, bytes]]:
        for number in range(pairs):
            yield f"{line} {number}", bytes(1000)

    bench.job(mapper, slot_memory=1)
    folder = bench.home.directory / JOB
    folder.mkdir()
    (folder / "map-0.1.run").symlink_to("/dev/full")
    failed = bench.map()
    assert isinstance(failed, Failed)
    failure = failed.failure
    assert failure.kind == "environment"
    said = rf"its disk is full: [\d.]+ .?B free in {folder} \(file system /.*\), and this run needs"
    assert re.match(said, failure.sentence)
    assert re.search(r"needs more than [\d.]+ [kM]?B$", failure.sentence)
    assert failure.hint
    assert list(folder.iterdir()) == []  # what it had written is free again


def test_an_open_that_fails_in_user_code_is_the_users_fault(bench: Bench) -> None:
    def mapper(line: str) -> Iterator[tuple[str, int]]:
        with open("/no/such/file") as file:
            yield file.read(), 1

    bench.job(mapper)
    failed = bench.map()
    assert isinstance(failed, Failed)
    assert (failed.failure.kind, failed.failure.error_type) == ("user", "FileNotFoundError")


def test_the_other_workers_fault(bench: Bench) -> None:
    bench.job(split_words)
    done = bench.map()
    (run,) = (bench.home.directory / JOB).glob("map-0.1.run")
    index = 0 if done.output.sizes[0] else 1
    data = run.read_bytes()
    run.write_bytes(data[:20] + bytes([data[20] ^ 1]) + data[21:])
    for spoilt in ("damaged", "gone", "unreachable"):
        source: dict[str, Any] = {}
        if spoilt == "gone":
            run.unlink()
        if spoilt == "unreachable":
            with socket.create_server(("127.0.0.1", 0)) as unused:
                source = {"host_id": "elsewhere", "data_port": unused.getsockname()[1]}
        failed = bench.reduce(index, **source)
        assert isinstance(failed, FetchFailed), spoilt
        assert (failed.map_index, failed.map_attempt, failed.worker) == (0, 1, "w1")
        assert failed.reason
        blame = {"damaged": "disk", "gone": "gone", "unreachable": "network"}
        assert failed.blame == blame[spoilt]
        assert not list((bench.home.directory / JOB).glob("part-*"))  # nothing half done


def test_what_was_fetched_ahead_is_all_that_a_reduce_needs(bench: Bench) -> None:
    """Nobody listens at the source: its share is here, until the attempt that used it is done."""
    bench.job(split_words)
    bench.map()
    folder = bench.home.directory / JOB
    for partition in (0, 1):
        with (folder / "map-0.1.run").open("rb") as run:
            ranges, index = cut_share(run, "the run", partition)
            shares = _ShareFile(folder, partition)
            assert list(shares.add((0, 1), index, cut(run, ranges)))
            shares.close()
    (folder / "map-0.1.run").unlink()
    parts = [bench.reduce(index, host_id="far away") for index in (0, 1)]
    assert all(isinstance(part, Finished) for part in parts)
    assert sum(part.records for part in parts) == 4
    assert list(folder.glob("*.run")) == []
    again = bench.reduce(0, attempt=2, host_id="far away")
    assert isinstance(again, FetchFailed)
    assert (again.map_index, again.map_attempt, again.worker) == (0, 1, "w1")


@pytest.mark.fault(60)
def test_functions_come_along_or_from_a_file(bench: Bench) -> None:
    info = bench.job(split_words)
    (file,) = bench.blobs.iterdir()
    along = msgspec.structs.replace(info, functions=file.read_bytes())
    file.unlink()
    assert isinstance(bench.map(), Failed)
    bench.runner.obey(along)
    assert isinstance(bench.map(), Finished)


def test_an_attempt_that_fails_leaves_no_file(bench: Bench) -> None:
    def mapper(line: str) -> Iterator[tuple[str, bytes]]:
        yield line, bytes(1000)
        if line == "c d":
            raise ValueError

    bench.job(mapper, slot_memory=1)
    assert isinstance(bench.map(), Failed)
    assert list((bench.home.directory / JOB).iterdir()) == []


def test_under_a_timeout_every_record_is_seen(bench: Bench) -> None:
    """Or slow records after quick ones would look like one that never ends."""
    seen: list[int] = []
    bench.input.write_text("".join(f"{n}\n" for n in range(300)))

    def mapper(line: str) -> Iterator[tuple[str, int]]:
        yield line, 1

    bench.job(mapper, lambda key, values: len(values), timeout_s=10.0)
    real = bench.cell.add

    def add(records: int, nbytes: int) -> None:
        seen.append(records)
        real(records, nbytes)

    bench.cell.add = add  # type: ignore[method-assign]
    assert isinstance(bench.map(), Finished)
    assert seen == [1] * 300
    seen.clear()
    done = bench.reduce(0)
    assert isinstance(done, Finished)
    assert seen.count(1) == done.records
    assert bench.cell.read()[1] == done.records


def test_a_runner_lives_as_long_as_its_conversation(bench: Bench) -> None:
    info = bench.job(split_words)
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=run_tasks, args=(theirs, make_cell(), bench.home))
    thread.start()
    status = bench.input.stat()
    whole = FileSplit(str(bench.input), 0, 12, 12, status.st_mtime_ns)
    starts = [Start(JOB, TaskId("map-0"), n, 0, whole) for n in (1, 2, 3)]
    ours.sendall(frame_of(info, *starts[:2]) + frame_of(starts[2]))
    decoder, frames = MessageDecoder(FromRunner), FrameDecoder(FRAME_LIMIT)
    heard: list[Any] = []
    while len(heard) < 3:
        for _, payload in frames.feed(ours.recv(65536)):
            heard += decoder.decode(payload)
    assert [message.attempt for message in heard] == [1, 2, 3]
    ours.close()
    thread.join(5)
    assert not thread.is_alive()
    theirs.close()
