"""The inputs of the six jobs: made once, the same on every machine, kept where git does not look.

* ``students``: 4 CSV files, 108 MB, 3.3 M rows ``student_id,name,batch_year,score``, 25 years;
* ``records``: 4 files, 100 MB of 100-byte lines: 10 random characters, a tab, 88 letters;
* ``pairs``: 4 files with a header, 4 M lines ``key TAB value``, 400 k keys; ``pairs-large``: 12,
  20 M, 2 M;
* ``text`` and ``small``: see ``benchmarks.text``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.text import kept, make_small, make_text


@dataclass(frozen=True)
class Data:
    """An input that is there.

    Attributes:
        paths: its files, in order.
        nbytes: of all of them together.
        note: what is to be said of it; "" as a rule.
    """

    paths: tuple[str, ...]
    nbytes: int
    note: str = ""


def make(name: str, *, share: float = 1.0, text: Path | None = None) -> Data:
    """Make an input, or find it where an earlier run left it.

    Args:
        share: how much of it: 1 is the real size.
        text: folder whose files the text is made of; None: installed Python sources.
    """
    if name == "text":
        made = make_text(22.9 * share, text)
        return replace(_data(made.paths), note=str(made) if made.repeats else "")
    if name == "small":
        return _data(make_small(round(4_000 * share), text))
    called = name if share == 1 else f"{name}-{share:g}"
    folder = kept(called, lambda aside: _MAKERS[name](aside, share))
    return _data(tuple(sorted(folder.iterdir())))


def _data(paths: tuple[Path, ...]) -> Data:
    return Data(tuple(map(str, paths)), sum(path.stat().st_size for path in paths))


def _students(folder: Path, share: float) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    random, files = np.random.default_rng(1), 4
    rows = int(833_334 * share)
    for number in range(files):
        years = random.integers(2000, 2025, rows)
        scores = np.clip(random.normal(70, 12, rows), 0, 100).round(2)
        numbers = pa.array(random.integers(0, 100_000, rows)).cast(pa.string())
        table = pa.table(
            {
                "student_id": np.arange(number * rows, (number + 1) * rows),
                "name": pc.binary_join_element_wise("student", numbers, "_"),
                "batch_year": years,
                "score": scores,
            }
        )
        # Quotes only where a field needs them, which none does.
        plain = csv.WriteOptions(include_header=False, quoting_style="none")
        header = ",".join(table.column_names).encode() + b"\n"
        with (folder / f"part-{number}.csv").open("wb") as file:
            file.write(header)
            csv.write_csv(table, file, plain)


def _records(folder: Path, share: float) -> None:
    import numpy as np

    random, files = np.random.default_rng(2), 4
    rows = int(250_000 * share)
    for number in range(files):
        lines = np.empty((rows, 100), np.uint8)
        lines[:, :10] = random.integers(33, 127, (rows, 10), np.uint8)
        lines[:, 10] = ord("\t")
        lines[:, 11:99] = random.integers(65, 91, (rows, 88), np.uint8)
        lines[:, 99] = ord("\n")
        lines.tofile(folder / f"part-{number}.txt")


def _pairs(rows: int, keys: int, files: int) -> Callable[[Path, float], None]:
    def write(folder: Path, share: float) -> None:
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc
        from pyarrow import csv

        random = np.random.default_rng(3)
        each = int(rows * share) // files
        plain = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
        for number in range(files):
            names = pa.array(random.integers(0, max(1, int(keys * share)), each))
            values = random.integers(0, 1_000_000, each)
            named = pc.binary_join_element_wise("key", names.cast(pa.string()), "")
            with (folder / f"part-{number:02}.tsv").open("wb") as file:
                file.write(b"key\tvalue\n")
                csv.write_csv(pa.table({"key": named, "value": values}), file, plain)

    return write


_MAKERS: dict[str, Callable[[Path, float], None]] = {
    "students": _students,
    "records": _records,
    "pairs": _pairs(4_000_000, 400_000, 4),
    "pairs-large": _pairs(20_000_000, 2_000_000, 12),
}
