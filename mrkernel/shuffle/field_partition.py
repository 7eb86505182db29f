"""Partitioning by the first fields of a key: what more fields sort is kept together. Pure."""

from __future__ import annotations

from typing import Any

from mrkernel.shuffle.columns import ArrowColumn, ListColumn
from mrkernel.shuffle.key_column import KeyColumn
from mrkernel.shuffle.line_pairs import cut_fields
from mrkernel.shuffle.partition import hashes_of, parts_of


class FieldPartitioner:
    """Looks at the first ``fields`` fields of each key (secondary sort).

    Args:
        fields: how many.
        separator: the byte between them.
    """

    def __init__(self, fields: int, separator: int) -> None:
        self.fields = fields
        self.separator = separator

    def of_column(self, keys: KeyColumn, partitions: int) -> Any:
        """Number the partition of every key, which are bytes."""
        column = keys.column
        if isinstance(column, ArrowColumn):
            offsets, data = column.buffers()
            data = data[int(offsets[0]) : int(offsets[-1])]
            places = offsets - offsets[0]
            firsts, _ = cut_fields(data, places[:-1], places[1:], self.separator, self.fields)
            return parts_of(hashes_of(KeyColumn("bytes", firsts)), partitions)
        mark = bytes((self.separator,))
        each = [mark.join(key.split(mark)[: self.fields]) for key in column.to_list()]
        return parts_of(hashes_of(KeyColumn("bytes", ListColumn(each, "bytes"))), partitions)
