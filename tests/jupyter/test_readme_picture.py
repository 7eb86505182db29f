"""The picture of the README: a word count of real text, of which a worker is killed half-way.

``MRK_PICTURES=FOLDER make test ARGS='-m soak tests/jupyter/test_readme_picture.py'`` makes it anew.
"""

from __future__ import annotations

import time

import pytest
from kernels import until
from labs import Lab, kill_a_worker, write_notebook

pytestmark = [pytest.mark.browser, pytest.mark.soak]

CELLS = [
    "%load_ext mrkernel\ncluster = %mr_cluster start 4",
    """\
import os, sysconfig
sources = os.path.join(sysconfig.get_path("stdlib"), "*.py")""",
    """\
%%mapreduce {sources} --name words --split-size 200000 --reduce-tasks 4 --reducer count
import re, time

def mapper(line):
    if not hash(line) % 20:
        time.sleep(0.002)  # so that there is something to see
    for word in re.findall("[a-z]+", line.lower()):
        yield word, 1
""",
]


@pytest.mark.timeout(180)
def test_a_worker_dies_while_words_are_counted(lab: Lab) -> None:
    write_notebook(lab.folder, "words.ipynb", CELLS)
    lab.open("words.ipynb")
    lab.page.set_viewport_size({"width": 1300, "height": 1400})
    for number in (1, 2, 3):
        lab.run(number)
    job = lab.cell(3).locator(".mrk")
    maps = job.get_by_role("progressbar", name="Map")
    maps.wait_for()
    most = int(maps.get_attribute("aria-valuemax"))
    until(lambda: int(maps.get_attribute("aria-valuenow")) > 0.4 * most)
    kill_a_worker()
    job.locator(".mrk-worker[data-state=dead]").wait_for()
    time.sleep(2.0)  # the tasks that moved are under way
    assert job.get_attribute("data-state") == "running"
    job.screenshot(path=lab.picture("live-view"))
