"""Inputs as users name them (files, globs, directories, anything in memory) → splits."""

from __future__ import annotations

import difflib
import glob
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from mrkernel.data.binary_reader import FIXED, WHOLE, check_size, is_binary
from mrkernel.data.compression import compression_of, unpacked_name
from mrkernel.data.csv_dialect import read_dialect
from mrkernel.data.csv_files import header_note, plan_csv
from mrkernel.data.jsonl_reader import check_fields
from mrkernel.data.memory import check_number, memory_splits
from mrkernel.data.parquet_reader import plan_parquet
from mrkernel.data.schemas import CsvSchema
from mrkernel.data.splits import (
    LARGEST_SPLIT,
    SMALLEST_SPLIT,
    FileSplit,
    MemorySplit,
    ParquetSplit,
    PartSplit,
    ReadySplits,
    Split,
    pack_small,
    plan_splits,
    target_size,
)
from mrkernel.data.text_files import splittable
from mrkernel.errors import InputError

#: How files are named that are read as something else than lines.
_FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
_PARQUET = b"PAR1"
#: Files which are no text, and what to do about each.
_NOT_TEXT = {
    "zip": "unpack it first (unzip), or pass --format whole",
    "tar": "unpack it first (tar -xf), or pass --format whole",
    "Parquet": "pass --format parquet, or leave --format out and name it *.parquet",
}
#: What they begin with, and how they are named.
_FIRST_BYTES = {b"PK\x03\x04": "zip", _PARQUET: "Parquet"}
_NOT_TEXT_SUFFIXES = {".zip": "zip", ".tar": "tar", ".tgz": "tar", ".parquet": "Parquet"}
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")


@dataclass(frozen=True)
class Inputs:
    """All that a job reads.

    Attributes:
        splits: one map task each; at least one.
        schemas: of the CSV inputs, to which their splits refer by number.
        notes: sentences the user should read.
    """

    splits: list[Split]
    schemas: tuple[CsvSchema, ...] = ()
    notes: tuple[str, ...] = ()


class _Found(NamedTuple):
    """A file that can be read."""

    path: str
    info: os.stat_result
    compression: str  #: "": none


@dataclass
class _Files:
    """What one input names: files, each whole, in order, and what they turn into."""

    files: list[FileSplit]
    splits: list[FileSplit | ParquetSplit] = field(default_factory=list)


def resolve(
    inputs: Sequence[Any],
    *,
    split_size: int | None = None,
    slots: int = 1,
    cwd: Path | None = None,
    encoding: str = "utf-8",
    errors: str = "strict",
    names: Sequence[str | None] | None = None,
    format: str = "auto",
    columns: tuple[str, ...] | None = None,
    sources: Sequence[str] = (),
) -> Inputs:
    """Turn what the user passed as inputs into splits, one map task each.

    Paths are read by their format, anything else as its items (DataFrame and Arrow table: rows as
    dicts). Order is that of ``inputs``, within a glob or directory by path, within a file by
    offset. Names that start with ``.`` or ``_`` are skipped in globs and directories, as Hadoop
    does; a directory inside a directory is refused, because both reading and skipping it would
    surprise somebody.

    Args:
        inputs: paths, globs, directories (str or Path), iterables, DataFrames, Arrow tables.
        split_size: bytes of input per split (pickled bytes for items; 1 = an item each); None: by
            size and slots.
        slots: map tasks that can run at once.
        cwd: where relative paths begin; None: this process's directory.
        encoding: of the text files; UTF-16 and its like are never split.
        errors: what to do with undecodable bytes, as in ``open``.
        names: what the user calls each in-memory input ("words"), for messages and keys.
        format: of all files, one of ``config.FORMATS``; "auto": each by its name.
        columns: that the mapper reads; None: it did not say.
        sources: the names that the user gave the inputs, for their records; empty: none.

    Returns: at least one split; an input without any record gives one split without records.

    Raises: InputError: nothing matches, or a file is unreadable, no text or not of its format, or
        lacks a column; has ``path``.
    """
    if not inputs:
        raise InputError("the job has no input: name a file, a glob such as data/*.txt, or {items}")
    here = Path.cwd() if cwd is None else Path(cwd)
    schemas: list[CsvSchema] = []
    groups: list[_Files | Sequence[MemorySplit | PartSplit]] = []
    notes: list[str] = []
    unnamed = sum(not isinstance(each, (str, os.PathLike)) for each in inputs) > 1
    for number, given in enumerate(inputs):
        if isinstance(given, (str, os.PathLike)):
            files = _whole_files(_files(given, here, format), format, len(schemas))
            notes += _slow_ones(files, split_size)
            csv_files = [each for each in files if each.format == "csv" and each.size]
            if csv_files:
                dialect = read_dialect(format)
                schemas.append(
                    plan_csv(csv_files, encoding=encoding, errors=errors, dialect=dialect)
                )
            if columns is not None:
                _check_columns(files, columns, schemas, encoding, errors)
            groups.append(_Files(files))
            continue
        if isinstance(given, ReadySplits):
            groups.append(given.splits)
            continue
        name = names[number] if names is not None and number < len(names) else None
        name = name or (f"input {number + 1}" if unnamed else "input")
        groups.append(memory_splits(given, name, split_size, slots, columns))
    named = [group for group in groups if isinstance(group, _Files)]
    _cut(named, split_size, slots, encoding, columns)
    if any(sources):
        groups = [_tagged(group, source) for group, source in zip(groups, sources, strict=True)]
    splits: list[Split] = []
    ranges: list[FileSplit | ParquetSplit] = []  # of files that stand beside each other

    def pack_ranges() -> None:
        # Whoever says how large a split shall be has thought about the tasks.
        splits.extend(ranges if split_size is not None else pack_small(ranges, slots))
        ranges.clear()

    for group in groups:
        if isinstance(group, _Files):
            ranges.extend(group.splits)
        elif any(each.count for each in group):
            pack_ranges()
            splits.extend(each for each in group if each.count)
    pack_ranges()
    if not splits:
        splits = _without_records(groups)
    notes += filter(None, map(header_note, schemas))
    return Inputs(splits, tuple(schemas), tuple(notes))


def _tagged(
    group: _Files | Sequence[MemorySplit | PartSplit], source: str
) -> _Files | Sequence[MemorySplit | PartSplit]:
    """Let the splits of an input know what the user calls it."""
    if isinstance(group, _Files):
        return _Files(group.files, [replace(split, source=source) for split in group.splits])
    return [replace(split, source=source) for split in group]


def _without_records(groups: list[_Files | Sequence[MemorySplit | PartSplit]]) -> list[Split]:
    """One split of an input that has no record."""
    for group in groups:
        if isinstance(group, _Files):
            (first, *_) = group.files
            # As lines: an empty file has neither header nor footer.
            return [FileSplit(first.path, 0, 0, first.size, first.mtime_ns)]
    memory: list[Split] = [group[0] for group in groups if not isinstance(group, _Files)]
    return memory[:1]


def format_of(path: str, format: str = "auto") -> str:
    """What a file is read as: "lines", "csv", "jsonl", "parquet", "whole" or "fixed:N".

    Args:
        format: of all files, as the user gave it; "auto": by its name.
    """
    if format == "auto":
        return _FORMATS.get(_suffix(unpacked_name(path)), "lines")
    return "csv" if format.startswith("csv:") else format


def _suffix(path: str) -> str:
    return path[path.rfind(".") :].lower()


def _whole_files(found: list[_Found], format: str, schema: int) -> list[FileSplit]:
    whole = []
    for path, info, compression in found:
        size, kind = info.st_size, format_of(path, format)
        number = schema if kind == "csv" else 0
        file = FileSplit(path, 0, size, size, info.st_mtime_ns, kind, number, compression)
        if kind.startswith(FIXED) and not compression:
            check_size(file)
        whole.append(file)
    return whole


def _slow_ones(files: list[FileSplit], split_size: int | None) -> list[str]:
    """Say which file will keep one slot busy while the others wait."""
    largest = max(files, key=lambda file: file.size if file.compression else -1)
    limit = LARGEST_SPLIT if split_size is None else max(split_size, SMALLEST_SPLIT)
    if not largest.compression or largest.size <= limit:
        return []
    return [
        f"{largest.path} is one map task, because {largest.compression} files cannot be cut: "
        "several smaller files, or one that is not compressed, would be read at once"
    ]


def _check_columns(
    files: list[FileSplit],
    columns: tuple[str, ...],
    schemas: list[CsvSchema],
    encoding: str,
    errors: str,
) -> None:
    """See that what a mapper reads is there; of Parquet files when they are cut."""
    looked_at: set[str] = set()
    for file in files:
        if file.format in looked_at or not file.size:
            continue  # an empty file has neither columns nor records
        looked_at.add(file.format)
        if file.format == "csv":
            schemas[file.schema].chosen(columns)
        elif file.format == "jsonl":
            check_fields(file, columns, encoding, errors)
        elif file.format != "parquet":
            what = "bytes" if is_binary(file.format) else "lines"
            raise InputError(
                f"{file.path} is read as {what}, which have no columns: leave @mrkernel.reads out, "
                "or pass its --format",
                file.path,
            )


def _cut(
    groups: list[_Files],
    split_size: int | None,
    slots: int,
    encoding: str,
    columns: tuple[str, ...] | None,
) -> None:
    """Cut all files; their sizes decide together, so that the number of tasks fits the slots."""
    files = [file for group in groups for file in group.files]
    sizes = [file.size for file in files]
    if split_size is not None:
        text = (file.size for file in files if file.format != "parquet")  # has few row groups
        check_number(sum(-(-size // max(1, split_size)) for size in text), split_size)
    plans = plan_splits(sizes, split_size, slots)
    target = target_size(sum(sizes), split_size, slots)
    whole = not splittable(encoding)  # of text
    taken = iter(plans)
    for group in groups:
        for file in group.files:
            ranges = next(taken)
            if file.format == "parquet":
                group.splits.extend(plan_parquet(file, target, columns) if file.size else ())
            elif file.format == WHOLE or (
                ranges and (len(ranges) == 1 or whole or file.compression)
            ):
                group.splits.append(file)
            else:
                group.splits.extend(
                    FileSplit(
                        file.path, start, end, file.size, file.mtime_ns, file.format, file.schema
                    )
                    for start, end in ranges
                )


def _files(given: str | os.PathLike[str], cwd: Path, format: str) -> list[_Found]:
    """The files that a path, glob or directory names, in order of path."""
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
    files: list[_Found] = []
    for path in paths:
        info = _stat(path)
        if stat.S_ISDIR(info.st_mode):
            if "**" not in text:  # a recursive glob has named the files below as well
                files.extend(_directory(path, format))
        else:
            files.append(_check_readable(path, info, format))
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


def _directory(path: str, format: str) -> list[_Found]:
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
        files.append(_check_readable(below, info, format))
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


def _check_readable(path: str, info: os.stat_result, format: str) -> _Found:
    """Refuse what cannot be read as it is to be; opening it is the only proof that it can."""
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
    kind = format_of(path, format)
    compression = compression_of(path, head, binary=is_binary(kind))
    if not is_binary(kind) and info.st_size:
        _check_text(path, b"" if compression else head, kind)
    if kind == "parquet" and compression:
        raise InputError(
            f"{path} is a Parquet file in a {compression} file: decompress it, for Parquet is "
            "compressed in itself",
            path,
        )
    return _Found(path, info, compression)


def _check_text(path: str, head: bytes, kind: str) -> None:
    """Refuse what is no text by its first bytes or its name, but for Parquet where it is wanted."""
    what = _FIRST_BYTES.get(head[:4])
    if head.startswith(_PARQUET) and _is_text(head[4:]):
        what = None  # letters that a text may begin with, too
    what = what or _NOT_TEXT_SUFFIXES.get(_suffix(unpacked_name(path)))
    if what is not None and not (what == "Parquet" and kind == "parquet"):
        raise InputError(f"{path} is a {what} file, not text: {_NOT_TEXT[what]}", path)


def _is_text(data: bytes) -> bool:
    return data.isascii() and "".join(data.decode().split()).isprintable()


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
