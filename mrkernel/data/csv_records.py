"""Where the records of a CSV file begin and end.

A record ends at a ``\\n`` that no quotes enclose, and a lone ``\\r`` ends one within what we cut.
What a quote means depends on all that is before it, so a reader that begins in the middle of a file
has to guess whether it begins inside quotes: it looks which of the two makes records of as many
fields as the header has. Whoever reads up to that place knows better, checks the guess, and refuses
the file when it was wrong: no guess changes an answer in silence. Where both look right, or none,
everything before is read.

``csv.reader`` and Arrow agree on quotes: one opens a field only as its first byte; inside a quoted
field two are one, and one ends the quoting, though not the field. Counting is enough where every
quote that opens comes after a delimiter, a line end or another quote; elsewhere each is looked at.
"""

from __future__ import annotations

import csv
import os
import re
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from itertools import accumulate, islice
from threading import Lock
from typing import Any, NamedTuple

from mrkernel.errors import InputError

#: read(at, size) -> bytes of the file, fewer than ``size`` only at its end
Read = Callable[[int, int], bytes]
#: Places of quotes in ascending order: a list or a numpy array.
Places = Any

_NEWLINE, _RETURN = 10, 13
#: Looked at to guess whether a place is inside quotes (bytes), and lines of it at most.
WINDOW = 64 << 10
_WINDOW_RECORDS = 100
#: So many quotes in a row leave open what they mean.
_BEFORE = 64
#: Up to so many bytes before a place are read rather than guessed about.
NEAR = 256 << 10
#: So many quotes are faster counted by numpy; so many are worth importing it.
_MANY = 2000
_WORTH_NUMPY = 100_000
#: Read past a split's end to finish its last record, before growing.
_OVERREAD = 8 << 10
#: Bytes read at once where the whole file must be looked at.
_SCAN = 1 << 20

_LINE_END = re.compile(rb"\r\n|\r|\n")


class Marks(NamedTuple):
    """The bytes that make records and fields of a CSV file."""

    delimiter: int
    quote: int | None = 34  #: None: there is none, and every line end ends a record

    @classmethod
    def of(cls, delimiter: str, quote: str) -> Marks:
        """Make them of characters; no quote: ""."""
        return cls(ord(delimiter), ord(quote) if quote else None)

    def find(self, data: bytes, start: int = 0) -> int:
        """The place of the first quote from ``start`` on; -1: there is none."""
        return -1 if self.quote is None else data.find(self.quote, start)

    def count(self, data: bytes) -> int:
        """How many quotes there are."""
        return 0 if self.quote is None else data.count(self.quote)

    def reader(self, text: StringIO, *, strict: bool = False) -> Any:
        """Python's ``csv.reader`` of a text."""
        return csv.reader(
            text,
            delimiter=chr(self.delimiter),
            quotechar=None if self.quote is None else chr(self.quote),
            quoting=csv.QUOTE_NONE if self.quote is None else csv.QUOTE_MINIMAL,
            strict=strict,
        )


_field_limit = Lock()


def _not_held() -> None:
    global _field_limit
    _field_limit = Lock()


if hasattr(os, "register_at_fork"):  # the thread that held it is not in the child
    os.register_at_fork(after_in_child=_not_held)


def turns(data: bytes, marks: Marks, *, inside: bool = False) -> Places:
    """The places of the quotes that begin or end quoting, in order; the others are plain text.

    Args:
        data: from the beginning of a record, or from anywhere inside quotes.
        inside: whether it begins inside quotes.
    """
    if marks.find(data) < 0:  # a tenth of the time that it takes to count none
        return ()
    if marks.count(data) >= (_MANY if "numpy" in sys.modules else _WORTH_NUMPY):
        import numpy as np

        octets = np.frombuffer(data, np.uint8)
        places = np.flatnonzero(octets == marks.quote)
        opening = places[int(inside) :: 2]
        before = octets[opening - 1]  # of place 0 the last byte, which is put right below
        good = (before == marks.delimiter) | (before == _NEWLINE) | (before == _RETURN)
        good |= (before == marks.quote) | (opening == 0)
        if good.all():
            return places
    return _turns_one_by_one(data, marks, inside)


def _turns_one_by_one(data: bytes, marks: Marks, inside: bool) -> list[int]:
    found = []
    opens = {marks.delimiter, _NEWLINE, _RETURN}
    closed = -2  # place of the last quote that ended quoting
    at = marks.find(data)
    while at >= 0:
        if inside:
            closed = at
        elif closed != at - 1 and at and data[at - 1] not in opens:
            at = marks.find(data, at + 1)
            continue
        inside = not inside
        found.append(at)
        at = marks.find(data, at + 1)
    return found


def first_end(data: bytes, quotes: Places, start: int, *, inside: bool = False) -> int:
    """The place after the first ``\\n`` from ``start`` on which ends a record; 0 if there is none.

    Args:
        quotes: what ``turns`` gives.
        inside: whether ``data`` begins inside quotes.
    """
    at = data.find(b"\n", start)
    while at >= 0:
        turned = bisect_left(quotes, at)
        if not (turned & 1) ^ inside:
            return at + 1
        if turned == len(quotes):
            return 0
        at = data.find(b"\n", int(quotes[turned]))
    return 0


def last_end(data: bytes, quotes: Places) -> int:
    """The place after the last ``\\n`` which ends a record; 0 if there is none."""
    at = data.rfind(b"\n")
    while at >= 0:
        turned = bisect_left(quotes, at)
        if not turned & 1:
            return at + 1
        at = data.rfind(b"\n", 0, int(quotes[turned - 1]))
    return 0


def cut_records(
    read: Read, at: int, end: int, *, marks: Marks, block: int, limit: int, path: str
) -> Iterator[tuple[int, bytes, Places]]:
    """Read whole records, block by block, from the record that begins at ``at``.

    Args:
        end: the last record is the one that holds the byte before, or ends there.
        block: bytes to read at once.
        limit: bytes of the longest record.

    Yields: place in the file, bytes, and their ``turns``. The first one that begins at or after
        ``end`` holds no bytes, and says where the next record begins.

    Raises: InputError: a record is longer than ``limit``, or a quote is never closed.
    """
    size = block
    while at < end:
        wanted = min(size, end - at + _OVERREAD) if size == block else size
        data = read(at, wanted)
        if not data:
            break
        quotes = turns(data, marks)
        stop = first_end(data, quotes, max(0, end - 1 - at)) or last_end(data, quotes)
        if not stop and len(data) < wanted:  # the file ends here
            if len(quotes) & 1:
                raise _never_closed(path, at + int(quotes[-1]))
            stop = len(data)
        if stop > limit and not 0 < first_end(data, quotes, 0) <= limit:
            raise _too_long(path, at, limit)
        if not stop:
            if len(data) > limit:
                raise _too_long(path, at, limit)
            size = min(2 * max(size, len(data)), limit + 1 + _OVERREAD)
            continue
        if stop < len(data):
            quotes = quotes[: bisect_left(quotes, stop)]
        yield at, data[:stop], quotes
        at += stop
        size = block
    yield at, b"", ()


def record_start(
    read: Read,
    at: int,
    header_end: int,
    *,
    marks: Marks,
    fields: int,
    limit: int,
    path: str,
    guess: bool = True,
) -> tuple[int, bool]:
    """The place of the first record that begins at or after ``at``, the same for all who ask.

    Args:
        at: greater than ``header_end``.
        header_end: where the first record of the file begins.
        fields: that each record has.
        guess: where reading all that is before would take long.

    Returns: the place (the file's end if there is no such record), and whether it is certain:
        otherwise whoever reads up to there must check it.

    Raises: InputError: as ``cut_records``, where the file must be read up to ``at``.
    """
    if guess and not is_near(header_end, at):
        guessed = guess_start(read, at, marks=marks, fields=fields, limit=limit)
        if guessed is not None:
            return guessed, False
    blocks = cut_records(read, header_end, at, marks=marks, block=_SCAN, limit=limit, path=path)
    return max(place for place, _, _ in blocks), True


def is_near(header_end: int, at: int) -> bool:
    """Whether a place is so near to the first record that all before it is read: no guess."""
    return at - header_end <= NEAR


def guess_start(read: Read, at: int, *, marks: Marks, fields: int, limit: int) -> int | None:
    """Guess where the first record begins at or after ``at`` (> 0); None: anything is possible."""
    # What a quote means shows in the byte before it, so the first byte we see must be none.
    before = read(max(0, at - 1 - _BEFORE), min(at, 1 + _BEFORE))
    skip = 0
    while skip < len(before) and before[-1 - skip] == marks.quote:
        skip += 1
    if skip == len(before):
        return None
    begin = at - 1 - skip
    size = WINDOW + skip
    data = read(begin, size)
    while len(data) == size <= limit and data.find(b"\n", skip) < 0:
        size *= 4
        data = read(begin, size)
    whole = len(data) < size
    outside, inside = (_plausible(data, marks, fields, side, skip, whole) for side in (False, True))
    if outside is None or inside is None or outside == inside:
        start = inside if outside is None else outside
    else:
        # Both find records sooner or later; the right one has no need of odd quotes till then.
        start = max(outside, inside)
        odd = [_odd_quotes(data[:start], marks, side) for side in (False, True)]
        start = None if odd[0] == odd[1] else outside if odd[0] < odd[1] else inside
    return begin + start if start else None


def _odd_quotes(data: bytes, marks: Marks, inside: bool) -> int:
    """Quotes amid unquoted text, and those after which a quoted field goes on, as few have them."""
    quotes = turns(data, marks, inside=inside)
    closing = quotes[int(not inside) :: 2]
    proper = {marks.delimiter, _NEWLINE, _RETURN, marks.quote}
    junk = sum(data[place + 1] not in proper for place in closing if place + 1 < len(data))
    return marks.count(data) - len(quotes) + junk


def _plausible(
    data: bytes, marks: Marks, fields: int, inside: bool, skip: int, whole: bool
) -> int | None:
    """Where the first record begins if bytes from the middle of a file begin inside quotes, or not.

    Args:
        skip: not before this place of ``data``, whose first byte is no quote.
        whole: they go to the end of the file.

    Returns: the place (0: there is none); None: what follows does not look like records.
    """
    if inside and marks.find(data) < 0:
        return None  # a field of this length holds no lines of records by chance
    quotes = turns(data, marks, inside=inside)
    start = first_end(data, quotes, skip, inside=inside)
    if marks.quote is None and start:
        return start  # a line end is a line end
    if not start:
        return None if whole and (len(quotes) & 1) ^ inside else 0
    if inside:
        # What closes the quotes must be followed by the next field, the next record or a quote.
        after = data[quotes[0] + 1 : quotes[0] + 2]
        if after and after[0] not in (marks.delimiter, _NEWLINE, _RETURN, marks.quote):
            return None
    text = StringIO(data[start:].decode("latin-1"), newline="")
    reader = marks.reader(text, strict=True)
    held: list[str] = []  # not judged yet: the last one may be cut
    try:
        with long_fields():
            for row in islice(reader, _WINDOW_RECORDS):
                if held and len(held) != fields:
                    return None
                held = row
    except csv.Error:
        # Strict: junk after a closing quote, or the window ends inside quotes.
        return None if whole or not held or text.tell() < len(data) - start else start
    return None if whole and held and len(held) != fields else start


@contextmanager
def long_fields() -> Iterator[None]:
    """Let ``csv`` read fields of any length; its limit holds for the whole process."""
    with _field_limit:
        before = csv.field_size_limit(sys.maxsize)
        try:
            yield
        finally:
            csv.field_size_limit(before)


def read_rows(text: str, marks: Marks) -> Iterator[tuple[int, list[str]]]:
    """Yield the records of a text as Python's ``csv`` reads them, each with the line it begins in.

    Blank lines are no records. Lines (from 0) end at ``\\n``, ``\\r`` or ``\\r\\n``.
    """
    reader = marks.reader(StringIO(text, newline=""))
    line = 0
    for row in reader:
        if row:
            yield line, row
        line = reader.line_num


def record_starts(data: bytes, marks: Marks, *, quoted: bool) -> list[int]:
    """Where each record begins in ``data``, which begins and ends between records.

    Args:
        quoted: there are quotes in it.
    """
    if not quoted and data.count(b"\r") == data.count(b"\r\n"):
        lines = data.split(b"\n")
        starts = accumulate((len(line) + 1 for line in lines), initial=0)
        return [at for at, line in zip(starts, lines, strict=False) if line not in (b"", b"\r")]
    starts_of_lines = line_starts(data)
    with long_fields():
        # Latin-1 has a character for each byte, and quotes and line ends are where they were.
        rows = read_rows(data.decode("latin-1"), marks)
        return [starts_of_lines[line] for line, _ in rows]


def line_starts(data: bytes) -> list[int]:
    """Where each line begins; lines end at ``\\n``, ``\\r`` or ``\\r\\n``."""
    return [0, *(match.end() for match in _LINE_END.finditer(data))]


def _never_closed(path: str, at: int) -> InputError:
    return InputError(
        f"{path} opens a quote at byte {at} that is never closed: repair it, or read the file with "
        "--format lines",
        path,
        at,
    )


def _too_long(path: str, at: int, limit: int) -> InputError:
    return InputError(
        f"{path} has a record longer than {limit >> 20} MB at byte {at}: is a quote never closed?",
        path,
        at,
    )


def wrong_guess(path: str, at: int) -> InputError:
    """The error for a place where a task could not see that it begins inside quotes."""
    return InputError(
        f"{path} cannot be cut at byte {at}, where the text in quotes looks like records of its "
        "own: pass a --split-size larger than the file",
        path,
        at,
    )
