"""Notebooks and their manager: each may die, and the job goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from kernels import Kernel, until

from mrkernel.engines.local import LocalCluster

#: Half of the records wait at a gate; each leaves a mark, so that what runs twice is seen.
SLOW = """
def mapper(record):
    import os, time
    if kernel not in (os.getpid(), os.getppid()):
        while record >= 20 and not os.path.exists(gate):
            time.sleep(0.005)
        with open(f"{marks}/{record}", "ab") as file:
            file.write(b"x")
        print("record", record, "was read")
    yield record % 3, 1
"""
COUNTS = "{0: 14, 1: 13, 2: 13}"


def begin(kernel: Kernel, folder: Path) -> None:
    """Load the extension and say where marks go."""
    where = f"{str(folder / 'gate')!r}, {str(folder)!r}"
    assert kernel.run(
        f"%load_ext mrkernel\nimport os\nkernel, gate, marks = os.getpid(), {where}"
    ).ok


def ran(folder: Path) -> dict[int, int]:
    """How often each record was mapped."""
    return {int(mark.name): mark.stat().st_size for mark in folder.glob("[0-9]*")}


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


@pytest.fixture
def notebook(tmp_path: Path, marks: Path) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path)
    try:
        begin(kernel, marks)
        yield kernel
    finally:
        kernel.close()


#: Of a view that has seen the first half of the job.
HALF = r'"done": 20'


@pytest.mark.fault(8)
def test_a_cell_waits_through_a_restart_of_its_manager(notebook: Kernel, marks: Path) -> None:
    notebook.run("cluster = %mr_cluster start 2")
    cell = notebook.begin("%%mapreduce {range(40)} --split-size 1 --reducer sum" + SLOW)
    notebook.hear(HALF)
    _manager(notebook.pid).kill()
    notebook.hear('"text": "manager restarted after .* s: 20 of 40 maps kept')
    (marks / "gate").touch()
    done = notebook.end(cell)
    assert done.ok, done
    assert notebook.value("_.to_dict()") == COUNTS
    assert done.picture["restarts"] == 1
    assert done.picture["banner"] is None
    # Those that were done are not done again, nor shown twice.
    assert all(ran(marks)[record] == 1 for record in range(20))
    assert all(done.out.count(f"record {record} was read\n") == 1 for record in range(20))


def _supervisor(kernel: int) -> psutil.Process:
    """The supervisor of a kernel's cluster."""
    children = psutil.Process(kernel).children()
    [found] = [each for each in children if "mrkernel.deploy.supervisor" in each.cmdline()]
    return found


def _manager(kernel: int) -> psutil.Process:
    """The manager of a kernel's cluster: the workers have children."""
    [found] = [each for each in _supervisor(kernel).children() if not each.children()]
    return found


@pytest.mark.fault(11)
def test_while_the_manager_is_away_the_view_says_so_and_the_cell_can_be_interrupted(
    notebook: Kernel, marks: Path
) -> None:
    notebook.run("cluster = %mr_cluster start 2")
    cell = notebook.begin("%%mapreduce {range(40)} --split-size 1 --reducer sum" + SLOW)
    notebook.hear(HALF)
    supervisor = _supervisor(notebook.pid)
    supervisor.suspend()  # who would start it again
    try:
        _manager(notebook.pid).kill()
        notebook.hear("the manager is gone, looking for it; the job is in its journal")
        notebook.hear("the manager is gone for 1 s, looking for it; the job is in its journal")
        notebook.interrupt()
        stopped = notebook.end(cell)
    finally:
        supervisor.resume()
    assert stopped.error == "KeyboardInterrupt"
    assert "will be cancelled when its manager is back" in stopped.trace
    # The cluster comes back, the job is cancelled there, and the next one runs.
    again = notebook.run("%mapreduce {range(40)} --mapper {lambda n: [(n % 3, 1)]} --reducer sum")
    assert again.ok, again
    assert notebook.value("_.to_dict()") == COUNTS
    states = "{j: row['state'] for j, row in cluster.client.look('cluster')['jobs'].items()}"
    assert notebook.value(states).startswith("{'j1': 'cancelled'")


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(workers=2, visible=True) as cluster:
        cluster.wait_for_workers()
        yield cluster


@pytest.mark.fault(10)
def test_a_job_outlives_its_kernel_and_another_one_takes_it_up(
    cluster: LocalCluster, tmp_path: Path, marks: Path
) -> None:
    first = Kernel(tmp_path)
    try:
        begin(first, marks)
        first.begin("%%mapreduce {range(40)} --split-size 1 --reducer sum" + SLOW)
        until(lambda: len(ran(marks)) == 20)
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.close()
    until(lambda: cluster.client.look("j1")["map"]["done"] == 20)
    second = Kernel(tmp_path)
    try:
        begin(second, marks)
        assert "running" in second.value("%mr_jobs")
        attached = second.begin("job = %mr_jobs j1")
        picture = second.hear(f".*{HALF}.*")  # it is drawn when it comes, and nobody waits for it
        assert '"state": "running"' in picture
        assert '"records": 20' in picture
        shown = second.end(attached)
        assert shown.ok, shown
        (marks / "gate").touch()
        assert second.value("job.result().to_dict()") == COUNTS
        # What its tasks printed before this kernel lived stands below its view as well.
        [display] = shown.displays
        assert display["text/plain"].startswith("mapper  ✓ ")
        said = display["text/plain"]
        assert all(said.count(f"record {record} was read") == 1 for record in range(40))
        assert "worker lost" not in said
    finally:
        second.close()
    assert ran(marks) == dict.fromkeys(range(40), 1)
