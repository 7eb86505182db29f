"""``mrkernel submit --output x.csv`` and its kin, ``--partitioner range`` and ``--sample``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run

JOB = ("submit", "data.txt", "--map", "mapper.py", "--reduce", "sum", "--on", "inline")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("counts.csv", "word,n\na,2\nb,2\nc,1\n"),
        ("counts.jsonl", '{"word":"a","n":2}\n{"word":"b","n":2}\n{"word":"c","n":1}\n'),
    ],
)
def test_one_file(run: Run, folder: Path, name: str, text: str) -> None:
    done = run(*JOB, "--output", name, "--columns", "word,n")
    assert (done.returncode, done.stdout) == (0, f"3 pairs in {folder / name}\n"), done.stderr
    assert (folder / name).read_text() == text
    again = run(*JOB, "--output", name)
    assert again.returncode != 0
    assert f"{folder / name} exists already: pass --overwrite to replace it" in again.stderr
    assert run(*JOB, "--output", name, "--overwrite").returncode == 0
    assert "key" in (folder / name).read_text()


def test_parts_in_order_and_in_a_format(run: Run, folder: Path) -> None:
    words = ["--output", "out", "--output-format", "csv", "--partitioner", "range"]
    done = run(*JOB, *words, "--reduce-tasks", "2")
    assert (done.returncode, done.stdout) == (0, f"3 pairs in {folder / 'out'}\n"), done.stderr
    parts = [(folder / "out" / f"part-0000{n}.csv").read_text() for n in range(2)]
    assert "".join(part.removeprefix("key,value\n") for part in parts) == "a,2\nb,2\nc,1\n"
    assert all(part.startswith("key,value\n") and part.count("\n") > 1 for part in parts)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--output", "x.csv", "--columns", "a"], 1, "--columns has 1 name and the rows have 2"),
        (["--output", "x", "--columns", "a,b"], 2, "text has none: add --output-format csv"),
        (["--output", "x", "--output-format", "xls"], 2, "write text, jsonl, csv or parquet"),
        (["--output", "x", "--sample", "3"], 2, "--sample shows what a part of the input gives"),
    ],
)
def test_slips(run: Run, folder: Path, words: list[str], code: int, said: str) -> None:
    before = {path.name for path in folder.iterdir()}
    done = run(*JOB, *words)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert said in done.stderr
    assert {path.name for path in folder.iterdir()} - {"__pycache__"} == before - {"__pycache__"}


def test_a_sample_says_so_and_starts_nothing(run: Run, folder: Path) -> None:
    (folder / "data.txt").write_text("a\nb\n" * 500)
    job = [word for word in JOB if word not in ("--on", "inline")]
    done = run(*job, "--sample", "2", "--split-size", "100")
    assert (done.returncode, done.stdout) == (0, "a\t10\nb\t10\n"), done.stderr
    said = "the first 2 records of 10 of 20 splits"
    assert f"note: a sample in this process: {said}\n" in done.stderr
    assert f"mrkernel: of a sample only: {said}, 2% of the input\n" in done.stderr
    assert "cluster" not in done.stderr
