"""One session in the real JupyterLab: what a user sees while a job runs and a worker dies."""

from __future__ import annotations

import time

import pytest
from kernels import until
from labs import BUSY_PAGE_S, Lab, kill_a_worker, write_notebook

pytestmark = pytest.mark.browser

CELLS = [
    "%load_ext mrkernel\ncluster = %mr_cluster start 3",
    "%mr_workers",
    """\
%%mapreduce {range(400)} --split-size 1 --name squares
import os, time
kernel, go = os.getpid(), os.path.abspath("go")

def mapper(number):
    if kernel not in (os.getpid(), os.getppid()):
        for _ in range(3000 if number > 390 else 10):
            if not os.path.exists(go):
                time.sleep(0.01)
    yield number % 7, number * number

def reducer(key, values):
    return sum(values)
""",
    "%mapreduce {range(30)} --mapper {lambda n: [(1 / (n - 25), n)]} --reducer sum --name wrong",
    """\
%%mapreduce {range(9)} --split-size 1 --reducer sum --name endless
def mapper(number):
    while kernel not in (os.getpid(), os.getppid()):
        time.sleep(0.01)
    yield number, 1
""",
]


@pytest.mark.timeout(180)
def test_a_job_is_seen_while_it_runs_and_a_worker_dies(lab: Lab) -> None:
    write_notebook(lab.folder, "squares.ipynb", CELLS)
    lab.open("squares.ipynb")
    lab.run(1)
    lab.run(2)
    lab.ended(2)
    workers = lab.cell(2).locator(".mrk")
    workers.wait_for()
    assert workers.locator(".mrk-name").inner_text() == "3 workers"
    assert workers.locator(".mrk-facts").inner_text() == "3 slots, 0 busy"

    # The bars move while the cell runs.
    lab.run(3)
    job = lab.cell(3).locator(".mrk")
    maps = job.get_by_role("progressbar", name="Map")
    maps.wait_for()
    seen = []

    def done() -> int:
        seen.append(int(maps.get_attribute("aria-valuenow")))
        return seen[-1]

    until(lambda: done() >= 45)
    assert len(set(seen)) >= 3
    assert seen == sorted(seen)
    assert lab.cell(3).locator(".jp-InputPrompt").inner_text() == "[*]:"
    assert job.get_attribute("data-state") == "running"
    assert job.locator(".mrk-workers").is_hidden()
    # A busy kernel hears buttons on the page's own line.
    job.get_by_role("button", name="Cancel").wait_for()
    assert workers.get_by_role("button", name="Kill w1").is_visible()
    assert job.locator(".mrk-stops").is_hidden()
    height = job.bounding_box()["height"]
    assert 100 <= height <= 140
    # A click leads to the manager's page, which is behind a token that no notebook keeps.
    with lab.page.context.expect_page() as opened:
        workers.get_by_role("button", name="Web page").click()
    opened.value.get_by_text("3 workers").first.wait_for()
    opened.value.close()
    # So does the table of an earlier cell.
    assert workers.locator(".mrk-task").count() >= 3
    assert workers.locator(".mrk-facts").inner_text() == "3 slots, 3 busy"

    # A death opens the view: who died, and what became of its tasks.
    dead, killed = kill_a_worker()
    row = job.locator(".mrk-worker[data-state=dead]")
    row.wait_for()
    assert row.locator(".mrk-who").inner_text().split() == [dead, "dead"]
    assert "1 worker lost" in job.locator(".mrk-loss").inner_text()
    job.locator("li[data-level=error]", has_text=f"{dead} was killed").wait_for()
    lab.took("SIGKILL from outside → the sentence", killed, 1.0 + BUSY_PAGE_S)
    job.get_by_text("The timeline as a table").click()
    then = job.locator("tr", has_text="lost").locator("td", has_text="attempt 2 on").first
    then.wait_for()  # the arrow, in words
    lab.took(
        "SIGKILL from outside → its arrow, with a click on the table", killed, 1.0 + BUSY_PAGE_S
    )
    assert "was killed (SIGKILL)" in row.locator(".mrk-note").inner_text()
    workers.locator(".mrk-worker[data-state=dead]").wait_for()
    lab.pictures("dying", job)
    assert job.get_attribute("data-state") == "running"
    (lab.folder / "go").touch()

    # The end is one line above the result; behind it is the whole story.
    lab.ended(3)
    output = lab.cell(3).locator(".jp-OutputArea-output")
    summary = output.locator("summary:not(.mrk *)")
    summary.wait_for()
    assert summary.inner_text().startswith("squares ✓ ")
    assert "1 worker lost" in summary.inner_text()
    assert output.locator("details pre").is_hidden()
    summary.click()
    assert f"{dead} was killed" in output.locator("details pre").inner_text()
    assert lab.cell(3).locator(".mrk").count() == 0
    lab.pictures("done", summary)
    sums = {n % 7: 0 for n in range(400)}
    for n in range(400):
        sums[n % 7] += n * n
    cells = output.locator("table").last.locator("tbody td").all_inner_texts()
    assert dict(zip(map(int, cells[::2]), map(int, cells[1::2]), strict=True)) == sums

    # The workers' table goes on after its cell, and after the job.
    workers.locator(".mrk-side", has_text="no job running").wait_for()
    assert workers.locator(".mrk-name").inner_text() == "3 workers"
    assert workers.locator(".mrk-loss").inner_text() == "1 lost"
    again, _ = kill_a_worker()
    workers.locator(f".mrk-worker[data-state=dead] :text-is('{again}')").wait_for()
    workers.locator(".mrk-loss", has_text="2 lost").wait_for()

    # A failed job: one line, and the sentence in red below it.
    lab.run(4)
    lab.ended(4)
    failed = lab.cell(4).locator("summary:not(.mrk *)")
    failed.wait_for()
    assert failed.inner_text().startswith("wrong ✗ failed after")
    red = lab.cell(4).locator(".jp-OutputArea-output", has_text="TaskFailedError").inner_text()
    assert "ZeroDivisionError: division by zero" in red
    assert "range(30)[25]" in red
    lab.pictures("failed", failed)

    # The button of a cell that waits stops its job: the kernel hears it beside the cell.
    lab.run(5)
    cancel = lab.cell(5).get_by_role("button", name="Cancel")
    cancel.click()
    pressed = time.monotonic()
    lab.cell(5).locator("summary", has_text="endless ■ cancelled").wait_for()
    lab.took("Cancel in a cell that waits → the end", pressed, 2.0 + BUSY_PAGE_S)
    lab.ended(5)

    # So does the interrupt button.
    lab.run(5)
    lab.cell(5).locator(".mrk[data-state=running]").wait_for()
    lab.command("notebook:interrupt-kernel")
    pressed = time.monotonic()
    lab.cell(5).locator("summary", has_text="endless ■ cancelled").wait_for()
    lab.took("the stop button → the end", pressed, 2.0 + BUSY_PAGE_S)
    lab.ended(5)
    lab.pictures("stopped", lab.cell(5).locator("summary"))
