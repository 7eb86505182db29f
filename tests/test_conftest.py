"""The guards of conftest.py do object: each is handed, in a pytest of its own, what it forbids."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Inner = Callable[..., str]


@pytest.fixture
def inner(tmp_path: Path) -> Inner:
    """Run pytest over one made-up test file under our conftest.py; return what it prints."""

    def run(source: str, *, ci: bool = False) -> str:
        guards = Path(__file__).with_name("conftest.py").read_text()
        assert "LEAVE_WITHIN_S = 5.0" in guards
        guards = guards.replace("LEAVE_WITHIN_S = 5.0", "LEAVE_WITHIN_S = 0.1")
        (tmp_path / "conftest.py").write_text(guards)
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        (tmp_path / "test_it.py").write_text(f"import os, subprocess, sys, pytest\n{source}")
        environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        environment["MRKERNEL_CI"] = "1" if ci else "0"
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        return f"{done.stdout}{done.stderr}\nexit {done.returncode}"

    return run


#: A process that outlives its parent's attention: in a session of its own, without a parent.
START = """
def start():
    sleeper = "import time; time.sleep(60)"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {sleeper!r}], "
    code += "start_new_session=True)"
    subprocess.run([sys.executable, "-c", code], check=True)
"""


def test_a_process_left_behind_is_an_error_of_its_test_alone(inner: Inner) -> None:
    said = inner(START + "def test_leaves(): start()\ndef test_after(): pass\n")
    assert "ERROR at teardown of test_leaves" in said
    assert "first seen after test_it.py::test_leaves" in said
    assert "2 passed, 1 error" in said


def test_a_wider_fixture_may_hold_a_process_but_must_end_it(inner: Inner) -> None:
    said = inner(
        START
        + "@pytest.fixture(scope='module')\ndef held(): start()\n"
        + "def test_first(held): pass\ndef test_second(held): pass\ndef test_third(): pass\n"
    )
    assert "ERROR at teardown of test_third" in said
    assert "3 passed, 1 error" in said


@pytest.mark.parametrize(
    ("variable", "path"),
    [("JUPYTER_RUNTIME_DIR", "mrkernel-7.json"), ("XDG_CACHE_HOME", "mrkernel/spill/run-0")],
)
def test_a_file_left_behind_is_an_error(inner: Inner, variable: str, path: str) -> None:
    said = inner(
        "from pathlib import Path\ndef test_leaves():\n"
        f"    path = Path(os.environ[{variable!r}], {path!r})\n"
        "    path.parent.mkdir(parents=True, exist_ok=True)\n    path.write_text('')\n"
        "def test_after(): pass\n"
    )
    assert path in said
    assert "2 passed, 1 error" in said


def test_nothing_is_said_of_those_who_clean_up(inner: Inner) -> None:
    said = inner("def test_it(): subprocess.run([sys.executable, '-c', ''], check=True)")
    assert "1 passed" in said
    assert said.endswith("exit 0")


SKIPS = """
@pytest.mark.skip('tired')
def test_marked(): pass
def test_called(): pytest.skip('tired')
@pytest.mark.skip('needs macOS: kqueue')
def test_listed(): pass
@pytest.mark.xfail
def test_expected(): assert False
"""


def test_elsewhere_a_skip_is_a_skip(inner: Inner) -> None:
    said = inner(SKIPS)
    assert "3 skipped, 1 xfailed" in said
    assert said.endswith("exit 0")


def test_a_build_machine_allows_only_listed_skips(inner: Inner) -> None:
    said = inner(SKIPS, ci=True)
    assert "1 failed, 1 skipped, 1 xfailed, 1 error" in said
    assert "does not list it" in said
    assert said.endswith("exit 1")


def test_a_build_machine_allows_no_file_to_be_skipped_whole(inner: Inner) -> None:
    said = inner("pytest.importorskip('no_such_module')", ci=True)
    assert "does not list it" in said
    assert said.endswith("exit 2")
