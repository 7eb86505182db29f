"""Runs some jobs in a Python of its own and prints what they write: the hash seed must not show.

``python tests/engines/seeded.py FOLDER``
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from jobs import Job, functions, keys, numbers, run, values

from mrkernel import LocalCluster


def letters(line: str) -> Iterator[tuple[str, str]]:
    for word in line.split():
        yield word[0], word


def cases() -> dict[str, Job]:
    return {
        **{f"keys {n}": keys.jobs()[n] for n in ("every kind", "texts")},
        **{f"keys, {n}": keys.jobs()[n] for n in ("ints here, floats there",)},
        **{n: functions.jobs()[n] for n in ("class that does both", "combiner", "generators")},
        "sums": numbers.jobs()["sum of floats, combined"],
        "values": values.jobs()["every kind"],
        "sets": Job(letters, functions.LINES, "set"),
        "sets, map only": Job(functions.words, functions.LINES, "none"),
    }


def written(engine: Any, folder: Path) -> Iterator[tuple[str, bytes]]:
    """The text of each part of each job."""
    for number, (name, job) in enumerate(cases().items()):
        place = folder / str(number)
        (place / "in").mkdir(parents=True)
        result = run(job, engine, place / "in", output=place / "out")
        for path in result.paths:
            yield f"{name}: {path.name}", path.read_bytes()


def main(folder: Path) -> None:
    with LocalCluster(2, slots=1) as cluster:
        for engine in ("inline", cluster):
            name = "inline" if engine == "inline" else "cluster"
            for title, text in written(engine, folder / name):
                sys.stdout.buffer.write(f"{title}\n".encode() + text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
