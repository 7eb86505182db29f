"""The pictures in a terminal: rich renderables. rich is imported only where one is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import zip_longest
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from mrkernel.monitor.picture import Json
from mrkernel.monitor.quantities import bytes_text, plural, seconds_text
from mrkernel.monitor.text import (
    PHASES,
    SIGNS,
    WORKER_SIGNS,
    bar_parts,
    bar_text,
    clock_text,
    cluster_head,
    done_text,
    elapsed_s,
    eta_text,
    is_troubled,
    job_rows,
    load_text,
    losses_text,
    newest,
    parts_lines,
    progress_text,
    rates_text,
    summary_line,
    top_lines,
    worker_text,
)
from mrkernel.monitor.timeline_text import chart, meanings_text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
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
_CALM = ("alive", "retired", "unknown")

#: Columns from which on there is room for the workers' load.
_LOADS_FROM = 72

#: A longer bar says no more.
_BAR_WIDTH = 72

#: Lines and columns from which on keys and partitions are drawn with bars.
_RANKS_WITH_BARS, _RANKS_FROM = 5, 80

#: Lines of the feed that are looked at.
_FEED_SHOWN = 8

#: What gets room, in turns: a section, and how many lines of it. Where the room ends, what comes
#: later is of less use than what came before.
_TURNS = (
    ("feed", 3), ("workers", 4), ("jobs", 4), ("ranks", 1), ("lanes", 4), ("feed", 5), ("lanes", 8),
    ("ranks", 2), ("workers", 16), ("jobs", 16), ("ranks", 9), ("lanes", 16), ("feed", 8),
)  # fmt: skip


def job_renderable(picture: Json, now: float | None = None, *, height: int = 40) -> RenderableType:
    """Draw a job: header, bars, workers, timeline, the keys so far, the newest events.

    Args:
        picture: of a job; ``{}`` before the first snapshot.
        now: on the manager's clock, so that the time goes on between events.
        height: lines it may have; header and bars are shown in any case.
    """
    return _Page(_job_page, picture, now, height) if picture else _nothing_yet()


def cluster_renderable(
    picture: Json,
    clock: float | None = None,
    *,
    jobs: Mapping[str, Json] = MappingProxyType({}),
    height: int = 40,
) -> RenderableType:
    """Draw a cluster: one line for the whole, its workers, its jobs, the newest events.

    Args:
        picture: of a cluster; ``{}`` before the first snapshot.
        clock: Unix time, so that the time of jobs goes on between events.
        jobs: pictures of jobs that run, by id, as far as they are known.
        height: lines it may have.
    """
    draw = partial(_cluster_page, jobs=jobs)
    return _Page(draw, picture, clock, height) if picture else _nothing_yet()


def job_line(picture: Json, now: float | None = None) -> RenderableType:
    """Fold a job to one line; what it failed of is in its error."""
    from rich.text import Text

    if not picture:
        return _nothing_yet()
    head, _, losses = summary_line({**picture, "sentence": ""}, now).partition(" · ")
    line = Text.assemble((picture["name"], "bold"), "  ", (head, _STATE_STYLE[picture["state"]]))
    if losses:
        line.append(f" · {losses}", "yellow" if is_troubled(picture) else "")
    return line


def _nothing_yet() -> Text:
    from rich.text import Text

    return Text("waiting for the manager …", style="dim")


class _Section(NamedTuple):
    """Part of a page that takes as many lines as it is given."""

    most: int  #: lines there are
    draw: Callable[[int], list[Text]]
    frame: int = 0  #: lines beside those, if there are any
    least: int = 1  #: lines; with less it is left out


class _Page:
    """What ``draw`` makes of a picture, as wide as there is room."""

    def __init__(
        self,
        draw: Callable[[Json, float | None, int, Console, int], Iterator[Text]],
        picture: Json,
        now: float | None,
        height: int,
    ) -> None:
        self._draw = draw
        self._picture = picture
        self._now = now
        self._height = height

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        width = options.max_width
        for line in self._draw(self._picture, self._now, self._height, console, width):
            line.no_wrap, line.overflow = True, "ellipsis"
            yield line


def _job_page(
    picture: Json, now: float | None, height: int, console: Console, width: int
) -> Iterator[Text]:
    head = [*_job_head(picture, now, console, width), *_banner(picture), *_bars(picture, width)]
    end = _sentence(picture, console, width)
    sections = {
        "workers": _workers(picture, width),
        "lanes": _lanes(picture, now, width),
        "ranks": _ranks(picture, width),
        "feed": _feed(picture, _since(picture), console, width),
    }
    yield from [*head, *_fitted(sections, height - len(head) - len(end)), *end]


def _cluster_page(
    picture: Json,
    clock: float | None,
    height: int,
    console: Console,
    width: int,
    *,
    jobs: Mapping[str, Json],
) -> Iterator[Text]:
    from rich.text import Text

    head = [Text(cluster_head(picture), "bold"), *_banner(picture)]
    sections = {
        "workers": _workers(picture, width),
        "jobs": _jobs(picture, jobs, clock, width),
        "feed": _feed(picture, _clock(picture), console, width),
    }
    yield from [*head, *_fitted(sections, height - len(head))]


def _fitted(sections: dict[str, _Section], free: int) -> Iterator[Text]:
    """The sections, with an empty line before each, in ``free`` lines."""
    from rich.text import Text

    given = dict.fromkeys(sections, 0)
    for name, wanted in _TURNS:
        if name not in sections:
            continue
        section, before = sections[name], given[name]
        around = 0 if before else section.frame + 1
        more = min(wanted - before, section.most - before, free - around)
        if before + more >= max(before + 1, section.least):
            given[name] += more
            free -= more + around
    for name, lines in given.items():
        if lines:
            yield Text()
            yield from sections[name].draw(lines)


def _job_head(picture: Json, now: float | None, console: Console, width: int) -> list[Text]:
    from rich.text import Text

    state = picture["state"]
    head = Text.assemble(
        (picture["name"], "bold"), "  ", (f"{SIGNS[state]} {state}", _STATE_STYLE[state]), "  "
    )
    facts = [seconds_text(elapsed_s(picture, now)), eta_text(picture), rates_text(picture)]
    head.append(" · ".join(fact for fact in facts if fact))
    losses = losses_text(picture)
    if not losses:
        return [head]
    good = state == "done" or not is_troubled(picture)
    said = Text(losses if good else f"✗ {losses}", "yellow" if good else "red")
    return [head, *said.wrap(console, width)]


def _banner(picture: Json) -> list[Text]:
    from rich.text import Text

    banner = picture["banner"]
    if banner is None:
        return []
    return [Text(f"! {banner['text']}", f"bold {_LEVEL_STYLE[banner['level']]}".rstrip())]


def _sentence(picture: Json, console: Console, width: int) -> list[Text]:
    """How it ended, where the feed does not say so."""
    from rich.text import Text

    said = picture["sentence"]
    if not said or (picture["feed"] and said in picture["feed"][-1]["text"]):
        return []
    return [Text(), *Text(said, _STATE_STYLE[picture["state"]]).wrap(console, max(20, width))]


def _bars(picture: Json, width: int) -> Iterator[Text]:
    """Solid done, dashed begun, hatched to be done again."""
    from rich.text import Text

    long = max(8, min(_BAR_WIDTH, width - 40))
    for phase in PHASES:
        hue, style = _PHASE_STYLE[phase], "" if any(bar_parts(picture, phase)) else "dim"
        done, begun, again = bar_parts(picture, phase)
        full = round(done * long)
        hatched = round((done + again) * long) - full
        light = round((done + again + begun) * long) - full - hatched
        yield Text.assemble(
            (f"{phase.capitalize():<8}", style),
            ("━" * full, hue),
            ("╍" * light, hue),
            ("╱" * hatched, "red"),
            ("─" * (long - full - hatched - light), "dim"),
            (f" {bar_text(picture, phase)}", style),
        )


def _workers(picture: Json, width: int) -> _Section:
    from rich.text import Text

    # Those with trouble first, where not all can be shown.
    rows = sorted(picture["workers"].items(), key=lambda item: item[1]["state"] in _CALM)

    def draw(lines: int) -> list[Text]:
        shown = rows if len(rows) <= lines else rows[: lines - 1]
        cells = [(name, done_text(row), load_text(picture, row)) for name, row in shown]
        names, dones, loads = (max(map(len, column)) for column in zip(*cells, strict=True))
        if width < _LOADS_FROM:
            loads = 0
        out = []
        for (name, done, load), (_, row) in zip(cells, shown, strict=True):
            style = _WORKER_STYLE[row["state"]]
            line = Text.assemble((f"{WORKER_SIGNS[row['state']]} ", style))
            line.append(f"{name:<{names}}  ", "dim" if row["state"] == "retired" else "bold")
            line.append(f"{done:<{dones}}  ", "dim")
            line.append(f"{load:>{loads}}  " if loads else "", "dim")
            calm = row["state"] in _CALM
            out.append(line.append(worker_text(picture, row), "" if calm else style))
        if len(shown) < len(rows):
            out.append(Text(f"  and {len(rows) - len(shown)} more", "dim"))
        return out

    return _Section(len(rows), draw, least=min(2, len(rows)))


def _lanes(picture: Json, now: float | None, width: int) -> _Section:
    from rich.text import Text

    lanes = {row[0] for row in picture["bars"].values()}
    names = max(map(len, lanes), default=0)

    def draw(lines: int) -> list[Text]:
        shown = lines if len(lanes) <= lines else lines - 1
        found = chart(picture, width - names - 1, shown, now)
        out: list[Text] = []
        if found is None:
            return out
        for strip in found.strips:
            line = Text.assemble((f"{strip.name:<{names}} ", "red" if strip.dead else "dim"))
            for run in strip.runs:
                line.append(run.text, _run_style(run.phase, run.state))
            out.append(line)
        indent = " " * (names + 1)
        if found.hidden:
            out.append(Text(f"{indent}and {plural(found.hidden, 'more lane')}", "dim"))
        out.append(Text(f"{indent}{found.axis}", "dim"))
        out.append(Text(f"{indent}{meanings_text(found)}", "dim"))
        return out

    return _Section(len(lanes), draw, frame=2, least=min(2, len(lanes)))


def _run_style(phase: str, state: str) -> str:
    if state in ("failed", "lost", "again"):
        return "bold red"
    hue = _PHASE_STYLE.get(phase, "")
    return f"dim {hue}" if state in ("killed", "gone") else hue


def _ranks(picture: Json, width: int) -> _Section:
    """The keys and partitions that stand out: a line each, or beside each other with bars."""
    from rich.text import Text

    lines = [*top_lines(picture), *parts_lines(picture)]
    if not lines:
        return _Section(0, lambda _: [])
    top = picture["top"]["rows"] if top_lines(picture) else []
    parts = [(f"reduce-{n}", size, bytes_text(size)) for n, size in picture["parts"] or ()]
    blocks = [
        _ranked([(key, number, f"{number:,.10g}") for key, number in top], "cyan"),
        _ranked(parts if parts_lines(picture) else [], "magenta"),
    ]
    titles = [line.partition("): ")[0] + ")" for line in lines]
    blocks = [block for block in blocks if block]
    columns = [[Text(title, "dim"), *block] for title, block in zip(titles, blocks, strict=True)]
    # The left one as wide as it needs to be, the other has the rest.
    left = min(max(map(len, columns[0])), width // 2)

    def draw(room: int) -> list[Text]:
        if room < _RANKS_WITH_BARS or width < _RANKS_FROM:
            return [Text(line, "dim") for line in lines[:room]]
        out = []
        for row in list(zip_longest(*columns, fillvalue=Text()))[:room]:
            line = row[0].copy()
            line.truncate(left, overflow="ellipsis", pad=True)
            for other in row[1:]:
                line.append("    ").append_text(other)
            out.append(line)
        return out

    return _Section(1 + max(map(len, blocks)), draw)


def _ranked(rows: list[tuple[str, float, str]], hue: str) -> list[Text]:
    """A line for each: its name, a bar as long as it is large, and how large."""
    from rich.text import Text

    names = min(20, max((len(name) for name, _, _ in rows), default=0))
    most = max((abs(size) for _, size, _ in rows), default=0) or 1
    out = []
    for name, size, said in rows:
        line = Text(name, overflow="ellipsis")
        line.truncate(names, overflow="ellipsis", pad=True)
        line.append("  ").append("━" * max(1, round(24 * abs(size) / most)), hue)
        out.append(line.append(f" {said}", "dim"))
    return out


def _jobs(picture: Json, jobs: Mapping[str, Json], clock: float | None, width: int) -> _Section:
    """The newest first; of one that runs a bar over all of its tasks."""
    from rich.text import Text

    rows = job_rows(picture, picture["at"] + picture["wall"] if clock is None else clock)[::-1]

    def draw(lines: int) -> list[Text]:
        shown = rows if len(rows) <= lines else rows[: lines - 1]
        ids, states, tooks, names = (max(map(len, column)) for column in zip(*shown, strict=True))
        out = []
        for job, state, took, name in shown:
            line = Text.assemble(
                (f"{SIGNS[state]} {job:<{ids}} {state:<{states}}  ", _STATE_STYLE[state]),
                (f"{took:>{tooks}}  ", "dim"),
            )
            known = jobs.get(job) if state == "running" else None
            line.append(f"{name:<{min(names, 24)}}" if known else name)
            if known:
                line.append("  ").append_text(_one_bar(known, max(8, min(40, width - 90))))
                facts = (progress_text(known), eta_text(known))
                line.append("  " + " · ".join(fact for fact in facts if fact), "dim")
                if losses := losses_text(known):
                    line.append(f" · {losses}", "red" if is_troubled(known) else "yellow")
            out.append(line)
        if len(shown) < len(rows):
            out.append(Text(f"  and {plural(len(rows) - len(shown), 'earlier job')}", "dim"))
        return out

    return _Section(len(rows), draw, least=min(2, len(rows)))


def _one_bar(picture: Json, long: int) -> Text:
    """Maps and reduces as one bar, each task as long as any other."""
    from rich.text import Text

    total = sum(picture[phase]["total"] for phase in ("map", "reduce")) or 1
    bar = Text()
    for phase in ("map", "reduce"):
        share = picture[phase]["total"] / total * long
        full = round(bar_parts(picture, phase)[0] * share)
        bar.append("━" * full, _PHASE_STYLE[phase]).append("─" * (round(share) - full), "dim")
    return bar


def _since(picture: Json) -> Callable[[float], str]:
    """Tell times as seconds since the job began."""
    started = picture["started"] or 0.0
    return lambda at: f"{at - started:.2f} s"


def _clock(picture: Json) -> Callable[[float], str]:
    """Tell times as clocks here do."""
    return lambda at: clock_text(at + picture["wall"])


def _feed(picture: Json, when: Callable[[float], str], console: Console, width: int) -> _Section:
    from rich.text import Text

    def told(line: Json) -> list[Text]:
        what, colon, then = line["text"].partition(": ")
        text = Text.assemble((what + colon, _LEVEL_STYLE[line["level"]]), then)
        at = f"{when(line['at']):>8}  "
        rows = text.wrap(console, max(20, width - len(at)))
        return [
            Text.assemble((at, "dim"), row) if n == 0 else Text.assemble(" " * len(at), row)
            for n, row in enumerate(rows)
        ]

    def draw(lines: int) -> list[Text]:
        """The newest that fit, whole."""
        for count in range(_FEED_SHOWN, 0, -1):
            out = [row for line in newest(picture, count) for row in told(line)]
            if len(out) <= lines:
                return out
        out[lines - 1].append(" …")
        return out[:lines]

    return _Section(sum(len(told(line)) for line in newest(picture, _FEED_SHOWN)), draw)
