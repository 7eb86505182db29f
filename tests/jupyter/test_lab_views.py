"""The views in the real JupyterLab: buttons, a page loaded anew, a notebook saved and opened."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from labs import BUSY_PAGE_S, Lab, write_notebook

from mrkernel.jupyter.twin import TWIN_LIMIT

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

BEGIN = "%load_ext mrkernel\ncluster = %mr_cluster start 2"

#: As many of its maps end as the file "allowed" says.
JOB = """\
%%mapreduce {range(400)} --split-size 1 --name squares --background --into job
import os, time
kernel, allowed = os.getpid(), os.path.abspath("allowed")

def mapper(number):
    while kernel not in (os.getpid(), os.getppid()) and number >= int(open(allowed).read()):
        time.sleep(0.02)
    yield number % 7, number * number

def reducer(key, values):
    return sum(values)
"""

WAIT = "job.result().to_dict() == {k: sum(n * n for n in range(k, 400, 7)) for k in range(7)}"


def allow(folder: Path, maps: int) -> None:
    """Let so many maps of ``JOB`` end."""
    (folder / "allowed.new").write_text(str(maps))
    os.replace(folder / "allowed.new", folder / "allowed")


def kept(lab: Lab, name: str, number: int) -> dict[str, Any]:
    """What the saved notebook has of the view of a cell."""
    [output] = [
        output
        for output in lab.save(name).cells[number - 1].outputs
        if output.output_type == "display_data"
    ]
    return dict(output.data)


def test_a_job_in_the_background_outlives_the_page_and_is_kept_in_the_notebook(lab: Lab) -> None:
    allow(lab.folder, 40)
    write_notebook(lab.folder, "background.ipynb", [BEGIN, JOB, "import time; time.sleep(9)"])
    lab.open("background.ipynb")
    lab.run(1)
    lab.run(2)
    lab.ended(2)
    job = lab.cell(2).locator(".mrk")
    maps = job.get_by_role("progressbar", name="Map")
    maps.wait_for()
    lab.save("background.ipynb")

    # The page is loaded anew in the middle: its view is back, and it goes on.
    lab.load("background.ipynb")
    began = time.monotonic()
    maps.wait_for()
    lab.took("the page shows the notebook again → its live view is back", began, 3.0 + BUSY_PAGE_S)
    assert int(maps.get_attribute("aria-valuenow")) <= 10
    allow(lab.folder, 200)
    lab.page.wait_for_function(
        "() => document.querySelector('.mrk [role=progressbar]').ariaValueNow == 50"
    )
    lab.pictures("background", job)

    # The button is heard though a cell runs; the end takes the view's place here too.
    cancel = job.get_by_role("button", name="Cancel")
    lab.run(3)
    cancel.click()
    summary = lab.cell(2).locator("summary", has_text="squares ■ cancelled")
    summary.wait_for()
    assert lab.cell(3).locator(".jp-InputPrompt").inner_text() == "[*]:"
    assert job.count() == 0
    data = kept(lab, "background.ipynb", 2)
    assert set(data) == {"text/html", "text/plain"}
    assert sum(len(text.encode()) for text in data.values()) <= TWIN_LIMIT
    # As GitHub has it: without styles, images and scripts.
    bare = re.sub(r"<[^>]*>", " ", data["text/html"])
    for said in ("200 of 400", "the job was cancelled"):
        assert said in bare
        assert said in data["text/plain"]

    # Without the kernel it is shown, too.
    lab.shut_down()
    lab.open("background.ipynb")
    image = lab.cell(2).get_by_role("img", name="Timeline of squares")
    lab.unfolded(summary, image)
    assert image.evaluate("(image) => image.naturalWidth") > 0
    lab.pictures("saved", summary, view="")


def test_a_page_loaded_anew_while_a_cell_blocks_shows_the_end(lab: Lab) -> None:
    allow(lab.folder, 40)
    write_notebook(lab.folder, "blocking.ipynb", [BEGIN, JOB.replace("--background ", "")])
    lab.open("blocking.ipynb")
    lab.run(1)
    lab.run(2)
    lab.cell(2).get_by_role("progressbar", name="Map").wait_for()
    lab.save("blocking.ipynb")
    lab.load("blocking.ipynb")
    # JupyterLab asks the shell for a widget's state, and that runs the cell: until its end it says
    # that it loads. The manager's page shows the job meanwhile.
    lab.cell(2).get_by_text("Loading widget").wait_for()
    lab.pictures("blocking-reloaded", lab.cell(2), view="")
    allow(lab.folder, 400)
    lab.cell(2).locator("summary", has_text="squares ✓").wait_for()
    assert "all 400 maps done" in kept(lab, "blocking.ipynb", 2)["text/html"]


def test_workers_are_added_retired_and_killed_from_their_view(lab: Lab) -> None:
    allow(lab.folder, 100)
    write_notebook(lab.folder, "workers.ipynb", [BEGIN, "%mr_workers", JOB, WAIT])
    lab.open("workers.ipynb")
    for number in (1, 2, 3):
        lab.run(number)
    lab.ended(3)
    view = lab.cell(2).locator(".mrk")
    name = view.locator(".mrk-name")
    view.locator(".mrk-name", has_text="2 workers").wait_for()
    view.get_by_role("button", name="Add a worker").click()
    view.locator(".mrk-name", has_text="3 workers").wait_for()
    view.locator(".mrk-worker[data-state=alive]", has_text="w3").wait_for()
    # A worker ends what it has, and goes.
    view.get_by_role("button", name="Retire w1").click()
    allow(lab.folder, 399)  # all that it was handed, but not the job
    view.locator(".mrk-worker[data-state=retired]", has_text="w1").wait_for()
    view.locator("li", has_text="w1 left").wait_for()
    assert name.inner_text() == "2 workers"
    assert view.locator(".mrk-loss").is_hidden()
    # Killing asks first.
    view.get_by_role("button", name="Kill w2").click()
    lab.pictures("workers", view)
    view.get_by_text("Kill w2 with SIGKILL?").wait_for()
    view.get_by_role("button", name="No", exact=True).click()
    view.get_by_role("button", name="Kill w2").click()
    view.locator(".mrk-ask .mrk-danger:visible").click()
    view.locator(".mrk-worker[data-state=dead]", has_text="w2").wait_for()
    view.locator(".mrk-loss", has_text="1 lost").wait_for()
    # The job knows the difference: one death, and no attempt of the retired one is lost.
    lab.cell(3).locator(".mrk-loss", has_text="1 worker lost").wait_for()
    allow(lab.folder, 400)
    lab.run(4)
    lab.ended(4)
    assert lab.cell(4).locator(".jp-OutputArea-output").inner_text() == "True"
