"""A reducer that does what a built-in does is told so, where there is much to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mrkernel.engines.local import LocalCluster
from mrkernel.engines.prepare import ADVICE_FROM


def words(line: str) -> Iterator[tuple[str, int]]:
    for word in line.split():
        yield word, 1


def total(word: str, ones: Any) -> Iterator[tuple[str, int]]:
    yield word, sum(ones)


@pytest.mark.parametrize("much", [False, True])
def test_advice_is_for_large_inputs(cluster: LocalCluster, tmp_path: Path, much: bool) -> None:
    line = "a b c\n"
    (tmp_path / "a.txt").write_text(line * (ADVICE_FROM // len(line) + much))
    job = cluster.submit(words, [tmp_path / "a.txt"], total)
    assert job.result().to_dict().keys() == {"a", "b", "c"}
    told = [note for note in job.notes if "the built-in sum" in note]
    assert len(told) == much
