"""The timeline as a picture that needs nobody: SVG for saved notebooks and reports. Pure.

Its colours are readable on light and on dark ground alike, since it cannot know where it is shown:
each is about as far from white as from black. Hue tells the phase; solid, pale, hatched and dashed
tell the state.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from math import ceil, floor, log10
from typing import NamedTuple

from mrkernel.monitor.lanes import Arrow, Bar, Lane, arrows_of, bars_of, lanes_of, span
from mrkernel.monitor.picture import Json
from mrkernel.monitor.quantities import plural, seconds_text
from mrkernel.monitor.text import summary_line

#: Bytes of a saved notebook that the timeline may take.
LIMIT = 12_000

_WIDTH = 720
_RIGHT = 14
_HUES = {"map": "#4a7fd6", "reduce": "#1a8a70"}
_FAIL = "#d9483d"
_GREY = "#777d86"

#: How each kind of bar is drawn; in the order in which they cover each other.
_KINDS = {
    "done": 'fill="{hue}"',
    "running": 'fill="{hue}" fill-opacity=".35" stroke="{hue}"',
    "killed": f'fill="{_GREY}" fill-opacity=".35" stroke="{_GREY}" stroke-dasharray="1 2"',
    "backup": 'fill="{hue}" fill-opacity=".2" stroke="{hue}" stroke-dasharray="3 2"',
    "gone": f'fill="{{hue}}" fill-opacity=".3" stroke="{_FAIL}" stroke-dasharray="4 2"',
    "again": f'fill="{{hue}}" stroke="{_FAIL}" stroke-width="1.5"',
    "lost": f'fill="url(#{{id}})" stroke="{_FAIL}"',
    "failed": f'fill="url(#{{id}}-x)" stroke="{_FAIL}"',
}
_MEANINGS = {
    "done": "done", "running": "running", "killed": "stopped", "backup": "backup",
    "gone": "output lost", "again": "tried again", "lost": "lost", "failed": "failed",
}  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class _Detail(NamedTuple):
    """How much is drawn."""

    lanes: int
    pixels: int  #: what is closer together is one
    arrows: int
    names: int  #: bars with their task written in them
    titles: int  #: bars that ended badly and say why under the pointer


_DETAILS = (
    _Detail(40, 1, 400, 80, 16),
    _Detail(40, 1, 400, 0, 12),
    _Detail(40, 2, 300, 0, 4),
    _Detail(40, 3, 150, 0, 0),
    _Detail(40, 5, 80, 0, 0),
    _Detail(32, 8, 40, 0, 0),
    _Detail(32, 16, 30, 0, 0),
    _Detail(24, 32, 20, 0, 0),
    _Detail(12, 32, 20, 0, 0),
    _Detail(6, 64, 10, 0, 0),
)
#: Bars past which the finest ones need not be tried.
_MANY = 1500


def timeline_svg(picture: Json, limit: int = LIMIT) -> str:
    """Draw a job's timeline; "" when nothing ran.

    What is too small to be seen is put together, and more of it the less room there is. What ended
    badly, and the arrows to where it was done again, stay as long as they can be told apart.

    Args:
        picture: of a job.
        limit: bytes it may take at most; 4,000 are enough for a coarse one.
    """
    bars = bars_of(picture)
    if not bars:
        return ""
    arrows = arrows_of(bars)
    for detail in _DETAILS[2 if len(bars) > _MANY else 0 :]:
        drawn = _Drawing(picture, bars, arrows, detail).svg()
        if len(drawn.encode()) <= limit:
            return drawn
    return ""


class _Drawing:
    """One way to draw it."""

    def __init__(
        self, picture: Json, bars: list[Bar], arrows: list[Arrow], detail: _Detail
    ) -> None:
        self._picture = picture
        self._again = {(arrow.target.task, arrow.target.attempt) for arrow in arrows}
        self._bars = bars
        self._detail = detail
        self._lanes, self._hidden = lanes_of(picture, bars, arrows, detail.lanes)
        count = len(self._lanes)
        self._pitch = 20 if count <= 12 else 15 if count <= 24 else 10
        self._begin, self._end = span(picture, bars)
        names = max(len(lane.name) + 2 * lane.dead for lane in self._lanes)
        self._left = 10 + ceil(names * 6.3)
        self._scale = (_WIDTH - _RIGHT - self._left) / (self._end - self._begin)
        self._rows = {lane.name: n for n, lane in enumerate(self._lanes)}
        shown = [a for a in arrows if a.source.lane in self._rows and a.target.lane in self._rows]
        self._arrows = shown[-detail.arrows :]
        self._untold = len(shown) - len(self._arrows)
        self._deaths = {
            name: round(self._x(row["lost_at"]))
            for name, row in picture["workers"].items()
            if row["lost_at"] is not None
        }
        self._bottom = 6 + count * self._pitch
        self._id = "mrk-" + re.sub(r"[^\w-]", "", str(picture.get("job", "")))

    def svg(self) -> str:
        """All of it."""
        shapes, texts, marks = self._shapes()
        used = [(kind, phase) for kind in _KINDS for phase in _HUES if (kind, phase) in shapes]
        legend, high = self._legend(used)
        parts = [self._head(high), self._axis(), self._labels()]
        for kind, phase in used:
            filled = _KINDS[kind].format(hue=_HUES[phase], id=self._id)
            parts.append(f'<path {filled} d="{"".join(shapes[kind, phase])}"/>')
        if texts:
            parts.append(f'<g fill="#fff" font-size="10">{"".join(texts)}</g>')
        parts.append(self._arrow_lines())
        if marks:
            crosses = "".join(marks)
            parts.append(f'<path fill="none" stroke="{_FAIL}" stroke-width="2" d="{crosses}"/>')
        parts.append(self._titles())
        parts.append(legend)
        return "".join(parts) + "</svg>"

    # --- places -----------------------------------------------------------------------------------

    def _x(self, at: float) -> float:
        return self._left + (at - self._begin) * self._scale

    def _across(self, bar: Bar) -> tuple[int, int]:
        """From which pixel to which: whole steps of ``pixels``, one at least."""
        step = self._detail.pixels
        until = self._end if bar.end is None else bar.end
        begin = round((self._x(bar.begin) - self._left) / step) * step
        end = round((self._x(until) - self._left) / step) * step
        right = _WIDTH - _RIGHT - self._left
        begin = min(begin, right - 2)
        return self._left + begin, self._left + min(right, max(end, begin + step))

    def _top(self, lane: str) -> int:
        return 4 + self._rows[lane] * self._pitch

    @property
    def _high(self) -> int:
        return self._pitch - (4 if self._pitch > 12 else 2)

    # --- parts ------------------------------------------------------------------------------------

    def _head(self, high: int) -> str:
        picture = self._picture
        title = f"Timeline of {picture['name']}: {summary_line(picture)}"
        told = [line["text"] for line in picture["feed"] if line["level"] != "info"][-6:]
        tasks = sum(bar.tasks for bar in self._bars)
        lanes = len(self._lanes) + self._hidden
        text = f"{plural(tasks, 'attempt')} in {plural(lanes, 'lane')}."
        if told:
            text += " " + ". ".join(_cut(one, 160) for one in told) + "."
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="100%" viewBox="0 0 {_WIDTH} {high}" '
            f'role="img" aria-labelledby="{self._id}-t {self._id}-d" font-size="11" '
            'font-family="system-ui,sans-serif">'
            f'<title id="{self._id}-t">{_text(_cut(title, 200))}</title>'
            f'<desc id="{self._id}-d">{_text(text)}</desc>'
            f'<pattern id="{self._id}" width="5" height="5" patternUnits="userSpaceOnUse" '
            f'patternTransform="rotate(45)"><path d="M0 0v5" stroke="{_FAIL}" stroke-width="3"/>'
            "</pattern>"
            f'<pattern id="{self._id}-x" width="5" height="5" patternUnits="userSpaceOnUse" '
            f'patternTransform="rotate(45)"><path d="M0 0v5M0 0h5" stroke="{_FAIL}" '
            'stroke-width="2"/></pattern>'
        )

    def _axis(self) -> str:
        seconds = self._end - self._begin
        step = _tick(seconds)
        lines, labels = [], []
        for n in range(floor(seconds / step) + 1):
            x = round(self._x(self._begin + n * step))
            lines.append(f"M{x} 2V{self._bottom}")
            label = f"{n * step:g} s" if seconds < 100 else seconds_text(n * step)
            anchor = ' text-anchor="middle"' if n else ""
            labels.append(f'<text x="{x}" y="{self._bottom + 12}"{anchor}>{label}</text>')
        return (
            f'<path stroke="{_GREY}" stroke-opacity=".4" d="{"".join(lines)}"/>'
            f'<g fill="{_GREY}">{"".join(labels)}</g>'
        )

    def _labels(self) -> str:
        size = min(11, self._pitch)
        alive: list[str] = []
        dead: list[str] = []
        for lane in self._lanes:
            y = self._top(lane.name) + self._high - (self._high - size) // 2 - 2
            sign = "✗ " if lane.dead else ""
            text = f'<text x="2" y="{y}">{sign}{_text(lane.name)}</text>'
            (dead if lane.dead else alive).append(text)
        parts = [f'<g fill="{_GREY}" font-size="{size}">{"".join(alive)}</g>']
        if dead:
            parts.append(f'<g fill="{_FAIL}" font-size="{size}">{"".join(dead)}</g>')
        return "".join(parts)

    def _shapes(self) -> tuple[dict[tuple[str, str], dict[str, None]], list[str], list[str]]:
        """The bars' outlines by kind and phase, the names in them, and crosses."""
        # Keys and no list: what is drawn twice in the same place is drawn once.
        shapes: dict[tuple[str, str], dict[str, None]] = {}
        texts: list[str] = []
        marks: dict[str, None] = {}
        for lane in self._lanes:
            top, high = self._top(lane.name), self._high
            for bar, begin, end in self._spans(lane):
                wide = end - begin - (1 if end - begin >= 4 else 0)
                path = f"M{begin} {top}h{wide}v{high}h-{wide}z"
                shapes.setdefault((self._kind(bar), bar.phase), {})[path] = None
                if bar.state in ("failed", "lost"):
                    x, y, r = begin + wide, top + high // 2, min(4, high // 2)
                    marks[f"M{x - r} {y - r}l{2 * r} {2 * r}m0-{2 * r}l-{2 * r} {2 * r}"] = None
                name = bar.task if bar.tasks == 1 else f"×{bar.tasks}"
                room = len(name) * 6 + 6
                dark = self._kind(bar) in ("done", "again")  # white can be read on it
                if wide >= room and dark and len(texts) < self._detail.names:
                    texts.append(f'<text x="{begin + 4}" y="{top + high - 5}">{_text(name)}</text>')
        return shapes, texts if self._pitch > 12 else [], list(marks)

    def _spans(self, lane: Lane) -> Iterable[tuple[Bar, int, int]]:
        """The bars of a lane in pixels; neighbours too small to be told apart as one."""
        small = max(4, 2 * self._detail.pixels)
        held: tuple[Bar, int, int] | None = None
        for bar in lane.bars:
            begin, end = self._across(bar)
            if held is not None:
                last, first, until = held
                near = begin <= until + self._detail.pixels // 2
                if (
                    near
                    and self._kind(last) == self._kind(bar)
                    and last.phase == bar.phase
                    and min(end - begin, until - first) < small
                ):
                    both = last._replace(tasks=last.tasks + bar.tasks)
                    held = (both, first, max(end, until))
                    continue
                yield held
            held = (bar, begin, end)
        if held is not None:
            yield held

    def _kind(self, bar: Bar) -> str:
        if bar.state not in ("done", "running"):
            return bar.state
        if bar.backup:
            return "backup"
        again = bar.state == "done" and (bar.task, bar.attempt) in self._again
        return "again" if again else bar.state

    def _arrow_lines(self) -> str:
        lines: dict[str, None] = {}
        for source, target in self._arrows:
            x, y = self._across(source)[1], self._top(source.lane) + self._high // 2
            if source.state == "gone":
                x = max(x, self._deaths.get(source.lane.rpartition("·")[0], x))
            to, down = self._across(target)[0], self._top(target.lane)
            if source.lane == target.lane:
                lines[f"M{x} {down}Q{(x + to) // 2} {down - 5} {to + 2} {down}"] = None
                continue
            under = down > y
            tip = down if under else down + self._high
            back = -4 if under else 4
            lines[f"M{x} {y}L{to + 2} {tip}m-3 {back}l3 {-back}l3 {back}"] = None
        if not lines:
            return ""
        return f'<path fill="none" stroke="{_FAIL}" stroke-width="1.3" d="{"".join(lines)}"/>'

    def _titles(self) -> str:
        """Transparent boxes that say why an attempt ended badly, for the pointer."""
        bad = [b for b in self._bars if b.state in ("failed", "lost") and b.lane in self._rows]
        boxes = []
        for bar in bad[-self._detail.titles :] if self._detail.titles else []:
            begin, end = self._across(bar)
            what = f"{bar.task} attempt {bar.attempt} on {bar.lane}: {_cut(bar.cause, 90)}"
            boxes.append(
                f'<rect x="{begin}" y="{self._top(bar.lane)}" width="{end - begin}" '
                f'height="{self._high}"><title>{_text(what)}</title></rect>'
            )
        return f'<g fill-opacity="0">{"".join(boxes)}</g>' if boxes else ""

    def _legend(self, used: list[tuple[str, str]]) -> tuple[str, int]:
        """The legend, in as many rows as it takes, what is not drawn, and the height with them."""
        x, y = 10, self._bottom + 22
        words: dict[str, str] = {}
        for kind, phase in used:
            word = phase if kind == "done" else _MEANINGS[kind]
            words.setdefault(word, _KINDS[kind].format(hue=_HUES[phase], id=self._id))
        parts = []
        for word, style in words.items():
            room = 34 + ceil(len(word) * 6.2)
            if x + room > _WIDTH:
                x, y = 10, y + 16
            parts.append(f'<path {style} d="M{x} {y}h14v10h-14z"/>')
            parts.append(f'<text x="{x + 19}" y="{y + 9}">{word}</text>')
            x += room
        rest = [plural(self._hidden, "more lane")] if self._hidden else []
        rest += [plural(self._untold, "earlier arrow")] if self._untold else []
        if rest:
            y += 16
            parts.append(f'<text x="10" y="{y + 9}">and {", ".join(rest)}</text>')
        return f'<g fill="{_GREY}">{"".join(parts)}</g>', y + 18


def _tick(seconds: float) -> float:
    """A round number of seconds that divides the axis into five to ten."""
    if seconds >= 100:
        fitting: list[float] = [10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400]
        for step in fitting:
            if seconds / step <= 10:
                return step
        return ceil(seconds / 10 / 14400) * 14400.0
    power = float(10 ** floor(log10(seconds / 5)))
    return next((power * n for n in (1, 2, 5) if seconds / (power * n) <= 10), power * 10)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _text(text: str) -> str:
    """Text as XML may have it."""
    return escape(_CONTROL.sub(" ", text))
