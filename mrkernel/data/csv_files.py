"""CSV files of an input: their header, and the schema that is told once for all of them.

The types come from a sample, bounded in bytes: the beginnings, middles and ends of some files. A
value which does not fit them later is an error that names its place (``csv_reader``).
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Sequence
from itertools import chain
from typing import Any

from msgspec.structs import replace

from mrkernel.data.addresses import is_url, last_name
from mrkernel.data.compression import unpacked_name
from mrkernel.data.csv_dialect import CsvDialect
from mrkernel.data.csv_records import (
    Marks,
    Read,
    first_end,
    guess_start,
    last_end,
    line_starts,
    long_fields,
    read_rows,
    turns,
)
from mrkernel.data.csv_types import type_of
from mrkernel.data.schemas import CsvSchema, listed
from mrkernel.data.splits import FileSplit
from mrkernel.data.text_files import BOM, byte_order, open_file, read_at, splittable, text_codec
from mrkernel.errors import InputError

#: Bytes of all files together from which types are told: about 10 ms of work.
SAMPLE = 256 << 10
#: Files of one input that are sampled, at most.
_SAMPLED_FILES = 32
#: Files of one input whose header is checked before the job; those of the others by their tasks,
#: and so are those of most URLs, for each takes its time to answer.
_CHECKED_FILES = 1000
_HEADER = 4 << 10
#: A header longer than this is none (bytes).
_HEADER_LIMIT = 16 << 20
#: Tried in this order where the header has none of those before.
_DELIMITERS = (",", ";", "\t")


class CsvSource:
    """The bytes of an open CSV file in an encoding that may be cut at any byte.

    Files in other encodings, such as UTF-16, are read as if they were UTF-8; from front to back.

    Attributes:
        codec: of what ``read`` gives.
        original: of the file, where it is another; else "".
        base: the first byte of the text in the file.
    """

    def __init__(self, file: Any, encoding: str, errors: str) -> None:
        self.codec = text_codec(encoding)
        self.original = ""
        self.base = 0
        self._file = file
        if not splittable(encoding):
            self.original, self.base = byte_order(self.codec, read_at(file, 0, 4))
            self.codec = "utf-8"
            self._decode = codecs.getincrementaldecoder(self.original)(errors).decode
            self._held = b""
            self._at = 0  # where what is held begins
            self._taken = self.base
            self._ended = False

    def read(self, at: int, size: int) -> bytes:
        """Read ``size`` bytes at ``at``, fewer only at the end of the file."""
        if not self.original:
            return read_at(self._file, at, size)
        self._held = self._held[at - self._at :]
        self._at = at
        while len(self._held) < size and not self._ended:
            data = read_at(self._file, self._taken, max(size, 1 << 16))
            self._taken += len(data)
            self._ended = not data
            text = self._decode(data, final=self._ended)
            self._held += text.encode("utf-8", "surrogatepass")
        return self._held[:size]

    def length(self, data: bytes) -> int:
        """How many bytes of the file ``data`` was made of; exact where decoding was strict."""
        if not self.original:
            return len(data)
        text = data.decode("utf-8", "surrogatepass")
        return len(text.encode(self.original, "replace"))


def read_header(
    read: Read, codec: str, path: str, dialect: CsvDialect
) -> tuple[list[str], int, str]:
    """Read the names of the columns from the first line that is not blank.

    Args:
        dialect: without a delimiter, the one that is there is chosen, of comma, semicolon and tab.

    Returns: the names ([]: the file is empty; ``c1 c2 ...`` where it has none), the byte after
        the header, and the delimiter.

    Raises: InputError: two names are equal, or it never ends.
    """
    size = _HEADER
    while True:
        data = read(0, size)
        ends = len(data) < size
        at = len(BOM) if codec == "utf-8" and data.startswith(BOM) else 0
        while at < len(data):
            chosen = dialect.delimiter or _delimiter(data, at)
            marks = Marks.of(chosen, dialect.quote)
            rest = data[at:]
            stop = first_end(rest, turns(rest, marks), 0) or (len(rest) if ends else 0)
            if not stop:
                break
            with long_fields():
                rows = list(read_rows(rest[:stop].decode(codec, "replace"), marks))
            if rows and not dialect.header:
                return [f"c{n}" for n in range(1, len(rows[0][1]) + 1)], at, chosen
            if rows:
                _check_names(rows[0][1], path)
                if len(rows) > 1:  # the header ends in \r only
                    stop = line_starts(rest[:stop])[rows[1][0]]
                return rows[0][1], at + stop, chosen
            at += stop
        if ends:
            return [], len(data), dialect.delimiter or ","
        size *= 16
        if size > _HEADER_LIMIT:
            raise InputError(
                f"{path} has no end of its header line within {_HEADER_LIMIT >> 20} MB: is it a "
                "CSV file?",
                path,
                0,
            )


def _is_tsv(path: str) -> bool:
    return unpacked_name(path).lower().endswith(".tsv")


def _delimiter(data: bytes, at: int) -> str:
    # What is quoted is a name's own.
    lines = re.sub(rb'"(?:[^"]|"")*"', b"", data[at:]).splitlines()
    line = lines[0] if lines else b""
    return next((d for d in _DELIMITERS if d.encode() in line), ",")


def _check_names(names: Sequence[str], path: str) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(
            f"{path} has two columns called {twice!r}: rename one; if its first line is no header, "
            "pass --format csv:noheader",
            path,
            0,
        )


def check_header(names: Sequence[str], schema: CsvSchema, path: str) -> None:
    """See that a file has the columns of its input, in whatever order.

    Raises: InputError: it has others.
    """
    if not schema.header:
        return  # each record is looked at
    if set(names) != set(schema.names):
        raise InputError(
            f"{path} has the columns {listed(names)}, but {last_name(schema.origin)} has "
            f"{listed(schema.names)}: give all files of one input the same header, or give them as "
            "two inputs",
            path,
            0,
        )


def plan_csv(
    splits: Sequence[FileSplit], *, encoding: str, errors: str, dialect: CsvDialect
) -> CsvSchema:
    """Tell names and types of the columns of an input.

    Args:
        splits: each a whole file, not empty; at least one.
        errors: what to do with undecodable bytes.
        dialect: how they are written, as far as that was said.

    Raises: InputError: a header differs from the first one's or has a name twice, or a file cannot
        be read.
    """
    schema: CsvSchema | None = None
    far = is_url(splits[0].path)
    checked = evenly(splits, _SAMPLED_FILES if far else _CHECKED_FILES)
    sampled = set() if dialect.text else {split.path for split in evenly(splits, _SAMPLED_FILES)}
    piece = SAMPLE // (3 * max(1, len(sampled)))
    columns: list[list[str]] = []
    for split in checked:
        with open_file(split) as file:
            source = CsvSource(file, encoding, errors)
            if schema is None and not dialect.delimiter and _is_tsv(split.path):
                dialect = replace(dialect, delimiter="\t")
            names, end, delimiter = read_header(source.read, source.codec, split.path, dialect)
            if not names:
                continue
            if schema is None:
                types = ("str",) * len(names)
                dialect = replace(dialect, delimiter=delimiter)
                schema = CsvSchema(
                    tuple(names), types, delimiter, split.path, dialect.quote, dialect.header
                )
                columns = [[] for _ in names]
            check_header(names, schema, split.path)
            if split.path in sampled:
                found = list(zip(*_sample(source, split, names, end, schema, piece), strict=True))
                for name, column in zip(schema.names, columns, strict=True):
                    column.extend(found[names.index(name)] if found else ())
    if schema is None:
        return CsvSchema((), (), ",", splits[0].path, dialect.quote, dialect.header)
    if dialect.text:
        return schema
    return replace(schema, types=tuple(map(type_of, columns)))


def header_note(schema: CsvSchema) -> str:
    """What to tell the user when the header looks like data, which nobody can know; else ""."""
    numbers = ("int", "float")
    columns = zip(schema.names, schema.types, strict=True)
    if schema.header and any(
        kind in numbers and type_of([name]) in numbers for name, kind in columns
    ):
        return (
            f"the first line of {last_name(schema.origin)} ({listed(schema.names)}) was read "
            "as its header: if it is data, pass --format csv:noheader"
        )
    return ""


def evenly(items: Sequence[Any], most: int) -> Sequence[Any]:
    """At most ``most`` items, the first and the last among them, evenly spread."""
    if len(items) <= most:
        return items
    return [items[number * (len(items) - 1) // (most - 1)] for number in range(most)]


def _sample(
    source: CsvSource, split: FileSplit, names: list[str], end: int, schema: CsvSchema, piece: int
) -> list[list[str]]:
    """Some records of a file: of its beginning, and, if it is long, of its middle and its end."""
    marks = Marks.of(schema.delimiter, schema.quote)

    def records(at: int, size: int) -> list[list[str]]:
        data = source.read(at, size)
        if len(data) == size:
            data = data[: last_end(data, turns(data, marks))]
        text = io.StringIO(data.decode(source.codec, "replace"), newline="")
        return [row for row in marks.reader(text) if len(row) == len(names)]

    with long_fields():
        if source.original or not split.can_be_cut or split.size - end <= 3 * piece:
            return records(end, 3 * piece + 1)
        starts = [end]
    for place in ((end + split.size - piece) // 2, split.size - piece):
        start = guess_start(source.read, place, marks=marks, fields=len(names), limit=_HEADER_LIMIT)
        if start is not None:
            starts.append(start)
    with long_fields():
        return list(chain.from_iterable(records(start, piece) for start in starts))
