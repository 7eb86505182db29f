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
from cells import ADD, COUNTS, FAILS_LATE, WAITS, WORDS, number_of
from kernels import Kernel, until, works
from watching import BUSY_S

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


def test_programs_beside_the_notebook_are_mapper_and_reducer(notebook: Kernel) -> None:
    for name, text in (
        ("words.sh", "tr -s ' ' '\\n' | awk '{ print $1 \"\\t1\" }'"),
        ("add.sh", "cut -f 1 | uniq -c | awk '{ print $2 \"\\t\" $1 }'"),
    ):
        notebook.run(f"%%writefile {name}\n#!/bin/sh\n{text}")
        notebook.run(f"os.chmod({name!r}, 0o755)")
    programs = "--mapper ./words.sh --reducer ./add.sh"
    line = notebook.run(f"%mapreduce {{lines}} {programs} --into counts")
    assert line.ok, line
    assert line.picture["functions"] == "mapper: ./words.sh · reducer: ./add.sh"
    assert notebook.value("counts.to_dict()") == "{b'a': b'2', b'b': b'2', b'c': b'1'}"
    # A program and a function of the cell go together: what a program gives is bytes.
    reducer = "\ndef reducer(word, ones):\n    yield word.decode(), sum(map(int, ones))\n"
    mixed = notebook.run("%%mapreduce {lines} --mapper ./words.sh --into counts" + reducer)
    assert mixed.ok, mixed
    assert mixed.picture["functions"] == "mapper: ./words.sh · reducer: this cell"
    assert notebook.value("counts.to_dict()") == COUNTS
    notebook.run("os.chmod('words.sh', 0o644)")
    refused = notebook.run(f"%mapreduce {{lines}} {programs}")
    assert not refused.ok
    assert refused.trace.endswith("words.sh may not be run: chmod +x words.sh")


def test_a_number_called_count_does_not_hide_the_built_in(notebook: Kernel) -> None:
    notebook.run("count = 5" + WORDS)
    assert notebook.run("%mapreduce {lines} --reducer count --into counts").ok
    assert notebook.value("counts.to_dict()") == COUNTS


# --- The line -------------------------------------------------------------------------------------


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
    # What else is sent (whole pictures, buttons, the twin) is a number of its own a job.
    fed = [m for m in ran.messages if "deltas" in m["data"].get("content", {})]
    assert 1 <= len(fed) <= 10 * ran.seconds + 1


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
        assert took < 2.0 + BUSY_S
    finally:
        kernel.close()
