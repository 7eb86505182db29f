"""Programs that never end, or take all memory: they end with their task, children and all."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest
from watching import alive, eventually

from mrkernel.engines.local import LocalCluster
from mrkernel.errors import JobCancelledError, TaskFailedError

#: Writes down its process and that of a child, and hangs.
HANGS = "#!/bin/sh\nsleep 3600 &\necho $! $$ > {told}.part\nmv {told}.part {told}\nwait\n"
GROWS = "#!{python}\nimport time\nheld = b'x' * (700 << 20)\ntime.sleep(3600)\n"


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """Where a program writes its processes; there is a line of input beside it."""
    (tmp_path / "in.txt").write_text("a line\n")
    return tmp_path / "told"


def script(told: Path, text: str) -> str:
    path = told.with_name("hangs")
    path.write_text(text.format(told=told, python=sys.executable))
    path.chmod(0o755)
    return str(path)


def pids(told: Path) -> list[int]:
    eventually(told.exists, "the program runs")
    return [int(word) for word in told.read_text().split()]


def test_cancel_ends_a_program_and_what_it_started(cluster: LocalCluster, told: Path) -> None:
    job = cluster.submit(script(told, HANGS), str(told.with_name("in.txt")), "cat")
    started = pids(told)
    assert alive(started) == started
    job.cancel()
    with pytest.raises(JobCancelledError):
        job.result(20)
    eventually(lambda: not alive(started), "the end of the program and its child")


def test_a_silent_program_ends_at_its_timeout(cluster: LocalCluster, told: Path) -> None:
    inputs = str(told.with_name("in.txt"))
    job = cluster.submit(script(told, HANGS), inputs, "cat", timeout=0.3, attempts=1)
    with pytest.raises(TaskFailedError) as caught:
        job.result(20)
    assert caught.value.failure.kind == "timeout"
    sentence = caught.value.failure.sentence
    assert sentence.startswith("no record was finished for 0.3 s; it was at ")
    assert sentence.endswith("in.txt, byte 0 or soon after in hangs")
    eventually(lambda: not alive(pids(told)), "the end of the program and its child")


def test_the_memory_of_a_program_is_that_of_its_slot(cluster: LocalCluster, told: Path) -> None:
    before = set(psutil.pids())
    inputs = str(told.with_name("in.txt"))
    job = cluster.submit(script(told, GROWS), inputs, "cat", slot_memory="64M", attempts=1)
    with pytest.raises(TaskFailedError, match=r"used \d+ MB of 537 MB") as caught:
        job.result(30)
    assert "soon after in hangs" in caught.value.failure.sentence
    grown = [p for p in psutil.process_iter() if p.pid not in before and "hangs" in p.name()]
    eventually(lambda: not alive(p.pid for p in grown), "the end of the program")
