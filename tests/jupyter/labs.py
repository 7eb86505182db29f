"""A real JupyterLab to look at what cells show: its server, and a page with a notebook open."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from kernels import until
from watching import BUSY_S

#: Nothing of the page needs longer, not beside other tests; playwright counts in milliseconds.
WITHIN_MS = 60_000

#: What a busy machine may add to a bound that is promised, where a page is to show it, too.
BUSY_PAGE_S = 3 * BUSY_S

#: Screenshots go there, for people to look at; not set: to a folder of the test.
PICTURES = os.environ.get("MRK_PICTURES")

#: What JupyterLab's own start-up would fetch and show.
QUIET = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
    }
}


class Lab:
    """A JupyterLab page with a notebook open, which lies in ``folder``."""

    def __init__(self, page: Any, address: str, folder: Path, pictures: Path) -> None:
        self.page = page
        self.folder = folder
        self._address = address
        self._pictures = pictures

    def open(self, name: str) -> None:
        """Load the page with the notebook, and wait for its kernel."""
        self.load(name)
        self.page.wait_for_selector("text=/Python 3 .ipykernel. . (Idle|Busy)/")

    def load(self, name: str) -> None:
        """Load the page with the notebook, whether or not its kernel answers."""
        self.page.goto(f"{self._address}/lab/tree/{name}?token=token&reset")
        self.cell(1).wait_for()
        self.page.evaluate("() => window.jupyterapp.shell.collapseLeft()")

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

    def save(self, name: str) -> Any:
        """Save the notebook and read it."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
        return nbformat.read(self.folder / name, as_version=4)

    def unfolded(self, summary: Any, inside: Any) -> None:
        """Open what a line folds away.

        JupyterLab may draw an output once more when the page is loaded, and closes it by that.
        """
        summary.wait_for()

        def seen() -> bool:
            if not inside.is_visible():
                summary.click()
            return bool(inside.is_visible())

        until(seen)

    def took(self, what: str, began: float, at_most_s: float) -> None:
        """Note how long something took that began then; fail if it was too long."""
        seconds = time.monotonic() - began
        with (self._pictures / "figures.txt").open("a") as figures:
            figures.write(f"{what}: {seconds:.2f} s\n")
        assert seconds <= at_most_s, f"{what}: {seconds:.2f} s, at most {at_most_s:g} s"

    def shut_down(self) -> None:
        """End the kernel, and with it the cluster."""
        self.page.evaluate("() => window.jupyterapp.serviceManager.sessions.shutdownAll()")

    def picture(self, name: str) -> Path:
        """Say where a screenshot of that name is kept."""
        return self._pictures / f"{name}.png"

    def pictures(self, name: str, of: Any, *, view: str = ".mrk") -> None:
        """Keep screenshots in both themes and two widths; check that views follow.

        Args:
            name: of the files.
            of: what must be in sight.
            view: what follows the theme; "": nothing does.
        """
        for theme in ("Dark", "Light"):
            self.command("apputils:change-theme", theme=f"JupyterLab {theme}")
            self.page.wait_for_selector(
                f"[data-jp-theme-name='JupyterLab {theme}']", state="attached"
            )
            if view:
                self.page.wait_for_selector(f"{view}[data-theme={theme.lower()}]")
            self.page.wait_for_selector("#jupyterlab-splash", state="detached")
            for width in (500, 1200):
                self.page.set_viewport_size({"width": width, "height": 1000})
                of.scroll_into_view_if_needed()
                self.page.screenshot(path=self.picture(f"{name}-{theme.lower()}-{width}"))
                assert self.page.locator(".mrk-card").evaluate_all(
                    "(cards) => cards.every((card) => card.scrollWidth <= card.clientWidth)"
                )


def write_notebook(folder: Path, name: str, cells: Sequence[str]) -> None:
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(text) for text in cells],
        # Without it JupyterLab asks which kernel is meant.
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}},
    )
    nbformat.write(notebook, folder / name)


@contextmanager
def lab_server(home: Path) -> Iterator[tuple[str, Path]]:
    """JupyterLab in a home of its own: its address, and the folder it serves."""
    (home / "overrides.json").write_text(json.dumps(QUIET))
    (home / "pages").mkdir()
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
        yield f"http://127.0.0.1:{port}", home / "pages"
    finally:
        process.terminate()
        process.wait(10)


def kill_a_worker() -> tuple[str, float]:
    """Kill a worker, a busy one if there is any, from outside: the kernel may be busy.

    Returns:
        Its name, and when it was, as ``time.monotonic`` has it.
    """
    from mrkernel.engines.remote import connect
    from mrkernel.security.token import running_managers

    [manager] = running_managers(embedded=True)
    client = connect(manager.id)
    try:
        rows = client.look("cluster")["workers"]
        living = [name for name in rows if rows[name]["state"] == "alive"]
        name = max(living, key=lambda name: len(rows[name]["tasks"]))
        os.kill(rows[name]["pid"], signal.SIGKILL)
        return name, time.monotonic()
    finally:
        client.close()
