"""Memory of processes, of the machine, and whom the kernel killed for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from mrkernel.worker import memory as module
from mrkernel.worker.memory import LEAST_SHARE, Victims, family, resident, share_of_machine


def test_what_a_process_has(monkeypatch: pytest.MonkeyPatch) -> None:
    there = psutil.Process().memory_info().rss
    assert abs(resident(os.getpid()) - there) < 64 << 20
    assert resident(1 << 30) == 0
    # Where there is no /proc the library is asked.
    assert abs(module._resident_elsewhere(os.getpid()) - there) < 64 << 20
    assert module._resident_elsewhere(1 << 30) == 0


BY_PROGRAM = """
import subprocess, sys
child = "held = b'x' * (100 << 20); print(flush=True); input()"
subprocess.run([sys.executable, "-c", child])
"""
BY_COPY = """
import os
held = b"x" * (100 << 20)
if os.fork() == 0:
    more = b"x" * (20 << 20)
    print(flush=True)
input()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists the children of a process")
@pytest.mark.parametrize(("program", "least", "most"), [(BY_PROGRAM, 100, 160), (BY_COPY, 15, 60)])
def test_a_runner_and_its_programs_are_weighed_together(
    program: str, least: int, most: int
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        beyond = family(process.pid) - resident(process.pid)
        for child in psutil.Process(process.pid).children():
            child.kill()
        process.communicate(b"\n")
    assert least << 20 < beyond < most << 20
    assert family(1 << 30) == 0


def test_each_runner_has_its_share() -> None:
    total = psutil.virtual_memory().total
    assert share_of_machine(1) <= total
    assert share_of_machine(10_000) == LEAST_SHARE


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernel's files, as on a machine with control groups of both kinds."""
    monkeypatch.setattr(module, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(module, "_CGROUPS", tmp_path / "cgroup")
    for folder in ("proc/self", "cgroup/me", "cgroup/memory/me"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("5:cpu,memory:/me\n4:pids:/\n0::/me\n")
    (tmp_path / "proc/vmstat").write_text("nr_free_pages 99\noom_kill 4\n")
    (tmp_path / "cgroup/me/memory.events").write_text("low 0\noom 9\noom_kill 0\n")
    (tmp_path / "cgroup/memory/me/memory.oom_control").write_text("under_oom 0\noom_kill 2\n")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("proc/vmstat", "oom_kill 5\n"),
        ("cgroup/me/memory.events", "oom 10\noom_kill 1\n"),
        ("cgroup/memory/me/memory.oom_control", "oom_kill 3\n"),
        ("cgroup/memory.events", "oom_kill 1\n"),  # a container sees its own group as the root
    ],
)
def test_a_victim_more_is_seen_once(system: Path, file: str, text: str) -> None:
    victims = Victims()
    assert not victims.any_new()
    (system / file).write_text(text)
    assert victims.any_new()
    assert not victims.any_new()


def test_without_those_files_nobody_is_counted(system: Path) -> None:
    for path in (*system.glob("cgroup/**/memory.*"), system / "proc/vmstat"):
        path.unlink()
    assert not Victims().any_new()
    (system / "proc/self/cgroup").unlink()
    assert not Victims().any_new()


def test_a_control_group_has_less_than_the_machine(system: Path) -> None:
    (system / "cgroup/me/memory.max").write_text("max\n")
    (system / "cgroup/memory/me/memory.limit_in_bytes").write_text(f"{4 << 30}\n")
    assert share_of_machine(1) == int(0.9 * (4 << 30))
