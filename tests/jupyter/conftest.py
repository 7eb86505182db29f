"""A kernel for each file of tests, and a notebook in it for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cells import BEGIN
from kernels import Kernel


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
