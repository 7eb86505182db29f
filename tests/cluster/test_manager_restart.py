"""The manager dies in the middle of a job, and the job goes on: nothing that it had written down is
done again, workers and clients come back by themselves.

Each task leaves a mark for its record, so that what ran twice is seen, whoever did it.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from by_hand import ByHand, marked
from watching import BUSY_S, Gate, alive, at_most, eventually, feed

from mrkernel.engines.local import LocalCluster
from mrkernel.engines.remote import ManagerClient
from mrkernel.manager.facts import TaskDone
from mrkernel.manager.journal import read_journal

RECORDS = 40
#: More than travels in a message: the map output is in files.
LARGE = 12_000

Mapper = Callable[[int], Iterator[tuple[int, Any]]]


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


def marking(marks: Path, pause: Callable[[str], None], *, large: bool) -> Mapper:
    """A mapper that marks its record; records from the middle on wait at a gate."""
    here, folder, size = os.getpid(), str(marks), LARGE if large else 1
    half = RECORDS // 2

    def mapper(record: int) -> Iterator[tuple[int, Any]]:
        if here not in (os.getpid(), os.getppid()):
            if record >= half:
                pause("half")
            with open(f"{folder}/{record}", "ab") as file:
                file.write(b"x")
        yield record % 5, random.Random(record).randbytes(size)

    return mapper


def lengths(key: int, values: Any) -> int:
    return sum(len(value) for value in values)


def expected(*, large: bool) -> dict[int, int]:
    return dict.fromkeys(range(5), (LARGE if large else 1) * RECORDS // 5)


def maps_in(journal: Path) -> set[str]:
    """The map tasks that a journal knows to be done."""
    facts = read_journal(journal)
    done = {fact.finished.task for fact in facts if isinstance(fact, TaskDone)}
    return {task for task in done if task.startswith("map")}


def check_once(marks: Path, kept: set[str]) -> None:
    """Every record was mapped, those of journaled tasks once."""
    times = dict(marked(marks))
    assert set(times) == set(range(RECORDS))
    again = {record for record, count in times.items() if count > 1}
    assert not {f"map-{record}" for record in again} & kept


@pytest.mark.fault(8)
@pytest.mark.fault(8)
@pytest.mark.parametrize("large", [False, True], ids=["output in messages", "output in files"])
def test_a_supervisor_starts_the_manager_again_and_the_job_goes_on(
    gate: Gate, marks: Path, large: bool
) -> None:
    with LocalCluster(workers=2, slots=1) as cluster:
        cluster.wait_for_workers()
        mapper = marking(marks, gate.pause, large=large)
        job = cluster.submit(mapper, range(RECORDS), lengths, split_size=1, reduce_tasks=2)
        journal = Path(cluster.client.connection.state) / "journal"
        eventually(lambda: len(maps_in(journal)) >= RECORDS // 2, "half of the maps")
        eventually(lambda: len(gate.waiting()) >= 2, "two tasks that wait")
        kept = maps_in(journal)
        began = time.monotonic()
        cluster.restart_manager()
        gate.open()
        eventually(lambda: len(dict(marked(marks))) > RECORDS // 2 + 2, "new work", 5)
        assert time.monotonic() - began < 2.0 + BUSY_S, "it took too long to hand out work again"
        assert job.result(30).to_dict() == expected(large=large)
        check_once(marks, kept)
        (told,) = [line for line in feed(cluster, job.id) if "manager restarted" in line]
        number = int(told.partition(f" of {RECORDS} maps kept")[0].rpartition(" ")[2])
        assert len(kept) <= number < RECORDS  # it was killed a moment after the gate opened
        assert cluster.run(lambda record: [(record, 1)], range(3), "sum").to_dict() == {
            **dict.fromkeys(range(3), 1)
        }


@pytest.mark.fault(8)
@pytest.mark.fault(8)
def test_the_manager_dies_again_and_again(gate: Gate, marks: Path) -> None:
    gate.open()
    with LocalCluster(workers=2, slots=1) as cluster:
        cluster.wait_for_workers()

        def mapper(record: int) -> Iterator[tuple[int, int]]:
            time.sleep(0.02)
            yield record % 5, 1

        job = cluster.submit(mapper, range(100), "sum", split_size=1)
        for _ in range(5):
            before = job.progress
            cluster.restart_manager()
            eventually(lambda b=before: job.wait(0) or job.progress > b, "progress")  # type: ignore[misc]
        assert job.result(30).to_dict() == dict.fromkeys(range(5), 20)


@pytest.mark.fault(8)
@pytest.mark.fault(8)
def test_a_manager_killed_by_hand_and_started_again_goes_on(
    by_hand: ByHand, gate: Gate, marks: Path
) -> None:
    by_hand.start_manager()
    for _ in range(2):
        by_hand.start_worker()
    with by_hand.connect() as client:
        mapper = marking(marks, gate.pause, large=True)
        job = client.submit(mapper, range(RECORDS), lengths, split_size=1, reduce_tasks=2)
        journal = by_hand.state / "journal"
        eventually(lambda: len(maps_in(journal)) >= RECORDS // 2, "half of the maps")
        gate.wait_for("half")
        by_hand.end_manager()
        kept = maps_in(journal)
        gate.open()
        assert by_hand.start_manager(lines=4) == "took up 1 job from its journal\n"
        assert job.result(30).to_dict() == expected(large=True)
        check_once(marks, kept)


def test_a_manager_that_is_stopped_in_the_middle_says_how_to_go_on(
    by_hand: ByHand, gate: Gate, marks: Path
) -> None:
    by_hand.start_manager()
    by_hand.start_worker()
    with by_hand.connect() as client:
        mapper = marking(marks, gate.pause, large=False)
        job = client.submit(mapper, range(RECORDS), lengths, split_size=1)
        gate.wait_for("half")
        said = by_hand.end_manager(signal.SIGINT)
        assert f"start it again to go on with {job.id}" in said
        command = said.strip().splitlines()[-1].split()
        assert command[0] == "mrkernel"
        gate.open()
        by_hand.start(*command[1:])
        assert job.result(30).to_dict() == expected(large=False)


@pytest.mark.fault(52)
@pytest.mark.fault(12)
def test_all_of_it_killed_and_started_again_goes_on(
    by_hand: ByHand, gate: Gate, marks: Path
) -> None:
    """As after a power cut: new workers serve what the old ones left on their disks."""
    by_hand.start_manager()
    old = [by_hand.start_worker() for _ in range(2)]
    with by_hand.connect() as client:
        mapper = marking(marks, gate.pause, large=True)
        job = client.submit(mapper, range(RECORDS), lengths, split_size=1, reduce_tasks=2)
        journal = by_hand.state / "journal"
        eventually(lambda: len(maps_in(journal)) >= RECORDS // 2, "half of the maps")
        by_hand.end_manager()
        for worker in old:
            worker.kill()
            worker.wait()
        kept = maps_in(journal)
        gate.open()
        by_hand.start_manager()
        by_hand.start_worker()
        assert job.result(30).to_dict() == expected(large=True)
        check_once(marks, kept)


@pytest.mark.fault(13)
def test_workers_come_and_go_in_the_middle_of_a_job(
    by_hand: ByHand, gate: Gate, marks: Path
) -> None:
    by_hand.start_manager()
    first = by_hand.start_worker()
    with by_hand.connect() as client:
        mapper = marking(marks, gate.pause, large=True)
        job = client.submit(mapper, range(RECORDS), lengths, split_size=1, reduce_tasks=2)
        gate.wait_for("half")
        by_hand.start_worker()
        eventually(lambda: len(gate.waiting("half")) == 2, "work for the one that came")
        first.terminate()  # and its files with it: its maps run again
        first.communicate(timeout=20)
        gate.open()
        assert job.result(30).to_dict() == expected(large=True)
        assert list(client.living_workers()) == ["w2"]


@pytest.mark.fault(52)
def test_two_managers_on_one_state_directory_are_one_too_many(by_hand: ByHand) -> None:
    by_hand.start_manager()
    assert by_hand.manager is not None
    words = [sys.executable, "-m", "mrkernel", "manager", "--state", str(by_hand.state)]
    second = subprocess.run(
        [*words, "--port", "0"], capture_output=True, text=True, timeout=30, check=False
    )
    assert second.returncode == 1
    assert f"another manager (process {by_hand.manager.pid}) works in" in second.stderr
    assert "Traceback" not in second.stderr
    with by_hand.connect() as client:
        assert client.look("cluster")["jobs"] == {}  # the first is not disturbed


#: Submits a job with input that only it has, says which, and waits to be killed.
SUBMITTER = """
    import os, sys
    import mrkernel

    address, marks, gate = sys.argv[1:]
    here = os.getpid()

    def mapper(record):
        import os, time
        number, text = record
        if here not in (os.getpid(), os.getppid()):
            while number >= 20 and not os.path.exists(f"{gate}/open"):
                with open(f"{gate}/half.{os.getpid()}", "w"):
                    time.sleep(0.002)
            with open(f"{marks}/{number}", "ab") as file:
                file.write(b"x")
        yield number % 5, len(text)

    if __name__ == "__main__":
        client = mrkernel.connect(address)
        # Large: it does not travel inside the message that submits the job.
        records = [(number, os.urandom(5000)) for number in range(40)]
        job = client.submit(mapper, iter(records), "sum", split_size=5000, reduce_tasks=2)
        print(job.id, flush=True)
        sys.stdin.read()
"""

#: Attaches to a job and prints its result.
ATTACHER = """
    import json, sys
    import mrkernel

    address, job = sys.argv[1:]
    with mrkernel.connect(address) as client:
        print(json.dumps(sorted(client.attach(job).result(30).to_dict().items())))
"""


@pytest.mark.fault(10)
@pytest.mark.fault(8, 10)
@pytest.mark.parametrize("restart", [False, True], ids=["manager lives", "manager dies as well"])
def test_a_killed_kernel_does_not_stop_its_job_on_a_cluster_of_others(
    by_hand: ByHand, gate: Gate, marks: Path, restart: bool
) -> None:
    by_hand.start_manager()
    for _ in range(2):
        by_hand.start_worker()
    submitter = by_hand.run_script(SUBMITTER, by_hand.address, str(marks), str(gate.folder))
    assert submitter.stdout is not None
    job = submitter.stdout.readline().strip()
    assert job, submitter.communicate()
    gate.wait_for("half")
    submitter.kill()
    submitter.wait()
    if restart:
        by_hand.end_manager()
        kept = maps_in(by_hand.state / "journal")
        assert by_hand.start_manager(lines=4) == "took up 1 job from its journal\n"
    gate.open()
    attacher = by_hand.run_script(ATTACHER, by_hand.address, job)
    out, error = attacher.communicate(timeout=30)
    assert out.strip() == str([[key, 8 * 5000] for key in range(5)]), error
    if restart:
        check_once(marks, kept)
    else:
        assert dict(marked(marks)) == dict.fromkeys(range(RECORDS), 1)
    # And once more, when all is over: nothing runs again for it.
    out, error = by_hand.run_script(ATTACHER, by_hand.address, job).communicate(timeout=30)
    assert out.strip() == str([[key, 8 * 5000] for key in range(5)]), error
    if not restart:
        assert dict(marked(marks)) == dict.fromkeys(range(RECORDS), 1)


@pytest.mark.fault(8)
def test_the_journal_tells_the_story_with_and_without_a_manager(
    by_hand: ByHand, gate: Gate, marks: Path
) -> None:
    gate.open()
    by_hand.start_manager()
    by_hand.start_worker()
    with by_hand.connect() as client:
        mapper = marking(marks, gate.pause, large=False)
        job = client.submit(mapper, range(RECORDS), lengths, split_size=1, reduce_tasks=2)
        job.result(30)

    def journal(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mrkernel", "journal", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    told = journal(job.id)  # of the only manager that runs
    assert told.returncode == 0, told.stderr
    assert "accepted: mapper, 40 map tasks, 2 reduce tasks" in told.stdout
    assert len(re.findall(r"map-\d+ done by w1 \(attempt 1\)", told.stdout)) == RECORDS
    assert journal(job.id, "--on", by_hand.address).stdout == told.stdout
    by_hand.end_manager()
    later = journal(job.id, "--state", str(by_hand.state))
    assert later.stdout.startswith(told.stdout)
    unknown = journal("j99", "--state", str(by_hand.state))
    assert unknown.returncode == 2
    assert unknown.stderr.count("\n") == 1
    assert f"it knows: {job.id}" in unknown.stderr
    nowhere = journal(job.id, "--state", str(by_hand.folder))
    assert nowhere.returncode == 2
    assert "there is no journal in" in nowhere.stderr


def test_a_result_is_there_until_it_is_released(by_hand: ByHand) -> None:
    """Over the death of the manager, and of the worker that made it."""
    by_hand.start_manager()
    first, second = by_hand.start_worker(), by_hand.start_worker()
    with by_hand.connect() as client:
        eventually(lambda: len(client.living_workers()) == 2, "two workers")
        data = os.urandom(1000)
        job = client.submit(lambda record: [(record, data * 1000)], range(40), "none", split_size=1)
        result = job.result(30)
        assert not is_here(client, job.id)
        by_hand.end_manager()
        by_hand.start_manager()
        eventually(lambda: len(client.living_workers()) == 2, "the workers' return")
        assert sum(len(value) for _, value in result) == 40_000_000
        first.kill()
        eventually(lambda: len(client.living_workers()) == 1, "the death")
        assert alive([second.pid])
        assert sum(len(value) for _, value in result) == 40_000_000
        spill = Path(os.environ["XDG_CACHE_HOME"]) / "mrkernel" / "spill"
        assert list(spill.glob(f"*/worker/{job.id}"))
        result.release()
        eventually(lambda: not list(spill.glob(f"*/worker/{job.id}")), "end of the files", 5)
    with at_most(5.0, "the end"):
        by_hand.close()


def is_here(client: ManagerClient, job: str) -> bool:
    """Whether the client has all of a result itself."""
    return all(part.data is not None for part in client._places(job))  # type: ignore[arg-type]
