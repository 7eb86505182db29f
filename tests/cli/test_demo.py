"""``mrkernel demo``: its counts are those of anybody who counts."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

from tests.cli.conftest import Run


def test_the_counts_are_right(run: Run) -> None:
    files = [Path(line) for line in run("demo", "--list").stdout.splitlines()]
    counts: Counter[bytes] = Counter()
    size = 0
    for path in files:
        data = path.read_bytes()
        size += len(data)
        counts.update(re.findall(rb"[a-z]+", data.lower()))
    done = run("demo", "--json", timeout=110)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    expected = sorted(((w.decode(), n) for w, n in counts.items()), key=lambda p: (-p[1], p[0]))
    assert [tuple(pair) for pair in found["top"]] == expected[:10]
    assert found["files"] == len(files) > 100
    assert found["mb"] == round(size / 1e6, 3)
    assert found["seconds"] > 0
