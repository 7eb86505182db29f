"""Splits: the piece of input one map task reads, and how input is cut into them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from mrkernel.data.addresses import is_url, last_name
from mrkernel.ids import JobId

MIB = 1 << 20
#: No split is larger unless the user asks: a lost one must be cheap to redo, and 64 MB is the
#: smaller of Hadoop's two historical block sizes.
LARGEST_SPLIT = 64 * MIB
#: No split is smaller unless the user asks: below it the task costs more than its records.
SMALLEST_SPLIT = MIB
#: Map tasks per slot for big inputs: enough to even out unequal splits and to lose little.
TASKS_PER_SLOT = 3
#: A rest of less than this part of a split is joined to the one before (Hadoop's SPLIT_SLOP).
SLOP = 0.1


#: More bytes than any file has.
ENDLESS = 1 << 62


class FileSplit(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="file"):
    """Records of a file: those whose first byte lies from ``start`` to before ``end``.

    A compressed file is one split, and its numbers are bytes as they lie on the disk.
    """

    path: str  #: absolute; or a URL, as people may see it (``addresses``)
    start: int  #: byte
    end: int  #: byte; at most ``size``
    size: int  #: bytes of the whole file when the job was planned; 0 also where nobody knew
    mtime_ns: int  #: of the file when the job was planned; 0: not checked
    format: str = "lines"  #: "lines", "csv", "jsonl", "whole", "fixed:N"; "parquet" until it is cut
    schema: int = 0  #: of csv: which of the job's schemas has its columns
    compression: str = ""  #: "gzip", "bzip2", "xz", "zstd"; "": none
    source: str = ""  #: what the user calls the input it is of, ``name=glob``; "": nothing
    version: str = ""  #: of a URL: what changes with the file, such as its ETag; "": not checked
    streamed: bool = False  #: a URL that can only be read from front to back

    @property
    def nbytes(self) -> int:
        """Bytes of input."""
        return self.end - self.start

    @property
    def is_empty(self) -> bool:
        """Whether it is known that the file holds nothing."""
        return not self.size and not self.streamed

    @property
    def can_be_cut(self) -> bool:
        """Whether the file can be entered in the middle."""
        return not self.compression and not self.streamed

    @property
    def stop(self) -> int:
        """Where it ends in what is read of the file; how much is in some files shows then."""
        return self.end if self.can_be_cut else ENDLESS

    @property
    def label(self) -> str:
        """What it reads, for people: ``a.txt 0–16 MB``."""
        name = last_name(self.path)
        if self.format == "whole" or (self.streamed and not self.nbytes):
            return name
        unit, size = (
            ("MB", 1e6) if self.end >= 1e6 else ("kB", 1e3) if self.end >= 1e3 else ("B", 1)
        )
        return f"{name} {self.start / size:.4g}–{self.end / size:.4g} {unit}"


class ParquetSplit(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="parquet"):
    """Neighbouring row groups of a Parquet file."""

    path: str  #: absolute
    groups: tuple[int, int]  #: the first row group, and the one after the last
    first: int  #: number of the first row in the file, from 0
    rows: int
    nbytes: int  #: of input, about: the groups' share of the file
    size: int  #: bytes of the whole file when the job was planned
    mtime_ns: int  #: of the file when the job was planned; 0: not checked
    source: str = ""  #: what the user calls the input it is of, ``name=glob``; "": nothing
    version: str = ""  #: as ``FileSplit.version``

    @property
    def label(self) -> str:
        """What it reads, for people: ``a.parquet rows 0–65,536``."""
        return f"{last_name(self.path)} rows {self.first:,}–{self.first + self.rows:,}"


class MemorySplit(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="memory"):
    """Items of an in-memory input, as one pickled list or as an Arrow stream."""

    name: str  #: what the user calls the input
    first: int  #: index of the first item, from 0 over the whole input
    count: int
    data: bytes | None  #: the pickled list or Arrow stream; None: stored under ``blob``
    blob: str = ""  #: where the manager keeps them; "": in ``data``
    size: int = 0  #: bytes of the list or stream, wherever it is
    arrow: bool = False  #: it is an Arrow IPC stream of a table, whose rows are the items
    keyed: bool = False
    """The list holds places for people, each with a (key, record), pickled by itself, that was read
    there before: bad records that are tried again."""
    pairs: bool = False  #: the items are pairs that a job gave: a mapper may take (key, value)
    source: str = ""  #: what the user calls the input it is of, ``name={expr}``; "": nothing

    @property
    def nbytes(self) -> int:
        """Bytes of input: the pickled or Arrow items."""
        return self.size

    @property
    def label(self) -> str:
        """What it reads, for people: ``words[0:100]``."""
        return f"{self.name}[{self.first}:{self.first + self.count}]"


class PartSplit(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="part"):
    """Neighbouring pairs of a result part that another job of the same cluster made.

    They are read where they lie: the manager says where that is when the task starts.
    """

    name: str  #: what the user calls the result
    job: JobId  #: who made it
    part: int  #: its number
    first: int  #: the first pair, counted from 0 in the part
    count: int
    pairs: int  #: of the whole part, when the job was planned
    nbytes: int  #: of input, about: the pairs' share of the part
    source: str = ""  #: what the user calls the input it is of, ``name={result}``; "": nothing

    @property
    def label(self) -> str:
        """What it reads, for people: ``counts part 3 [0:1000]``."""
        return f"{self.name} part {self.part} [{self.first}:{self.first + self.count}]"


class PackedSplit(msgspec.Struct, frozen=True, gc=False, tag="packed"):
    """Many small files for one map task: each alone would cost more than its records."""

    files: tuple[FileSplit | ParquetSplit, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of input of all files."""
        return sum(split.nbytes for split in self.files)

    @property
    def label(self) -> str:
        """What it reads, for people: ``a.txt and 41 more files``."""
        return f"{last_name(self.files[0].path)} and {len(self.files) - 1} more files"


@dataclass(frozen=True, slots=True)
class ReadySplits:
    """An input that is cut already."""

    splits: list[MemorySplit] | list[PartSplit]


Split = FileSplit | ParquetSplit | MemorySplit | PartSplit | PackedSplit


def is_far(split: Split) -> bool:
    """Whether a split is at a URL, and takes its time to come."""
    file = split.files[0] if isinstance(split, PackedSplit) else split
    return isinstance(file, (FileSplit, ParquetSplit)) and is_url(file.path)


def target_size(total: int, split_size: int | None, slots: int) -> int:
    """Choose the bytes of a split for ``total`` bytes of input and so many ``slots``."""
    if split_size is not None:
        return max(1, split_size)
    wanted = -(-total // (TASKS_PER_SLOT * max(1, slots)))
    return max(SMALLEST_SPLIT, min(LARGEST_SPLIT, wanted))


def plan_splits(
    sizes: Sequence[int], split_size: int | None, slots: int
) -> list[list[tuple[int, int]]]:
    """Cut files into ranges, one map task each.

    Args:
        sizes: bytes of each file.
        split_size: bytes per split as the user asked; None: about three tasks a slot, between
            1 and 64 MB each, the pieces of one file equally large.
        slots: map tasks that can run at once.

    Returns: per file its ranges ``(start, end)``, in order and without gaps; none for an empty one.
    """
    target = target_size(sum(sizes), split_size, slots)
    if split_size is not None:
        return [[(at, min(at + target, size)) for at in range(0, size, target)] for size in sizes]
    plans = []
    for size in sizes:
        pieces = max(1, -int(-(size / target - SLOP) // 1)) if size else 0
        plans.append([(size * i // pieces, size * (i + 1) // pieces) for i in range(pieces)])
    return plans


def plan_groups(weights: Sequence[int], target: int) -> list[tuple[int, int]]:
    """Put neighbouring row groups together until they make a split.

    Args:
        weights: bytes of each row group.
        target: bytes of a split, about.

    Returns: (first group, the one after the last) of each split, in order and without gaps.
    """
    ranges = []
    first = held = 0
    for group, weight in enumerate(weights):
        if group > first and held + weight // 2 > target:
            ranges.append((first, group))
            first, held = group, 0
        held += weight
    if weights:
        ranges.append((first, len(weights)))
    return ranges


def pack_small(
    splits: Sequence[FileSplit | ParquetSplit], slots: int
) -> list[FileSplit | ParquetSplit | PackedSplit]:
    """Put neighbours together where there are many more splits than slots need.

    Args:
        splits: in input order, which is kept.
        slots: map tasks that can run at once.
    """
    wanted = TASKS_PER_SLOT * max(1, slots)
    if len(splits) <= wanted:
        return list(splits)
    enough = min(LARGEST_SPLIT, -(-sum(map(_weight, splits)) // wanted))
    packs: list[FileSplit | ParquetSplit | PackedSplit] = []
    held: list[FileSplit | ParquetSplit] = []
    held_bytes = 0
    for split in splits:
        if held and held_bytes + _weight(split) > enough:
            packs.append(_packed(held))
            held, held_bytes = [], 0
        held.append(split)
        held_bytes += _weight(split)
    if held:
        packs.append(_packed(held))
    return packs


def _weight(split: FileSplit | ParquetSplit) -> int:
    """Bytes of input; a guess where nobody knows."""
    unknown = isinstance(split, FileSplit) and split.streamed and not split.size
    return SMALLEST_SPLIT if unknown else split.nbytes


def _packed(splits: list[FileSplit | ParquetSplit]) -> FileSplit | ParquetSplit | PackedSplit:
    return splits[0] if len(splits) == 1 else PackedSplit(tuple(splits))
