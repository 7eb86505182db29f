"""Inputs as users name them (files, globs, directories, anything iterable) → splits."""

from __future__ import annotations

import difflib
import glob
import os
import pickle
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any

from mrkernel.data.records import Batch, ItemBatch, RecordReader, open_split, splittable
from mrkernel.data.splits import (
    LARGEST_SPLIT,
    FileSplit,
    MemorySplit,
    Split,
    pack_small,
    plan_splits,
)
from mrkernel.errors import InputError

__all__ = ["Batch", "ItemBatch", "RecordReader", "open_split", "resolve"]

#: Map tasks per slot for items in memory: their cost is unknown, so a little more than slots.
_MEMORY_TASKS_PER_SLOT = 2
_MOST_TASKS = 100_000
#: First bytes of files which are no text, and what to do about each.
_NOT_TEXT = {
    b"\x1f\x8b": ("gzip", "decompress it first (gunzip)"),
    b"BZh": ("bzip2", "decompress it first (bunzip2)"),
    b"\xfd7zXZ\x00": ("xz", "decompress it first (unxz)"),
    b"\x28\xb5\x2f\xfd": ("zstd", "decompress it first (unzstd)"),
    b"PK\x03\x04": ("zip", "unpack it first (unzip)"),
    b"PAR1": ("Parquet", "pass the table itself, {pyarrow.parquet.read_table(path)}"),
}
_NOT_TEXT_SUFFIXES = {
    ".gz": b"\x1f\x8b",
    ".bz2": b"BZh",
    ".xz": b"\xfd7zXZ\x00",
    ".zst": b"\x28\xb5\x2f\xfd",
    ".zip": b"PK\x03\x04",
    ".parquet": b"PAR1",
}
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")


def resolve(
    inputs: Sequence[Any],
    *,
    split_size: int | None = None,
    slots: int = 1,
    cwd: Path | None = None,
    encoding: str = "utf-8",
    names: Sequence[str | None] | None = None,
) -> list[Split]:
    """Turn what the user passed as inputs into splits, one map task each.

    Paths are read as lines, anything else as its items (DataFrame and Arrow table: rows as dicts).
    Order is that of ``inputs``, within a glob or directory by path, within a file by offset. Names
    that start with ``.`` or ``_`` are skipped in globs and directories, as Hadoop does; a directory
    inside a directory is refused, because both reading and skipping it would surprise somebody.

    Args:
        inputs: paths, globs, directories (str or Path), iterables, DataFrames, Arrow tables.
        split_size: bytes of input per split (pickled bytes for items; 1 = an item each); None: by
            size and slots.
        slots: map tasks that can run at once.
        cwd: where relative paths begin; None: this process's directory.
        encoding: of the text files; UTF-16 and its like are never split.
        names: what the user calls each in-memory input ("words"), for messages and keys.

    Returns: at least one split; an input without any record gives one split without records.

    Raises: InputError: nothing matches, or a file is unreadable or no text; has ``path``.
    """
    if not inputs:
        raise InputError("the job has no input: name a file, a glob such as data/*.txt, or {items}")
    here = Path.cwd() if cwd is None else Path(cwd)
    whole = not splittable(encoding)
    # Sizes of all files decide together, so that the number of tasks fits the slots.
    groups: list[list[tuple[str, os.stat_result]] | list[MemorySplit]] = []
    files: list[tuple[str, os.stat_result]] = []
    unnamed = sum(not isinstance(each, (str, os.PathLike)) for each in inputs) > 1
    for number, given in enumerate(inputs):
        if isinstance(given, (str, os.PathLike)):
            found = _files(given, here)
            files.extend(found)
            groups.append(found)
            continue
        name = names[number] if names is not None and number < len(names) else None
        name = name or (f"input {number + 1}" if unnamed else "input")
        groups.append(_memory_splits(_items_of(given, name), name, split_size, slots))
    sizes = [info.st_size for _, info in files]
    if split_size is not None:
        _check_number(sum(-(-size // max(1, split_size)) for size in sizes), split_size)
    if whole:
        plans = [[(0, size)] if size else [] for size in sizes]
    else:
        plans = plan_splits(sizes, split_size, slots)
    taken = iter(plans)
    splits: list[Split] = []
    ranges: list[FileSplit] = []  # of files that stand beside each other

    def pack_ranges() -> None:
        # Whoever says how large a split shall be has thought about the tasks.
        splits.extend(ranges if split_size is not None else pack_small(ranges, slots))
        ranges.clear()

    for group in groups:
        for each in group:
            if not isinstance(each, MemorySplit):
                path, info = each
                for start, end in next(taken):
                    ranges.append(FileSplit(path, start, end, info.st_size, info.st_mtime_ns))
            elif each.count:
                pack_ranges()
                splits.append(each)
    pack_ranges()
    if splits:
        return splits
    if files:
        path, info = files[0]
        return [FileSplit(path, 0, 0, info.st_size, info.st_mtime_ns)]
    empty: list[Split] = [e for group in groups for e in group if isinstance(e, MemorySplit)]
    return empty[:1]


def _files(given: str | os.PathLike[str], cwd: Path) -> list[tuple[str, os.stat_result]]:
    """The text files that a path, glob or directory names, in order of path."""
    text = os.fspath(given)
    if not text.strip():
        raise InputError("an input path is empty: name a file, a glob or a directory", text)
    if _URL.match(text) and not text.startswith("file://"):
        raise InputError(
            f"{text} is a URL, and only files on this machine are read: download it first", text
        )
    text = text.removeprefix("file://")
    pattern = os.path.join(cwd, os.path.expanduser(text))  # noqa: PTH118, PTH111 - keeps globs
    pattern = os.path.normpath(pattern)
    if os.path.lexists(pattern):
        paths = [pattern]
    elif glob.has_magic(pattern):
        paths = _globbed(pattern, text)
    else:
        raise _no_match(text, pattern)
    files: list[tuple[str, os.stat_result]] = []
    for path in paths:
        info = _stat(path)
        if stat.S_ISDIR(info.st_mode):
            if "**" not in text:  # a recursive glob has named the files below as well
                files.extend(_directory(path))
        else:
            files.append((path, _check_text(path, info)))
    if not files:
        raise InputError(
            f"{text} holds no files to read (names starting with . or _ are skipped): "
            "name the files",
            text,
        )
    return files


def _globbed(pattern: str, text: str) -> list[str]:
    """Matches of a glob, sorted; hidden ones only where the pattern spells out ``.`` or ``_``."""
    fixed = pattern[: re.search(r"[*?\[]", pattern).start()]  # type: ignore[union-attr]
    from_here = fixed.rfind(os.sep) + 1
    spelled = {part[0] for part in pattern[from_here:].split("/") if part[:1] in ("_", ".")}
    paths = []
    for path in sorted(glob.iglob(pattern, recursive=True)):  # noqa: PTH207 - absolute patterns
        parts = path[from_here:].split("/")
        if all(part[:1] not in ("_", ".") or part[0] in spelled for part in parts if part):
            paths.append(path.rstrip(os.sep))
    if not paths:
        raise _no_match(text, pattern)
    return paths


def _directory(path: str) -> list[tuple[str, os.stat_result]]:
    try:
        names = sorted(os.listdir(path))  # noqa: PTH208 - names, not paths
    except OSError as error:
        raise InputError(
            f"the directory {path} cannot be read ({error.strerror}): check its permissions", path
        ) from error
    files = []
    for name in names:
        if name.startswith((".", "_")):
            continue
        below = os.path.join(path, name)  # noqa: PTH118 - 10,000 files: half the time of Path
        info = _stat(below)
        if stat.S_ISDIR(info.st_mode):
            raise InputError(
                f"{path} holds a directory, {name}, and directories are not read inside "
                f"directories: write {os.path.join(path, '**')} for all files below, "  # noqa: PTH118
                f"or {os.path.join(path, '*.txt')} for some",  # noqa: PTH118
                below,
            )
        files.append((below, _check_text(below, info)))
    return files


def _stat(path: str) -> os.stat_result:
    try:
        return os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        raise InputError(
            f"{path} is a link to nothing: restore its target or remove it", path
        ) from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}): check its permissions", path
        ) from error


def _check_text(path: str, info: os.stat_result) -> os.stat_result:
    """Refuse what cannot be read as lines; opening it is the only proof that it is readable."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"the file name {os.fsencode(path)!r} is not UTF-8: rename it", path
        ) from None
    if not stat.S_ISREG(info.st_mode):
        raise InputError(f"{path} is not a regular file: copy what it gives into one", path)
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            head = os.read(handle, 10)
        finally:
            os.close(handle)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}): check its permissions", path
        ) from error
    magic = next((m for m in _NOT_TEXT if head.startswith(m)), None)
    if magic in (b"BZh", b"PAR1") and head[4:].isascii() and head[4:10] != b"1AY&SY":
        magic = None  # letters that a text may begin with, too
    if magic is None:
        suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122
        magic = _NOT_TEXT_SUFFIXES.get(suffix) if info.st_size else None
    if magic is not None:
        kind, advice = _NOT_TEXT[magic]
        raise InputError(f"{path} is a {kind} file, not text: {advice}", path)
    return info


def _no_match(text: str, pattern: str) -> InputError:
    """Say what was looked for where, and the nearest thing that is there."""
    folder, wanted = os.path.split(pattern)
    if "\n" in text or (" " in text and len(text) > 60):
        return InputError(
            f"no file is called {text[:40]!r}…: to read text in memory, pass a list of its lines, "
            "text.splitlines()",
            text,
        )
    while folder and not os.path.isdir(folder) and not glob.has_magic(folder):  # noqa: PTH112
        folder, wanted = os.path.split(folder)
    try:
        there = sorted(n for n in os.listdir(folder) if not n.startswith("."))  # noqa: PTH208
    except OSError:
        there = []
    lowered = {name.lower(): name for name in reversed(there)}
    close = difflib.get_close_matches(wanted.lower(), lowered, n=1, cutoff=0.6)
    if close:
        advice = f"did you mean {text.replace(wanted, lowered[close[0]], 1)}?"
    elif there:
        some = ", ".join(there[:5]) + (", …" if len(there) > 5 else "")
        advice = f"{folder} holds {some}"
    else:
        advice = f"{folder} is empty" if os.path.isdir(folder) else "check the path"  # noqa: PTH112
    said = f"no file matches {text}" if glob.has_magic(text) else f"there is no file {text}"
    at = "" if os.path.isabs(text) else f" in {os.path.split(pattern.removesuffix(text))[0]}"  # noqa: PTH117
    return InputError(f"{said}{at}: {advice}", text)


def _items_of(given: Any, name: str) -> list[Any]:
    """The records of an in-memory input; rows of tables as dicts."""
    kind = type(given)
    module = kind.__module__.partition(".")[0]
    if module == "pandas" and kind.__name__ == "DataFrame":
        if not given.columns.is_unique:
            twice = sorted({str(c) for c in given.columns[given.columns.duplicated()]})
            raise InputError(
                f"the DataFrame {name} has two columns called {twice[0]!r}: rename one", name
            )
        rows: list[Any] = given.to_dict("records")
        return rows
    if isinstance(given, (list, tuple, range)):
        return list(given)
    if isinstance(given, dict):
        raise InputError(f"{name} is a dict: write {{{name}.items()}} for its pairs", name)
    if isinstance(given, (bytes, bytearray, memoryview)):
        raise InputError(
            f"{name} is {kind.__name__}, neither a path nor a list of records: "
            "write {data.decode().splitlines()} for its lines",
            name,
        )
    if module == "pyarrow" and hasattr(given, "to_pylist") and not hasattr(given, "schema"):
        values: list[Any] = given.to_pylist()
        return values
    if hasattr(given, "__arrow_c_stream__") and module != "pandas":
        import pyarrow as pa

        return list(pa.table(given).to_pylist())
    if hasattr(given, "read") and hasattr(given, "name"):
        raise InputError(f"{name} is an open file: pass its path, {given.name!r}", name)
    if not isinstance(given, Iterable):
        if isinstance(given, FunctionType):
            called = given.__name__
            raise InputError(f"{name} is the function {called}: call it, {{{called}()}}", name)
        raise InputError(
            f"{name} ({kind.__name__}) has no items: pass a path, a list or a DataFrame",
            name,
        )
    return list(given)


def _check_number(tasks: int, split_size: int) -> None:
    """Refuse so many tasks that nobody could hold them; 100,000 of the largest make 6 TB."""
    if tasks > _MOST_TASKS:
        raise InputError(
            f"a split size of {split_size} bytes makes {tasks:,} map tasks: write a larger one, or "
            "leave it out"
        )


def _memory_splits(
    items: list[Any], name: str, split_size: int | None, slots: int
) -> list[MemorySplit]:
    """Pickle items into splits of about ``split_size`` bytes, or a few per slot."""
    if not items:
        data = _pickled(items, name, 0)
        return [MemorySplit(name, 0, 0, data, "", len(data))]
    if split_size is None:
        count = -(-len(items) // min(len(items), _MEMORY_TASKS_PER_SLOT * max(1, slots)))
        limit = LARGEST_SPLIT
    else:
        limit = max(1, split_size)
        count = 1 if limit == 1 else _items_in(items, limit, name)
        _check_number(-(-len(items) // count), limit)
    splits: list[MemorySplit] = []
    at = 0
    for piece in _pieces(items, count):
        splits.extend(_fitting(piece, name, at, limit))
        at += len(piece)
    return splits


def _pieces(items: list[Any], count: int) -> Iterator[list[Any]]:
    return (items[at : at + count] for at in range(0, len(items), count))


def _items_in(items: list[Any], limit: int, name: str) -> int:
    """About how many items make ``limit`` pickled bytes, judged by the first hundred."""
    sample = items[:100]
    return max(1, limit * len(sample) // max(1, len(_pickled(sample, name, 0))))


def _fitting(items: list[Any], name: str, first: int, limit: int) -> Iterator[MemorySplit]:
    """One split, or several where the items pickle to clearly more than ``limit`` bytes."""
    data = _pickled(items, name, first)
    if len(items) > 1 and len(data) > limit * 1.25:
        count = max(1, min(len(items) // 2, int(len(items) * limit / len(data))))
        for piece in _pieces(items, count):
            yield from _fitting(piece, name, first, limit)
            first += len(piece)
        return
    yield MemorySplit(name, first, len(items), data, "", len(data))


def _pickled(items: list[Any], name: str, first: int) -> bytes:
    try:
        data = pickle.dumps(items, 5)
    except Exception:  # noqa: BLE001 - any __reduce__ may raise anything; the next line decides
        data = b"__main__"
    if b"__main__" not in data:
        return data
    # Classes of the notebook must travel by value: their module exists only there.
    import cloudpickle

    try:
        by_value: bytes = cloudpickle.dumps(items, 5)
    except Exception as error:
        for index, item in enumerate(items):
            try:
                cloudpickle.dumps(item, 5)
            except Exception as cause:
                kind = type(item)
                raise InputError(
                    f"{name}[{first + index}] is a {kind.__module__}.{kind.__qualname__} and "
                    f"cannot be sent to a worker ({cause}): pass plain data such as dicts, "
                    "tuples and strings",
                    name,
                    first + index,
                ) from cause
        raise InputError(
            f"{name} cannot be sent to a worker ({error}): pass plain data", name
        ) from error
    return by_value
