"""Lines of text files, block by block.

A line ends at ``\\n`` or ``\\r\\n``; a lone ``\\r`` is data. It belongs to the split its first byte
is in, so a reader skips to the first line start and reads past its end to finish the last line; any
cut gives the same records. Batches of about 1 MiB of text, decoded and split at once, are the
cheapest way to make a list of lines in Python; byte offsets are worked out only when asked for.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Any

from mrkernel.data.batches import LineBatch
from mrkernel.data.splits import FileSplit
from mrkernel.data.text_files import (
    BOM,
    byte_order,
    check_unchanged,
    line_too_long,
    no_such_errors,
    open_file,
    read_at,
    undecodable,
    weighed,
)
from mrkernel.errors import InputError

#: A character that texts do not have, which Arrow takes for the end of a cell.
_CELL_END = b"\x01"
#: A line longer than this is no line (bytes).
RECORD_LIMIT = 64 << 20
#: Read past a split's end to finish its last line, before growing.
_OVERREAD = 8 << 10


def _first_line(file: Any, split: FileSplit, block: int) -> int:
    """The first byte of the first line that starts in the split, or the split's end."""
    at = split.start - 1
    while at < split.end - 1:
        data = read_at(file, at, min(block, split.end - 1 - at))
        found = data.find(b"\n")
        if found >= 0:
            return at + found + 1
        if not data:
            break
        at += len(data)
    return split.end


def read_lines(
    split: FileSplit, codec: str, errors: str, record_limit: int, block: int
) -> Iterator[LineBatch]:
    """Read the lines that begin in a split of a file whose every 0x0A is a line end.

    Args:
        codec: as ``text_codec`` gives it.
        errors: what to do with undecodable bytes, as in ``open``.
        record_limit: longest line in bytes.
        block: bytes of text per batch, about.

    Raises: InputError: as ``open_split``.
    """
    with open_file(split) as file:
        at = _first_line(file, split, block) if split.start else 0
        # Of single-byte and UTF encodings a newline is never swallowed by a decoding error.
        plain = codec.startswith(("utf-8", "ascii", "iso8859", "cp125", "koi8"))
        size = block
        end = split.stop
        while at < end:
            size = min(size, max(end - at, 1) + _OVERREAD) if size == block else size
            data = read_at(file, at, size)
            # The last line of the split ends at the first newline from its last byte on.
            stop = data.find(b"\n", max(0, end - 1 - at)) + 1 or data.rfind(b"\n") + 1
            if not stop:
                if len(data) < size:  # the file ends here
                    stop = len(data)
                    if not data:
                        break
                elif len(data) > record_limit:
                    raise line_too_long(split.path, at, record_limit)
                else:
                    size = min(2 * max(size, len(data)), record_limit + 1 + _OVERREAD)
                    continue
            if stop > record_limit and not 0 <= data.find(b"\n") <= record_limit:
                raise line_too_long(split.path, at, record_limit)
            raw = memoryview(data)[:stop]
            batch = _decode(raw, split.path, at, codec, errors, plain)
            batch.nbytes = weighed(file, batch.nbytes)
            yield batch
            at += stop
            size = block
        check_unchanged(split, file)


def _decode(raw: memoryview, path: str, at: int, codec: str, errors: str, plain: bool) -> LineBatch:
    """Decode whole lines at once; ``raw`` starts at byte ``at`` of the file."""
    body = raw
    if at == 0 and codec == "utf-8" and raw[:3] == BOM:
        body = raw[3:]
    try:
        text = str(body, codec, errors)
    except UnicodeDecodeError as error:
        raise undecodable(path, at + (len(raw) - len(body)) + error.start, codec, error) from None
    except LookupError:
        raise no_such_errors(errors) from None
    if plain:
        exact = codec == "utf-8" and errors == "strict"
        return TextBatch(text, body if exact else None, path, at, raw, codec)
    lines = _split_lines(text)
    if len(lines) != _count_lines(bytes(raw)):
        # A multi-byte decoder took a newline into a broken character: line by line, then.
        parts = bytes(body).split(b"\n")
        lines = [str(p.removesuffix(b"\r"), codec, errors) for p in parts[:-1]]
        if parts[-1]:
            lines.append(str(parts[-1], codec, errors))
    return LineBatch(lines, path, at, raw, codec)


class TextBatch(LineBatch):
    """Lines that are cut from their text when they are asked for: tables of them never are."""

    __slots__ = ("_body", "_decoded", "_size")

    def __init__(
        self, text: str, body: memoryview | None, path: str, at: int, raw: memoryview, codec: str
    ) -> None:
        """``body`` is what ``text`` was decoded from, if that is UTF-8 without a fault."""
        # Not super(): it would set what is made when it is asked for.
        self.nbytes = len(raw)
        self._keys = None
        self.path = path
        self._base = at
        self._text = raw
        self._encoding = codec
        self._body = body
        self._decoded = text
        self._size = -1  # not counted yet

    def __getattr__(self, name: str) -> Any:
        if name != "records":
            raise AttributeError(name)
        self.records = _split_lines(self._decoded)
        self._size = len(self.records)
        self._decoded = ""
        return self.records

    def again(self) -> TextBatch:
        assert not isinstance(self._text, str)
        return TextBatch(
            self._decoded, self._body, self.path, self._base, self._text, self._encoding
        )

    def __len__(self) -> int:
        if self._size < 0:
            text = self._decoded
            self._size = text.count("\n") + (not text.endswith("\n") if text else 0)
        return self._size

    def table(self) -> Any:
        body = bytes(self._body) if self._body is not None else b"\r"
        if not body or _CELL_END in body or _has_lone_return(body):
            return super().table()  # Arrow would cut lines there
        if body.startswith(BOM):
            body = BOM + body  # Arrow drops one, and it is data
        import pyarrow as pa
        import pyarrow._csv as arrow_csv

        table = arrow_csv.read_csv(
            pa.py_buffer(body),
            read_options=arrow_csv.ReadOptions(
                column_names=["line"], use_threads=False, block_size=len(body) + 1
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=_CELL_END.decode(), quote_char=False, ignore_empty_lines=False
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types={"line": pa.large_string()}, check_utf8=False
            ),
        )
        self._size = table.num_rows
        return table


def _has_lone_return(data: bytes) -> bool:
    # Counting takes far longer than finding none.
    return b"\r" in data and data.count(b"\r") != data.count(b"\r\n")


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


def read_unsplittable_lines(
    split: FileSplit, codec: str, errors: str, record_limit: int, block: int
) -> Iterator[LineBatch]:
    """Read lines where 0x0A is no line end (UTF-16, EBCDIC): decoded from the file's first byte on.

    Offsets count the bytes that the lines encode to, so they are exact where decoding was strict.
    """
    if split.start:
        raise InputError(
            f"{split.path} cannot be split in {codec}: leave out --split-size", split.path
        )
    with open_file(split) as file:
        head = file.read(4)
        width_codec, base = byte_order(codec, head)
        decoder = codecs.getincrementaldecoder(width_codec)(errors)
        file.seek(base)
        at, taken, carry = base, base, ""
        while True:
            data = file.read(block)
            try:
                text = carry + decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                place = taken + error.start - (len(error.object) - len(data))
                raise undecodable(split.path, place, codec, error) from None
            except LookupError:
                raise no_such_errors(errors) from None
            taken += len(data)
            whole = text.rfind("\n") + 1 if data else len(text)
            carry = text[whole:]
            if len(carry) > record_limit:
                raise line_too_long(split.path, at, record_limit)
            if whole:
                part = text[:whole]
                batch = LineBatch(_split_lines(part), split.path, at, part, width_codec)
                at += batch.nbytes
                batch.nbytes = weighed(file, batch.nbytes)
                yield batch
            if not data:
                break
        check_unchanged(split, file)
