"""``%mr_debug`` in a real kernel: the exception again, here, and ``%debug`` in its frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kernels import Kernel

from mrkernel.engines.local import LocalCluster

#: The bad line comes after those that are tried before a job starts.
CELL = """
%%mapreduce {lines}
def mapper(line):
    word, _, number = line.partition(" ")
    parsed = int(number)
    yield word, parsed

def reducer(word, numbers):
    total = sum(numbers)
    return 1 // (total - limit)
"""
BEGIN = """
%load_ext mrkernel
%mr_cluster start 1
"""
INNERMOST = """
import sys
def innermost():
    trace = sys.last_traceback
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_name, trace.tb_lineno, trace.tb_frame.f_locals
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path_factory.mktemp("notebook"))
    try:
        assert kernel.run(BEGIN).ok
        assert kernel.run(INNERMOST).ok
        assert "no job has failed in this notebook" in kernel.run("%mr_debug").err
        yield kernel
    finally:
        kernel.close()


def test_the_record_that_failed_is_mapped_here_and_debug_stands_in_it(notebook: Kernel) -> None:
    notebook.run("limit = 0\nlines = ['a 1'] * 1000 + ['b x'] + ['c 2'] * 1000")
    failed = notebook.run(CELL.strip())
    assert failed.error == "TaskFailedError"
    assert "next: %mr_debug calls it again here" in failed.trace
    assert "--on-error skip goes on without such records" in failed.trace
    again = notebook.run("%mr_debug")
    assert again.error == "ValueError"
    assert "invalid literal for int() with base 10: 'x'" in again.trace
    assert "parsed = int(number)" in again.trace
    for ours in ("replay", "FailedJobs", "_do_again", "def mr_debug"):
        assert ours not in again.trace
    assert notebook.value("innermost()[:2]") == "('mapper', 4)"
    assert notebook.value("innermost()[2]['word']") == "'b'"


def test_the_group_that_failed_is_reduced_here(notebook: Kernel) -> None:
    notebook.run("limit = 7\nlines = [f'a{n} {n}' for n in range(100, -1, -1)]")
    assert notebook.run(CELL.strip()).error == "TaskFailedError"
    again = notebook.run("%mr_debug")
    assert again.error == "ZeroDivisionError"
    assert notebook.value("innermost()[0], innermost()[2]['total']") == "('reducer', 7)"
    # The notebook's own variables are there, not copies of them.
    assert notebook.run("limit = 8").ok
    assert "the reducer goes well here" in notebook.run("%mr_debug").trace


def test_a_slip_that_shows_before_the_job_is_debugged_alike(notebook: Kernel) -> None:
    notebook.run("limit = 0\nlines = ['b x']")
    assert notebook.run(CELL.strip()).error == "TaskFailedError"
    assert notebook.run("%mr_debug").error == "ValueError"
    assert notebook.value("innermost()[0]") == "'mapper'"


def test_how_it_is_written(notebook: Kernel) -> None:
    assert "write %mr_debug, or %mr_debug ID" in notebook.run("%mr_debug 1 2").err
    assert "there is no job 'j999' here" in notebook.run("%mr_debug j999").trace


def test_a_job_of_another_notebook_by_its_id(tmp_path: Path) -> None:
    with LocalCluster(1, slots=1) as cluster:
        cluster.wait_for_workers()
        connection = cluster.client.connection
        at = f"%load_ext mrkernel\n%mr_cluster connect {connection.host}:{connection.port}"
        names = []
        for turn in ("first", "second"):
            kernel = Kernel(tmp_path)
            try:
                assert kernel.run(at).ok
                assert kernel.run(INNERMOST).ok
                if turn == "first":
                    kernel.run("limit = 0\nlines = ['a 1'] * 1000 + ['b x']")
                    assert kernel.run(CELL.strip()).error == "TaskFailedError"
                    names += list(cluster.client.look("cluster")["jobs"])
                    assert kernel.run(f"%mr_debug {names[0]}").error == "ValueError"
                else:
                    again = kernel.run(f"%mr_debug {names[0]}")
                    assert again.error == "ValueError"
                    assert "parsed = int(number)" in again.trace
                    assert kernel.value("innermost()[2]['word']") == "'b'"
            finally:
                kernel.close()
