"""The commands as a user sees them in a terminal, and what a pipe gets."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from glass import Terminal

from tests.cli.conftest import Run, Served

#: Every map waits for a file, so that a job can be looked at for as long as need be.
GATED = """\
import os, time
def mapper(line):
    print("seen", line)
    while not os.path.exists("{gate}"):
        time.sleep(0.02)
    for word in line.split():
        yield word, 1
"""

Start = Callable[..., "Seen"]


class Seen(Terminal):
    """A program in a terminal of its own."""

    def __init__(self, words: list[str], folder: Path, width: int, height: int) -> None:
        super().__init__(width, height)
        environment = {**os.environ, "TERM": "xterm-256color"}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            environment.pop(name, None)
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), self.theirs)
        self.process = subprocess.Popen(
            words, cwd=folder, env=environment, start_new_session=True, **streams
        )

    def interrupt(self) -> None:
        """As Ctrl-C does it."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """Wait for its end: its status, and all that a reader finds."""
        while self.process.poll() is None:
            self.look()
            time.sleep(0.02)
        self.look()
        return self.process.returncode, self.glass.everything


@pytest.fixture
def gate(folder: Path) -> Path:
    """Touch it, and the maps of ``gated.py`` go on."""
    gate = folder / "gate"
    (folder / "gated.py").write_text(GATED.format(gate=gate))
    (folder / "data.txt").write_text("".join(f"a b{n}\n" for n in range(4)))
    return gate


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start ``mrkernel ...`` in a terminal."""
    started: list[Seen] = []

    def start_(*words: str, width: int = 80, height: int = 24) -> Seen:
        words = (sys.executable, "-m", *(words if words[0] == "IPython" else ("mrkernel", *words)))
        started.append(Seen(list(words), folder, width, height))
        return started[-1]

    yield start_
    for seen in started:
        if seen.process.poll() is None:
            seen.process.kill()
            seen.process.wait()
        seen.close()


JOB = ("submit", "data.txt", "--map", "gated.py", "--reduce", "sum", "--split-size", "5")


def test_a_job_is_seen_while_it_runs_and_folds_to_a_line_above_its_result(
    start: Start, gate: Path
) -> None:
    seen = start(*JOB, "--on", "local")
    text = seen.until(lambda text: "▒" in text and "map-" in text)
    for words in ("▶ running", "Map", "Shuffle", "Reduce", "● w1", "w1·0", "▒ running"):
        assert words in text
    gate.touch()
    status, everything = seen.end()
    assert status == 0
    lines = everything.splitlines()
    (head,) = [n for n, line in enumerate(lines) if line.startswith("mapper")]
    assert lines[head].startswith("mapper  ✓ ")
    assert lines[head + 1 :] == ["a\t4", "b0\t1", "b1\t1", "b2\t1", "b3\t1"]
    # Prints of tasks stand above, and nothing of the view is left among them.
    assert {line.partition(" on ")[2][2:] for line in lines[:head] if " | " in line} == {
        f" | seen a b{n}" for n in range(4)
    }
    assert not [line for line in lines if "Shuffle" in line or "▒" in line]


def test_a_worker_that_dies_is_seen_with_its_reason_and_where_its_work_goes_on(
    start: Start, gate: Path
) -> None:
    seen = start(*JOB, "--on", "local", width=100, height=40)
    seen.until(lambda text: "w1·0" in text and "w2·0" in text)
    (supervisor,) = psutil.Process(seen.process.pid).children()
    victim = max(supervisor.children(), key=lambda process: process.pid)
    victim.kill()
    text = seen.until(lambda text: " → w" in text and "►" in text)
    assert "was killed (SIGKILL)" in text
    assert "✗ 1 worker lost" in text
    gate.touch()
    status, everything = seen.end()
    assert status == 0
    assert "1 worker lost, " in everything
    assert "Shuffle" not in everything


def test_it_follows_the_size_of_the_terminal(start: Start, gate: Path) -> None:
    seen = start(*JOB, "--on", "local", width=120, height=40)
    seen.until(lambda text: "▒" in text and "map-" in text)
    for width, height in ((60, 24), (200, 50), (80, 24)):
        seen.resize(width, height)
        lane = re.compile(rf"^w1·0 .{{{width - 6}}}$", re.MULTILINE)
        text = seen.until(lambda text: bool(lane.search(text)))  # noqa: B023
        assert text.count("Shuffle") == 1
        assert text.count("▶ running") == 1
    gate.touch()
    assert seen.end()[0] == 0
    assert "Shuffle" not in seen.look()


def test_an_interrupt_leaves_one_line_and_ends_with_130(start: Start, gate: Path) -> None:
    seen = start(*JOB, "--on", "local")
    seen.until(lambda text: "▒" in text)
    seen.interrupt()
    status, everything = seen.end()
    assert status == 130
    assert everything.splitlines()[-1] == "mrkernel: interrupted"
    assert everything.splitlines()[-2].startswith("mapper  ■ cancelled after ")


def test_a_failed_job_is_a_line_and_its_error(start: Start, folder: Path) -> None:
    (folder / "bad.py").write_text("import time\ndef mapper(line):\n    yield 'n', int(line)\n")
    (folder / "numbers.txt").write_text("1\n" * 30 + "x\n")
    seen = start("submit", "numbers.txt", "--map", "bad.py", "--reduce", "sum", "--on", "local")
    status, everything = seen.end()
    assert status == 1
    lines = everything.splitlines()
    (head,) = [n for n, line in enumerate(lines) if line.startswith("mapper  ✗ failed after ")]
    assert lines[head + 1].startswith("mrkernel: ")
    assert "Shuffle" not in everything


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
    start: Start, gate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.touch()
    monkeypatch.setenv("TERM", "dumb")
    seen = Terminal()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "mrkernel", *JOB, "--on", "local"],
            cwd=gate.parent, stdout=seen.theirs, stderr=seen.theirs, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0
        assert "done in " in seen.look()
        assert "\x1b" not in seen.raw
    finally:
        seen.close()


def test_watch_shows_workers_and_jobs_and_leaves_when_told(
    start: Start, gate: Path, served: Served
) -> None:
    for name in ("first", "second"):
        start(*JOB, "--on", served.address, "--name", name, "--quiet")
    seen = start("watch", "--on", served.address, width=120, height=30)
    # Whichever came first has the slots.
    text = seen.until(
        lambda text: (
            ("first map-" in text or "second map-" in text) and text.count("0 of 4 maps") == 2
        )
    )
    assert "first" in text
    assert "second" in text
    assert "1 worker · 2 slots, 2 busy" in text
    gate.touch()
    seen.until(lambda text: "▶" not in text and "0 busy" in text)
    seen.interrupt()
    assert seen.end()[0] == 130


def test_watch_of_a_job_leaves_all_of_it_also_long_after(
    start: Start, gate: Path, served: Served, run: Run
) -> None:
    start(*JOB, "--on", served.address, "--name", "looked-at", "--quiet")
    jobs: dict[str, dict[str, str]] = {}

    def ours() -> list[str]:
        jobs.update(served.client.look("cluster")["jobs"])
        return [job for job, row in jobs.items() if row["name"] == "looked-at"]

    while not ours():
        time.sleep(0.02)
    (job,) = ours()
    seen = start("watch", job, "--on", served.address)
    seen.until(lambda text: "▒" in text)
    seen.interrupt()  # who only watches does not take the job along
    assert seen.end()[0] == 130
    seen = start("watch", job, "--on", served.address)
    seen.until(lambda text: "▒" in text)
    gate.touch()
    for _ in range(2):  # and once more, when it is over
        status, everything = seen.end()
        assert status == 0
        for words in ("looked-at  ✓ done", "Map", "4 of 4", "█", "all 4 maps done", "done in"):
            assert words in everything
        assert everything.count("Shuffle") == 1
        seen = start("watch", job, "--on", served.address)
    piped = run("watch", job, "--on", served.address)
    assert piped.returncode == 0
    assert piped.stderr.splitlines()[-1].split("  ")[-1].startswith("done in ")


def test_watch_says_when_there_is_nothing_to_watch(run: Run, served: Served) -> None:
    done = run("watch", "j999", "--on", served.address)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "there is no job 'j999' here" in done.stderr
    done = run("watch", "--on", "127.0.0.1:1")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "no manager of yours at 127.0.0.1:1" in done.stderr


def test_ipython_without_a_front_end_shows_the_same(start: Start, gate: Path, folder: Path) -> None:
    cells = [
        "%load_ext mrkernel\ncluster = %mr_cluster start 2",
        "%%mapreduce data.txt --into counts --split-size 5 --reducer sum\n"
        + (folder / "gated.py").read_text(),
        "print('result', counts.to_dict())",
        "%mr_workers",
        "job = %mr_jobs j1",
    ]
    made = [
        {"cell_type": "code", "source": cell, "metadata": {}, "outputs": [], "execution_count": 1}
        for cell in cells
    ]
    notebook = {"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "cells.ipynb").write_text(json.dumps(notebook))
    plain = ("--colors=NoColor", "--TerminalInteractiveShell.term_title=False")
    seen = start("IPython", *plain, "cells.ipynb", width=100, height=40)
    text = seen.until(lambda text: "w1·0" in text and "w2·0" in text)
    for words in ("▶ running", "Shuffle", "● w1", "▒ running", "]\nseen a b"):
        assert words in text
    gate.touch()
    status, everything = seen.end()
    assert status == 0
    live, result, after = everything.partition("result {'a': 4, 'b0': 1")
    assert result
    assert "Shuffle" not in live
    assert live.splitlines()[-1].startswith("mapper  ✓ ")
    assert live.count("note: ") <= 1
    assert "2 workers · 2 slots, 0 busy" in after  # %mr_workers
    assert "✓ j1 done" in after
    assert "mapper  ✓ done" in after  # %mr_jobs
    assert "w1·0 " in after
