"""A URL whose package one of the workers does not have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from by_hand import ByHand
from file_server import serving
from watching import eventually

from mrkernel.engines.api import submit

HIDE = "import sys\n\nsys.modules['aiohttp'] = None\n"


def first_word(line: str) -> list[tuple[str, int]]:
    return [(line.split()[0], 1)]


@pytest.mark.fault(38)
def test_a_worker_that_cannot_open_a_url_leaves_it_to_others(
    by_hand: ByHand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    by_hand.start_manager()
    with monkeypatch.context() as without:
        without.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
        by_hand.start_worker()
    client = by_hand.connect()
    try:
        with serving(files={"/a.txt": b"a 1\nb 2\na 3\n" * 4}) as web:
            by_hand.start_worker()
            eventually(lambda: client.slots == 2, "two workers")
            url = f"{web.url}/a.txt"
            # More tasks than one worker takes before the other has its first.
            job = submit(first_word, url, "sum", on=client, split_size=4)
            assert job.result(20).to_dict() == {"a": 8, "b": 4}
        feed = [line["text"] for line in client.look(job.id)["feed"]]
        assert any("needs the package aiohttp, which is not here" in text for text in feed), feed
    finally:
        client.close()
