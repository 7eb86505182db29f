"""Disks that are full or take nothing: one sentence, nobody dies, nothing half-done is seen.

The disks are small memory file systems, mounted where only the processes of the test see them.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from by_hand import ByHand
from lan import Lan, why_not
from lan_cluster import LanCluster
from watching import Gate, answer, eventually, feed, steadily

from mrkernel.engines.api import submit
from mrkernel.errors import TaskFailedError

#: Enough for an empty worker and some runs of the job below.
SMALL = "size=1m"
#: Map output of the job below, for each task; it cannot be compressed.
BYTES, TASKS = 150_000, 24


@pytest.fixture(scope="module")
def can_mount() -> None:
    if reason := why_not():
        pytest.skip(reason)


@pytest.fixture
def small_disks(can_mount: None, tmp_path: Path) -> Iterator[Callable[..., LanCluster]]:
    """Makes clusters of two hosts, "a" and "b"; takes the mount options of their disks."""
    with ExitStack() as stack:

        def make(**disks: str) -> LanCluster:
            lan = stack.enter_context(Lan())
            lan.wire("m", "a", "b")
            cluster = LanCluster(lan, tmp_path, disks=disks)
            stack.callback(cluster.close)
            return cluster

        yield make


def bulky(n: int) -> Iterator[tuple[int, bytes]]:
    """A mapper whose output is large."""
    import random

    time.sleep(0.02)  # else who has room does all of it
    for key in range(3):
        yield key, random.Random(3 * n + key).randbytes(BYTES // 3)


def total(key: int, values: Any) -> int:
    return sum(map(len, values))


EXPECTED = dict.fromkeys(range(3), TASKS * (BYTES // 3))


@pytest.mark.fault(24)
@pytest.mark.parametrize("disk", [SMALL, "size=64m,nr_inodes=10"], ids=["bytes", "inodes"])
def test_a_worker_whose_disk_is_full_costs_nobody_the_job(
    small_disks: Callable[..., LanCluster], disk: str
) -> None:
    cluster = small_disks(a=disk)
    host = cluster.worker_hosts[0]
    worker = cluster.worker_on(host)
    job = cluster.submit(bulky, range(TASKS), total, split_size=1, reduce_tasks=2, attempts=2)
    assert job.result(60).to_dict() == EXPECTED  # though tasks failed more often than that
    told = [text for text in feed(cluster, job.id) if "its disk is full" in text]
    assert told, feed(cluster, job.id)
    assert cluster.worker_on(host) == worker  # it lives
    # Its disk is its own again.
    job.result().release()
    again = cluster.submit(lambda n: [(n % 3, 1)], range(9), "sum", split_size=1)
    assert again.result(20).to_dict() == dict.fromkeys(range(3), 3)


@pytest.mark.fault(24)
def test_a_full_disk_while_a_task_spills(small_disks: Callable[..., LanCluster]) -> None:
    """One task whose output is larger than its memory and that disk."""
    cluster = small_disks(a=SMALL)

    def mapper(n: int) -> Iterator[tuple[int, bytes]]:
        for key in range(20):
            yield from bulky(20 * n + key)

    options: dict[str, Any] = {"split_size": 1, "reduce_tasks": 2, "slot_memory": 2_000_000}
    job = cluster.submit(mapper, range(2), total, **options)
    assert job.result(60).to_dict() == dict.fromkeys(range(3), 40 * (BYTES // 3))
    assert all(cluster.worker_on(host) for host in cluster.worker_hosts)


@pytest.mark.fault(24)
def test_no_disk_has_room(small_disks: Callable[..., LanCluster]) -> None:
    """Then there is nothing left to hope for: the job ends, and says what is missing where."""
    cluster = small_disks(a=SMALL, b=SMALL)
    workers = [cluster.worker_on(host) for host in cluster.worker_hosts]
    job = cluster.submit(bulky, range(TASKS), total, split_size=1, attempts=2)
    with pytest.raises(TaskFailedError, match="its disk is full: ") as caught:
        job.result(60)
    assert re.search(r"failed \d+ times, last on w\d", str(caught.value))
    assert [cluster.worker_on(host) for host in cluster.worker_hosts] == workers
    # What it wrote is gone, so the next one has room.
    eventually(lambda: job.status == "failed", "end")
    again = cluster.submit(bulky, range(3), total, split_size=1)
    assert again.result(20).to_dict() == dict.fromkeys(range(3), 3 * (BYTES // 3))


# --- the output -----------------------------------------------------------------------------------

WRITE = """
    import sys
    import mrkernel

    on, output = sys.argv[1:]

    def mapper(n):
        import sys

        print("mapped", file=sys.stderr)
        return [(n, "x" * 40_000)]

    try:
        mrkernel.run(mapper, range(40), "first", on=on, output=output, reduce_tasks=2)
    except mrkernel.MRKernelError as error:
        print(f"{type(error).__name__}: {error}")
"""


@pytest.fixture
def disk(can_mount: None, tmp_path: Path) -> Iterator[Callable[[str], tuple[Lan, Path]]]:
    """Mounts a memory file system for a program that is run where it is."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with Lan() as lan:

        def mount(options: str) -> tuple[Lan, Path]:
            lan.run("mount", "-t", "tmpfs", "-o", options, "none", str(folder))
            return lan, folder

        yield mount


def write_to(lan: Lan, on: str, output: Path) -> tuple[str, str]:
    """Run a job with an output there; return what it printed, and to stderr."""
    command = lan.command(sys.executable, "-c", textwrap.dedent(WRITE), on, str(output))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.stdout, done.stderr


@pytest.mark.fault(25)
@pytest.mark.parametrize(
    ("on", "name"), [("inline", "out"), ("inline", "out.jsonl"), ("local", "out")]
)
def test_a_full_disk_under_the_output(
    disk: Callable[[str], tuple[Lan, Path]], on: str, name: str
) -> None:
    lan, folder = disk(SMALL)
    said, _ = write_to(lan, on, folder / name)
    assert said.count("\n") == 1
    assert "No space left on device" in said
    assert str(folder / name) in said
    assert lan.run("ls", "-A", str(folder)) == ""  # nothing of it is left, nor in the way


@pytest.mark.fault(30)
@pytest.mark.parametrize("name", ["out", "out.jsonl"])
def test_an_output_on_a_disk_that_is_read_only(
    disk: Callable[[str], tuple[Lan, Path]], name: str
) -> None:
    lan, folder = disk("ro")
    said, errors = write_to(lan, "inline", folder / name)
    assert said.startswith("JobSpecError: ")
    assert "Read-only file system" in said
    assert str(folder / name) in said
    assert "mapped" not in errors  # before anything ran


# --- the journal ----------------------------------------------------------------------------------


@pytest.mark.fault(25)
def test_a_journal_without_room_acknowledges_nothing_until_there_is(
    small_disks: Callable[..., LanCluster],
) -> None:
    """Neither a job is accepted nor work handed out that a restart would not know of."""
    cluster = small_disks(m="size=256k")
    disk = next(cluster.folder.glob("m-*"))
    jobs: list[Any] = []
    filler = f"head -c 1m /dev/zero > {disk}/filler; true"
    cluster.lan.run("sh", "-c", filler)
    options: dict[str, Any] = {"split_size": 1, "reduce_tasks": 2}
    mapper: Any = lambda n: [(n % 3, n)]  # noqa: E731
    asking = threading.Thread(
        target=lambda: jobs.append(cluster.submit(mapper, range(9), "sum", **options))
    )
    asking.start()
    cannot = "the journal cannot be written (No space left on device)"
    eventually(lambda: any(cannot in text for text in cluster_feed(cluster)), "sentence")
    steadily(lambda: jobs == [], 0.5, "the job was accepted")
    assert sum(cannot in text for text in cluster_feed(cluster)) == 1  # it is said once
    picture = cluster.client.cluster.snapshot()
    assert [row["state"] for row in picture["workers"].values()] == ["alive", "alive"]
    cluster.lan.run("rm", str(disk / "filler"))
    asking.join(20)
    assert jobs[0].result(20).to_dict() == {0: 9, 1: 12, 2: 15}
    again = "the journal can be written again"
    eventually(lambda: any(again in text for text in cluster_feed(cluster)), "sentence")


def cluster_feed(cluster: LanCluster) -> list[str]:
    """What is said to who asks, also while the journal cannot be written."""
    return [line["text"] for line in cluster.client.look("cluster")["feed"]]


@pytest.mark.fault(29)
def test_a_manager_starts_from_a_journal_that_is_torn_anywhere(
    by_hand: ByHand, tmp_path: Path
) -> None:
    """It died while it wrote: what was whole counts, and the job is done in the end."""
    by_hand.start_manager()
    by_hand.start_worker()
    client = by_hand.connect()
    gate = Gate(tmp_path / "gate")
    pause = gate.pause

    def mapper(n: int) -> Iterator[tuple[int, int]]:
        if n == 11:
            pause("last")
        yield n % 3, n

    job = submit(mapper, range(12), "sum", on=client, split_size=1, reduce_tasks=2)
    gate.wait_for("last")
    eventually(lambda: client.look(job.id)["map"]["done"] == 11, "other maps")
    client.close()
    journal = by_hand.state / "journal"
    for torn in (1, 7, 60):
        by_hand.end_manager(signal.SIGKILL)
        record = journal.read_bytes()
        with journal.open("ab") as file:
            file.write(record[:torn])  # as far as the next one came
        by_hand.start_manager()
    gate.open()
    again = by_hand.connect()
    try:
        assert answer(again, again.attach(job.id)).to_dict() == {0: 18, 1: 22, 2: 26}
        assert again.look(job.id)["failed"] == 0
    finally:
        again.close()


@pytest.mark.fault(29)
def test_a_journal_that_is_damaged_in_the_middle_is_not_guessed_at(by_hand: ByHand) -> None:
    by_hand.start_manager()
    by_hand.start_worker()
    client = by_hand.connect()
    job = submit(lambda n: [(n % 3, n)], range(12), "sum", on=client, split_size=1)
    assert len(job.result(20)) == 3
    client.close()
    by_hand.end_manager(signal.SIGKILL)
    journal = by_hand.state / "journal"
    data = bytearray(journal.read_bytes())
    data[len(data) // 3] ^= 1
    journal.write_bytes(data)
    words = ["manager", "--port", str(by_hand.port), "--state", str(by_hand.state)]
    refused = by_hand.start(*words, wait=False)
    out, error = refused.communicate(timeout=20)
    assert refused.returncode == 1, out
    assert str(journal) in error
    assert "Traceback" not in error
