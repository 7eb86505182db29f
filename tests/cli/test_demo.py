"""``mrkernel demo``: its counts are those of anybody who counts."""

from __future__ import annotations

import json
import re
import sysconfig
import textwrap
from collections import Counter
from pathlib import Path

from tests.cli.conftest import Run

#: Imported by every Python at its start: a small one, for all there is takes long to count.
SMALL = """
    import os, sysconfig

    every = sysconfig.get_paths()

    def some(*given):
        return every | {
            "stdlib": os.path.join(every["stdlib"], "encodings"),
            "purelib": os.path.join(every["purelib"], "pytest"),
            "platlib": os.path.join(every["platlib"], "pytest"),
        }

    sysconfig.get_paths = some
"""


def test_the_counts_are_right(run: Run, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(SMALL))
    small = {"PYTHONPATH": str(tmp_path)}
    files = [Path(line) for line in run("demo", "--list", **small).stdout.splitlines()]
    counts: Counter[bytes] = Counter()
    size = 0
    for path in files:
        data = path.read_bytes()
        size += len(data)
        counts.update(re.findall(rb"[a-z]+", data.lower()))
    done = run("demo", "--json", timeout=110, **small)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    expected = sorted(((w.decode(), n) for w, n in counts.items()), key=lambda p: (-p[1], p[0]))
    assert [tuple(pair) for pair in found["top"]] == expected[:10]
    assert found["files"] == len(files) > 100
    assert found["mb"] == round(size / 1e6, 3)
    assert found["seconds"] > 0


def test_it_reads_all_of_the_library_and_of_the_packages(run: Run) -> None:
    files = run("demo", "--list").stdout.splitlines()
    paths = sysconfig.get_paths()
    for folder, file in (("stdlib", "json/decoder.py"), ("purelib", "pytest/__init__.py")):
        assert str((Path(paths[folder]) / file).resolve()) in files
