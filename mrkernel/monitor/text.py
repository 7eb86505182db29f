"""The pictures as text: plain lines for pipes and saved notebooks, rich renderables for terminals.

Every function takes a picture, the dict that ``JobView.snapshot()`` draws and a client's
``Picture.snapshot()`` holds. rich is imported only where a renderable is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mrkernel.monitor.picture import Json
from mrkernel.monitor.quantities import bytes_text, count_text, names_text, plural, seconds_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

#: What a state looks like; never colour alone.
SIGNS = {"waiting": "·", "running": "▶", "done": "✓", "failed": "✗", "cancelled": "■"}
WORKER_SIGNS = {"alive": "●", "suspect": "◐", "dead": "✗", "retired": "○"}

PHASES = ("map", "shuffle", "reduce")

# Names of the terminal's own palette: they follow its light or dark theme.
_PHASE_STYLE = {"map": "blue", "shuffle": "magenta", "reduce": "cyan"}
_STATE_STYLE = {
    "waiting": "dim", "running": "bold blue", "done": "bold green", "failed": "bold red",
    "cancelled": "bold yellow",
}  # fmt: skip
_WORKER_STYLE = {"alive": "green", "suspect": "yellow", "dead": "bold red", "retired": "dim"}
_LEVEL_STYLE = {"info": "", "warning": "yellow", "error": "red"}


def elapsed_s(picture: Json, now: float | None = None) -> float:
    """Seconds a job has run, or ran; ``now`` on the manager's clock, None: its newest event."""
    if picture["started"] is None:
        return 0.0
    end = picture["ended"]
    if end is None:
        end = picture["at"] if now is None else max(now, picture["at"])
    return max(0.0, float(end - picture["started"]))


def losses_text(picture: Json) -> str:
    """What went wrong and was made good: "1 worker lost, 2 tasks moved"; "" when nothing did."""
    parts = []
    if picture["lost_workers"]:
        parts.append(f"{plural(picture['lost_workers'], 'worker')} lost")
    if picture["failed"]:
        parts.append(f"{plural(picture['failed'], 'attempt')} failed")
    if picture["moved"]:
        parts.append(f"{plural(picture['moved'], 'task')} moved")
    if picture["redone"]:
        parts.append(f"{plural(picture['redone'], 'task')} redone")
    return ", ".join(parts)


def summary_line(picture: Json, now: float | None = None) -> str:
    """One line about a job: "✓ 4.2 s · 1 worker lost, 2 tasks moved"."""
    state = picture["state"]
    took = seconds_text(elapsed_s(picture, now))
    if state == "done":
        head = f"{SIGNS[state]} {took}"
    elif state in ("failed", "cancelled"):
        head = f"{SIGNS[state]} {state} after {took}"
    else:
        head = f"{SIGNS[state]} {state} {took}"
    why = picture["sentence"].splitlines()[0] if picture["sentence"] else ""
    return " · ".join(part for part in (head, losses_text(picture), why) if part)


def rates_text(picture: Json) -> str:
    """How fast maps read: "48 MB/s · 5.1 M records/s"; "" before anything was read."""
    parts = []
    if picture["bytes_per_s"]:
        parts.append(f"{bytes_text(picture['bytes_per_s'])}/s")
    if picture["records_per_s"]:
        parts.append(f"{count_text(picture['records_per_s'])} records/s")
    return " · ".join(parts)


def bar_text(picture: Json, phase: str) -> str:
    """A bar in words: "29 of 40 · 6 running · 1 again", "212 of 365 MB", "waits for maps"."""
    maps, reduces = picture["map"], picture["reduce"]
    if phase != "map" and picture["started"] is not None and not reduces["total"]:
        return "map only"
    if phase == "shuffle":
        bar = picture["shuffle"]
        if not bar["total"]:
            return "0 B" if maps["done"] else "waits for maps"
        if reduces["done"] >= reduces["total"] > 0:
            return bytes_text(bar["done"])
        return f"{bytes_text(bar['done'])} of {bytes_text(bar['total'])}"
    bar = maps if phase == "map" else reduces
    parts = [f"{count_text(bar['done'])} of {count_text(bar['total'])}"]
    if bar["running"]:
        parts.append(f"{count_text(bar['running'])} running")
    if bar["retry"] and picture["state"] != "cancelled":
        word = "failed" if picture["state"] == "failed" else "again"
        parts.append(f"{count_text(bar['retry'])} {word}")
    if phase == "reduce" and not bar["done"] and not bar["running"] and picture["ended"] is None:
        parts.append("waits for maps")
    return " · ".join(parts)


def bar_parts(picture: Json, phase: str) -> tuple[float, float, float]:
    """A bar's lengths, together at most 1: done, begun (running, or ready to fetch), again."""
    if phase == "shuffle":
        bar = picture["shuffle"]
        total = max(bar["expected"], bar["done"])
        if not total:
            finished = picture["state"] == "done" and picture["reduce"]["total"]
            return (1.0 if finished else 0.0), 0.0, 0.0
        done = bar["done"] / total
        if 0 < picture["reduce"]["total"] <= picture["reduce"]["done"]:
            return 1.0, 0.0, 0.0
        return done, max(0.0, bar["total"] / total - done), 0.0
    bar = picture[phase]
    total = bar["total"]
    if not total:
        return 0.0, 0.0, 0.0
    part = min(bar["part"], bar["running"])
    done = min(1.0, (bar["done"] + part) / total)
    again = min(1.0 - done, bar["retry"] / total)
    begun = min(1.0 - done - again, max(0.0, bar["running"] - bar["retry"] - part) / total)
    return done, max(0.0, begun), again


def worker_text(picture: Json, row: Json) -> str:
    """What a worker does or did: "map-31 62 %, map-33", "died 9.4 s: connection reset"."""
    if row["state"] in ("dead", "retired"):
        at = ""
        if picture.get("started") is not None and row["lost_at"] is not None:
            at = f" at {seconds_text(row['lost_at'] - picture['started'])}"
        return f"{'died' if row['state'] == 'dead' else 'left'}{at}: {row['cause']}"
    names = []
    for task in row["tasks"]:
        attempt = f" (attempt {task['attempt']})" if task["attempt"] > 1 else ""
        part = f" {task['part']:.0%}".replace("%", " %") if task.get("part") else ""
        names.append(f"{task['task']}{part}{attempt}")
    if picture.get("ended") is not None:
        return f"{bytes_text(row['bytes'])} read" if row["bytes"] else ""
    text = names_text(names) if names else "idle"
    if row["more"]:
        text += f" and {row['more']} more"
    return f"{row['cause']} · {text}" if row["state"] == "suspect" else text


def done_text(row: Json) -> str:
    """What a worker finished: "14 maps, 2 reduces"."""
    parts = []
    if row["maps"]:
        parts.append(plural(row["maps"], "map"))
    if row["reduces"]:
        parts.append(plural(row["reduces"], "reduce"))
    return ", ".join(parts) or "–"


def load_text(picture: Json, row: Json) -> str:
    """A worker's load: "98 % · 412 MB"; "" when it is gone, has not told, or its job is over."""
    over = picture.get("ended") is not None or row["state"] in ("dead", "retired")
    if over or not row["memory"]:
        return ""
    return f"{row['cpu']} % · {bytes_text(row['memory'])}"


def job_lines(picture: Json, width: int = 80, *, feed: int = 8) -> list[str]:
    """Draw a job as plain lines, without control codes: summary, bars, workers, newest events.

    Args:
        picture: of a job.
        width: longest line; 0 = as long as they come.
        feed: how many of the newest feed lines to show.
    """
    out = [f"{picture['name']}  {summary_line(picture)}"]
    rates = rates_text(picture)
    if rates:
        out[0] += f" · {rates}"
    for phase in PHASES:
        done, begun, again = bar_parts(picture, phase)
        out.append(
            f"{phase.capitalize():<8}{_plain_bar(done, begun, again)} {bar_text(picture, phase)}"
        )
    out += _worker_lines(picture)
    lines = _newest(picture, feed)
    skipped = picture["older"] + len(picture["feed"]) - len(lines)
    if lines and skipped:
        out.append(f"({plural(skipped, 'earlier event')})")
    started = picture["started"] or 0.0
    out += [f"{line['at'] - started:7.2f} s  {line['text']}" for line in lines]
    return [_cut(line, width) for line in out]


def cluster_lines(picture: Json, width: int = 80) -> list[str]:
    """Draw a cluster as plain lines: one for the whole, one per worker."""
    return [_cut(line, width) for line in [cluster_head(picture), *_worker_lines(picture)]]


def cluster_head(picture: Json) -> str:
    """A cluster in one line: "3 workers · 6 slots, 4 busy · 1 lost"."""
    states = [row["state"] for row in picture["workers"].values()]
    here = sum(state in ("alive", "suspect") for state in states)
    head = f"{plural(here, 'worker')} · {plural(picture['slots'], 'slot')}, {picture['busy']} busy"
    lost = states.count("dead")
    return f"{head} · {lost} lost" if lost else head


class Milestones:
    """Says a job's story line by line, for a pipe or a log.

    A line is told once it has stood for ``SETTLE_S``, or the job is over: the line about a death
    grows while its tasks are taken up. One that grows later still is told again.
    """

    SETTLE_S = 0.3

    def __init__(self) -> None:
        self._told: dict[int, str] = {}
        self._next = 0
        self._quarters = {"map": 0, "reduce": 0}

    def tell(self, picture: Json) -> list[str]:
        """The lines not told yet."""
        out: list[str] = []
        started = picture["started"] or 0.0
        for line in picture["feed"]:
            number, text = line["n"], line["text"]
            if number < self._next and self._told.get(number) == text:
                continue
            if picture["ended"] is None and picture["at"] - line["at"] < self.SETTLE_S:
                break
            self._told[number] = text
            self._next = max(self._next, number + 1)
            out.append(f"{line['at'] - started:7.2f} s  {text}")
        for gone in [number for number in self._told if number < picture["older"]]:
            del self._told[gone]
        if picture["ended"] is None:
            for phase in self._quarters:
                total = picture[phase]["total"]
                quarter = picture[phase]["done"] * 4 // total if total else 0
                if self._quarters[phase] < quarter < 4:
                    self._quarters[phase] = quarter
                    at = seconds_text(elapsed_s(picture)).rjust(9)
                    rates = rates_text(picture) if phase == "map" else ""
                    out.append(
                        f"{at}  {phase} {bar_text(picture, phase)}{' · ' if rates else ''}{rates}"
                    )
        return out


def _newest(picture: Json, count: int) -> list[Json]:
    """The newest feed lines; the newest error stays among them."""
    lines: list[Json] = picture["feed"][-count:] if count else []
    errors = [line for line in picture["feed"] if line["level"] == "error"]
    if lines and errors and errors[-1]["n"] < lines[0]["n"]:
        lines = [errors[-1], *lines[1:]]
    return lines


def _plain_bar(done: float, begun: float, again: float, width: int = 24) -> str:
    full = round(done * width)
    hatched = round((done + again) * width) - full
    light = round((done + again + begun) * width) - full - hatched
    return "█" * full + "▒" * light + "╱" * hatched + "·" * (width - full - light - hatched)


def _worker_lines(picture: Json) -> list[str]:
    rows = picture["workers"]
    wide = max([len(name) for name in rows], default=0)
    lines = []
    for name, row in rows.items():
        parts = (done_text(row), load_text(picture, row), worker_text(picture, row))
        text = " · ".join(part for part in parts if part and part != "–")
        lines.append(f"{WORKER_SIGNS[row['state']]} {name:<{wide}}  {text}")
    return lines


def _cut(line: str, width: int) -> str:
    line = line.replace("\n", " ")
    return line if not width or len(line) <= width else line[: width - 1] + "…"


# In a terminal


def job_renderable(picture: Json, now: float | None = None, *, feed: int = 5) -> RenderableType:
    """Draw a job for ``rich.live.Live``: header, three bars, workers, the newest events.

    Args:
        picture: of a job; ``{}`` before the first snapshot.
        now: on the manager's clock, so that the time goes on between events.
        feed: how many feed lines to show.
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
    facts = [seconds_text(elapsed_s(picture, now)), rates_text(picture)]
    head.append("  " + " · ".join(fact for fact in facts if fact))
    parts: list[RenderableType] = [head]
    if losses_text(picture):
        made_good = state == "done"
        sign = "" if made_good else "✗ "
        parts.append(Text(sign + losses_text(picture), "yellow" if made_good else "red"))

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
    lines = _newest(picture, feed)
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
    return Group(Text(cluster_head(picture), "bold"), _worker_table(picture))


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


_CALM = ("alive", "retired")
_WORKERS_SHOWN = 16
