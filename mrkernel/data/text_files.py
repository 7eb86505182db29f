"""Files of text: opening them, their encodings, and what is said when either fails."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import Any

from mrkernel.data.addresses import is_url
from mrkernel.data.compression import Unpacked
from mrkernel.data.splits import FileSplit, ParquetSplit
from mrkernel.data.url_files import UrlFile
from mrkernel.errors import InputError

BOM = codecs.BOM_UTF8
#: Decoders that carry state from line to line, or give other than one character per newline byte.
_STATEFUL = ("utf-7", "hz", "iso2022", "unicode_escape", "raw_unicode_escape", "punycode", "idna")


def text_codec(encoding: str) -> str:
    """The normal name of a text encoding.

    Raises: InputError: there is no such text encoding.
    """
    try:
        info = codecs.lookup(encoding)
        "a".encode(encoding)
    except (LookupError, UnicodeError, ValueError):
        raise InputError(
            f"there is no text encoding {encoding!r}: write one that Python's open() knows, "
            "such as utf-8, latin-1, cp1252 or utf-16"
        ) from None
    # A BOM is dropped at byte 0 anyway; the -sig codec would drop one at each batch.
    return "utf-8" if info.name == "utf-8-sig" else info.name


def splittable(encoding: str) -> bool:
    """Whether a file of this encoding may be cut at any byte: every 0x0A is a line end."""
    name = text_codec(encoding)
    if name.replace("_", "-").startswith(tuple(s.replace("_", "-") for s in _STATEFUL)):
        return False
    return "\r\n".encode(name) == b"\r\n"


def check_errors(errors: str) -> None:
    """Refuse a way to handle undecodable bytes that Python does not know.

    Raises: InputError: says which there are.
    """
    try:
        codecs.lookup_error(errors)
    except LookupError:
        raise no_such_errors(errors) from None


def no_such_errors(errors: str) -> InputError:
    """The error for ``--errors``; says which there are."""
    return InputError(
        f"--errors {errors} is unknown: write strict, replace, ignore, backslashreplace or "
        "surrogateescape"
    )


def open_file(split: FileSplit | ParquetSplit) -> io.RawIOBase | Unpacked:
    """Open the file of a split for reading what is in it, compressed or not.

    Raises: InputError: it is gone, unreadable, or has changed since the job was planned.
    """
    file = UrlFile(split) if is_url(split.path) else _open_here(split.path)
    try:
        check_unchanged(split, file)
    except BaseException:
        file.close()
        raise
    compression = split.compression if isinstance(split, FileSplit) else ""
    return Unpacked(file, compression, split.path) if compression else file


def _open_here(path: str) -> io.FileIO:
    try:
        return io.FileIO(path)
    except FileNotFoundError:
        raise InputError(
            f"{path} vanished after the job began: put it back and run the job again", path
        ) from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}): check its permissions", path
        ) from error


def weighed(file: io.RawIOBase | Unpacked, nbytes: int) -> int:
    """The bytes of input that ``nbytes`` took which were read last: fewer where compressed."""
    return file.weigh() if isinstance(file, Unpacked) else nbytes


def check_unchanged(split: FileSplit | ParquetSplit, file: io.RawIOBase | Unpacked) -> None:
    """See that an open file is as it was when the job was planned.

    Raises: InputError: it has another size or date.
    """
    raw = file.file if isinstance(file, Unpacked) else file
    if isinstance(raw, UrlFile):
        state = raw.state()
        if state is None:
            return
        size, same = state.size or 0, not split.version or state.version in ("", split.version)
        other = "same size, newer date or checksum"
    else:
        now = os.fstat(raw.fileno())
        size, same = now.st_size, split.mtime_ns in (0, now.st_mtime_ns)
        other = "same size, newer date"
    if size == split.size and same:
        return
    was = other if size == split.size else f"it had {split.size} bytes, now {size}"
    raise InputError(
        f"{split.path} changed after the job began ({was}): run the job again when nothing writes "
        "to it",
        split.path,
    )


def read_at(file: Any, at: int, size: int) -> bytes:
    """Read exactly ``size`` bytes at ``at``, fewer only at the end of the file."""
    file.seek(at)
    data: bytes = file.read(size)
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def line_too_long(path: str, at: int, record_limit: int) -> InputError:
    """The error for a line that starts at byte ``at`` and is longer than a line may be."""
    return InputError(
        f"{path} has a line longer than {record_limit >> 20} MB at byte {at}: is it a text "
        "file with line ends?",
        path,
        at,
    )


def undecodable(path: str, at: int, codec: str, error: UnicodeDecodeError) -> InputError:
    """The error for a byte, at ``at`` of the file, that is no text in this encoding."""
    bad = error.object[error.start]
    if (
        at == 0
        and codec == "utf-8"
        and error.object[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    ):
        advice = "it begins like UTF-16, so pass --encoding utf-16"
    else:
        advice = "pass its --encoding (latin-1 reads any byte), or --errors replace"
    return InputError(f"{path} is not {codec} text at byte {at} (0x{bad:02x}): {advice}", path, at)


def byte_order(codec: str, head: bytes) -> tuple[str, int]:
    """The codec with its byte order spelled out, and the byte where text begins.

    A codec such as ``utf-16`` would write its mark before every line we measure.
    """
    for name, marks in (
        ("utf-16", ((codecs.BOM_UTF16_LE, "-le"), (codecs.BOM_UTF16_BE, "-be"))),
        ("utf-32", ((codecs.BOM_UTF32_LE, "-le"), (codecs.BOM_UTF32_BE, "-be"))),
    ):
        if codec == name:
            for mark, order in marks:
                if head.startswith(mark):
                    return name + order, len(mark)
            return name + ("-le" if sys.byteorder == "little" else "-be"), 0
    return codec, 0
