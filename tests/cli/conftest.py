"""The command line as a user has it: real processes, real exit statuses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mrkernel.engines.remote import ManagerClient, connect

Run = Callable[..., "subprocess.CompletedProcess[str]"]

MAPPER = """\
def mapper(line):
    for word in line.split():
        yield word, 1
"""
REDUCER = """\
def reducer(word, ones):
    return sum(ones)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a text, a mapper and a reducer."""
    (tmp_path / "data.txt").write_text("a b a\nc b\n")
    (tmp_path / "mapper.py").write_text(MAPPER)
    (tmp_path / "reducer.py").write_text(REDUCER)
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    """Run ``mrkernel ...`` in the folder."""

    def run_(
        *words: str, timeout: float = 60, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mrkernel", *words],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **environment},
        )

    return run_


class Served:
    """A manager and a worker started from the command line."""

    def __init__(self, port: int, client: ManagerClient, log: Path) -> None:
        self.port = port
        self.client = client
        self.log = log
        self.address = f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """``mrkernel manager --port 0`` and ``mrkernel worker`` for it."""
    log = tmp_path_factory.mktemp("log") / "manager.jsonl"
    words = ["--host", "127.0.0.1", "--port", "0", "--log-file", str(log)]
    manager = subprocess.Popen(
        [sys.executable, "-m", "mrkernel.manager", *words],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert manager.stdout is not None
    port = int(manager.stdout.readline().split(":")[1].split(";")[0])
    command = [sys.executable, "-m", "mrkernel.worker", "--manager-host", "127.0.0.1"]
    command += ["--manager-port", str(port), "--slots", "2"]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    worker.stdout.readline()
    client = connect(f"127.0.0.1:{port}")
    job = client.submit(lambda record: [(record, 1)], range(2), "sum")
    assert job.result(30).to_dict() == {0: 1, 1: 1}  # the worker has joined
    try:
        yield Served(port, client, log)
    finally:
        client.close()
        for process in (worker, manager):
            process.terminate()
            assert process.wait(10) == 0
            assert process.stdout is not None
            process.stdout.close()
