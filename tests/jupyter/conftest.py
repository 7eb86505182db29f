"""A kernel for each file of tests, and a notebook in it for each test; a JupyterLab, and a page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cells import BEGIN
from kernels import Kernel
from labs import PICTURES, WITHIN_MS, Lab, lab_server
from stages import ACCEPTED, JOB, Stage

from mrkernel.monitor.view import JobView


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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    with lab_server(tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture
def lab(
    browser: Any, server: tuple[str, Path], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Lab]:
    """A page of JupyterLab that has nothing open yet."""
    address, folder = server
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    page.set_default_timeout(WITHIN_MS)
    pictures = Path(PICTURES) if PICTURES else tmp_path
    pictures.mkdir(parents=True, exist_ok=True)
    lab = Lab(page, address, folder, pictures)
    yield lab
    page.screenshot(path=pictures / f"end-of-{request.node.name}.png")
    # The kernel goes with its cluster before the server does.
    lab.shut_down()
    page.close()


@pytest.fixture
def stage() -> Stage:
    """A job that was accepted."""
    stage = Stage(JobView(JOB))
    stage.tell(ACCEPTED)
    stage.begin()
    return stage


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests feed the widgets themselves: no thread."""
    from mrkernel.jupyter import widgets

    monkeypatch.setattr(widgets.refresher, "add", lambda widget: None)
