"""A module that one of the workers does not have."""

from __future__ import annotations

import colorsys  # which nothing of ours imports: it can be hidden from a worker
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from by_hand import ByHand
from watching import eventually

from mrkernel.engines.api import submit

HIDE = """
import sys


class Hide:
    def find_spec(name, path=None, target=None):
        if name == "colorsys":
            raise ModuleNotFoundError("No module named 'colorsys'", name=name)


sys.meta_path.insert(0, Hide)
"""


def grey(n: int) -> Iterator[tuple[int, int]]:
    yield n % 3, round(colorsys.rgb_to_yiq(n, n, n)[0])


@pytest.mark.fault(38)
def test_a_worker_without_a_module_leaves_the_job_to_others(
    by_hand: ByHand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    by_hand.start_manager()
    with monkeypatch.context() as without:
        without.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
        by_hand.start_worker()
    client = by_hand.connect()
    try:
        by_hand.start_worker()
        eventually(lambda: client.slots == 2, "two workers")
        job = submit(grey, range(12), "sum", on=client, split_size=1)
        assert job.result(20).to_dict() == {k: sum(range(k, 12, 3)) for k in range(3)}
        feed = [line["text"] for line in client.look(job.id)["feed"]]
        assert any("need the module colorsys, which is not installed" in text for text in feed)
    finally:
        client.close()
