"""Real text without a network: the sources of the running Python's library and its packages."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".benchdata"  # git-ignored; `make clean` removes it
FILES = 4


@dataclass(frozen=True)
class Text:
    """The text that is counted.

    Attributes:
        paths: the files, of about the same size.
        nbytes: of all of them together.
        repeats: how many whole times the sources were used again because they were too few.
    """

    paths: tuple[Path, ...]
    nbytes: int
    repeats: int

    def __str__(self) -> str:
        again = f", sources repeated {self.repeats} times: too few here" if self.repeats else ""
        return f"{self.nbytes / 1e6:.0f} MB of Python sources in {len(self.paths)} files{again}"


def make_text(megabytes: float) -> Text:
    """Make the files, or find them where an earlier run left them.

    Args:
        megabytes: of each file, about.
    """
    folder = FOLDER / f"text-{megabytes:g}MB"
    note = folder / "repeats"
    paths = tuple(folder / f"text-{number}.txt" for number in range(FILES))
    if not note.exists():
        folder.mkdir(parents=True, exist_ok=True)
        note.write_text(str(_write(paths, int(megabytes * 1e6))))
    nbytes = sum(path.stat().st_size for path in paths)
    return Text(paths, nbytes, int(note.read_text()))


def _write(paths: tuple[Path, ...], wanted: int) -> int:
    """Deal the sources out, each to the smallest file so far; return the repeats."""
    sources = list(_sources())
    used = 0
    sizes = [0] * len(paths)
    files = [path.open("wb") for path in paths]
    try:
        for source in chain.from_iterable(repeat(sources)):
            least = min(range(len(sizes)), key=sizes.__getitem__)
            if sizes[least] >= wanted:
                break
            used += 1
            data = source.read_bytes()
            if _is_text(data):
                sizes[least] += files[least].write(data)
    finally:
        for file in files:
            file.close()
    return (used - 1) // len(sources)


def _sources() -> Iterator[Path]:
    """All ``*.py`` of the library and of the installed packages, in an order that stays."""
    seen: set[Path] = set()
    for name in ("stdlib", "purelib", "platlib"):
        for folder, inside, files in os.walk(sysconfig.get_path(name)):
            # The packages of the interpreter a venv was made of are not the venv's.
            skipped = {"__pycache__"} | ({"site-packages", "dist-packages"} & {*inside})
            inside[:] = sorted(set(inside) - skipped)
            for path in (Path(folder, file) for file in sorted(files) if file.endswith(".py")):
                if path not in seen:
                    seen.add(path)
                    yield path


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return data.endswith(b"\n")
