"""The pictures in a terminal: rich renderables. rich is imported only where one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mrkernel.monitor.picture import Json
from mrkernel.monitor.quantities import plural, seconds_text
from mrkernel.monitor.text import (
    PHASES,
    SIGNS,
    WORKER_SIGNS,
    bar_parts,
    bar_text,
    cluster_head,
    done_text,
    elapsed_s,
    eta_text,
    is_troubled,
    load_text,
    losses_text,
    newest,
    rates_text,
    top_lines,
    worker_text,
)
from mrkernel.monitor.timeline_text import LANES_SHOWN, PLAIN, chart, meanings_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

# Names of the terminal's own palette: they follow its light or dark theme.
_PHASE_STYLE = {"map": "blue", "shuffle": "magenta", "reduce": "cyan"}
_STATE_STYLE = {
    "waiting": "dim", "running": "bold blue", "done": "bold green", "failed": "bold red",
    "cancelled": "bold yellow",
}  # fmt: skip
_WORKER_STYLE = {
    "alive": "green", "suspect": "yellow", "barred": "yellow", "dead": "bold red",
    "retired": "dim", "unknown": "dim",
}  # fmt: skip
_LEVEL_STYLE = {"info": "", "warning": "yellow", "error": "red"}


def job_renderable(
    picture: Json, now: float | None = None, *, feed: int = 5, lanes: int = LANES_SHOWN
) -> RenderableType:
    """Draw a job for ``rich.live.Live``: header, bars, workers, timeline, the newest events.

    Args:
        picture: of a job; ``{}`` before the first snapshot.
        now: on the manager's clock, so that the time goes on between events.
        feed: how many feed lines to show.
        lanes: how many lanes of the timeline to show.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    if not picture:
        return Text("waiting for the manager …", style="dim")
    state = picture["state"]
    head = Text(no_wrap=True, overflow="ellipsis")
    head.append(picture["name"], "bold")
    head.append(f"  {SIGNS[state]} {state}", _STATE_STYLE[state])
    facts = [seconds_text(elapsed_s(picture, now)), rates_text(picture), eta_text(picture)]
    head.append("  " + " · ".join(fact for fact in facts if fact))
    parts: list[RenderableType] = [head]
    if losses_text(picture):
        made_good = state == "done" or not is_troubled(picture)
        sign = "" if made_good else "✗ "
        parts.append(Text(sign + losses_text(picture), "yellow" if made_good else "red"))
    parts += _banner(picture)

    bars = Table.grid(padding=(0, 1), expand=True)
    bars.add_column(width=7)
    bars.add_column(ratio=1)
    bars.add_column(width=31, no_wrap=True)
    for phase in PHASES:
        style = "" if any(bar_parts(picture, phase)) else "dim"
        words = Text(bar_text(picture, phase), style, no_wrap=True, overflow="ellipsis")
        bars.add_row(Text(phase.capitalize(), style), _Bar(picture, phase), words)

    parts.append(bars)
    if picture["workers"]:
        parts += [Text(), _worker_table(picture)]
    if lanes and picture.get("bars"):
        parts += [Text(), _Timeline(picture, lanes, now)]
    parts += [Text(line, "dim") for line in top_lines(picture)]
    lines = newest(picture, feed)
    if lines:
        parts += [Text(), _feed_table(picture, lines)]
    if picture["sentence"] and not (lines and picture["sentence"] in lines[-1]["text"]):
        parts += [Text(), Text(picture["sentence"], _STATE_STYLE[state])]
    return Group(*parts)


def cluster_renderable(picture: Json) -> RenderableType:
    """Draw a cluster for ``rich.live.Live``: one line for the whole, one per worker."""
    from rich.console import Group
    from rich.text import Text

    if not picture:
        return Text("waiting for the manager …", style="dim")
    head = Text(cluster_head(picture), "bold")
    return Group(head, *_banner(picture), _worker_table(picture))


def _banner(picture: Json) -> list[Text]:
    from rich.text import Text

    banner = picture["banner"]
    if banner is None:
        return []
    return [Text(f"! {banner['text']}", f"bold {_LEVEL_STYLE[banner['level']]}".rstrip())]


class _Bar:
    """A bar as wide as its column: solid done, light begun, hatched to be redone."""

    def __init__(self, picture: Json, phase: str) -> None:
        self._parts = bar_parts(picture, phase)
        self._style = _PHASE_STYLE[phase]

    def __rich_console__(self, console: Any, options: Any) -> Any:
        from rich.text import Text

        width = max(8, options.max_width)
        done, begun, again = self._parts
        full = round(done * width)
        hatched = round((done + again) * width) - full
        light = round((done + again + begun) * width) - full - hatched
        # A terminal without the block characters gets signs it has.
        plain = (options.encoding or "").lower() not in ("utf-8", "utf8")
        signs = "#=x-" if plain else "━━╱─"
        bar = Text(no_wrap=True, end="")
        bar.append(signs[0] * full, self._style)
        bar.append(signs[1] * light, f"dim {self._style}")
        bar.append(signs[2] * hatched, "red")
        bar.append(signs[3] * (width - full - hatched - light), "dim")
        yield bar

    def __rich_measure__(self, console: Any, options: Any) -> Any:
        from rich.measure import Measurement

        return Measurement(8, options.max_width)


class _Timeline:
    """A line for each lane, as wide as there is room."""

    def __init__(self, picture: Json, lanes: int, now: float | None) -> None:
        self._picture = picture
        self._lanes = lanes
        self._now = now

    def __rich_console__(self, console: Any, options: Any) -> Any:
        from rich.text import Text

        names = max(len(row[0]) for row in self._picture["bars"].values())
        found = chart(self._picture, options.max_width - names - 1, self._lanes, self._now)
        if found is None:
            return
        plain = (options.encoding or "").lower() not in ("utf-8", "utf8")
        signs = PLAIN if plain else str.maketrans("", "")
        lines = []
        for strip in found.strips:
            line = Text()
            line.append(f"{strip.name:<{names}} ", "red" if strip.dead else "dim")
            for run in strip.runs:
                line.append(run.text.translate(signs), _run_style(run.phase, run.state))
            lines.append(line)
        if found.hidden:
            lines.append(Text(f"{'':<{names}} and {plural(found.hidden, 'more lane')}", "dim"))
        lines.append(Text(f"{'':<{names}} {found.axis}", "dim"))
        lines.append(Text(f"{'':<{names}} {meanings_text(found).translate(signs)}", "dim"))
        for line in lines:
            line.no_wrap, line.overflow = True, "crop"
            yield line

    def __rich_measure__(self, console: Any, options: Any) -> Any:
        from rich.measure import Measurement

        return Measurement(16, options.max_width)


def _run_style(phase: str, state: str) -> str:
    if state in ("failed", "lost"):
        return "bold red"
    hue = _PHASE_STYLE.get(phase, "")
    return f"dim {hue}" if state in ("killed", "gone") else hue


def _worker_table(picture: Json) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, max_width=22)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    # A page of workers is enough; those with trouble first.
    rows = sorted(picture["workers"].items(), key=lambda item: item[1]["state"] in _CALM)
    for name, row in rows[:_WORKERS_SHOWN]:
        style = _WORKER_STYLE[row["state"]]
        who = Text(f"{WORKER_SIGNS[row['state']]} ", style)
        who.append(name, "bold" if row["state"] != "retired" else "dim")
        text = Text(worker_text(picture, row), "" if row["state"] in _CALM else style)
        table.add_row(who, Text(done_text(row), "dim"), Text(load_text(picture, row), "dim"), text)
    if len(rows) > _WORKERS_SHOWN:
        table.add_row("", Text(f"and {len(rows) - _WORKERS_SHOWN} more", "dim"))
    return table


def _feed_table(picture: Json, lines: list[Json]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True, justify="right", width=8)
    table.add_column(ratio=1)
    started = picture["started"] or 0.0
    for line in lines:
        text: Text = Text(line["text"], _LEVEL_STYLE[line["level"]])
        table.add_row(Text(f"{line['at'] - started:.2f} s", "dim"), text)
    return table


_CALM = ("alive", "retired", "unknown")
_WORKERS_SHOWN = 16
