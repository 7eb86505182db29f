"""Each example by its one command, and its answer by other means."""

from __future__ import annotations

import csv
import importlib.util
import math
import os
import re
import socket
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from pydoc_data import topics
from types import ModuleType

import numpy as np

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
LIBRARY = Path(os.__file__).parent


def output(*words: str | Path, cwd: Path) -> list[str]:
    """Run a command as a user does; give the lines that it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": ""}
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def example(name: str) -> ModuleType:
    """The module of an example: what it works on is not what is tested."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def library_text(pattern: str) -> str:
    files = [path for path in LIBRARY.glob(pattern) if path.name[0] not in "._"]
    return "".join(path.read_text("utf-8") for path in files)


def words_of(text: str) -> list[str]:
    return re.findall("[a-z]+", text.lower())


def told(line: str) -> list[int]:
    """The counts behind the words that were most frequent."""
    _, _, words = line.partition("most often ")
    return [int(word.split()[1].replace(",", "")) for word in words.split(", ")]


def test_batch_years_of_a_folder_of_files(tmp_path: Path) -> None:
    output(EXAMPLES / "years" / "make_years.py", "years", "--files", "7", "--students", "300",
           cwd=tmp_path)  # fmt: skip
    years = EXAMPLES / "years" / "years.py"
    (said,) = output("-m", "mrkernel", "submit", "--input", "years", "--map", years,
                     "--reduce", years, "--output", "years.csv",
                     "--columns", "batch_year,min,max,average", cwd=tmp_path)  # fmt: skip
    assert said == f"25 pairs in {tmp_path / 'years.csv'}"
    scores: dict[int, list[float]] = {}
    for path in (tmp_path / "years").glob("*.csv"):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                scores.setdefault(int(row["batch_year"]), []).append(float(row["score"]))
    with (tmp_path / "years.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [int(row["batch_year"]) for row in found] == sorted(scores)
    for row in found:
        mine = scores[int(row["batch_year"])]
        assert (float(row["min"]), float(row["max"])) == (min(mine), max(mine))
        assert math.isclose(float(row["average"]), math.fsum(mine) / len(mine))
    assert sum(map(len, scores.values())) == 7 * 300


def test_several_clients_submit_at_once(tmp_path: Path) -> None:
    lines = output(EXAMPLES / "many_clients.py", "--clients", "3", cwd=tmp_path)
    assert len(lines) == 3
    for line, letter in zip(lines, "cdh", strict=True):
        expected = Counter(words_of(library_text(f"{letter}*.py")))
        assert f"{letter}*.py: {len(expected):,} words; most often " in line
        assert told(line) == [count for _, count in expected.most_common(5)]


def test_a_text_is_split_among_workers_and_put_together(tmp_path: Path) -> None:
    lines = output(EXAMPLES / "split_text.py", "--workers", "3", cwd=tmp_path)
    expected = Counter(words_of("\n".join(topics.topics.values())))
    pieces = [int(line.split()[2]) for line in lines[:-1]]
    assert sum(pieces) == 9
    assert len(pieces) > 1
    assert lines[-1].startswith(f"{len(expected):,} words; most often the ")
    assert told(lines[-1]) == [count for _, count in expected.most_common(5)]


def test_an_inverted_index(tmp_path: Path) -> None:
    found = output(EXAMPLES / "inverted_index.py", "generator", cwd=tmp_path)
    expected = Counter(
        {
            path.name: re.findall("[a-z]+", path.read_text("utf-8").lower()).count("generator")
            for path in LIBRARY.glob("[a-h]*.py")
        }
    )
    ranked = sorted((-count, name) for name, count in expected.items() if count)
    assert [line.split() for line in found] == [[str(-n), name] for n, name in ranked[:10]]


def test_a_join(tmp_path: Path) -> None:
    import polars as pl

    found = output(EXAMPLES / "join.py", cwd=tmp_path)
    data = example("join").data()
    import zipfile

    with zipfile.ZipFile(data / "flights.csv.zip") as archive:
        flights = pl.read_csv(archive.read("flights.csv"), null_values="NA")
    airlines = pl.read_csv(data / "airlines.csv")
    means = flights.join(airlines, on="carrier").group_by("name").agg(pl.mean("arr_delay"))
    expected = [
        f"{delay:7.1f} min  {name}"
        for name, delay in sorted(means.iter_rows(), key=lambda row: -row[1])
    ]
    assert found == expected
    assert len(found) == 16


def test_pagerank(tmp_path: Path) -> None:
    found = output(EXAMPLES / "pagerank.py", cwd=tmp_path)
    module = example("pagerank")
    links = dict(pair for each in module.modules() for pair in module.imports(each))
    names = sorted(links)
    place = {name: number for number, name in enumerate(names)}
    follow = np.zeros((len(names), len(names)))
    for name, targets in links.items():
        inside = [place[target] for target in targets if target in place]
        follow[inside or slice(None), place[name]] = 1 / len(inside or names)
    rank = np.full(len(names), 1 / len(names))
    for _ in range(module.ROUNDS):
        rank = (1 - module.DAMPING) / len(names) + module.DAMPING * follow @ rank
    best = sorted(zip(-rank, names, strict=True))[:10]
    printed = [(float(line.split()[0]), line.split()[1]) for line in found]
    assert [name for _, name in printed] == [name for _, name in best]
    assert all(
        abs(shown + rank) <= 5e-5 for (shown, _), (rank, _) in zip(printed, best, strict=True)
    )


def test_k_means(tmp_path: Path) -> None:
    found = output(EXAMPLES / "kmeans.py", "--groups", "4", cwd=tmp_path)
    airports = example("join").data() / "airports.csv"
    with airports.open(newline="") as file:
        points = np.array([[float(r["lat"]), float(r["lon"])] for r in csv.DictReader(file)])
    centres = np.array([[20.0 + 8 * n, -160.0 + 15 * n] for n in range(4)])
    for _ in range(10):
        nearest = ((points[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        centres = np.array([points[nearest == n].mean(axis=0) for n in range(4)])
    printed = np.array([[float(number) for number in line.split()] for line in found])
    assert np.allclose(printed, centres, atol=0.006)


def test_word_count_by_a_mapper_and_a_reducer_in_files(tmp_path: Path) -> None:
    folder = EXAMPLES / "submit"
    (said,) = output("-m", "mrkernel", "submit", "--quiet", "--input", folder / "data.txt",
                     "--output", "out", "--map", folder / "mapper.py",
                     "--reduce", folder / "reducer.py", cwd=tmp_path)  # fmt: skip
    words = [word.strip(".,;:!?") for word in (folder / "data.txt").read_text().lower().split()]
    counted = Counter(words)
    assert said == f"{len(counted)} pairs in {tmp_path / 'out'}"
    lines = [line for part in sorted((tmp_path / "out").glob("part-*"))
             for line in part.read_text().splitlines()]  # fmt: skip
    assert sorted(lines) == sorted(f"{word}\t{count}" for word, count in counted.items())


def test_word_count_by_shell_scripts_on_two_workers_at_given_ports(tmp_path: Path) -> None:
    folder = EXAMPLES / "streaming"
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        ports = [str(each.getsockname()[1]) for each in sockets]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, "PYTHON": sys.executable}
    done = subprocess.run([folder / "run.sh", *ports], cwd=tmp_path, env=environment,
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    texts = [path.read_text() for path in (folder / "input").iterdir()]
    counted = Counter(word for text in texts for word in text.split())
    expected = sorted(f"{word}\t{count}" for word, count in counted.items())
    assert sorted(done.stdout.splitlines()) == expected


def test_the_shell_reducer_keeps_words_apart_and_digits_together() -> None:
    done = subprocess.run([EXAMPLES / "streaming" / "wc_reduce.sh"], capture_output=True, text=True,
                          input="10\t1\n10.0\t2\na\t3000000000\na\t1\n", check=True)  # fmt: skip
    assert done.stdout == "10\t1\n10.0\t2\na\t3000000001\n"
