"""Records of JSON lines: one JSON value on each line, as ``json.loads`` reads it.

msgspec decodes what it decodes to the same objects in a fifth of the time; it refuses what only
Python's ``json`` takes (NaN, numbers beyond a float, half a surrogate pair), so a line that it
refuses is tried again. Blank lines are no records.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from operator import itemgetter
from typing import Any

import msgspec

from mrkernel.data.batches import Key, LineBatch, RecordReader, Unreadable
from mrkernel.data.line_reader import RECORD_LIMIT, read_lines, read_unsplittable_lines
from mrkernel.data.schemas import check_columns
from mrkernel.data.splits import FileSplit
from mrkernel.data.tables import dicts, table_of_items
from mrkernel.data.text_files import splittable, text_codec
from mrkernel.errors import InputError

#: Bytes of a file whose records are looked at to see whether a column is there.
_LOOKED_AT = 64 << 10
_decode = msgspec.json.Decoder().decode
_REFUSALS = (msgspec.MsgspecError, UnicodeError, RecursionError)


class JsonBatch(LineBatch):
    """Values of JSON lines; the key is (path, byte offset of the line's first byte)."""

    __slots__ = ("_columns", "_numbers", "_texts")

    def __init__(
        self, lines: LineBatch, columns: tuple[str, ...] | None, unreadable: bool = False
    ) -> None:
        """Decode the lines.

        Args:
            columns: records are objects and have only these fields, None where one is missing.
            unreadable: give an ``Unreadable`` for a line instead of raising.

        Raises: InputError: a line is no JSON, or no object though columns are asked for.
        """
        super().__init__([], lines.path, lines._base, lines._text, lines._encoding)
        self.nbytes = lines.nbytes
        self._numbers: list[int] | None = None  # of the records' lines, where some are blank
        texts: list[Any] = lines.records
        try:
            self.records = list(map(_decode, texts))
        except _REFUSALS:
            kept = [(n, text) for n, text in enumerate(texts) if text and not text.isspace()]
            if len(kept) < len(texts):
                self._numbers = [number for number, _ in kept]
            texts = [text for _, text in kept]
            self.records = self._one_by_one(texts, unreadable)
        self._texts = texts
        self._columns = columns
        if columns is not None:
            self.records = self._projected(columns, self.records, unreadable)

    def anew(self, start: int, stop: int) -> list[Any]:
        records = self._one_by_one(self._texts[start:stop], unreadable=True)
        if self._columns is None:
            return records
        return self._projected(self._columns, records, unreadable=True)

    def _one_by_one(self, texts: list[str], unreadable: bool) -> list[Any]:
        records = []
        for index, text in enumerate(texts):
            try:
                records.append(_decode(text))
            except _REFUSALS:
                try:
                    records.append(json.loads(text))
                except (ValueError, RecursionError) as error:
                    reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                    column = f", character {error.colno}" if hasattr(error, "colno") else ""
                    if unreadable:
                        records.append(Unreadable(text, f"not JSON{column} ({reason})"))
                        continue
                    self.records = texts
                    at = self.key(index)[1]
                    raise InputError(
                        f"{self.path} is not JSON at byte {at}{column} ({reason}): repair that "
                        "line, or read the file with --format lines",
                        self.path,
                        at,
                    ) from None
        return records

    def _projected(
        self, columns: tuple[str, ...], records: list[Any], unreadable: bool
    ) -> list[Any]:
        if set(map(type, records)) == {dict}:
            try:
                return dicts(columns, [list(map(itemgetter(name), records)) for name in columns])
            except KeyError:
                return [{name: record.get(name) for name in columns} for record in records]
        found: list[Any] = []
        for index, record in enumerate(records):
            if type(record) is dict:
                found.append({name: record.get(name) for name in columns})
            elif isinstance(record, Unreadable):
                found.append(record)
            elif unreadable:
                said = f"no object (but {type(record).__name__}), so it has no columns"
                found.append(Unreadable(json.dumps(record), said))
            else:
                at = self.key(index)[1]
                raise InputError(
                    f"{self.path} has a {type(record).__name__} at byte {at}, which has no "
                    "columns: leave @mrkernel.reads out",
                    self.path,
                    at,
                )
        return found

    def key(self, index: int) -> Key:
        if self._numbers is None:
            return super().key(index)
        return self.keys()[index]

    def _all_keys(self) -> list[Key]:
        if self._numbers is None:
            return super()._all_keys()
        records = self.records
        self.records = [None] * (self._numbers[-1] + 1 if self._numbers else 0)
        try:
            keys = super()._all_keys()
        finally:
            self.records = records
        return [keys[number] for number in self._numbers]

    def table(self) -> Any:
        """The objects by their fields; one column ``item`` of anything else."""
        return table_of_items(self.records, self.where(0), self.path)


def check_fields(file: FileSplit, columns: tuple[str, ...], encoding: str, errors: str) -> None:
    """See that the columns a mapper reads are fields of some of a file's first records.

    Raises: InputError: one is not; or the file cannot be read.
    """
    read = read_lines if splittable(encoding) else read_unsplittable_lines
    with RecordReader(
        read_jsonl(read(file, text_codec(encoding), errors, RECORD_LIMIT, _LOOKED_AT), columns=None)
    ) as reader:
        for batch in reader:
            if len(batch):
                dicts = [record for record in batch.records if type(record) is dict]
                if dicts:
                    fields = [str(name) for name in dict.fromkeys(chain.from_iterable(dicts))]
                    check_columns(columns, fields, file.path)
                return  # what is no object is refused where it is read


def read_jsonl(
    lines: Iterator[LineBatch], columns: tuple[str, ...] | None, *, unreadable: bool = False
) -> Iterator[JsonBatch]:
    """Decode lines as JSON.

    Args:
        unreadable: give an ``Unreadable`` for a line that is no JSON instead of raising.

    Raises: InputError: as the lines; and one of them is no JSON: has path and byte offset.
    """
    for batch in lines:
        yield JsonBatch(batch, columns, unreadable)
