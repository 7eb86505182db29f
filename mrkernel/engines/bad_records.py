"""The records that a job went on without, as a table to look at."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

from mrkernel.job.bad_records import BadRecord

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.table import Table

#: Records that a display shows, and characters one cell of it may take.
SHOWN_ROWS = 10
SHOWN_CHARACTERS = 100
COLUMNS = ("file", "offset", "record", "error")


class BadRecords(Sequence[BadRecord]):
    """Bad records in the order of the input: file, offset, record, error and traceback of each.

    Args:
        records: by map task and place, as a manager gives them.
    """

    def __init__(self, records: Sequence[BadRecord] = ()) -> None:
        self._records = tuple(records)

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[BadRecord]:
        return iter(self._records)

    @overload
    def __getitem__(self, index: int) -> BadRecord: ...
    @overload
    def __getitem__(self, index: slice) -> BadRecords: ...
    def __getitem__(self, index: int | slice) -> BadRecord | BadRecords:
        if isinstance(index, slice):
            return BadRecords(self._records[index])
        return self._records[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BadRecords) and self._records == other._records

    def __hash__(self) -> int:
        return hash(self._records)

    def to_pandas(self) -> DataFrame:
        """Return a DataFrame with the columns file, offset, record, error, traceback and task.

        Raises:
            JobSpecError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            from mrkernel.errors import JobSpecError

            raise JobSpecError("to_pandas needs pandas: pip install pandas") from None
        columns = (*COLUMNS, "traceback", "task")
        table = {name: [getattr(bad, name) for bad in self] for name in columns}
        try:
            return pd.DataFrame(table)
        except UnicodeError:  # lone surrogates, which Arrow's strings cannot hold
            return pd.DataFrame(table, dtype=object)

    # --- display ----------------------------------------------------------------------------------

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (_clip(bad.file, keep_end=True), f"{bad.offset:,}", _clip(bad.record), _clip(bad.error))
            for bad in self._records[:SHOWN_ROWS]
        ]

    def _more(self) -> str:
        left = len(self) - SHOWN_ROWS
        return f"{left:,} more: to_pandas() has them all" if left > 0 else ""

    def __repr__(self) -> str:
        if not self:
            return "no bad records"
        lines = [f"{bad.where or bad.file}: {bad.error}" for bad in self._records[:SHOWN_ROWS]]
        return "\n".join([f"{counted(len(self))}:", *lines, *filter(None, [self._more()])])

    def __rich__(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(*COLUMNS, caption=self._more() or None)
        for row in self._rows():
            table.add_row(*map(Text, row))
        return table

    def _repr_html_(self) -> str:
        if not self:
            return "<p>no bad records</p>"
        head = "".join(f"<th style='text-align:left'>{name}</th>" for name in COLUMNS)
        rows = []
        for bad, row in zip(self, self._rows(), strict=False):
            cells = [f"<td style='text-align:left'>{html.escape(cell)}</td>" for cell in row]
            whole = bad.traceback or bad.error
            if whole != row[-1]:
                cells[-1] = (
                    f"<td style='text-align:left'><details><summary>{html.escape(row[-1])}"
                    "</summary><pre style='white-space:pre-wrap'>"
                    f"{html.escape(_printable(whole))}</pre></details></td>"
                )
            rows.append(f"<tr>{''.join(cells)}</tr>")
        foot = f"<p>{counted(len(self))}{', ' * bool(self._more())}{self._more()}</p>"
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{foot}"


def counted(number: int) -> str:
    """Say how many: "1 bad record", "3 bad records"."""
    return f"{number:,} bad record{'' if number == 1 else 's'}"


def skipped(number: int) -> str:
    """Say that so many were left out, and where to look."""
    were = "1 record was" if number == 1 else f"{number:,} records were"
    return f"{were} skipped: see result.bad_records"


def _clip(text: str, *, keep_end: bool = False) -> str:
    text = _printable(text)
    if len(text) <= SHOWN_CHARACTERS:
        return text
    return "…" + text[1 - SHOWN_CHARACTERS :] if keep_end else text[: SHOWN_CHARACTERS - 1] + "…"


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()  # no page can hold lone surrogates
