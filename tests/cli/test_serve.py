"""``mrkernel manager`` and ``worker``, and the commands that talk to them."""

from __future__ import annotations

from pathlib import Path

import pytest

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
    assert run("forget", job).stdout == f"job {job} is forgotten\n"
    assert "talk" not in run("jobs").stdout
    gone = run("logs", job)
    assert gone.returncode == 2
    assert f"there is no job '{job}' here" in gone.stderr


def test_workers_lists_the_worker(run: Run, served: Served) -> None:
    lines = run("workers", "--manager", served.address).stdout.splitlines()
    assert lines[0] == "1 worker · 2 slots, 0 busy"


def test_a_port_in_use_is_one_sentence(run: Run, served: Served) -> None:
    done = run("manager", "--port", str(served.port))
    assert done.returncode == 1
    assert f"cannot listen on {served.address}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["manager", "worker"])
def test_nobody_listens_where_others_could_reach_us(run: Run, served: Served, command: str) -> None:
    done = run(command, "--host", "0.0.0.0")
    assert done.returncode == 1
    assert "not encrypted" in done.stderr


def test_a_worker_without_a_manager_says_how_to_start_one(run: Run) -> None:
    done = run("worker", "--manager-port", "1")
    assert done.returncode == 1
    assert "no manager of yours at 127.0.0.1:1" in done.stderr
