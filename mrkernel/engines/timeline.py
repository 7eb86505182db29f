"""The timeline of a job as a value: to look at in a cell, and to compute with."""

from __future__ import annotations

from collections.abc import Iterator

from mrkernel.monitor.lanes import Bar, bars_of
from mrkernel.monitor.picture import Json
from mrkernel.monitor.svg import timeline_svg
from mrkernel.monitor.timeline_text import timeline_lines

#: Bytes of the drawing that a notebook keeps.
_SVG_LIMIT = 20_000


class JobTimeline:
    """What ran where, from when to when, and how it ended; as it was when it was asked for.

    Iterating gives a ``Bar`` for each attempt: ``lane begin end state task attempt tasks records
    bytes input cause backup``, times being seconds on the manager's clock, end None while it runs.
    Short neighbours of jobs with very many tasks are one bar: ``tasks`` says of how many.

    Args:
        picture: of a job.
    """

    def __init__(self, picture: Json) -> None:
        self._picture = picture
        self.bars: list[Bar] = bars_of(picture)

    def __iter__(self) -> Iterator[Bar]:
        return iter(self.bars)

    def __len__(self) -> int:
        return len(self.bars)

    def __repr__(self) -> str:
        return "\n".join(timeline_lines(self._picture, 100)) or "nothing ran yet"

    def _repr_svg_(self) -> str | None:
        return timeline_svg(self._picture, _SVG_LIMIT) or None
