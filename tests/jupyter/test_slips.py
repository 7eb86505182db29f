"""What goes wrong in a cell: one sentence, or the user's own frames."""

from __future__ import annotations

import pytest
from cells import ADD, FAILS_LATE, WORDS, number_of
from kernels import Kernel

# --- The line -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{lines} --reduser sum", "there is no --reduser: did you mean --reducer?"),
        ("{lines} --redu sum", "there is no --redu: did you mean --reduce?"),
        ("{lines} --back", "there is no --back: did you mean --background?"),
        ("{lines} --into 3x", "--into 3x: write the name of a variable"),
        ("{lines} --into", "--into: expected one argument"),
        ("{lines", "{lines opens a brace that is never closed"),
        ("{lines} 'x", "No closing quotation"),
        ("{line for line in lines}", "{line for line in lines} is not an expression of Python"),
        ("{nosuch}", "{nosuch}: NameError: name 'nosuch' is not defined"),
        ("{lines} --mapper nosuch", "nothing in this notebook is called nosuch; define it first"),
        ("{lines} --reducer sums", "is called sums, and there is no built-in reducer 'sums': did"),
    ],
)
def test_a_wrong_line_is_one_sentence(notebook: Kernel, line: str, says: str) -> None:
    ran = notebook.run(f"%mapreduce {line}")
    assert not ran.ok  # Run All stops
    assert ran.err.startswith("UsageError: ")
    assert says in ran.err
    assert ran.err.count("\n") == 1
    assert ran.trace == ""


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{lines} --reduce-tasks x", "--reduce-tasks x: write a whole number from 1"),
        ("{lines} --split-size big", "--split-size big: write a size in bytes, such as 500000"),
        ("{lines} --on nowhere", "no manager of yours at nowhere on this machine"),
        ("", "the job has no input: name a file"),
        ("{lines} --combiner mean", "mean is no combiner, because mean of several means"),
    ],
)
def test_a_wrong_value_is_one_sentence(notebook: Kernel, line: str, says: str) -> None:
    notebook.run(WORDS)
    ran = notebook.run(f"%mapreduce {line} --reducer sum")
    assert not ran.ok
    assert says in ran.trace
    assert ran.trace.count("\n") == 0


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("%mr_workers all", "%mr_workers takes no arguments"),
        ("%mr_cluster", "write %mr_cluster start [N], connect [HOST:PORT or NAME], or stop"),
        ("%mr_cluster start none", "write %mr_cluster start, or %mr_cluster start 3"),
        ("%mr_jobs j1 j2", "write %mr_jobs, or %mr_jobs ID"),
    ],
)
def test_the_other_magics_say_how_they_are_written(notebook: Kernel, line: str, says: str) -> None:
    ran = notebook.run(line)
    assert (ran.ok, says in ran.err) == (False, True)


# --- The functions --------------------------------------------------------------------------------

SLIPS = {
    "a word without a value": (
        "def mapper(line):\n    for word in line.split():\n        yield word",
        "write yield word, 1 instead of yield word",
    ),
    "a mapper that returns a pair": (
        "def mapper(line):\n    return line, 1",
        "write yield key, value (or return [(key, value)])",
    ),
    "a reducer without return": (
        WORDS + "def reducer(word, ones):\n    sum(ones)",
        "end it with return sum(values) or yield key, sum(values)",
    ),
    "a mapper that takes nothing": (
        "def mapper():\n    yield 1, 1",
        "write def mapper(record) for the record",
    ),
    "print instead of yield": (
        "def mapper(line):\n    for word in line.split():\n        print(word, 1)",
        "write yield key, value in place of print(key, value)",
    ),
    "a list as a key": ("def mapper(line):\n    yield line.split(), 1", "write tuple(key)"),
    "a lock in a helper": (
        "import threading\nlock = threading.Lock()\n"
        "def helper(line):\n    with lock:\n        return line\n"
        "def mapper(line):\n    yield helper(line), 1",
        "`lock` used by `helper` used by `mapper` is a _thread.lock and cannot be sent to workers: "
        "create it inside the function",
    ),
    "a mapper that is a number": ("mapper = 5", "write def mapper(record): yield key, value"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_beginners_slip_is_answered_with_the_line_to_write(notebook: Kernel, slip: str) -> None:
    cell, says = SLIPS[slip]
    ran = notebook.run("%%mapreduce {lines}" + ADD + cell)
    assert not ran.ok
    first, *more = ran.trace.splitlines()
    assert first.startswith(f"{ran.error}: ")
    assert says in first
    assert "Traceback" not in ran.trace
    assert "mrkernel" not in ran.trace
    assert len(more) <= 5
    assert ran.picture == {}  # nothing ran


def test_an_input_that_matches_nothing(notebook: Kernel) -> None:
    (notebook.folder / "words.txt").write_text("a\n")
    ran = notebook.run("%%mapreduce wrods.txt" + WORDS + ADD)
    assert ran.error == "InputError"
    assert ran.trace.count("\n") == 0
    assert "words.txt" in ran.trace


def test_a_column_that_is_not_there(notebook: Kernel) -> None:
    notebook.run("import pandas as pd\ndf = pd.DataFrame({'year': [1, 2, 1], 'n': [3, 4, 5]})")
    by_year = (
        "%%mapreduce {df} --reducer sum --into counts\ndef mapper(row):\n    yield row['COL'], "
    )
    ran = notebook.run(by_year.replace("COL", "yaer") + "row['n']")
    first = ran.trace.splitlines()[0]
    assert "record has no column 'yaer'; it has year, n; did you mean 'year'?" in first
    assert notebook.run(by_year.replace("COL", "year") + "row['n']").ok
    assert notebook.value("counts.to_dict()") == "{1: 8, 2: 4}"


@pytest.mark.fault(33)
def test_a_failed_job_raises_with_the_users_own_frames(notebook: Kernel) -> None:
    ran = notebook.run("%%mapreduce {range(100)} --reducer sum --into counts" + FAILS_LATE)
    assert not ran.ok
    assert ran.error == "TaskFailedError"
    cell = number_of(notebook, "deeper")
    text = ran.trace.splitlines()
    assert "ZeroDivisionError: division by zero" in text[0]
    assert f"(line 3 of cell {cell}; range(100)[77])" in text[0]
    assert f"  cell {cell}, line 6, in mapper" in text
    assert f"  cell {cell}, line 3, in deeper" in text
    assert "    return 1 / (number - 77)" in text
    assert "record: 77" in text
    assert "mrkernel" not in ran.trace
    assert ran.picture["state"] == "failed"
    assert notebook.value("'counts' in globals()") == "False"
    line = notebook.run("%mapreduce {range(99)} --mapper {lambda n: [(1 / n, 1)]} --reducer sum")
    number = notebook.value("len(In) - 2")
    assert f"(line 1 of cell {number}; range(99)[0])" in line.trace.splitlines()[0]
    # The program can catch it, and the cluster goes on.
    caught = notebook.run(
        "import mrkernel\n"
        "try:\n"
        "    get_ipython().run_line_magic('mapreduce', '{range(100)} --reducer sum')\n"
        "except mrkernel.JobError as error:\n"
        "    print(error.failure.record)\n"
    )
    assert caught.out.endswith("77\n")
    assert notebook.run("%%mapreduce {lines}" + WORDS + ADD).ok


def test_an_error_of_the_cell_itself_shows_the_cell_and_nothing_of_ours(notebook: Kernel) -> None:
    ran = notebook.run("%%mapreduce {lines}\nx = 1\nrows = x / 0")
    number = notebook.value("len(In) - 2")
    assert ran.error == "ZeroDivisionError"
    assert f"Cell In[{number}], line 3" in ran.trace
    assert "rows = x / 0" in ran.trace
    assert "mrkernel" not in ran.trace
    ran = notebook.run("%%mapreduce {lines}\ndef mapper(line:\n    yield line, 1")
    number = notebook.value("len(In) - 2")
    assert (ran.ok, ran.error) == (False, "SyntaxError")
    assert f"Cell In[{number}], line 2" in ran.trace
    assert "mrkernel" not in ran.trace
