"""``mrkernel manager`` and ``worker``, and the commands that talk to them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mrkernel.engines.remote import connect
from mrkernel.security.token import running_managers
from tests.cli.conftest import Run, Served


def test_submit_finds_my_only_manager_by_itself(run: Run, served: Served) -> None:
    done = run("submit", "data.txt", "--map", "mapper.py", "--reduce", "reducer.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "a\t2\nb\t2\nc\t1\n"
    assert f"your manager at {served.address}" in done.stderr


def test_jobs_logs_and_forget(run: Run, folder: Path, served: Served) -> None:
    (folder / "chatty.py").write_text(
        "def mapper(line):\n    print('line is', line)\n    yield line, 1\n"
    )
    done = run("submit", "data.txt", "--map", "chatty.py", "--reduce", "sum", "--name", "talk")
    assert "line is a b a" in done.stderr
    (row,) = [r for r in run("jobs").stdout.splitlines() if r.endswith("\ttalk")]
    job, state, _, _ = row.split("\t")
    assert state == "done"
    logs = run("logs", job)
    assert "line is a b a" in logs.stdout
    task = logs.stdout.partition(" ")[0]
    assert run("logs", job, task).stdout == logs.stdout
    none = run("logs", job, "map-77")
    assert (none.returncode, none.stdout) == (0, "")
    assert none.stderr == f"mrkernel: map-77 of {job} printed nothing\n"
    odd = run("logs", job, "mapper")
    said = "mrkernel: mapper is no task: they are called map-0, reduce-0 ...\n"
    assert (odd.returncode, odd.stderr) == (2, said)
    fetched = run("fetch", job, "lines.csv", "--columns", "line,n")
    assert fetched.stdout == "2 pairs in lines.csv\n", fetched.stderr
    assert (folder / "lines.csv").read_text() == "line,n\na b a,1\nc b,1\n"
    assert run("fetch", job, "lines.csv").returncode == 2
    assert run("forget", job).stdout == f"job {job} is forgotten\n"
    assert "talk" not in run("jobs").stdout
    gone = run("logs", job)
    assert gone.returncode == 2
    assert f"there is no job '{job}' here" in gone.stderr


def test_logs_of_a_job_that_failed_are_kept_whole(run: Run, folder: Path, served: Served) -> None:
    (folder / "noisy.py").write_text(
        "def mapper(line):\n    print('x' * 50_000)\n    if 'c' in line: 1 / 0\n    yield line, 1\n"
    )
    (folder / "data.txt").write_text("a\n" * 50 + "c\n")  # not among those it is tried on
    failed = run("submit", "data.txt", "--map", "noisy.py", "--reduce", "sum", "--name", "noise")
    assert failed.returncode == 1
    (row,) = [r for r in run("jobs").stdout.splitlines() if r.endswith("\tnoise")]
    logs = run("logs", row.split("\t")[0])
    assert logs.returncode == 0, logs.stderr
    assert logs.stdout.count("x" * 50_000) == 51


def test_a_manager_logs_what_happens(run: Run, folder: Path, served: Served) -> None:
    """In the file of its own that ``served`` gave it."""
    done = run("submit", "data.txt", "--map", "mapper.py", "--reduce", "reducer.py")
    assert done.returncode == 0
    lines = [json.loads(line) for line in served.log.read_text().splitlines()]
    events = {line.get("event") for line in lines}
    assert {"worker-joined", "job-accepted", "job-ended"} <= events
    assert {line["process"] for line in lines} == {"manager"}


def test_an_unknown_command_is_one_sentence(run: Run) -> None:
    done = run("wokers")
    assert done.returncode == 2
    assert done.stderr.startswith("mrkernel: there is no command wokers: did you mean workers?")


def test_without_jobs_it_says_so(run: Run, served: Served) -> None:
    known = [row.split("\t")[0] for row in run("jobs").stdout.splitlines()]
    for job in known:
        assert run("forget", job).returncode == 0
    done = run("jobs")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "no jobs\n")


def test_workers_lists_the_worker(run: Run, served: Served) -> None:
    lines = run("workers", "--on", served.address).stdout.splitlines()
    assert lines[0] == "1 worker · 2 slots, 0 busy"


@pytest.mark.fault(51)
def test_a_port_in_use_is_one_sentence(run: Run, served: Served) -> None:
    done = run("manager", "--port", str(served.port))
    assert done.returncode == 1
    assert f"cannot listen on {served.address}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.fault(63)
@pytest.mark.parametrize("command", ["manager", "worker"])
def test_nobody_listens_where_others_could_reach_us(run: Run, served: Served, command: str) -> None:
    done = run(command, "--host", "0.0.0.0")
    assert done.returncode == 1
    assert "not encrypted" in done.stderr


def test_a_worker_without_a_manager_says_how_to_start_one(run: Run) -> None:
    done = run("worker", "--manager-port", "1")
    assert done.returncode == 1
    assert "no manager of yours at 127.0.0.1:1" in done.stderr


@pytest.mark.fault(51)
def test_a_port_in_use_by_a_manager_of_ours_says_which(run: Run, served: Served) -> None:
    done = run("manager", "--port", str(served.port))
    assert f"your manager {served.client.connection.id} (process " in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--beat", "0"], "write seconds, from 0.05 to 3600"),
        (["--beat", "often"], "write seconds"),
        (["--missed", "2"], "write 3 or more"),
        (["--missed", "x"], "invalid int value"),
    ],
)
def test_heartbeats_that_cannot_be(run: Run, words: list[str], said: str) -> None:
    done = run("manager", "--port", "0", *words)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_state_directory_that_cannot_be_is_one_sentence(run: Run, folder: Path) -> None:
    done = run("manager", "--port", "0", "--state", "data.txt/below")
    assert done.returncode == 1
    assert "cannot be the state directory" in done.stderr
    (folder / "open").mkdir(mode=0o755)
    done = run("manager", "--port", "0", "--state", "open")
    assert done.returncode == 1
    assert "can be read by others" in done.stderr


class Manager:
    """``mrkernel manager`` by itself; ``said`` is its first line."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mrkernel", "manager", *words], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()

    def end(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.communicate(timeout=20)


def test_a_manager_is_the_same_one_after_a_restart() -> None:
    """By its port alone: its state directory is the platform's one for it."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    state = Path(os.environ["XDG_STATE_HOME"]) / "mrkernel" / f"manager-{port}"
    first = Manager("--port", str(port))
    try:
        with connect(f"127.0.0.1:{port}") as client:
            before = client.connection
        assert before.state == str(state)
        assert state.stat().st_mode & 0o777 == 0o700
        first.end(signal.SIGKILL)
        second = Manager("--port", str(port))
        try:
            assert second.said == first.said
            with connect(before.id) as client:  # the name is the same as well
                assert client.connection.token == before.token
        finally:
            second.end()
    finally:
        first.end()
        shutil.rmtree(state)


def test_a_manager_on_any_port_is_at_the_same_one_again(tmp_path: Path) -> None:
    """Workers and clients look for it where it was."""
    first = Manager("--port", "0", "--state", str(tmp_path / "state"))
    first.end()
    second = Manager("--port", "0", "--state", str(tmp_path / "state"))
    second.end()
    assert second.said == first.said


def test_a_manager_that_nobody_can_name_again_leaves_nothing() -> None:
    manager = Manager("--port", "0")
    name = manager.said.split()[1]
    (state,) = [Path(each.state) for each in running_managers() if each.id == name]
    assert state == Path(os.environ["XDG_STATE_HOME"]) / "mrkernel" / f"manager-{name}"
    assert (state / "journal").exists()
    manager.end()
    assert not state.exists()


def test_the_journal_of_nobody_is_one_sentence(run: Run, tmp_path: Path) -> None:
    empty = {"JUPYTER_RUNTIME_DIR": str(tmp_path / "r"), "XDG_STATE_HOME": str(tmp_path / "s")}
    done = run("journal", "j1", **empty)
    assert done.returncode == 2
    assert "no manager of yours runs, and none left a journal" in done.stderr
    done = run("journal", "j1", "--on", "nobody", **empty)
    assert done.returncode == 2
    assert "no manager of yours at nobody" in done.stderr
    for name in ("manager-1", "manager-2"):
        (tmp_path / "s" / "mrkernel" / name).mkdir(parents=True)
        (tmp_path / "s" / "mrkernel" / name / "journal").touch()
    done = run("journal", "j1", **empty)
    assert done.returncode == 2
    assert "say --state with one of" in done.stderr
    (tmp_path / "s" / "mrkernel" / "manager-2" / "journal").write_bytes(b"no journal" * 9)
    done = run("journal", "j1", "--state", str(tmp_path / "s" / "mrkernel" / "manager-2"))
    assert done.returncode == 2
    assert "is damaged at byte 0" in done.stderr
    assert "Traceback" not in done.stderr
