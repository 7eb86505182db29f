"""The table that a run prints: each figure as a ratio to what was measured in turn with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HEAD = ("figure", "mrkernel", "beside it", "wall ×", "CPU ×", "to reach", "")


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        figure: what was measured, on what.
        ours: mrkernel's median, with its unit.
        beside: the other's median and name; "" when the figure stands alone.
        wall: ours to theirs; None when there is nothing to compare.
        cpu: the same of the CPU seconds of all processes.
        goal: what it is to reach; "" when it asks nothing.
        met: whether it is reached; None when nothing is asked, or the run was too small to judge.
    """

    figure: str
    ours: str
    beside: str = ""
    wall: float | None = None
    cpu: float | None = None
    goal: str = ""
    met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        verdict = {None: "", True: "yes", False: "NO"}[self.met]
        return (
            self.figure,
            self.ours,
            self.beside,
            _times(self.wall),
            _times(self.cpu),
            self.goal,
            verdict,
        )


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def render(rows: Sequence[Row]) -> str:
    """Draw the table of figures as Markdown."""
    return draw(HEAD, [row.cells() for row in rows])


def draw(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Draw a table as Markdown whose columns are in line."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    drawn = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
    drawn.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(drawn)
