"""The views in the real JupyterLab: buttons, a page loaded anew, a notebook saved and opened."""

from __future__ import annotations

import re
import time

import pytest
from labs import Lab, write_notebook
from watching import BUSY_S

from mrkernel.jupyter.twin import TWIN_LIMIT

pytestmark = pytest.mark.browser

BEGIN = "%load_ext mrkernel\ncluster = %mr_cluster start 2"

#: Ends when there is a file "go"; its maps take a tenth of a second each until then.
JOB = """\
%%mapreduce {range(400)} --split-size 1 --name squares --background --into job
import os, time
kernel, go = os.getpid(), os.path.abspath("go")

def mapper(number):
    if kernel not in (os.getpid(), os.getppid()) and not os.path.exists(go):
        time.sleep(0.1)
    yield number % 7, number * number

def reducer(key, values):
    return sum(values)
"""

WAIT = "job.result().to_dict() == {k: sum(n * n for n in range(k, 400, 7)) for k in range(7)}"


@pytest.mark.timeout(90)
def test_a_job_in_the_background_outlives_the_page_and_can_be_cancelled_there(lab: Lab) -> None:
    (lab.folder / "go").unlink(missing_ok=True)
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
    lab.open("background.ipynb")
    lab.cell(2).wait_for()
    began = time.monotonic()
    maps.wait_for()
    assert time.monotonic() - began < 3.0 + BUSY_S
    seen = int(maps.get_attribute("aria-valuenow"))
    lab.page.wait_for_function(
        "(seen) => document.querySelector('.mrk [role=progressbar]').ariaValueNow > seen", arg=seen
    )
    lab.pictures("background", job)

    # The button is heard though a cell runs.
    cancel = job.get_by_role("button", name="Cancel")
    lab.run(3)
    cancel.click()
    # A page that was loaded anew takes no static twin: the view itself shows the end, all of it.
    lab.cell(2).locator(".mrk[data-state=cancelled]").wait_for()
    assert lab.cell(3).locator(".jp-InputPrompt").inner_text() == "[*]:"
    assert cancel.is_hidden()
    lab.open("background.ipynb")
    job.get_by_role("button", name="Show workers").click()
    job.locator(".mrk-feed", has_text="the job was cancelled").wait_for()


@pytest.mark.timeout(90)
def test_workers_are_added_retired_and_killed_from_their_view(lab: Lab) -> None:
    (lab.folder / "go").unlink(missing_ok=True)
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
    (lab.folder / "go").touch()
    lab.run(4)
    lab.ended(4)
    assert lab.cell(4).locator(".jp-OutputArea-output").inner_text() == "True"


@pytest.mark.timeout(90)
def test_a_saved_notebook_shows_the_end_without_a_kernel(lab: Lab) -> None:
    (lab.folder / "go").touch()
    write_notebook(lab.folder, "saved.ipynb", [BEGIN, JOB.replace("--background ", "")])
    lab.open("saved.ipynb")
    lab.run(1)
    lab.run(2)
    lab.ended(2)
    lab.cell(2).locator("summary", has_text="squares ✓").wait_for()
    notebook = lab.save("saved.ipynb")
    [output] = [o for o in notebook.cells[1].outputs if o.output_type == "display_data"]
    assert set(output.data) == {"text/html", "text/plain"}
    assert sum(len(text.encode()) for text in output.data.values()) <= TWIN_LIMIT
    # As GitHub has it: without styles, images and scripts.
    bare = re.sub(r"<[^>]*>", " ", output.data["text/html"])
    assert "400 of 400" in bare
    assert "all 400 maps done" in bare

    lab.shut_down()
    lab.open("saved.ipynb")
    summary = lab.cell(2).locator("summary", has_text="squares ✓")
    summary.wait_for()
    summary.click()
    image = lab.cell(2).get_by_role("img", name="Timeline of squares")
    image.wait_for()
    assert image.evaluate("(image) => image.naturalWidth") > 0
    lab.pictures("saved", summary, view="")
