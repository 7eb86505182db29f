"""Files cut at line ends, as a hand-written program cuts them."""

from __future__ import annotations

import os
from collections.abc import Sequence

SPLIT = 16 << 20  #: bytes of a file per map task, about
FILES = 250  #: small files per map task

Span = tuple[str, int, int]


def spans(paths: Sequence[str]) -> list[Span]:
    """Cut files into spans of about ``SPLIT`` bytes."""
    found: list[Span] = []
    for path in paths:
        size = os.path.getsize(path)
        pieces = max(1, round(size / SPLIT))
        found += [(path, size * i // pieces, size * (i + 1) // pieces) for i in range(pieces)]
    return found


def lines(span: Span) -> list[str]:
    """Read the lines of a span; a line belongs to the span its first byte is in."""
    path, start, end = span
    with open(path, "rb") as file:
        if start:
            file.seek(start - 1)
            file.readline()
        at = file.tell()
        if at >= end:
            return []
        data = file.read(end - at)
        if not data.endswith(b"\n"):
            data += file.readline()
    found = data.decode().split("\n")
    return found if found[-1] else found[:-1]


def whole(path: str) -> list[str]:
    """Read all lines of a file."""
    return lines((path, 0, os.path.getsize(path)))


def bundles(paths: Sequence[str]) -> list[list[str]]:
    """Deal many small files out to map tasks."""
    return [list(paths[i : i + FILES]) for i in range(0, len(paths), FILES)]
