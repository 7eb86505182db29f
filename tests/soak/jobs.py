"""Jobs of several kinds with the bytes that each must give, by plain Python in one process."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mrkernel.engines.cluster import Cluster

#: Enough tries that no task is blamed for what the signals do to it.
TRIES = 50


@dataclass
class SoakJob:
    """One job to run, once.

    Attributes:
        expected: the bytes of its result, or of its output.
        output: where it writes; None: the result is read from the cluster.
    """

    kind: str
    mapper: Any
    inputs: Any
    reducer: Any
    expected: bytes
    options: dict[str, Any] = field(default_factory=dict)
    output: Path | None = None

    def run(self, cluster: Cluster, timeout: float) -> bytes:
        """Run it to its end; return the bytes that are to be as expected.

        Raises:
            MRKernelError: it failed.
            TimeoutError: it hangs.
        """
        options = {"attempts": TRIES, **self.options}
        if self.output is not None:
            options["output"] = str(self.output)
        job = cluster.submit(self.mapper, self.inputs, self.reducer, **options)
        try:
            result = job.result(timeout)
        except TimeoutError:
            job.cancel()
            raise
        data = self.output.read_bytes() if self.output is not None else written(result)
        result.release()
        return data


def written(pairs: Iterable[tuple[Any, Any]]) -> bytes:
    """Spell pairs: in order of their keys, and of equal ones in theirs."""
    lines = [repr(pair) for pair in sorted(pairs, key=lambda pair: pair[0])]
    return "\n".join(lines).encode()


# Each maker returns functions of its own: they are sent by value, as those of a cell are.


def word_count(chance: random.Random, folder: Path) -> SoakJob:
    """Small outputs, which travel in messages; a reducer in Python; input from text files."""
    pause, lines = _text(chance, folder)

    def mapper(line: str) -> Any:
        import time

        time.sleep(pause)
        for word in line.split():
            yield word, 1

    def reducer(word: str, ones: Any) -> Any:
        yield word, sum(ones)

    counts = Counter(word for line in lines for word in line.split())
    inputs = str(folder / "*.txt")
    return SoakJob("word count", mapper, inputs, reducer, written(counts.items()))


def bulk(chance: random.Random, folder: Path) -> SoakJob:
    """Outputs too large for messages: losing a file matters. Values keep their order."""
    pause, count = chance.choice([0.005, 0.02]), chance.choice([60, 120])

    def mapper(number: int) -> Any:
        import time

        time.sleep(pause)
        for key in range(6):
            yield key, (number, str(number * key) * 400)

    def reducer(key: int, values: Any) -> Any:
        import hashlib

        digest = hashlib.sha256()
        for number, text in values:
            digest.update(f"{number} {text} ".encode())
        return digest.hexdigest()

    def answer() -> Iterable[tuple[int, str]]:
        for key in range(6):
            yield key, reducer(key, [(n, str(n * key) * 400) for n in range(count)])

    options = {"split_size": 64, "reduce_tasks": 3}
    return SoakJob("bulk", mapper, range(count), reducer, written(answer()), options)


def folded(chance: random.Random, folder: Path) -> SoakJob:
    """A built-in reducer, folded on both sides."""
    pause, count = chance.choice([0.002, 0.01]), 300
    how = chance.choice(["sum", "count", "max", "list"])
    by_hand: dict[str, Callable[[list[int]], Any]] = {
        "sum": sum,
        "count": len,
        "max": max,
        "list": list,
    }

    def mapper(number: int) -> Any:
        import time

        time.sleep(pause)
        for divisor in range(1, 6):
            yield f"key-{number % (divisor * 7)}", number

    groups: dict[str, list[int]] = defaultdict(list)
    for number in range(count):
        for divisor in range(1, 6):
            groups[f"key-{number % (divisor * 7)}"].append(number)
    answer = {key: by_hand[how](values) for key, values in groups.items()}
    options = {"split_size": 256, "reduce_tasks": 2}
    kind = f"built-in {how}"
    return SoakJob(kind, mapper, range(count), how, written(answer.items()), options)


def text_output(chance: random.Random, folder: Path) -> SoakJob:
    """Text into one sorted file, committed by a rename."""
    pause, lines = _text(chance, folder)

    def mapper(line: str) -> Any:
        import time

        time.sleep(pause)
        for word in line.split():
            yield word, line

    def reducer(word: str, lines: Any) -> str:
        return "|".join(sorted(lines))

    groups: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        for word in line.split():
            groups[word].append(line)
    answer = [f"{word}\t{'|'.join(sorted(groups[word]))}\n" for word in sorted(groups)]
    inputs, output = str(folder / "*.txt"), folder / "out" / "words.txt"
    output.parent.mkdir()
    expected = "".join(answer).encode()
    return SoakJob("text into a file", mapper, inputs, reducer, expected, {}, output)


def json_output(chance: random.Random, folder: Path) -> SoakJob:
    """JSON lines into one sorted file."""
    count = 200

    def mapper(number: int) -> Any:
        import time

        time.sleep(0.004)
        yield number % 17, number

    groups = {key: [n for n in range(count) if n % 17 == key] for key in range(17)}
    lines = [
        json.dumps({"key": key, "value": sum(groups[key])}, separators=(",", ":")) + "\n"
        for key in range(17)
    ]
    output = folder / "sums.jsonl"
    expected = "".join(lines).encode()
    options = {"split_size": 128, "reduce_tasks": 2}
    return SoakJob("json into a file", mapper, range(count), "sum", expected, options, output)


def map_only(chance: random.Random, folder: Path) -> SoakJob:
    """No reducer: the parts are those of the map tasks, large ones."""
    pause, count = chance.choice([0.005, 0.02]), 80

    def mapper(number: int) -> Any:
        import time

        time.sleep(pause)
        yield number, str(number) * 3000

    answer = [(number, str(number) * 3000) for number in range(count)]
    options = {"split_size": 64}
    return SoakJob("map only", mapper, range(count), "none", written(answer), options)


_MAP = """#!/bin/sh
exec awk '{ system("sleep %s"); for (i = 1; i <= NF; i++) print $i "\\t1" }'
"""
_REDUCE = """#!/bin/sh
exec awk -F '\\t' '
  $1 != last { if (NR > 1) print last "\\t" n; n = 0 }
  { last = $1; n += $2 }
  END { if (NR) print last "\\t" n }'
"""


def programs(chance: random.Random, folder: Path) -> SoakJob:
    """Shell programs, which have processes of their own below the runner's."""
    pause, lines = _text(chance, folder)
    for name, text in (("map.sh", _MAP % pause), ("reduce.sh", _REDUCE)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    counts = Counter(word for line in lines for word in line.split())
    return SoakJob(
        "programs",
        str(folder / "map.sh"),
        str(folder / "*.txt"),
        str(folder / "reduce.sh"),
        written((word.encode(), b"%d" % count) for word, count in counts.items()),
        {"reduce_tasks": 2},
    )


KINDS = (word_count, bulk, folded, text_output, json_output, map_only, programs)


def make(chance: random.Random, folder: Path) -> SoakJob:
    """Make up a job whose files are in a folder of its own."""
    folder.mkdir(parents=True)
    return chance.choice(KINDS)(chance, folder)


def _text(chance: random.Random, folder: Path) -> tuple[float, list[str]]:
    words = [f"w{number}" for number in range(200)]
    files = chance.choice([3, 8])
    every: list[str] = []
    for number in range(files):
        lines = [" ".join(chance.choices(words, k=6)) for _ in range(60)]
        (folder / f"{number}.txt").write_text("\n".join(lines) + "\n")
        every += lines
    return chance.choice([0.002, 0.01]), every
