"""``--output x.csv``, ``--partitioner range``, ``--sample``, chains and joins in a cell."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kernels import Kernel

CELL = """
def mapper(line):
    for word in line.split():
        yield word, 1
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path_factory.mktemp("notebook"))
    try:
        assert kernel.run("%load_ext mrkernel\nlines = ['a b a', 'c b'] * 50").ok
        yield kernel
    finally:
        kernel.close()


def test_a_file_is_named_under_the_cell(notebook: Kernel) -> None:
    line = "%%mapreduce {lines} --reducer sum --on inline --columns {['word', 'n']} --output x.csv"
    ran = notebook.run(line + CELL)
    assert ran.ok, ran
    folder = notebook.value("__import__('os').getcwd()").strip("'")
    assert ran.value == f"<JobResult 'mapper': 3 pairs, written to {folder}/x.csv>"
    assert notebook.value("open('x.csv').read()") == repr("word,n\na,100\nb,100\nc,50\n")


def test_ranges(notebook: Kernel) -> None:
    line = "%%mapreduce {lines} --reducer sum --on inline --partitioner range --reduce-tasks 2"
    assert notebook.run(line + CELL).ok
    found = notebook.value("[[k for k, _ in _.part(n)] for n in range(2)]")
    assert found in ("[['a'], ['b', 'c']]", "[['a', 'b'], ['c']]")


def test_a_sample_says_so(notebook: Kernel) -> None:
    ran = notebook.run("%%mapreduce {lines} --reducer sum --sample 2" + CELL)
    assert ran.ok, ran
    assert ran.out.startswith("note: a sample in this process: the first 2 records of ")
    assert ran.picture["name"] == "mapper (sample)"
    assert ran.value.startswith("<JobResult 'mapper (sample)': 3 pairs of a sample (the first 2 ")
    assert notebook.value("sum(n for _, n in _)") != "250"


def test_they_are_no_settings_for_all_cells(notebook: Kernel) -> None:
    for name in ("sample", "output_format", "columns"):
        ran = notebook.run(f"%config MapReduceMagics.{name} = 3")
        assert f"Config option `{name}` not recognized" in ran.err


def test_a_chain_and_a_join(notebook: Kernel) -> None:
    line = "%%mapreduce {lines} --reducer sum --into counts --quiet"
    assert notebook.run(line + CELL).ok
    ran = notebook.run(
        "%%mapreduce {counts} --reducer list --into again\n"
        "def mapper(word, count):\n    yield count, word\n"
    )
    assert ran.ok, ran
    assert "running on the cluster inside this session, where the job's input is" in ran.out
    assert notebook.value("{n: sorted(words) for n, words in again}") == (
        "{50: ['c'], 100: ['a', 'b']}"
    )
    ran = notebook.run(
        "%%mapreduce left={counts} right={['a', 'z']} --reducer list --quiet\n"
        "def mapper(source, record):\n"
        "    yield (record[0] if source == 'left' else record), source\n"
    )
    assert ran.ok, ran
    assert notebook.value("_.to_dict()") == (
        "{'a': ['left', 'right'], 'b': ['left'], 'c': ['left'], 'z': ['right']}"
    )
    assert notebook.run("%mr_cluster stop").ok
