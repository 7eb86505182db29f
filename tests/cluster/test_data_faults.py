"""Data that vanishes, rots or is large: the result is right, or the job says what is wrong."""

from __future__ import annotations

import os
import pickle
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from watching import Gate, eventually, feed, told, worker_of

from mrkernel.engines.local import LocalCluster
from mrkernel.engines.remote import connect
from mrkernel.errors import ClusterError, JobSpecError, TaskFailedError
from mrkernel.ids import JobId
from mrkernel.protocol.client_messages import ReleaseJob

HERE = os.getpid()
Pairs = Iterator[tuple[str, int]]


def spill() -> Path:
    """Where runs and blobs of all clusters of this test run lie."""
    return Path(os.environ["XDG_CACHE_HOME"]) / "mrkernel" / "spill"


def runs_of(job: str) -> list[Path]:
    return sorted(spill().glob(f"*/worker-*/{job}/map-*.run"))


# --- input ----------------------------------------------------------------------------------------


@pytest.mark.fault(42)
@pytest.mark.parametrize("how", ["removed", "shorter", "touched", "unreadable"])
def test_input_that_changes_in_mid_job_fails_the_job_by_name(
    cluster: LocalCluster, gate: Gate, tmp_path: Path, how: str
) -> None:
    data = tmp_path / "lines.txt"
    data.write_text("".join(f"line {n:05}\n" for n in range(1000)))
    pause = gate.pause

    def mapper(line: str) -> Pairs:
        if line.endswith("0"):
            pause("line")
        yield line, 1

    job = cluster.submit(mapper, str(data), "sum", split_size=1000)
    gate.wait_for()
    if how == "removed":
        data.unlink()
    elif how == "shorter":
        data.write_text("line 00000\n")
    elif how == "touched":
        os.utime(data, ns=(1, 1))
    else:
        os.rename(data, tmp_path / "away")
        data.mkdir()
    gate.open()
    with pytest.raises(TaskFailedError) as caught:
        job.result(20)
    assert str(data) in str(caught.value)
    assert caught.value.failure is not None
    assert caught.value.failure.kind == "input"
    said = {"removed": "vanished", "shorter": "changed", "touched": "changed"}.get(how, "lines.txt")
    assert said in str(caught.value)
    assert cluster.run(lambda line: [(line, 1)], iter("ab"), "sum").to_dict() == {"a": 1, "b": 1}


def test_large_inputs_in_memory_arrive_whole_and_once_per_worker(cluster: LocalCluster) -> None:
    records = [bytes([n]) * 3_000_000 for n in range(12)]  # 36 MB

    def mapper(record: bytes) -> Iterator[tuple[int, int]]:
        assert len(record) == 3_000_000
        assert set(record) == {record[0]}
        yield record[0], len(record)

    job = cluster.submit(mapper, records, "sum", split_size=6_000_000)
    assert job.result(30).to_dict() == dict.fromkeys(range(12), 3_000_000)
    # Its result is here, so its input is nobody's any more.
    eventually(lambda: not list(spill().glob("*/worker-*/blobs/*")), "end of the blobs", 3)
    eventually(lambda: not runs_of(job.id), "end of the runs", 3)


def test_large_inputs_are_kept_for_a_task_that_runs_again(
    cluster: LocalCluster, gate: Gate
) -> None:
    pause = gate.pause

    def mapper(record: bytes) -> Iterator[tuple[int, int]]:
        if record[0] == 3:
            pause("three")
        yield record[0], len(record)

    records = [bytes([n]) * 1_000_000 for n in range(6)]
    job = cluster.submit(mapper, records, "sum", split_size=1_000_000)
    runner = gate.wait_for("three")
    cluster.kill(worker_of(cluster, runner))
    gate.open()
    assert job.result(20).to_dict() == dict.fromkeys(range(6), 1_000_000)


def test_more_small_splits_than_one_frame_holds(cluster: LocalCluster) -> None:
    """Their pickles travel inside the submission, which is one message."""
    records = [os.urandom(50_000) for _ in range(1500)]  # 75 MB
    result = cluster.run(
        lambda record: [(len(record), 1)], records, "sum", split_size=50_000, reduce_tasks=1
    )
    assert result.to_dict() == {50_000: 1500}


def test_more_small_parts_than_one_frame_holds(cluster: LocalCluster) -> None:
    """The end of a map-only job has all its small parts inside."""
    count, size = 1300, 60_000
    result = cluster.run(
        lambda n: [(n, bytes([n % 256]) * size)], range(count), "none", split_size=1
    )
    assert len(result) == count
    assert sum(len(value) for _, value in result) == count * size


# --- map output -----------------------------------------------------------------------------------


def words(count: int) -> list[str]:
    return [f"w{n % 97} w{n % 31} w{n % 7}" for n in range(count)]


def spoil(path: Path, how: str) -> None:
    if how == "removed":
        path.unlink()
        return
    data = bytearray(path.read_bytes())
    if how == "flipped bit":
        data[len(data) // 3] ^= 4
    elif how == "cut short":
        del data[len(data) // 2 :]
    else:
        data[:] = bytes(len(data))
    path.write_bytes(bytes(data))


@pytest.mark.fault(28)
@pytest.mark.parametrize("how", ["flipped bit", "cut short", "zeroed", "removed"])
def test_a_run_that_rots_between_map_and_reduce_is_made_again(
    cluster: LocalCluster, gate: Gate, how: str
) -> None:
    pause = gate.pause

    def mapper(line: str) -> Pairs:
        if line == "last":
            pause("last")
        for word in line.split():
            yield word, 1

    lines = [*words(1000), "last"]
    job = cluster.submit(mapper, iter(lines), lambda w, ones: sum(ones), split_size=4000)
    gate.wait_for("last")
    eventually(lambda: runs_of(job.id), "finished runs")
    maps = cluster.client.look(job.id)["map"]["total"]
    eventually(lambda: cluster.client.look(job.id)["map"]["done"] == maps - 1, "other maps")
    made: dict[str, list[Path]] = {}
    for run in runs_of(job.id):
        made.setdefault(run.name.partition(".")[0], []).append(run)
    # Of a map that had a backup there may be two.
    one, other, *_ = (paths[0] for _, paths in sorted(made.items()) if len(paths) == 1)
    spoil(one, how)
    spoil(other, how)
    gate.open()
    assert job.result(20).to_dict() == Counter(word for line in lines for word in line.split())
    said = [text for text in feed(cluster, job.id) if "run again" in text or "runs again" in text]
    assert 1 <= len(said) <= 2, said
    redone = cluster.client.look(job.id)["redone"]
    # What is not there was not lost alone, for all one knows: all that its worker has of the job,
    # of one worker and then of the other.
    right = redone == 2 if how != "removed" else 2 <= redone < 2 * maps
    assert right, (redone, maps, said)
    assert cluster.client.look(job.id)["failed"] == 0  # nobody is blamed for a bad disk


def test_runs_are_gone_once_the_result_is_here(cluster: LocalCluster) -> None:
    job = cluster.submit(
        lambda line: [(w, 1) for w in line.split()], iter(words(500)), "sum", split_size=1000
    )
    result = job.result(20)
    eventually(lambda: not runs_of(job.id), "end of the runs", 3)
    assert len(result) == 97
    result.release()
    eventually(lambda: not list(spill().glob(f"*/worker-*/{job.id}")), "end of the folder", 3)
    with pytest.raises(JobSpecError, match="there is no job"):
        cluster.client.attach(job.id)


# --- clients --------------------------------------------------------------------------------------


@pytest.mark.fault(10)
def test_a_client_hangs_up_and_its_job_goes_on(cluster: LocalCluster, gate: Gate) -> None:
    pause = gate.pause

    def mapper(line: str) -> Pairs:
        pause(line)
        yield line, 1

    from mrkernel.engines.api import submit

    client = connect(cluster.address)
    job = submit(mapper, iter("abc"), "sum", on=client)
    gate.wait_for()
    client.close()
    gate.open()
    attached = cluster.client.attach(job.id)
    assert attached.result(20).to_dict() == {"a": 1, "b": 1, "c": 1}


def test_two_clients_wait_for_one_job(cluster: LocalCluster, gate: Gate) -> None:
    pause = gate.pause

    def mapper(line: str) -> Iterator[tuple[str, str]]:
        pause(line)
        yield line, "x" * 200_000  # parts of more than a message

    job = cluster.submit(mapper, iter("abc"), "list")
    gate.wait_for()
    other = connect(cluster.address)
    try:
        attached = other.attach(job.id)
        gate.open()
        one, two = job.result(20).to_dict(), attached.result(20).to_dict()
        assert one == two == {letter: ["x" * 200_000] for letter in "abc"}
        later = other.attach(job.id)  # it has ended, and its runs were released
        assert later.result(20).to_dict() == one
    finally:
        other.close()


def test_a_result_outlives_its_workers_and_half_of_it_is_never_handed_out(
    cluster: LocalCluster,
) -> None:
    """Its parts are adopted by who comes after; if one is gone, nobody may miss it quietly."""
    job = cluster.submit(
        lambda line: [(line, "x" * 100_000)], iter("abcdefgh"), "list", reduce_tasks=4
    )
    whole = job.result(20).to_dict()
    assert len(whole) == 8
    holders = {name for name, row in cluster.workers().items() if row["state"] == "alive"}
    for name in holders:
        cluster.kill(name)
    eventually(lambda: all(cluster.workers()[n]["state"] == "dead" for n in holders), "deaths", 2)
    cluster.wait_for_workers()
    other = connect(cluster.address)
    try:
        assert other.attach(job.id).result(20).to_dict() == whole
        next(spill().glob(f"*/worker-*/{job.id}/part-*")).unlink()
        gone = r"part \d of the result cannot be read on w\d .*No such file.*: run the job again"
        with pytest.raises(ClusterError, match=gone):
            other.attach(job.id).result(20)
    finally:
        other.close()
    assert job.result(1).to_dict() == whole  # who has it has it


def test_a_client_that_releases_too_early_gets_nothing_wrong(
    cluster: LocalCluster, gate: Gate
) -> None:
    pause = gate.pause

    def mapper(line: str) -> Pairs:
        pause(line)
        yield line, 1

    job = cluster.submit(mapper, iter("ab"), "sum")
    gate.wait_for()
    cluster.client._link.say(ReleaseJob(JobId(job.id), runs_only=True))
    gate.open()
    assert job.result(20).to_dict() == {"a": 1, "b": 1}
    assert told(cluster, job.id, "^done in")


# --- mappers that are not deterministic, functions and inputs that were tampered with -------------

CHANCES: dict[str, Callable[[], bytes]] = {
    "the system's random numbers": lambda: os.urandom(20_000),
    "a time": lambda: str(time.perf_counter_ns()).encode() * 1500,
    "an object's address": lambda: repr(object()).encode() * 600 + os.getpid().to_bytes(4, "big"),
}


@pytest.mark.fault(40)
@pytest.mark.parametrize("what", CHANCES)
def test_a_mapper_that_is_not_deterministic_is_told_so(
    cluster: LocalCluster, gate: Gate, what: str
) -> None:
    """A finished reduce used one output, the others would use another one: a wrong answer."""
    job = mapped_again(cluster, gate, CHANCES[what])
    with pytest.raises(TaskFailedError, match=r"the mapper is not deterministic: map-\d"):
        job.result(20)


def mapped_again(cluster: LocalCluster, gate: Gate, chance: Callable[[], bytes]) -> Any:
    """A job whose map output vanishes after some have read it, and before others have."""
    pause = gate.pause

    def mapper(n: int) -> Iterator[tuple[int, bytes]]:
        for key in range(6):
            yield key, chance()

    def reducer(key: int, values: Iterator[bytes]) -> int:
        if key == 5:
            pause("five")
        return sum(map(len, values))

    job = cluster.submit(mapper, range(4), reducer, split_size=1, reduce_tasks=6, no_backup=True)
    waiting = gate.wait_for("five")
    eventually(lambda: cluster.client.look(job.id)["reduce"]["done"] > 0, "reduced part")
    worker = worker_of(cluster, waiting)
    for run in runs_of(job.id):
        run.unlink()
    cluster.kill(worker)  # its attempt begins anew, and finds nothing
    gate.open()
    return job


@pytest.mark.fault(40)
def test_random_numbers_are_the_same_when_a_map_runs_again(
    cluster: LocalCluster, gate: Gate
) -> None:
    """Those of ``random`` are: they are seeded by task, so nothing goes wrong."""
    job = mapped_again(cluster, gate, lambda: random.randbytes(20_000))
    assert job.result(20).to_dict() == dict.fromkeys(range(6), 80_000)


@pytest.mark.fault(60)
def test_functions_that_were_tampered_with_are_never_unpickled(
    cluster: LocalCluster, gate: Gate
) -> None:
    """Their digest came with the assignment; the file is another one when a runner reads it."""
    pause, ballast = gate.pause, os.urandom(400_000)  # so many that they are in a file

    def mapper(n: int) -> Iterator[tuple[int, int]]:
        pause(str(n))
        yield n, len(ballast)

    job = cluster.submit(mapper, range(4), "sum", split_size=1, attempts=3)
    eventually(lambda: len(gate.waiting()) == 2, "two tasks that wait")
    blobs = eventually(lambda: list(spill().glob("*/worker-*/blobs/*")), "blobs")
    evil = pickle.dumps(Evil(str(gate.folder / "evil")))
    for blob in blobs:
        blob.write_bytes(evil + bytes(blob.stat().st_size - len(evil)))
    for runner in gate.waiting():  # the next ones read the file
        os.kill(runner, signal.SIGKILL)
    gate.open()
    with pytest.raises(TaskFailedError, match=r"blob [0-9a-f]+ is damaged on disk"):
        job.result(20)
    assert not (gate.folder / "evil").exists()
    assert cluster.run(lambda n: [(n, 1)], range(2), "sum").to_dict() == {0: 1, 1: 1}


class Evil:
    """Makes a file where it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.path,)
