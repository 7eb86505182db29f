"""The static twin: what a notebook keeps of a view when nobody draws it any more.

Plain HTML and text, because a widget whose kernel is gone is shown by JupyterLab as an error, and
by GitHub not at all. The timeline is an image in a data address and no inline SVG: where styles and
SVG are stripped (GitHub, JupyterLab for a notebook that is not trusted) an inline one would leave
its labels behind as one long word. Bars, workers and events are a bare table and a pre, which
remain everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from urllib.parse import quote

from mrkernel.monitor.picture import Json
from mrkernel.monitor.svg import timeline_svg
from mrkernel.monitor.text import (
    PHASES,
    WORKER_SIGNS,
    bar_parts,
    bar_text,
    cluster_head,
    done_text,
    job_lines,
    rates_text,
    summary_line,
    worker_text,
)

#: Bytes that a saved notebook keeps of one view, HTML and text together.
TWIN_LIMIT = 20_000
_TEXT_LIMIT = 5_000
_HTML_LIMIT = TWIN_LIMIT - _TEXT_LIMIT
_WORKERS_LIMIT = 3_000
_IMAGE_LIMIT = 9_000

# Between the light and the dark theme's colours of view.css: a saved picture knows no theme.
_HUES = {"map": "#4a86ee", "shuffle": "#9a6fdc", "reduce": "#2aa389"}
_AGAIN = "#e0564a"

# JupyterLab would break lines in the middle of words.
_PRE = '<pre style="word-break:normal;overflow-wrap:anywhere">'

#: What needs no escape in a data address, and none in an attribute.
_SAFE = " !$()*+,-./:;=?@[]^_{|}~'"


def job_text(picture: Json, save_view: str, prints: str = "") -> str:
    """A job as plain text: one line, or with bars, workers, timeline and events."""
    if not picture:
        return "a job that has not begun"
    if save_view != "full":
        lines = [f"{picture['name']}  {summary_line(picture)}"]
    else:
        lines = bounded(job_lines(picture, 120, feed=20), _TEXT_LIMIT)
    return "\n".join([*lines, *prints.splitlines()])


def job_html(picture: Json, save_view: str, prints: str = "", *, told: bool = False) -> str:
    """A job as HTML that needs neither style nor script.

    Args:
        picture: its last.
        save_view: "full", or one line only.
        prints: what its tasks printed.
        told: whether the reason of its failure stands below anyway.
    """
    if not picture:
        return ""
    failed = picture["state"] == "failed"
    told = told and failed
    summary = summary_line({**picture, "sentence": ""} if told else picture)
    rates = "" if failed else rates_text(picture)
    head = f"<b>{escape(picture['name'])}</b> {escape(summary)}"
    head += f" · {escape(rates)}" if rates else ""
    printed = f"{_PRE}{escape(prints)}</pre>" if prints else ""
    if save_view != "full":
        return f"<div>{head}</div>{printed}"
    bars = "".join(_bar_html(picture, phase) for phase in PHASES)
    opened = " open" if failed and not told else ""
    begin = f"<details{opened}><summary>{head}</summary><table>{bars}</table>"
    begin += _image(picture) + workers_html(picture) + _PRE
    end = "</pre></details>"
    room = _HTML_LIMIT - len((begin + end).encode()) - 100
    return begin + "\n".join(_events(picture, room)) + end + printed


def cluster_html(picture: Json) -> str:
    """A cluster as HTML that needs neither style nor script."""
    if not picture:
        return ""
    return f"<b>{escape(cluster_head(picture))}</b>{workers_html(picture)}"


def workers_html(picture: Json) -> str:
    """The workers as a bare table; as many as there is room for."""
    rows: list[str] = []
    room = _WORKERS_LIMIT
    workers = picture["workers"]
    for name, row in workers.items():
        sign = f"{WORKER_SIGNS[row['state']]}\N{NO-BREAK SPACE}{name}"
        line = _row_html(map(escape, (sign, done_text(row), worker_text(picture, row))))
        room -= len(line.encode())
        if room < 0:
            rows.append(_row_html((f"and {len(workers) - len(rows)} more",)))
            break
        rows.append(line)
    return f"<table>{''.join(rows)}</table>" if rows else ""


def trimmed(picture: Json) -> Json:
    """The picture without its rows: what the summary line and the phases need."""
    none: Json = {}
    rows = {"workers": none, "troubles": none, "bars": none, "feed": [], "older": 0}
    return {**picture, **rows, "trimmed": True}


def bounded(lines: list[str], limit: int) -> list[str]:
    """The first lines, as many as there is room for, and how many are not there."""
    room = limit - 40
    for kept, line in enumerate(lines):
        room -= len(line.encode()) + 1
        if room < 0:
            return [*lines[:kept], f"… {len(lines) - kept} more lines are not kept"]
    return lines


def _events(picture: Json, room: int) -> list[str]:
    """The newest events, escaped, oldest of them first."""
    began = picture["started"] or 0.0
    times = [f"{line['at'] - began:.2f} s" for line in picture["feed"]]
    wide = max(map(len, times), default=0)
    events = [
        escape(f"{at:>{wide}}  {line['text']}")
        for at, line in zip(times, picture["feed"], strict=True)
    ]
    kept: list[str] = []
    for line in reversed(events):
        room -= len(line.encode()) + 1
        if room < 0:
            break
        kept.append(line)
    earlier = picture["older"] + len(events) - len(kept)
    if earlier:
        kept.append(f"{earlier} earlier events are not kept")
    return kept[::-1]


def _image(picture: Json) -> str:
    """The timeline as an image; "" when nothing ran, or there is no room for it."""
    limit = _IMAGE_LIMIT
    while limit > _IMAGE_LIMIT // 3:
        svg = timeline_svg(picture, limit)
        # Attributes alone have plain quotes: those of texts are escaped.
        address = "data:image/svg+xml," + quote(svg.replace('"', "'"), _SAFE)
        if svg and len(address) <= _IMAGE_LIMIT:
            name = escape(f"Timeline of {picture['name']}")
            size = "width:100%;min-width:640px;max-width:1000px"
            image = f'<img src="{address}" alt="{name}" style="{size}">'
            return f'<div style="overflow-x:auto">{image}</div>'
        limit = limit * 3 // 4
    return ""


def _bar_html(picture: Json, phase: str) -> str:
    """A bar as a table row; where styles are stripped, its words remain."""
    done, _, again = bar_parts(picture, phase)
    fill = f"linear-gradient(90deg,{_HUES[phase]} {done:.1%},{_AGAIN} 0 {done + again:.1%},#8884 0)"
    size = "width:16em;max-width:24vw;height:10px"
    style = f"display:inline-block;{size};border-radius:3px;background:{fill}"
    cells = (phase.capitalize(), f'<span style="{style}"></span>', escape(bar_text(picture, phase)))
    return _row_html(cells)


def _row_html(cells: Iterable[str]) -> str:
    """A table row of HTML texts; JupyterLab would align them as numbers."""
    return "<tr>" + "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells) + "</tr>"
