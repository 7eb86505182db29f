"""What a job is told before it starts: advice where there is much to do, and warnings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mrkernel.engines.local import LocalCluster
from mrkernel.engines.prepare import ADVICE_FROM
from mrkernel.errors import TaskFailedError


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


def remainders(number: int) -> Iterator[tuple[int, int]]:
    yield number % 30, number


def needs_two(key: int, numbers: Any) -> Iterator[tuple[int, int]]:
    [one, other] = numbers
    yield key, one + other


def test_a_reducer_that_needs_its_whole_group_is_warned_and_runs(cluster: LocalCluster) -> None:
    job = cluster.submit(remainders, range(60), needs_two)
    assert job.result().to_dict() == {key: 30 + 2 * key for key in range(30)}
    [told] = [note for note in job.notes if "ValueError" in note]
    assert "which others may join, so the job goes on" in told
    # All of it is tried, so it is refused before a task starts.
    with pytest.raises(TaskFailedError, match="ValueError"):
        cluster.submit(remainders, range(1), needs_two)
