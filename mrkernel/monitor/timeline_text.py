"""The timeline in characters: a line for each lane, for terminals, pipes and bare notebooks. Pure.

Where a terminal has colours, hue tells the phase; the signs alone tell it too, and the state.
"""

from __future__ import annotations

from typing import NamedTuple

from mrkernel.monitor.lanes import BAD, Bar, Lane, arrows_of, bars_of, lanes_of, span
from mrkernel.monitor.picture import Json
from mrkernel.monitor.quantities import plural, seconds_text

#: Lanes shown where nothing else is said.
LANES_SHOWN = 8

#: What cells look like: by phase where work is done, by state otherwise.
_SIGNS = {
    "map": "█", "map end": "▊", "reduce": "▓", "running": "▒", "failed": "╱", "lost": "╱",
    "cross": "✗", "again": "►", "killed": "─", "gone": "░", "backup": "·", "": " ",
}  # fmt: skip
_MEANINGS = {
    "█": "map", "▓": "reduce", "▒": "running", "✗": "failed or lost", "►": "tried again",
    "─": "stopped", "░": "output lost", "·": "backup",
}  # fmt: skip
#: Which of two that share a cell is seen.
_RANKS = {
    "": 0, "done": 1, "running": 2, "killed": 3, "gone": 4, "again": 5, "failed": 6, "lost": 6,
}  # fmt: skip


class Run(NamedTuple):
    """Cells side by side that look alike."""

    text: str
    phase: str  #: map, reduce; "": nothing ran
    state: str  #: as a bar's; again: where another attempt begins; "": nothing ran


class Strip(NamedTuple):
    """A lane in characters."""

    name: str
    dead: bool
    runs: list[Run]


class Chart(NamedTuple):
    """A timeline in characters."""

    strips: list[Strip]
    hidden: int  #: lanes not shown
    axis: str  #: times below the cells
    meanings: list[tuple[str, str]]  #: the signs that occur, and what they say


def chart(
    picture: Json, width: int, lanes: int = LANES_SHOWN, now: float | None = None
) -> Chart | None:
    """Draw the timeline; None: nothing ran yet.

    Args:
        picture: of a job.
        width: characters of a line without the lane's name.
        lanes: how many to show.
        now: on the manager's clock, for bars that run; None: the picture's newest event.
    """
    bars = bars_of(picture)
    if not bars:
        return None
    width = max(8, width)
    begin, end = span(picture, bars, now)
    shown, hidden = lanes_of(picture, bars, arrows_of(bars), lanes)
    strips = [Strip(lane.name, lane.dead, _runs(lane, begin, end, width)) for lane in shown]
    used = {sign for strip in strips for run in strip.runs for sign in run.text}
    meanings = [(sign, text) for sign, text in _MEANINGS.items() if sign in used]
    return Chart(strips, hidden, _axis(end - begin, width), meanings)


def timeline_lines(picture: Json, width: int = 80, lanes: int = LANES_SHOWN) -> list[str]:
    """Draw the timeline as plain lines: a line for each lane, the times, and what signs mean."""
    names = max((len(row[0]) for row in picture.get("bars", {}).values()), default=0)
    found = chart(picture, width - names - 1, lanes)
    if found is None:
        return []
    lines = [
        f"{strip.name:<{names}} {''.join(run.text for run in strip.runs)}".rstrip()
        for strip in found.strips
    ]
    if found.hidden:
        lines.append(f"{'':<{names}} and {plural(found.hidden, 'more lane')}")
    lines.append(f"{'':<{names}} {found.axis}")
    lines.append(f"{'':<{names}} {meanings_text(found)}")
    return lines


def meanings_text(found: Chart) -> str:
    """What the signs mean: "█ map  ✗ failed or lost"."""
    return "  ".join(f"{sign} {text}" for sign, text in found.meanings)


def _runs(lane: Lane, begin: float, end: float, width: int) -> list[Run]:
    cells: list[tuple[str, str, str]] = [("", "", "")] * width
    scale = width / (end - begin)
    for bar in lane.bars:
        first = min(width - 1, int((bar.begin - begin) * scale))
        until = end if bar.end is None else bar.end
        # At least one cell, and no more than it is long: short ones must not push the next away.
        last = min(width - 1, max(first, int((until - begin) * scale - 0.5)))
        if last > first and cells[first][0] in ("map end", "cross"):
            first += 1
        for place in range(first, last + 1):
            sign = _sign(bar, place == first, place == last)
            state = sign if sign == "again" else bar.state
            if _RANKS[state] >= _RANKS[cells[place][2]] and cells[place][0] != "cross":
                cells[place] = (sign, bar.phase, state)
    runs: list[Run] = []
    for sign, phase, state in cells:
        text = _SIGNS[sign]
        if runs and runs[-1][1:] == (phase, state):
            runs[-1] = Run(runs[-1].text + text, phase, state)
        else:
            runs.append(Run(text, phase, state))
    return runs


def _sign(bar: Bar, first: bool, last: bool) -> str:
    if bar.state in BAD and bar.state != "gone":
        return "cross" if last else bar.state
    if first and bar.attempt > 1 and not bar.backup and bar.state in ("done", "running"):
        return "again"
    if bar.backup and (first or bar.state != "done"):
        return "backup"
    if bar.state != "done":
        return bar.state
    # A gap between neighbours, where the first is more than a gap.
    return "map end" if bar.phase == "map" and last and not first else bar.phase


def _axis(seconds: float, width: int) -> str:
    """Times at the left, in the middle and at the right, as far as there is room."""
    left, middle, right = "0 s", seconds_text(seconds / 2), seconds_text(seconds)
    if width < len(left) + len(right) + 1:
        return right.rjust(width)[:width]
    line = left.ljust(width - len(right)) + right
    at = width // 2 - len(middle) // 2
    if width >= 2 * (len(left) + len(middle) + len(right)):
        line = line[:at] + middle + line[at + len(middle) :]
    return line
