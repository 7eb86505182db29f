"""Real text without a network: the sources of the running Python's library and its packages.

Or those of any folder: where one is given (``--text``, or ``MRKERNEL_BENCH_TEXT``), its files are
taken in an order that has nothing to do with their place in it, so that every part of it is in a
sample. Files past ``MOST`` bytes are generated tables more often than text, and are left out.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, repeat
from pathlib import Path
from zlib import crc32

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".benchdata"  # git-ignored; `make clean` removes it
FILES = 4
MOST = 1 << 19
SUFFIXES = (".c", ".h", ".S", ".rst", ".txt", ".md", ".py", ".java", ".js", ".html")


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
        return f"{self.nbytes / 1e6:.0f} MB of text in {len(self.paths)} files{again}"


def make_text(megabytes: float, source: Path | None = None) -> Text:
    """Make the files, or find them where an earlier run left them.

    Args:
        megabytes: of each file, about.
        source: folder whose text is taken; None: installed Python sources.
    """

    def write(aside: Path) -> None:
        paths = tuple(aside / name for name in names)
        repeats = _write(paths, int(megabytes * 1e6), list(_sources(source)))
        (aside / "repeats").write_text(str(repeats))

    names = [f"text-{number}.txt" for number in range(FILES)]
    folder = kept(f"text-{megabytes:g}MB{_mark(source)}", write)
    paths = tuple(folder / name for name in names)
    nbytes = sum(path.stat().st_size for path in paths)
    return Text(paths, nbytes, int((folder / "repeats").read_text()))


def make_small(number: int, source: Path | None = None) -> tuple[Path, ...]:
    """Make so many small text files, one for each source; fewer where there are not so many.

    Args:
        source: as for ``make_text``.
    """

    def write(aside: Path) -> None:
        written = 0
        # Backwards: what the text is made of stands in front.
        for path in reversed(list(_sources(source))):
            data = path.read_bytes()
            if data and _is_text(data):
                (aside / f"{written:05}.txt").write_bytes(data)
                written += 1
            if written == number:
                break

    return tuple(sorted(kept(f"small-{number}{_mark(source)}", write).iterdir()))


def kept(name: str, write: Callable[[Path], None]) -> Path:
    """Return a folder of data; ``write`` fills it where no earlier run has."""
    folder = FOLDER / name
    if not folder.exists():
        FOLDER.mkdir(exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=FOLDER))
        try:
            write(aside)
            aside.rename(folder)
        except OSError:
            if not folder.exists():  # else a run beside this one was faster
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return folder


def _mark(source: Path | None) -> str:
    return "" if source is None else "-" + sha256(os.fsencode(source.resolve())).hexdigest()[:8]


def _write(paths: tuple[Path, ...], wanted: int, sources: list[Path]) -> int:
    """Deal the sources out, each to the smallest file so far; return the repeats."""
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


def _sources(source: Path | None) -> Iterable[Path]:
    if source is None:
        return _python_sources()
    found = [path for path in _files(source, SUFFIXES) if 0 < path.stat().st_size <= MOST]
    if not found:
        raise SystemExit(f"{source} has no text: no file that ends in {' '.join(SUFFIXES)}")
    return sorted(found, key=lambda path: crc32(os.fsencode(path.relative_to(source))))


def _files(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    for inside, folders, names in os.walk(folder):
        folders.sort()
        paths = (Path(inside, name) for name in sorted(names) if name.endswith(suffixes))
        yield from (path for path in paths if not path.is_symlink())


def _python_sources() -> Iterator[Path]:
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
    return data.endswith(b"\n") and b"\r" not in data
