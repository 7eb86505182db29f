"""The magics in a real kernel: what a user types, and what comes back under the cell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from kernels import Kernel, until, works

WORDS = """
def mapper(line):
    for word in line.split():
        yield word, 1
"""
ADD = """
def reducer(word, ones):
    yield word, sum(ones)
"""
COUNTS = "{'a': 2, 'b': 2, 'c': 1}"

#: Cells use these; a notebook of many pages would have bound more.
BEGIN = """
import os, time
lines = ["a b a", "c b"]
kernel = os.getpid()
for name in ("mapper", "reducer", "combiner", "partitioner", "counts", "job"):
    globals().pop(name, None)
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path_factory.mktemp("notebook"))
    try:
        assert kernel.run("%load_ext mrkernel").ok
        yield kernel
    finally:
        kernel.close()


@pytest.fixture
def notebook(page: Kernel) -> Kernel:
    """A notebook in which nothing is defined yet but ``lines``; its cluster is the embedded one."""
    assert page.run(BEGIN).ok
    return page


def number_of(notebook: Kernel, name: str) -> str:
    """The number of the cell that defined a function, as it stands beside it."""
    return notebook.value(f"[n for n, text in enumerate(In[:-1]) if 'def {name}' in text][-1]")


# --- Functions and where they come from -----------------------------------------------------------


def test_a_cell_is_a_job_and_its_value_the_result(notebook: Kernel) -> None:
    ran = notebook.run("%%mapreduce {lines}" + WORDS + ADD)
    assert ran.ok, ran
    assert ran.value == "<JobResult 'mapper': 3 pairs>"
    assert ran.picture["state"] == "done"
    assert ran.picture["functions"] == "mapper: this cell · reducer: this cell"
    assert notebook.value("_.to_dict()") == COUNTS


def test_the_choice_of_cluster_is_said_and_the_first_job_starts_one(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    try:
        kernel.run("%load_ext mrkernel\nlines = ['a']" + WORDS)
        ran = kernel.run("%mapreduce {lines} --reducer sum")
        assert ran.out.startswith("started a cluster inside this session: ")
        assert ran.out.endswith("; it ends with it\n")
        again = kernel.run("%mapreduce {lines} --reducer sum")
        assert again.out.startswith("running on the cluster inside this session (")
        assert kernel.run("%mapreduce {lines} --reducer sum --quiet").out == ""
        # unload_ext stops it, and a kernel without it has no processes.
        children = psutil.Process(kernel.pid).children(recursive=True)
        assert children
        assert kernel.run("%unload_ext mrkernel").ok
        assert not any(map(works, children))
        assert "`%mapreduce` not found" in kernel.run("%mapreduce {lines}").err
        assert kernel.run("%load_ext mrkernel\n%mapreduce {lines} --reducer sum").ok
    finally:
        kernel.close()


def test_mapper_and_reducer_may_stand_in_earlier_cells(notebook: Kernel) -> None:
    notebook.run(WORDS)
    notebook.run(ADD)
    line = notebook.run("%mapreduce {lines} --into counts")
    assert (line.ok, line.value) == (True, "")
    assert notebook.value("counts.to_dict()") == COUNTS
    reducer, mapper = number_of(notebook, "reducer"), number_of(notebook, "mapper")
    assert int(mapper) + 1 == int(reducer)
    assert line.picture["functions"] == f"mapper: cell {mapper} · reducer: cell {reducer}"
    cell = notebook.run("%%mapreduce {lines}" + WORDS)
    assert cell.picture["functions"] == f"mapper: this cell · reducer: cell {reducer}"


def test_a_combiner_of_an_earlier_cell_is_not_applied_unless_it_is_named(notebook: Kernel) -> None:
    combiner = "\ndef combiner(word, ones):\n    yield word, 100\n"
    notebook.run(combiner)
    notebook.run("def partitioner(key, partitions):\n    return 1 / 0")
    ran = notebook.run("%%mapreduce {lines} --into counts" + WORDS + ADD)
    assert ran.ok, ran
    assert notebook.value("counts.to_dict()") == COUNTS
    assert "combiner" not in ran.picture["functions"]
    ran = notebook.run("%mapreduce {lines} --combiner combiner --into counts")
    assert notebook.value("max(counts.to_dict().values()) >= 100") == "True"
    assert (
        f"combiner: combiner of cell {number_of(notebook, 'combiner')}"
        in (ran.picture["functions"])
    )
    notebook.run("%%mapreduce {lines} --into counts" + WORDS + ADD + combiner)
    assert notebook.value("max(counts.to_dict().values()) >= 100") == "True"


def test_functions_by_name_by_expression_and_from_a_file(notebook: Kernel) -> None:
    (notebook.folder / "wc.py").write_text(WORDS + "def add(k, v): return sum(v)\n")
    notebook.run("def letters(line):\n    yield from ((letter, 1) for letter in line)")
    notebook.run("%mapreduce {lines} --mapper letters --reducer count --into counts")
    assert notebook.value("counts.lookup(' ')") == "[3]"
    notebook.run("%mapreduce {lines} --mapper {lambda line: [(len(line), 1)]} --reducer none")
    assert notebook.value("sorted(_)") == "[(3, 1), (5, 1)]"
    notebook.run("%mapreduce {lines} --mapper wc.py --reducer wc.py:add --into counts")
    assert notebook.value("counts.to_dict()") == COUNTS
    # A class is called like a function and can have a finish().
    notebook.run(
        "%%mapreduce {lines} --reducer sum --into counts\n"
        "class mapper:\n"
        "    n = 0\n"
        "    def __call__(self, line):\n"
        "        self.n += 1\n"
        "        return []\n"
        "    def finish(self):\n"
        "        yield 'lines', self.n\n"
    )
    assert notebook.value("counts.to_dict()") == "{'lines': 2}"


def test_a_number_called_count_does_not_hide_the_built_in(notebook: Kernel) -> None:
    notebook.run("count = 5" + WORDS)
    assert notebook.run("%mapreduce {lines} --reducer count --into counts").ok
    assert notebook.value("counts.to_dict()") == COUNTS


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
        ("{lines} --reduce-tasks x", "reduce_tasks='x': write a whole number from 1"),
        ("{lines} --split-size big", "split_size='big': write a size in bytes, such as 500000"),
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


def test_expressions_are_objects_and_variables_expand_inside_words(notebook: Kernel) -> None:
    (notebook.folder / "data").mkdir(exist_ok=True)
    (notebook.folder / "data" / "a b.txt").write_text("a b a\n")
    (notebook.folder / "data" / "c.txt").write_text("c b\n")
    notebook.run("where, ending = 'data', 'txt'" + WORDS + ADD)
    for inputs in (
        "data/*.txt",
        "{where}/*.{ending}",
        "$where",
        "'{where}/a b.txt' data/c.txt",
        "{['a b a', 'c } b'.replace('} ', '')]}",
        "{(line for line in lines)}",
        "{{1: ['a b a'], 2: ['c b']}[1]} {lines[1:]}",
    ):
        ran = notebook.run(f"%mapreduce {inputs} --into counts --quiet")
        assert ran.ok, (inputs, ran)
        assert notebook.value("counts.to_dict()") == COUNTS
    # An expression may use what its own cell has just defined.
    ran = notebook.run(
        "%%mapreduce {text.splitlines()} --into counts\ntext = 'a b a\\nc b'" + WORDS
    )
    assert notebook.value("counts.to_dict()") == COUNTS


def test_into_is_unbound_first_and_bound_after(notebook: Kernel) -> None:
    assert notebook.run("%%mapreduce {lines} --into counts" + WORDS + ADD).value == ""
    assert notebook.value("counts.to_dict()") == COUNTS
    # The line itself may still use what it was: {counts} is yesterday's result.
    flip = "{lambda pair: [pair[::-1]]}"
    ran = notebook.run(f"%mapreduce {{list(counts)}} --mapper {flip} --reducer list --into counts")
    assert ran.ok, ran
    assert notebook.value("counts.to_dict()") == "{1: ['c'], 2: ['a', 'b']}"
    for broken in (
        "%%mapreduce {lines} --into counts\ndef mapper(line):\n    return 1 / 0",
        "%%mapreduce {lines} --into counts\nthis is no Python",
        "%mapreduce {lines} --into=counts --reduser sum",
        "%mapreduce nosuch.txt --into counts",
    ):
        notebook.run("counts = 'stale'")
        assert not notebook.run(broken).ok
        assert notebook.value("'counts' in globals()") == "False"


def test_settings_are_the_options_of_all_cells(notebook: Kernel) -> None:
    notebook.run(WORDS)
    try:
        notebook.run("%config MapReduceMagics.reduce_tasks = 3")
        assert notebook.run("%mapreduce {lines} --reducer sum").picture["reduce"]["total"] == 3
        given = notebook.run("%mapreduce {lines} --reducer sum --reduce-tasks 2")
        assert given.picture["reduce"]["total"] == 2
    finally:
        notebook.run("%config MapReduceMagics.reduce_tasks = None")
    described = notebook.run("%config MapReduceMagics").out
    assert "MapReduceMagics.split_size" in described
    assert "MapReduceMagics.output" not in described  # belongs to one cell


def test_the_help_lists_every_option(notebook: Kernel) -> None:
    text = notebook.value("print(get_ipython().find_line_magic('mapreduce').__doc__)") or (
        notebook.run("print(get_ipython().find_line_magic('mapreduce').__doc__)").out
    )
    for option in ("--mapper F", "--reduce-tasks R", "--into NAME", "--background"):
        assert option in text


# --- What goes wrong ------------------------------------------------------------------------------

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


FAILS_LATE = """
def deeper(number):
    return 1 / (number - 77)

def mapper(number):
    yield deeper(number), 1
"""


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


# --- Interrupts -----------------------------------------------------------------------------------

ENDLESS = {
    "sleep": "time.sleep(600)",
    "C loop": "sum(range(10**12))",
    "program": "import subprocess; subprocess.run(['sleep', '600'])",
}


@pytest.mark.fault(11)
@pytest.mark.parametrize("how", ENDLESS)
def test_the_interrupt_button_stops_everything_and_the_next_job_starts_at_once(
    notebook: Kernel, how: str
) -> None:
    marks = notebook.folder / how
    marks.mkdir()
    cell = notebook.begin(
        "%%mapreduce {lines} --reducer sum --into counts\n"
        "def mapper(line):\n"
        "    if kernel not in (os.getpid(), os.getppid()):\n"
        f"        open({str(marks)!r} + f'/{{os.getpid()}}', 'w').close()\n"
        f"        {ENDLESS[how]}\n"
        "    yield line, 1\n"
    )
    until(lambda: list(marks.iterdir()))
    busy = [psutil.Process(int(mark.name)) for mark in marks.iterdir()]
    if how == "program":
        until(lambda: busy[0].children())
    busy += [child for runner in busy for child in runner.children()]
    notebook.interrupt()
    took = until(lambda: not any(map(works, busy)))
    ran = notebook.end(cell)
    assert took < 2.0
    assert (ran.ok, ran.error) == (False, "KeyboardInterrupt")
    assert ran.trace.startswith("KeyboardInterrupt: job j")
    assert ran.trace.endswith(" was cancelled; the cluster is ready for the next one")
    assert ran.picture["state"] == "cancelled"
    assert "cancelled after" in ran.displays[0]["text/plain"]
    assert notebook.value("'counts' in globals()") == "False"
    ran = notebook.run("%%mapreduce {lines} --into counts" + WORDS + ADD)
    assert ran.ok, ran
    assert ran.seconds < 2.0
    assert notebook.value("counts.to_dict()") == COUNTS


def test_an_interrupt_while_the_job_is_sent_cancels_it(notebook: Kernel) -> None:
    # The moment between a job's sending and our holding it is short: made visible by a slow engine.
    ran = notebook.run(
        "import mrkernel, signal\n"
        "from mrkernel.engines.remote import ManagerClient\n"
        "real = ManagerClient.submit_prepared\n"
        "def slow(self, prepared, on_print=None):\n"
        "    job = real(self, prepared, on_print)\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "    return job\n"
        "ManagerClient.submit_prepared = slow\n"
        "def mapper(line):\n"
        "    if kernel not in (os.getpid(), os.getppid()): time.sleep(600)\n"
        "    yield line, 1\n"
        "get_ipython().run_line_magic('mapreduce', '{lines} --reducer sum')\n"
    )
    notebook.run("ManagerClient.submit_prepared = real")
    assert ran.error == "KeyboardInterrupt"
    assert "was cancelled" in ran.trace
    again = notebook.run("%%mapreduce {lines}" + WORDS + ADD)
    assert (again.ok, again.seconds < 2.0) == (True, True)


# --- In the background ----------------------------------------------------------------------------

WAITS = """
def mapper(line):
    print("mapping", line)
    while kernel not in (os.getpid(), os.getppid()) and not os.path.exists(gate):
        time.sleep(0.01)
    yield from ((word, 1) for word in line.split())
"""


def test_a_job_in_the_background_leaves_the_kernel_free(notebook: Kernel) -> None:
    gate = notebook.folder / "gate"
    notebook.run(f"gate = {str(gate)!r}")
    ran = notebook.run("%%mapreduce {lines} --background --into job" + WAITS + ADD)
    assert (ran.ok, ran.value) == (True, "")
    assert notebook.value("job.status") == "'running'"
    assert "'running'" in notebook.value(
        "[row[1] for row in get_ipython().run_line_magic('mr_jobs', '')._rows]"
    )
    gate.touch()
    assert notebook.value("job.result().to_dict()") == COUNTS
    # The view of the earlier cell is in its final state now: so it is in a saved notebook.
    [display] = ran.displays
    assert set(display) == {"text/plain", "text/html"}
    assert display["text/plain"].startswith("mapper  ✓ ")
    assert "mapping a b a" in display["text/plain"]  # what tasks printed stands below it
    assert "mapping a b a" in display["text/html"]
    assert notebook.value("job.status") == "'done'"
    ran = notebook.run("%mapreduce {lines} --background")
    assert ran.value.startswith("<Job j")


# --- Prints ---------------------------------------------------------------------------------------


def test_what_tasks_print_reaches_the_cell_grouped_by_task(notebook: Kernel) -> None:
    ran = notebook.run(
        "%%mapreduce {lines} --reducer none --split-size 1\n"
        "import sys\n"
        "def mapper(line):\n"
        "    for word in line.split():\n"
        "        print('word', end=' ')\n"
        "        print(word, flush=True)\n"
        "    print('careful', file=sys.stderr)\n"
        "    yield line, 1\n"
    )
    printed = ran.out.split("\n", 1)[1]
    first, second = sorted(part for part in printed.split("[") if part)
    assert first.split("\n")[0].startswith("map-0 on w")
    assert second.split("\n")[0].startswith("map-1 on w")
    # The two streams of a program are not in step; each keeps its order.
    assert first.split("\n")[1:] == ["word a", "word b", "word a", "careful", ""]
    assert second.split("\n")[1:] == ["word c", "word b", "careful", ""]


def test_what_tasks_print_is_capped(notebook: Kernel) -> None:
    ran = notebook.run(
        "%%mapreduce {range(5000)} --reducer none\n"
        "def mapper(number):\n"
        "    print('x' * 99)\n"
        "    yield number, 1\n"
    )
    assert 20_000 < len(ran.out) < 22_000
    *_, last, end = ran.out.split("\n")
    assert end == ""
    assert last.startswith("[… ")
    assert last.endswith(" more characters were printed]")
    dropped = int(last.removeprefix("[… ").split()[0].replace(",", ""))
    kept = ran.out.count("x") + ran.out.count("x\n")
    assert kept + dropped == pytest.approx(500_000, abs=200)


# --- Modules beside the notebook ------------------------------------------------------------------


def test_an_edited_module_beside_the_notebook_is_used_by_the_next_run(notebook: Kernel) -> None:
    module = notebook.folder / "splitting.py"
    module.write_text("def split(line):\n    return line.split()\n")
    cell = (
        "%%mapreduce {lines} --reducer sum --into counts\n"
        "from splitting import split\n"
        "def mapper(line):\n"
        "    for word in split(line):\n"
        "        yield word, 1\n"
    )
    assert notebook.run(cell).ok
    assert notebook.value("counts.to_dict()") == COUNTS
    module.write_text("def split(line):\n    return [line[0].upper(), *line[1:]]\n")
    assert notebook.run(cell).ok
    assert notebook.value("counts.lookup('A'), counts.lookup('a')") == "([1], [1])"
    module.write_text("def split(line):\n    return [1 / 0 for _ in line]\n")
    ran = notebook.run(cell)
    assert "splitting.py, line 2, in split" in ran.trace


# --- Engines --------------------------------------------------------------------------------------


def test_inline_runs_in_this_process(notebook: Kernel) -> None:
    ran = notebook.run(
        "%%mapreduce {lines} --on inline --reducer sum --into counts\n"
        "seen = []\n"
        "def mapper(line):\n"
        "    seen.append(os.getpid())\n"
        "    yield line, 1\n"
    )
    assert ran.out == "running in this process\n"
    assert notebook.value("set(seen) == {kernel}, len(seen)") == "(True, 2)"
    assert ran.picture["state"] == "done"
    ran = notebook.run("%%mapreduce {range(100)} --on inline --reducer sum" + FAILS_LATE)
    assert f"  cell {number_of(notebook, 'deeper')}, line 3, in deeper" in ran.trace.splitlines()


def test_the_chosen_cluster_runs_the_jobs_and_replaces_a_dead_worker(notebook: Kernel) -> None:
    try:
        ran = notebook.run("cluster = %mr_cluster start 2")
        assert ran.out == "started 2 workers, 2 slots; this notebook's jobs run here\n"
        ran = notebook.run("%%mapreduce {lines}" + WORDS + ADD)
        assert ran.out == "running on a local cluster (chosen with %mr_cluster)\n"
        workers = notebook.run("%mr_workers")
        assert workers.displays[0]["text/plain"].startswith("2 workers · 2 slots, 0 busy")
        ran = notebook.run(
            "cluster.kill('w1')\nwhile 'w3' not in cluster.workers(): time.sleep(0.01)"
        )
        assert ran.ok, ran
        assert notebook.run("%mapreduce {lines} --into counts").ok
        assert notebook.value("counts.to_dict()") == COUNTS
        text = notebook.run("%mr_workers").displays[0]["text/plain"]
        assert "2 workers · 2 slots, 0 busy · 1 lost" in text
        assert "✗ w1" in text
    finally:
        assert notebook.run("%mr_cluster stop").out == "stopped\n"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[int]:
    """``mrkernel manager`` with one worker of two slots; its port."""
    programs = []

    def start(*words: str) -> str:
        program = subprocess.Popen(
            [sys.executable, "-m", *words], stdout=subprocess.PIPE, text=True, cwd=tmp_path
        )
        programs.append(program)
        assert program.stdout is not None
        return program.stdout.readline()

    port = start("mrkernel.manager", "--port", "0").split(":")[1].split(";")[0]
    start("mrkernel.worker", "--manager-port", port, "--slots", "2")
    yield int(port)
    for program in reversed(programs):
        program.terminate()
        program.wait(10)
        assert program.stdout is not None
        program.stdout.close()


@pytest.mark.fault(10)
def test_another_notebook_takes_a_job_up(notebook: Kernel, manager: int, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    try:
        assert notebook.run("%mr_cluster connect").ok  # my only manager
        notebook.run(f"gate = {str(gate)!r}")
        cell = "%%mapreduce {lines} --background --into job --name together" + WAITS + ADD
        ran = notebook.run(cell)
        assert ran.ok, ran
        job = notebook.value("job.id").strip("'")
        other = Kernel(tmp_path)
        try:
            assert other.run("%load_ext mrkernel").ok
            jobs = other.run("%mr_jobs")  # it finds the manager too
            assert jobs.value.split()[:2] == [job, "running"]
            assert jobs.value.endswith("together")
            taken = other.run(f"job = %mr_jobs {job}")
            assert taken.ok, taken
            assert other.value("job") == f"<Job {job} 'together': running>"
            gate.touch()
            assert other.value("job.result().to_dict()") == COUNTS
            assert notebook.value("job.result().to_dict()") == COUNTS
            # An ended job as well.
            again = other.run(f"%mr_jobs {job}")
            assert again.value == f"<Job {job} 'together': done>"
            assert "together  ✓" in again.displays[0]["text/plain"]
            unknown = other.run("%mr_jobs j99")
            assert "there is no job 'j99' here" in unknown.trace
        finally:
            other.close()
    finally:
        notebook.run("%mr_cluster stop")


# --- Views ----------------------------------------------------------------------------------------


def test_a_saved_notebook_keeps_the_final_picture_without_a_widget(notebook: Kernel) -> None:
    ran = notebook.run("%%mapreduce {lines} --name <words>" + WORDS + ADD)
    [display] = ran.displays
    assert set(display) == {"text/plain", "text/html"}
    assert display["text/plain"].startswith("<words>  ✓ ")
    assert "<b>&lt;words&gt;</b> ✓ " in display["text/html"]


def test_a_view_is_fed_at_most_ten_times_a_second(notebook: Kernel) -> None:
    ran = notebook.run(
        "%%mapreduce {range(300)} --split-size 1 --reducer none\n"
        "def mapper(number):\n"
        "    if kernel not in (os.getpid(), os.getppid()): time.sleep(0.005)\n"
        "    yield number, number\n"
    )
    assert ran.picture["map"]["done"] == 300
    updates = [m for m in ran.messages if m["data"].get("method") in ("update", "custom")]
    assert 2 <= len(updates) <= 11 * ran.seconds + 8


# --- The end --------------------------------------------------------------------------------------


def test_a_killed_kernel_leaves_nothing_behind(tmp_path: Path) -> None:
    folders = [
        Path(os.environ["JUPYTER_RUNTIME_DIR"]),
        Path(os.environ["XDG_CACHE_HOME"]) / "mrkernel" / "spill",
    ]

    def of_clusters() -> set[Path]:
        return {path for folder in folders for path in folder.glob("mrkernel-*")}

    before = of_clusters()
    kernel = Kernel(tmp_path)
    try:
        kernel.run("%load_ext mrkernel\nimport os, time\nlines = ['a', 'b']\nkernel = os.getpid()")
        kernel.run(f"gate = {str(tmp_path / 'never')!r}")
        assert kernel.run("%mapreduce {lines} --mapper {lambda line: []} --reducer sum").ok
        assert kernel.run("%%mapreduce {lines} --background --into job" + WAITS + ADD).ok
        processes = psutil.Process(kernel.pid).children(recursive=True)
        processes = [p for p in processes if "mrkernel" in " ".join(p.cmdline())]
        assert len(processes) >= 3  # the supervisor, the manager, two workers' and their runners'
        files = of_clusters() - before
        assert len(files) == 2
        os.kill(kernel.pid, signal.SIGKILL)
        took = until(
            lambda: not any(map(works, processes)) and not any(file.exists() for file in files)
        )
        assert took < 2.0
    finally:
        kernel.close()
