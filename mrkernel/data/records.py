"""Records of a split, in batches: lines of text files, items from memory.

A line ends at ``\\n`` or ``\\r\\n``; a lone ``\\r`` is data. It belongs to the split its first byte
is in, so a reader skips to the first line start and reads past its end to finish the last line; any
cut gives the same records. Batches of about 1 MiB of text, decoded and split at once, are the
cheapest way to make a list of lines in Python; byte offsets are worked out only when asked for.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator
from itertools import accumulate, chain, repeat
from typing import Any

from mrkernel.data import pickles
from mrkernel.data.splits import FileSplit, MemorySplit, PackedSplit, Split
from mrkernel.errors import InputError

#: Bytes read at once.
BLOCK = 1 << 20
#: A line longer than this is no line (bytes).
RECORD_LIMIT = 64 << 20
#: Read past a split's end to finish its last line, before growing.
_OVERREAD = 8 << 10
_BOM = codecs.BOM_UTF8
#: Decoders that carry state from line to line, or give other than one character per newline byte.
_STATEFUL = ("utf-7", "hz", "iso2022", "unicode_escape", "raw_unicode_escape", "punycode", "idna")


class Batch:
    """Records read together, and where each came from.

    Attributes:
        records: the records, in input order.
        nbytes: bytes of input they took.
    """

    __slots__ = ("_keys", "nbytes", "records")

    def __init__(self, records: list[Any], nbytes: int) -> None:
        self.records = records
        self.nbytes = nbytes
        self._keys: list[tuple[str, int]] | None = None

    def __len__(self) -> int:
        return len(self.records)

    def key(self, index: int) -> tuple[str, int]:
        """The key of record ``index`` of this batch: (path, byte offset) or (name, index)."""
        return self.keys()[index]

    def keys(self) -> list[tuple[str, int]]:
        """The keys of all records; worked out at the first call."""
        if self._keys is None:
            self._keys = self._all_keys()
        return self._keys

    def _all_keys(self) -> list[tuple[str, int]]:
        raise NotImplementedError

    def where(self, index: int) -> str:
        """The place of record ``index`` for people: ``data/a.txt, byte 1234``."""
        raise NotImplementedError


class ItemBatch(Batch):
    """Items from memory; the key is (name, index over the whole input)."""

    __slots__ = ("first", "name")

    def __init__(self, records: list[Any], name: str = "items", first: int = 0, nbytes: int = 0):
        super().__init__(records, nbytes)
        self.name = name
        self.first = first

    def key(self, index: int) -> tuple[str, int]:
        return self.name, self.first + index

    def _all_keys(self) -> list[tuple[str, int]]:
        first = self.first
        return list(zip(repeat(self.name), range(first, first + len(self.records)), strict=False))

    def where(self, index: int) -> str:
        return f"{self.name}[{self.first + index}]"


class LineBatch(Batch):
    """Lines of a text file; the key is (path, byte offset of the line's first byte)."""

    __slots__ = ("_base", "_encoding", "_text", "path")

    def __init__(
        self, records: list[str], path: str, base: int, text: memoryview | str, encoding: str
    ) -> None:
        """``text`` is what the lines were cut from, ``base`` its first byte's place in the file."""
        nbytes = (
            len(text) if isinstance(text, memoryview) else len(text.encode(encoding, "replace"))
        )
        super().__init__(records, nbytes)
        self.path = path
        self._base = base
        self._text = text
        self._encoding = encoding

    def _all_keys(self) -> list[tuple[str, int]]:
        lengths: Iterator[int]
        if isinstance(self._text, memoryview):
            newline = 1
            lengths = map(len, bytes(self._text).split(b"\n"))
        else:
            encoding = self._encoding
            newline = len("\n".encode(encoding))
            lengths = (len(x.encode(encoding, "replace")) for x in self._text.split("\n"))
        starts = accumulate((n + newline for n in lengths), initial=self._base)
        return list(zip(repeat(self.path, len(self.records)), starts, strict=False))

    def where(self, index: int) -> str:
        return f"{self.path}, byte {self.keys()[index][1]}"


class RecordReader:
    """The batches of one split; iterate once, then ``close`` (or use ``with``)."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Batch]:
        return self._batches

    def __enter__(self) -> RecordReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, also when not all was read."""
        close = getattr(self._batches, "close", None)
        if close is not None:
            close()


def open_split(
    split: Split,
    *,
    encoding: str = "utf-8",
    errors: str = "strict",
    data: bytes | None = None,
    record_limit: int = RECORD_LIMIT,
    block: int = BLOCK,
) -> RecordReader:
    """Read the records of a split.

    Args:
        split: what to read.
        encoding: of text files, as in ``open``.
        errors: what to do with undecodable bytes, as in ``open``.
        data: the pickled items of a ``MemorySplit`` which carries only a blob.
        record_limit: longest line in bytes.
        block: bytes of text per batch, about.

    Raises:
        InputError: (also while iterating) the file is gone, unreadable, changed since the job was
            planned, not text of that encoding, or has a line over the limit; has ``path`` and
            ``offset``.
    """
    if isinstance(split, MemorySplit):
        return RecordReader(_items(split, data))
    if isinstance(split, PackedSplit):
        readers = (
            open_split(
                file, encoding=encoding, errors=errors, record_limit=record_limit, block=block
            )
            for file in split.files
        )
        return RecordReader(chain.from_iterable(readers))
    codec = text_codec(encoding)
    block = min(block, record_limit)  # so that a line over the limit is alone in its block
    if splittable(encoding):
        return RecordReader(_lines(split, codec, errors, record_limit, block))
    return RecordReader(_unsplittable_lines(split, codec, errors, record_limit, block))


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


def _items(split: MemorySplit, data: bytes | None) -> Iterator[Batch]:
    data = split.data if data is None else data
    if data is None:
        raise InputError(
            f"the items of {split.label} did not arrive; run the job again", split.name
        )
    try:
        items = pickles.loads(data)
    except Exception as error:
        raise InputError(
            f"the items of {split.label} cannot be made again where they are read "
            f"({type(error).__name__}: {error}): pass plain data such as dicts, tuples and strings",
            split.name,
            split.first,
        ) from error
    yield ItemBatch(items, split.name, split.first, len(data))


def _open(split: FileSplit) -> Any:
    try:
        file = io.FileIO(split.path)
    except FileNotFoundError:
        raise InputError(
            f"{split.path} vanished after the job began: put it back and run the job again",
            split.path,
        ) from None
    except OSError as error:
        raise InputError(
            f"{split.path} cannot be read ({error.strerror}): check its permissions", split.path
        ) from error
    try:
        _check_unchanged(split, file)
    except BaseException:
        file.close()
        raise
    return file


def _check_unchanged(split: FileSplit, file: Any) -> None:
    now = os.fstat(file.fileno())
    if now.st_size == split.size and split.mtime_ns in (0, now.st_mtime_ns):
        return
    was = f"it had {split.size} bytes, now {now.st_size}"
    if now.st_size == split.size:
        was = "same size, newer date"
    raise InputError(
        f"{split.path} changed after the job began ({was}): run the job again when nothing writes "
        "to it",
        split.path,
    )


def _read(file: Any, at: int, size: int) -> bytes:
    """Read exactly ``size`` bytes at ``at``, fewer only at the end of the file."""
    file.seek(at)
    data: bytes = file.read(size)
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def _first_line(file: Any, split: FileSplit, block: int) -> int:
    """The first byte of the first line that starts in the split, or the split's end."""
    at = split.start - 1
    while at < split.end - 1:
        data = _read(file, at, min(block, split.end - 1 - at))
        found = data.find(b"\n")
        if found >= 0:
            return at + found + 1
        if not data:
            break
        at += len(data)
    return split.end


def _lines(
    split: FileSplit, codec: str, errors: str, record_limit: int, block: int
) -> Iterator[Batch]:
    with _open(split) as file:
        at = _first_line(file, split, block) if split.start else 0
        # Of single-byte and UTF encodings a newline is never swallowed by a decoding error.
        plain = codec.startswith(("utf-8", "ascii", "iso8859", "cp125", "koi8"))
        size = block
        while at < split.end:
            size = min(size, max(split.end - at, 1) + _OVERREAD) if size == block else size
            data = _read(file, at, size)
            # The last line of the split ends at the first newline from its last byte on.
            stop = data.find(b"\n", max(0, split.end - 1 - at)) + 1 or data.rfind(b"\n") + 1
            if not stop:
                if at + len(data) >= split.size or not data:
                    stop = len(data)
                    if not data:
                        break
                elif len(data) > record_limit:
                    raise _too_long(split.path, at, record_limit)
                else:
                    size = min(2 * max(size, len(data)), record_limit + 1 + _OVERREAD)
                    continue
            if stop > record_limit and not 0 <= data.find(b"\n") <= record_limit:
                raise _too_long(split.path, at, record_limit)
            raw = memoryview(data)[:stop]
            yield _decode(raw, split.path, at, codec, errors, plain)
            at += stop
            size = block
        _check_unchanged(split, file)


def _too_long(path: str, at: int, record_limit: int) -> InputError:
    return InputError(
        f"{path} has a line longer than {record_limit >> 20} MB at byte {at}: is it a text "
        "file with line ends?",
        path,
        at,
    )


def _decode(raw: memoryview, path: str, at: int, codec: str, errors: str, plain: bool) -> LineBatch:
    """Decode whole lines at once; ``raw`` starts at byte ``at`` of the file."""
    body = raw
    if at == 0 and codec == "utf-8" and raw[:3] == _BOM:
        body = raw[3:]
    try:
        text = str(body, codec, errors)
    except UnicodeDecodeError as error:
        raise _undecodable(path, at + (len(raw) - len(body)) + error.start, codec, error) from None
    except LookupError:
        raise _no_such_errors(errors) from None
    lines = _split_lines(text)
    if not plain and len(lines) != _count_lines(bytes(raw)):
        # A multi-byte decoder took a newline into a broken character: line by line, then.
        parts = bytes(body).split(b"\n")
        lines = [str(p.removesuffix(b"\r"), codec, errors) for p in parts[:-1]]
        if parts[-1]:
            lines.append(str(parts[-1], codec, errors))
    return LineBatch(lines, path, at, raw, codec)


def _split_lines(text: str) -> list[str]:
    """Split at line ends only (``str.splitlines`` knows ten more characters)."""
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


def _count_lines(raw: bytes) -> int:
    return raw.count(b"\n") + (not raw.endswith(b"\n"))


def _undecodable(path: str, at: int, codec: str, error: UnicodeDecodeError) -> InputError:
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


def check_errors(errors: str) -> None:
    """Refuse a way to handle undecodable bytes that Python does not know.

    Raises: InputError: says which there are.
    """
    try:
        codecs.lookup_error(errors)
    except LookupError:
        raise _no_such_errors(errors) from None


def _no_such_errors(errors: str) -> InputError:
    return InputError(
        f"--errors {errors} is unknown: write strict, replace, ignore, backslashreplace or "
        "surrogateescape"
    )


def _unsplittable_lines(
    split: FileSplit, codec: str, errors: str, record_limit: int, block: int
) -> Iterator[Batch]:
    """Lines where 0x0A is no line end (UTF-16, EBCDIC): decoded from the file's first byte on.

    Offsets count the bytes that the lines encode to, so they are exact where decoding was strict.
    """
    if split.start:
        raise InputError(
            f"{split.path} cannot be split in {codec}: leave out --split-size", split.path
        )
    with _open(split) as file:
        head = file.read(4)
        width_codec, base = _byte_order(codec, head)
        decoder = codecs.getincrementaldecoder(width_codec)(errors)
        file.seek(base)
        at, taken, carry = base, base, ""
        while True:
            data = file.read(block)
            try:
                text = carry + decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                place = taken + error.start - (len(error.object) - len(data))
                raise _undecodable(split.path, place, codec, error) from None
            except LookupError:
                raise _no_such_errors(errors) from None
            taken += len(data)
            whole = text.rfind("\n") + 1 if data else len(text)
            carry = text[whole:]
            if len(carry) > record_limit:
                raise _too_long(split.path, at, record_limit)
            if whole:
                part = text[:whole]
                batch = LineBatch(_split_lines(part), split.path, at, part, width_codec)
                yield batch
                at += batch.nbytes
            if not data:
                break
        _check_unchanged(split, file)


def _byte_order(codec: str, head: bytes) -> tuple[str, int]:
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
