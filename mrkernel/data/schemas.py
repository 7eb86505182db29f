"""Columns of tables: names, types, and the choice of some of them. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import msgspec

from mrkernel.errors import InputError


class CsvSchema(msgspec.Struct, frozen=True, gc=False):
    """What the CSV files of one input have in common; told once for the whole job."""

    names: tuple[str, ...]  #: of the columns, in the order of the first file
    types: tuple[str, ...]  #: of their values: "int", "float", "bool" or "str"
    delimiter: str = ","
    origin: str = ""  #: path of the file that the names were read from
    quote: str = '"'  #: "": there is none
    header: bool = True  #: the first record of each file has the names

    def chosen(self, columns: tuple[str, ...] | None) -> tuple[str, ...]:
        """The names of the columns to read, in the order asked for; None: all.

        Raises: InputError: one is unknown.
        """
        if columns is None:
            return self.names
        check_columns(columns, self.names, self.origin)
        return columns


def check_unique(names: Sequence[str], where: str) -> None:
    """Refuse a table with two columns of one name: as a dict it would lose one.

    Raises: InputError: it is one; says which name.
    """
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{where} has two columns called {twice!r}: rename one", where)


def check_columns(wanted: Sequence[str], names: Sequence[str], where: str) -> None:
    """See that the columns a mapper reads are there.

    Args:
        where: the file or input, for the message.

    Raises: InputError: one is not; says which it may mean and which there are.
    """
    there = set(names)
    for name in wanted:
        if name not in there:
            raise no_column(name, names, where)


def no_column(name: str, names: Sequence[str], where: str) -> InputError:
    """The error for a column that is not there."""
    lowered = {each.lower().strip(): each for each in reversed(names)}
    close = difflib.get_close_matches(name.lower().strip(), lowered, n=1, cutoff=0.5)
    advice = f"; did you mean {lowered[close[0]]!r}?" if close else ""
    return InputError(f"{where} has no column {name!r}; it has {listed(names)}{advice}", where)


def listed(names: Sequence[str]) -> str:
    """Some names in a row, for messages."""
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(names[:12]) + more
