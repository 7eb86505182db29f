"""Inputs as users name them (files, globs, directories, URLs, anything in memory) → splits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from mrkernel.data.addresses import is_url
from mrkernel.data.binary_reader import FIXED, WHOLE, check_size, is_binary
from mrkernel.data.csv_dialect import read_dialect
from mrkernel.data.csv_files import header_note, plan_csv
from mrkernel.data.found_files import Found, format_of
from mrkernel.data.jsonl_reader import check_fields
from mrkernel.data.local_files import local_files
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
from mrkernel.data.url_inputs import each, may_be_asked_at_once, url_files
from mrkernel.errors import InputError


@dataclass(frozen=True)
class Inputs:
    """All that a job reads.

    Attributes:
        splits: one map task each; at least one.
        schemas: of the CSV inputs, to which their splits refer by number.
        notes: sentences the user should read.
        addresses: what the paths of splits stand for that hide a secret; for ``addresses.learn``
            where they are read.
    """

    splits: list[Split]
    schemas: tuple[CsvSchema, ...] = ()
    notes: tuple[str, ...] = ()
    addresses: tuple[tuple[str, str], ...] = ()


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
        inputs: paths, globs, directories (str or Path), URLs of these, iterables, DataFrames,
            Arrow tables.
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
    kept: dict[str, str] = {}
    unnamed = sum(not isinstance(each, (str, os.PathLike)) for each in inputs) > 1
    for number, given in enumerate(inputs):
        if isinstance(given, (str, os.PathLike)):
            if is_url(os.fspath(given)):
                found = url_files(os.fspath(given), format, kept)
            else:
                found = local_files(given, here, format)
            files = _whole_files(found, format, len(schemas))
            notes += _slow_ones(files, split_size)
            csv_files = [file for file in files if file.format == "csv" and not file.is_empty]
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
    return Inputs(splits, tuple(schemas), tuple(notes), tuple(kept.items()))


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


def _whole_files(found: list[Found], format: str, schema: int) -> list[FileSplit]:
    whole = []
    for path, size, mtime_ns, compression, version, streamed in found:
        kind = format_of(path, format)
        number = schema if kind == "csv" else 0
        file = FileSplit(
            path,
            0,
            size,
            size,
            mtime_ns,
            kind,
            number,
            compression,
            version=version,
            streamed=streamed,
        )
        if kind.startswith(FIXED) and not compression and size:
            check_size(file)
        if kind == "parquet" and streamed:
            raise InputError(
                f"{path} is a Parquet file, which is read from its end, and its server sends only "
                "whole files: download it first",
                path,
            )
        whole.append(file)
    return whole


def _slow_ones(files: list[FileSplit], split_size: int | None) -> list[str]:
    """Say which file will keep one slot busy while the others wait."""
    largest = max(files, key=lambda file: -1 if file.can_be_cut else file.size)
    limit = LARGEST_SPLIT if split_size is None else max(split_size, SMALLEST_SPLIT)
    if largest.can_be_cut or largest.size <= limit:
        return []
    if largest.compression:
        why, which = f"{largest.compression} files cannot be cut", "one that is not compressed"
    else:
        why, which = "its server sends only whole files", "one from where parts can be had"
    return [
        f"{largest.path} is one map task, because {why}: several smaller files, or {which}, would "
        "be read at once"
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
        if file.format in looked_at or file.is_empty:
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
    parquet = [file for file in files if file.format == "parquet" and file.size]
    at_once = any(may_be_asked_at_once(file.path) for file in parquet)
    groups_of = iter(
        each(partial(plan_parquet, target=target, columns=columns), parquet, at_once=at_once)
    )
    for group in groups:
        for file in group.files:
            ranges = next(taken)
            if file.format == "parquet":
                group.splits.extend(next(groups_of) if file.size else ())
            elif file.format == WHOLE or (
                not file.is_empty and (len(ranges) == 1 or whole or not file.can_be_cut)
            ):
                group.splits.append(file)
            else:
                group.splits.extend(replace(file, start=start, end=end) for start, end in ranges)
