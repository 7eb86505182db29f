"""Files that were found, and what they are: told by their names and their first bytes."""

from __future__ import annotations

from typing import NamedTuple

from mrkernel.data.binary_reader import is_binary
from mrkernel.data.compression import compression_of, unpacked_name
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
#: So many of a file's first bytes tell what it is.
HEAD = 10


class Found(NamedTuple):
    """A file that can be read."""

    path: str  #: absolute; of a URL as people may see it
    size: int  #: bytes; 0 also where nobody knows
    mtime_ns: int  #: 0: of a URL
    compression: str  #: "": none
    version: str = ""  #: as ``FileSplit.version``
    streamed: bool = False  #: as ``FileSplit.streamed``


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


def check_kind(path: str, head: bytes, format: str) -> str:
    """See that a file can be read as it is to be; tell how it is compressed ("": it is not).

    Args:
        head: its first bytes; b"": it is empty.
        format: as the user gave it.

    Raises: InputError: it is no text, or its name says something else than its first bytes.
    """
    kind = format_of(path, format)
    compression = compression_of(path, head, binary=is_binary(kind))
    if not is_binary(kind) and head:
        _check_text(path, b"" if compression else head, kind)
    if kind == "parquet" and compression:
        raise InputError(
            f"{path} is a Parquet file in a {compression} file: decompress it, for Parquet is "
            "compressed in itself",
            path,
        )
    return compression


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


def is_hidden(path: str, pattern: str) -> bool:
    """Whether a glob passes over a file: a name begins with ``.`` or ``_``, not spelled out.

    Args:
        path: from the first folder on that the pattern leaves open.
        pattern: from there on, too.
    """
    spelled = {part[0] for part in pattern.split("/") if part[:1] in ("_", ".")}
    parts = filter(None, path.split("/"))
    return any(part[0] in "_." and part[0] not in spelled for part in parts)
