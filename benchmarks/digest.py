"""What two answers are compared by: a sum over their lines or pairs, in whatever order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from zlib import crc32

_MASK = (1 << 64) - 1


def digest_pairs(pairs: Iterable[Any], tidy: Callable[[Any], Any]) -> str:
    """Digest pairs by their ``repr``, each tidied first."""
    number = total = 0
    for pair in pairs:
        number += 1
        total += _weight(repr(tidy(pair)).encode("utf-8", "surrogatepass"))
    return f"{number:,} pairs, {total & _MASK:016x}"


def digest_folder(folder: Path, *, ordered: bool) -> str:
    """Digest the lines of a folder's files; names that start with ``.`` or ``_`` are no part of it.

    Args:
        ordered: whether to say so where the lines, files taken by name, are not in the order of
            what stands before the first tab.
    """
    number = total = 0
    last, fault = b"", ""
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.startswith(("_", ".")):
            continue
        with path.open("rb") as file:
            for line in file:
                number += 1
                total += _weight(line.rstrip(b"\n"))  # a last line may have none
                if ordered:
                    key = line.partition(b"\t")[0]
                    if key < last:
                        fault = ", not in order"
                    last = key
    return f"{number:,} lines, {total & _MASK:016x}{fault}"


def _weight(data: bytes) -> int:
    # Of 64 bits: sums of plain 32-bit checksums of a million lines are too easily equal.
    return crc32(data) | crc32(data, 0x9E3779B9) << 32
