"""The benchmarks still work, and what they measure with tells the truth."""

from __future__ import annotations

import importlib
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def benchmarks() -> Any:
    """The package, which is not installed: its modules by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        names = ("digest", "enclosure", "jobs", "peers", "spans")
        found = {name: importlib.import_module(f"benchmarks.{name}") for name in names}
        yield SimpleNamespace(**found)


def test_a_smoke_run_ends_with_a_table_in_which_all_agree() -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "grep", "--only", "sort"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split("|")[2].strip() for line in done.stdout.splitlines() if line[:1] == "|"]
    assert rows == ["contestant", "-" * len(rows[1]), *["mrkernel", "pool"] * 2]
    assert "DIFFERS" not in done.stdout


def test_a_digest_cares_for_pairs_and_not_for_their_order(benchmarks: Any) -> None:
    pairs = [(f"w{n}", n) for n in range(100)]
    mixed = random.Random(1).sample(pairs, len(pairs))
    digest = benchmarks.digest.digest_pairs
    assert digest(pairs, tuple) == digest(mixed, tuple)
    assert digest(pairs, tuple) != digest([*pairs[:-1], ("w99", 98)], tuple)
    assert digest(pairs, tuple) != digest(pairs + pairs[:1], tuple)


def test_rows_of_statistics_have_one_spelling(benchmarks: Any) -> None:
    tidy = benchmarks.jobs.JOBS["stats"].tidy
    ours = (2001, {"min": 1, "max": 3.0, "mean": 2.0000000001, "count": 3})
    assert tidy(ours) == tidy(("2001", [1.0, 3.0, 2.0])) == ("2001", (1.0, 3.0, 2.0))


def test_a_folder_is_its_lines_and_disorder_is_told(benchmarks: Any, tmp_path: Path) -> None:
    def folder(name: str, *files: str) -> Path:
        made = tmp_path / name
        made.mkdir()
        (made / "_SUCCESS").write_text("no part of it")
        for number, text in enumerate(files):
            (made / f"part-{number}").write_text(text)
        return made

    digest = benchmarks.digest.digest_folder
    one = digest(folder("one", "a\t1\nb\t2\nc\t3\n"), ordered=True)
    two = digest(folder("two", "a\t1\nb\t2", "c\t3\n"), ordered=True)
    mixed = digest(folder("mixed", "c\t3\n", "a\t1\nb\t2\n"), ordered=True)
    assert one == two == digest(tmp_path / "mixed", ordered=False)
    assert mixed == f"{one}, not in order"


@given(st.lists(st.text("ab \u20ac", max_size=8), max_size=30), st.integers(1, 40), st.booleans())
def test_each_line_is_in_one_span(
    benchmarks: Any,
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[str],
    size: int,
    ended: bool,
) -> None:
    path = tmp_path_factory.mktemp("spans") / "text"
    path.write_text("\n".join(lines) + "\n" * (ended and bool(lines)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmarks.spans, "SPLIT", size)
        spans = benchmarks.spans.spans([str(path)])
    found = [line for span in spans for line in benchmarks.spans.lines(span)]
    assert found == path.read_text().split("\n")[: len(found)]
    assert "".join(found) == "".join(lines)


#: Starts a daemon, which uses CPU, starts another that stays, and ends; then says their pids.
DAEMONS = """
import json, os, subprocess, sys, time
stays = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
works = "import time; end = time.process_time() + 0.3\\nwhile time.process_time() < end: pass"
middle = f"import os, subprocess, sys; subprocess.Popen([sys.executable, '-c', {stays!r}]); " \\
    f"subprocess.run([sys.executable, '-c', {works!r}])"
read, write = os.pipe()
child = subprocess.Popen([sys.executable, "-c", middle], stdout=write)
pid = int(os.read(read, 100))
child.wait()
print(json.dumps({"pid": pid}), flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("counted", ["the kernel's way", "the family's sum"])
def test_an_enclosure_counts_the_dead_and_ends_the_living(
    benchmarks: Any, monkeypatch: pytest.MonkeyPatch, counted: str
) -> None:
    module = benchmarks.enclosure
    if counted == "the family's sum":
        monkeypatch.setattr(module, "_parent_group", lambda: None)
    elif module.how_counted() == "the family's sum":
        pytest.skip("no control group can be made here")
    enclosure = module.Enclosure([sys.executable, "-c", DAEMONS], os.environ, subprocess.DEVNULL)
    try:
        said = enclosure.hear()
        assert said is not None
        assert said["pid"] in enclosure.pids()
        assert 0.3 <= enclosure.cpu() < 3
        enclosure.say("go")
        assert enclosure.hear() is None
        daemon = psutil.Process(said["pid"])
        monkeypatch.setattr(module, "GRACE_S", 0.2)
    finally:
        enclosure.close()
    daemon.wait(5)


def test_every_peer_can_be_asked_whether_it_is_here(benchmarks: Any) -> None:
    for name in (*benchmarks.peers.PEERS, "ours", "pool"):
        peer = importlib.import_module(f"benchmarks.peers.{name}")
        assert all(isinstance(need, str) for need in peer.NEEDS)
        assert callable(peer.Session) and callable(peer.versions)
