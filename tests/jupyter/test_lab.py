"""One session in the real JupyterLab: what a user sees while a job runs and a worker dies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from kernels import until

pytestmark = pytest.mark.browser

#: Nothing of the page needs longer; playwright counts in milliseconds.
WITHIN_MS = 30_000

CELLS = [
    "%load_ext mrkernel\ncluster = %mr_cluster start 3",
    "%mr_workers",
    """\
%%mapreduce {range(90)} --split-size 1 --name squares
import os, time
kernel, go = os.getpid(), os.path.abspath("go")

def mapper(number):
    if kernel not in (os.getpid(), os.getppid()):
        time.sleep(0.1)
        while number > 60 and not os.path.exists(go):
            time.sleep(0.01)
    yield number % 7, number * number

def reducer(key, values):
    return sum(values)
""",
    "%mapreduce {range(30)} --mapper {lambda n: [(1 / (n - 25), n)]} --reducer sum --name wrong",
]

#: What JupyterLab's own start-up would fetch and show.
QUIET = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
    }
}


def chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


class Lab:
    """A JupyterLab page with the notebook of ``CELLS``, which lies in ``folder``, open."""

    def __init__(self, page: Any, folder: Path, pictures: Path) -> None:
        self.page = page
        self.folder = folder
        self._pictures = pictures

    def command(self, name: str, **arguments: Any) -> None:
        """Start a command of JupyterLab and do not wait for its end."""
        self.page.evaluate(
            "([name, args]) => { window.jupyterapp.commands.execute(name, args) }",
            [name, arguments],
        )

    def run(self, number: int) -> None:
        """Start a cell, counted from 1."""
        self.page.evaluate(
            "(index) => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = index }",
            number - 1,
        )
        self.command("notebook:run-cell")

    def ended(self, count: int) -> None:
        """Wait until the first so many cells have run."""
        self.page.wait_for_function(
            "(count) => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]"
            ".slice(0, count).every((prompt) => /\\[\\d+\\]/.test(prompt.textContent))",
            arg=count,
        )

    def cell(self, number: int) -> Any:
        return self.page.locator(".jp-CodeCell").nth(number - 1)

    def pictures(self, name: str, of: Any) -> None:
        """Keep screenshots in both themes and two widths, for people; check that views follow."""
        for theme in ("Dark", "Light"):
            self.command("apputils:change-theme", theme=f"JupyterLab {theme}")
            self.page.wait_for_selector(f".mrk[data-theme={theme.lower()}]")
            self.page.wait_for_selector("#jupyterlab-splash", state="detached")
            for width in (500, 1200):
                self.page.set_viewport_size({"width": width, "height": 1000})
                of.scroll_into_view_if_needed()
                path = self._pictures / f"{name}-{theme.lower()}-{width}.png"
                self.page.screenshot(path=path)
                assert self.page.locator(".mrk-card").evaluate_all(
                    "(cards) => cards.every((card) => card.scrollWidth <= card.clientWidth)"
                )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """JupyterLab in a home of its own: its address, and the folder it serves."""
    home = tmp_path_factory.mktemp("lab")
    (home / "overrides.json").write_text(json.dumps(QUIET))
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(text) for text in CELLS],
        # Without it JupyterLab asks which kernel is meant.
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}},
    )
    (home / "pages").mkdir()
    nbformat.write(notebook, home / "pages" / "squares.ipynb")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (home / "lab.log").open("w") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
                *("--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"),
                *("--IdentityProvider.token=token", "--expose-app-in-browser"),
                *(f"--ServerApp.root_dir={home / 'pages'}", f"--LabApp.app_settings_dir={home}"),
            ],
            stdout=log,
            stderr=log,
        )

    def answers() -> bool:
        assert process.poll() is None, (home / "lab.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        until(answers, within_s=30)
        yield f"http://127.0.0.1:{port}/lab/tree/squares.ipynb?token=token&reset", home / "pages"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = chromium()
    if path is None:
        pytest.skip("needs Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=[
                *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update"),
                "--disable-sync",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture
def lab(browser: Any, server: tuple[str, Path], tmp_path: Path) -> Iterator[Lab]:
    address, folder = server
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    page.set_default_timeout(WITHIN_MS)
    page.goto(address)
    page.wait_for_selector("text=/Python 3 .ipykernel. . Idle/")
    lab = Lab(page, folder, tmp_path)
    lab.command("application:toggle-left-area")
    yield lab
    # The kernel goes with its cluster before the server does.
    page.evaluate("() => window.jupyterapp.serviceManager.sessions.shutdownAll()")
    page.close()


def kill_a_worker() -> str:
    """Kill a worker, a busy one if there is any, from outside: the kernel may be busy; its name."""
    from mrkernel.engines.remote import connect
    from mrkernel.security.token import running_managers

    [manager] = running_managers(embedded=True)
    client = connect(manager.id)
    try:
        rows = client.look("cluster")["workers"]
        living = [name for name in rows if rows[name]["state"] == "alive"]
        name = max(living, key=lambda name: len(rows[name]["tasks"]))
        os.kill(rows[name]["pid"], signal.SIGKILL)
    finally:
        client.close()
    return name


@pytest.mark.timeout(90)
def test_a_job_is_seen_while_it_runs_and_a_worker_dies(lab: Lab) -> None:
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
    height = job.bounding_box()["height"]
    assert 100 <= height <= 140
    # So does the table of an earlier cell.
    assert workers.locator(".mrk-task").count() >= 3
    assert workers.locator(".mrk-facts").inner_text() == "3 slots, 3 busy"

    # A death opens the view: who died, and what became of its tasks.
    dead = kill_a_worker()
    row = job.locator(".mrk-worker[data-state=dead]")
    row.wait_for()
    assert row.locator(".mrk-who").inner_text().split() == [dead, "dead"]
    assert "1 worker lost" in job.locator(".mrk-loss").inner_text()
    job.locator("li[data-level=error]", has_text=f"{dead} was killed").wait_for()
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
    sums = {n % 7: 0 for n in range(90)}
    for n in range(90):
        sums[n % 7] += n * n
    cells = output.locator("table").last.locator("tbody td").all_inner_texts()
    assert dict(zip(map(int, cells[::2]), map(int, cells[1::2]), strict=True)) == sums

    # The workers' table goes on after its cell, and after the job.
    workers.locator(".mrk-side", has_text="no job running").wait_for()
    assert workers.locator(".mrk-name").inner_text() == "3 workers"
    assert workers.locator(".mrk-loss").inner_text() == "1 lost"
    again = kill_a_worker()
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
