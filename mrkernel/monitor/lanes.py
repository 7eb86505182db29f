"""The lanes of a picture's timeline, for what draws them as text or SVG. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any, NamedTuple

from mrkernel.monitor.picture import Json

#: States of an attempt whose task has to run again.
BAD = ("failed", "lost", "gone")


class Bar(NamedTuple):
    """A row of ``bars``, its places named; see ``view``."""

    lane: str
    begin: float
    end: float | None
    state: str  #: without the "+" of a backup
    task: str
    attempt: int
    tasks: int  #: more than 1: several short ones, of which this names the first
    records: int
    bytes: int
    input: str
    cause: str
    backup: bool

    @property
    def phase(self) -> str:
        return "map" if self.task.startswith("m") else "reduce"


class Lane(NamedTuple):
    """A slot of a worker, with its bars in the order of their time."""

    name: str
    dead: bool
    bars: list[Bar]

    @property
    def troubled(self) -> bool:
        return self.dead or any(bar.state in BAD for bar in self.bars)


class Arrow(NamedTuple):
    """From an attempt that ended badly to the next one of its task."""

    source: Bar
    target: Bar


def bars_of(picture: Json) -> list[Bar]:
    """The bars, in the order of their time: one that took none before those that begin then."""
    rows: Iterable[list[Any]] = picture.get("bars", {}).values()
    bars = [Bar._make((*row, row[3].endswith("+"))) for row in rows]
    bars = [bar._replace(state=bar.state[:-1]) if bar.backup else bar for bar in bars]
    return sorted(bars, key=lambda bar: (bar.begin, inf if bar.end is None else bar.end))


def span(picture: Json, bars: list[Bar], now: float | None = None) -> tuple[float, float]:
    """The times at both ends of the axis; never one and the same."""
    started = picture["started"]
    begin = min((bar.begin for bar in bars), default=started or 0.0)
    if started is not None:
        begin = min(begin, started)
    end = picture["ended"]
    if end is None:
        end = max(picture["at"], now or 0.0)
    end = max([end, *(bar.end for bar in bars if bar.end is not None)])
    return begin, max(end, begin + 0.001)


def lanes_of(
    picture: Json, bars: list[Bar], arrows: list[Arrow], limit: int
) -> tuple[list[Lane], int]:
    """The lanes to show, by worker and slot, and how many others there are.

    Where there is no room for all, those with trouble are shown, then those that took work up.
    """
    found: dict[str, list[Bar]] = {}
    for bar in bars:
        found.setdefault(bar.lane, []).append(bar)
    workers = {name: (n, row["state"] == "dead") for n, (name, row) in _workers(picture)}
    order = {name: _place(name, workers) for name in found}
    lanes = [
        Lane(name, workers.get(_worker(name), (0, False))[1], found[name])
        for name in sorted(found, key=order.__getitem__)
    ]
    if len(lanes) <= limit:
        return lanes, 0
    helpers = {arrow.target.lane for arrow in arrows}
    first = sorted(lanes, key=lambda lane: (not lane.troubled, lane.name not in helpers))[:limit]
    shown = sorted(first, key=lambda lane: order[lane.name])
    return shown, len(lanes) - len(shown)


def arrows_of(bars: list[Bar]) -> list[Arrow]:
    """Where the tasks of bars that ended badly went on, in the order of their time."""
    bad = [bar for bar in bars if bar.state in BAD and bar.tasks == 1]
    tries: dict[str, list[Bar]] = {bar.task: [] for bar in bad}
    for bar in bars:
        if bar.task in tries and bar.tasks == 1:
            tries[bar.task].append(bar)
    found = []
    for bar in bad:
        later = [one for one in tries[bar.task] if one.attempt > bar.attempt]
        if later:
            found.append(Arrow(bar, min(later, key=lambda one: one.attempt)))
    return found


def _workers(picture: Json) -> enumerate[tuple[str, Json]]:
    return enumerate(picture["workers"].items())


def _worker(lane: str) -> str:
    return lane.rpartition("·")[0]


def _place(lane: str, workers: dict[str, tuple[int, bool]]) -> tuple[int, str, int]:
    worker, _, slot = lane.rpartition("·")
    return workers.get(worker, (len(workers), False))[0], worker, int(slot)
