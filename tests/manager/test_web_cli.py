"""How the command line tells of the web page, and to whom."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from mrkernel.cli import main
from mrkernel.engines.local import LocalCluster
from mrkernel.manager.web_access import Access
from mrkernel.security.token import find_manager

COMMAND = [sys.executable, "-m", "mrkernel", "manager", "--port", "0"]


@contextmanager
def manager(state: Path, *words: str, lines: int = 3) -> Iterator[list[str]]:
    """A manager, and what it says first."""
    process = subprocess.Popen(
        [*COMMAND, "--state", str(state), *words], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process, process.stdout:
        try:
            yield [process.stdout.readline() for _ in range(lines)]
        finally:
            process.send_signal(signal.SIGTERM)


def test_the_address_is_told_to_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*COMMAND, "--state", str(tmp_path / "s")], stdout=theirs)
    os.close(theirs)
    try:
        with os.fdopen(ours) as terminal:
            told = [terminal.readline() for _ in range(3)][-1]
            assert told.startswith("web page: http://127.0.0.1:")
            with urllib.request.urlopen(told.removeprefix("web page: ").strip()) as answer:
                assert answer.status == 200
            process.send_signal(signal.SIGTERM)
            process.wait()
    finally:
        process.kill()
        process.wait()


def test_the_address_is_not_told_to_a_log(tmp_path: Path) -> None:
    with manager(tmp_path / "s") as lines:
        assert lines[-1] == "web page: `mrkernel watch --web` says where\n"
        assert "token" not in "".join(lines)


def test_no_token_is_on_a_command_line_or_in_a_log(tmp_path: Path) -> None:
    """Others of the machine see command lines, and logs are kept and passed on."""
    command = [*COMMAND, "--state", str(tmp_path / "s")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(3)]
        file = find_manager()
        base, _, page_token = file.web_url().partition("?token=")
        for token in (page_token, "wrong"):
            with suppress(urllib.error.HTTPError):
                urllib.request.urlopen(f"{base}?token={token}").close()
        seen = psutil.Process(process.pid)
        told = " ".join([*seen.cmdline(), *seen.environ().values()])
        process.send_signal(signal.SIGTERM)
        told += "".join(said) + process.stdout.read()
    assert "listens on" in told
    for secret in (file.token, page_token, Access(file.secret, "", 0).cookie, "wrong"):
        assert secret not in told


def test_no_token_is_on_a_command_line_of_a_local_cluster(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with LocalCluster(workers=1, slots=1) as cluster:
        cluster.wait_for_workers()
        file = cluster.client.connection
        supervisor = psutil.Process(file.pid)
        family = [supervisor, *supervisor.children(recursive=True)]
        assert len(family) >= 3
        page_token = file.web_url().partition("?token=")[2]
        for process in family:
            told = " ".join([*process.cmdline(), *process.environ().values()])
            assert file.token not in told
            assert page_token not in told
        # Its page is told all the same, to who asks.
        for words, path in ((["--web"], "/"), (["j1", "--web"], "/job/j1")):
            assert main(["watch", *words]) == 0
            assert capsys.readouterr().out == f"{file.web_url(path)}\n"


def test_watch_says_the_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with manager(tmp_path / "s"):
        assert main(["watch", "--web"]) == 0
        whole = capsys.readouterr().out.strip()
        assert main(["watch", "j1", "--web"]) == 0
        assert "/job/j1?token=" in capsys.readouterr().out
        with urllib.request.urlopen(whole) as answer:
            assert "HttpOnly" in answer.headers["Set-Cookie"]


def test_without_a_page_nobody_listens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with manager(tmp_path / "s", "--no-web", lines=2):
        assert main(["watch", "--web"]) == 1
        told = capsys.readouterr()
        assert "was started without a web page" in told.err
    assert not (tmp_path / "s" / "web-port").exists()


def test_the_page_is_at_the_same_address_after_a_restart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = []
    for _ in range(2):
        with manager(tmp_path / "s"):
            assert main(["watch", "--web"]) == 0
            told.append(capsys.readouterr().out)
    assert told[0] == told[1]


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with manager(tmp_path / "s"):
        port = (tmp_path / "s" / "web-port").read_text()
        words = [*COMMAND, "--state", str(tmp_path / "other"), "--web-port", port]
        answer = subprocess.run(words, capture_output=True, text=True)
    assert answer.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in answer.stderr
    assert "give another --web-port" in answer.stderr
