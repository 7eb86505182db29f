"""While a cell's job runs: it is interrupted, goes on in the background, and prints."""

from __future__ import annotations

import psutil
import pytest
from cells import ADD, COUNTS, WAITS, WORDS
from kernels import Kernel, until, works
from watching import BUSY_S

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
    assert took < 2.0 + BUSY_S
    assert (ran.ok, ran.error) == (False, "KeyboardInterrupt")
    assert ran.trace.startswith("KeyboardInterrupt: job j")
    assert ran.trace.endswith(" was cancelled; the cluster is ready for the next one")
    assert ran.picture["state"] == "cancelled"
    assert "cancelled after" in ran.displays[0]["text/plain"]
    assert notebook.value("'counts' in globals()") == "False"
    ran = notebook.run("%%mapreduce {lines} --into counts" + WORDS + ADD)
    assert ran.ok, ran
    assert ran.seconds < 2.0 + BUSY_S
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
