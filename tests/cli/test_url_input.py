"""``mrkernel submit`` with inputs at URLs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from file_server import FileServer, serving

from tests.cli.conftest import Run


@pytest.fixture
def web() -> Iterator[FileServer]:
    with serving(files={"/data.txt": b"a b a\nc b\n", "/more/data.txt": b"c c\n"}) as shop:
        yield shop


def test_urls_are_inputs(run: Run, web: FileServer) -> None:
    functions = ("--map", "mapper.py", "--reduce", "reducer.py", "--quiet")
    done = run("submit", "--input", f"{web.url}/data.txt", f"{web.url}/more/*", *functions)
    assert (done.returncode, done.stdout) == (0, "a\t2\nb\t2\nc\t3\n"), done.stderr
    local = run("submit", "data.txt", "--input", f"{web.url}/more/data.txt", *functions)
    assert (local.returncode, local.stdout) == (0, "a\t2\nb\t2\nc\t3\n"), local.stderr


def test_a_url_that_is_not_there_is_one_sentence(run: Run, web: FileServer) -> None:
    done = run("submit", f"{web.url}/no.txt?token=g3h31m", "--map", "mapper.py", "--reduce", "sum")
    assert done.returncode == 2
    said = done.stderr.strip().splitlines()[-1]
    assert f"there is no file {web.url}/no.txt?token=…: check the address" in said
    assert "g3h31m" not in done.stdout + done.stderr
