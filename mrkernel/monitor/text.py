"""The pictures as text: sentences for every view, plain lines for pipes and saved notebooks.

Every function takes a picture, the dict that ``JobView.snapshot()`` draws and a client's
``Picture.snapshot()`` holds. ``static/view.js`` says the same, word for word.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime

from mrkernel.monitor.picture import Json
from mrkernel.monitor.quantities import bytes_text, count_text, names_text, plural, seconds_text
from mrkernel.monitor.timeline_text import LANES_SHOWN, timeline_lines
from mrkernel.monitor.workers import HERE

#: What a state looks like; never colour alone.
SIGNS = {"waiting": "·", "running": "▶", "done": "✓", "failed": "✗", "cancelled": "■"}
WORKER_SIGNS = {
    "alive": "●", "suspect": "◐", "barred": "◐", "dead": "✗", "retired": "○", "unknown": "○",
}  # fmt: skip

PHASES = ("map", "shuffle", "reduce")

_UNITS = ((1, "s"), (60, "min"), (3600, "h"))
#: What the numbers of the keys so far are.
_TOP_TITLES = {
    "count": "Most frequent keys so far",
    "sum": "Largest sums so far",
    "min": "Smallest values so far",
    "max": "Largest values so far",
}


def elapsed_s(picture: Json, now: float | None = None) -> float:
    """Seconds a job has run, or ran; ``now`` on the manager's clock, None: its newest event."""
    if picture["started"] is None:
        return 0.0
    end = picture["ended"]
    if end is None:
        end = picture["at"] if now is None else max(now, picture["at"])
    return max(0.0, float(end - picture["started"]))


def losses_text(picture: Json) -> str:
    """What went wrong and was made good: "1 worker lost, 2 tasks moved"; "" when nothing was."""
    parts = []
    if picture["lost_workers"]:
        parts.append(f"{plural(picture['lost_workers'], 'worker')} lost")
    if picture["restarts"]:
        parts.append("manager restarted")
    if picture["failed"]:
        parts.append(f"{plural(picture['failed'], 'attempt')} failed")
    if picture["moved"]:
        parts.append(f"{plural(picture['moved'], 'task')} moved")
    if picture["redone"]:
        parts.append(f"{plural(picture['redone'], 'task')} redone")
    if picture["bad"]:
        parts.append(f"{plural(picture['bad'], 'bad record')} skipped")
    return ", ".join(parts)


def is_troubled(picture: Json) -> bool:
    """Whether something went wrong; records that were skipped were meant to be."""
    return any(picture[name] for name in ("lost_workers", "restarts", "failed", "moved", "redone"))


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
    """A bar in words: "29 of 40 · 6 running · 1 again", "365 MB written · waits for maps"."""
    maps, reduces = picture["map"], picture["reduce"]
    if phase != "map" and picture["started"] is not None and not reduces["total"]:
        return "map only"
    if phase == "shuffle":
        bar = picture["shuffle"]
        if not bar["total"]:
            return "0 B" if maps["done"] else "waits for maps"
        if reduces["done"] >= reduces["total"] > 0:
            return bytes_text(bar["done"])
        if maps["done"] >= maps["total"]:
            return f"{bytes_text(bar['done'])} of {bytes_text(bar['total'])} read"
        written = f"{bytes_text(bar['total'])} written"
        if bar["done"]:  # some of it was lost since
            return f"{written}, {bytes_text(bar['done'])} read"
        return written if picture["ended"] is not None else f"{written} · waits for maps"
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
    """What a worker does or did: "map-31 62 %, map-33", "was killed (SIGKILL) at 9.4 s"."""
    if row["end"]:
        at = ""
        if picture.get("started") is not None and row["lost_at"] is not None:
            at = f" at {seconds_text(row['lost_at'] - picture['started'])}"
        return f"{row['end']}{at}{': ' if row['cause'] else ''}{row['cause']}"
    if picture.get("ended") is not None:
        return f"{bytes_text(row['bytes'])} read" if row["bytes"] else ""
    names = []
    for task in row["tasks"]:
        mark = f" (attempt {task['attempt']})" if task["attempt"] > 1 else ""
        if task.get("backup"):
            mark = " (backup)"
        part = f" {task['part']:.0%}".replace("%", " %") if task.get("part") else ""
        names.append(f"{task['task']}{part}{mark}")
    text = names_text(names) if names else ("idle" if row["state"] in HERE else "not here")
    if row["more"]:
        text += f" and {row['more']} more"
    return f"{row['cause']} · {text}" if row["cause"] else text


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
    over = picture.get("ended") is not None or row["state"] not in HERE
    if over or not row["memory"]:
        return ""
    return f"{row['cpu']} % · {bytes_text(row['memory'])}"


def eta_text(picture: Json) -> str:
    """How long it takes still: "8–11 s left", "40 s–5 min left"; "" when nobody knows."""
    if not picture.get("eta"):
        return ""
    low, high = picture["eta"]
    at = 0 if high < 180 else 1 if high < 10_800 else 2
    unit, name = _UNITS[at]
    last = _outward(high / unit, math.ceil)
    if low < unit and at:
        small, smaller = _UNITS[at - 1]
        first = _outward(low / small, math.floor)
        span = f"{first} {smaller}–{last} {name}"
    else:
        first = _outward(low / unit, math.floor)
        last = max(last, first + 1)
        span = f"{first}–{last} {name}"
    return f"{span} left" if first else f"less than {last} {name} left"


def _outward(number: float, end: Callable[[float], int]) -> int:
    """Round down or up; from 30 on to fives, for it is known no better."""
    step = 5 if number >= 30 else 1
    return end(number / step) * step


def progress_text(picture: Json) -> str:
    """A job's bars in few words: "29 of 40 maps, 0 of 8 reduces"."""
    counts = [
        (picture[phase], f"{phase}s") for phase in ("map", "reduce") if picture[phase]["total"]
    ]
    return ", ".join(
        f"{count_text(bar['done'])} of {count_text(bar['total'])} {noun}" for bar, noun in counts
    )


def top_lines(picture: Json) -> list[str]:
    """The keys that stand out so far; [] when none are known, or the result is there."""
    top = picture.get("top")
    if not top or picture["ended"] is not None:
        return []
    what = _TOP_TITLES.get(top["kind"], "So far")
    splits = plural(picture["map"]["total"], "split")
    rows = [f"{key} {number:,.10g}" for key, number in top["rows"]]
    return [f"{what} ({count_text(top['maps'])} of {splits}, not final): {', '.join(rows)}"]


def parts_lines(picture: Json) -> list[str]:
    """The biggest partitions so far; [] when none are known, or the job is over."""
    parts, partitions = picture.get("parts"), picture.get("partitions", 0)
    if not parts or partitions < 2 or picture["ended"] is not None:
        return []
    mean = picture["shuffle"]["total"] / partitions
    skew = parts[0][1] / mean if mean else 0.0
    times = f"{skew:.1f}" if skew < 10 else count_text(round(skew))
    note = f"of {count_text(partitions)}" + (f"; the first has {times} × the mean" if skew else "")
    rows = [f"reduce-{partition} {bytes_text(size)}" for partition, size in parts]
    return [f"Biggest partitions ({note}): {', '.join(rows)}"]


def job_lines(
    picture: Json, width: int = 80, *, feed: int = 8, lanes: int = LANES_SHOWN
) -> list[str]:
    """Draw a job as plain lines, without control codes.

    Its summary and bars, workers, timeline, the keys so far, the newest events.

    Args:
        picture: of a job.
        width: longest line; 0 = as long as they come.
        feed: how many of the newest feed lines to show.
        lanes: how many lanes of the timeline to show.
    """
    out = [f"{picture['name']}  {summary_line(picture)}"]
    facts = " · ".join(part for part in (rates_text(picture), eta_text(picture)) if part)
    if facts and (not width or len(out[0]) + len(facts) + 3 <= width):
        out[0] += f" · {facts}"
    elif facts:
        out.append(facts)
    if picture["banner"] is not None:
        out.append(f"! {picture['banner']['text']}")
    for phase in PHASES:
        done, begun, again = bar_parts(picture, phase)
        out.append(
            f"{phase.capitalize():<8}{_plain_bar(done, begun, again)} {bar_text(picture, phase)}"
        )
    out += _worker_lines(picture)
    out += timeline_lines(picture, width or 80, lanes) if lanes else []
    out += [*top_lines(picture), *parts_lines(picture)]
    lines = newest(picture, feed)
    skipped = picture["older"] + len(picture["feed"]) - len(lines)
    if lines and skipped:
        out.append(f"({plural(skipped, 'earlier event')})")
    started = picture["started"] or 0.0
    out += [f"{line['at'] - started:7.2f} s  {line['text']}" for line in lines]
    return [_cut(line, width) for line in out]


def cluster_lines(picture: Json, width: int = 80) -> list[str]:
    """Draw a cluster as plain lines: one for the whole, one per worker."""
    banner = [f"! {picture['banner']['text']}"] if picture["banner"] is not None else []
    lines = [cluster_head(picture), *banner, *_worker_lines(picture)]
    return [_cut(line, width) for line in lines]


def job_rows(picture: Json, clock: float) -> list[tuple[str, str, str, str]]:
    """The jobs of a cluster: id, state, how long it took so far, name.

    Args:
        picture: of a cluster.
        clock: Unix time; the picture knows only when something happened last.
    """
    now = max(picture["at"], clock - picture["wall"])
    rows = []
    for job_id, row in picture["jobs"].items():
        end = now if row["ended"] is None else row["ended"]
        took = seconds_text(max(0.0, end - row["started"]))
        rows.append((job_id, row["state"], took, row["name"]))
    return rows


def clock_text(unix: float) -> str:
    """A time as clocks here show it: "14:05:09"."""
    return f"{datetime.fromtimestamp(unix):%H:%M:%S}"


def cluster_head(picture: Json) -> str:
    """A cluster in one line: "3 workers · 6 slots, 4 busy · 1 lost"."""
    states = [row["state"] for row in picture["workers"].values()]
    here = sum(state in HERE for state in states)
    head = f"{plural(here, 'worker')} · {plural(picture['slots'], 'slot')}, {picture['busy']} busy"
    return f"{head} · {picture['lost']} lost" if picture["lost"] else head


class Told:
    """Which lines of a feed were told: each once it has stood for a while.

    The line about a death grows while its tasks are taken up. One that grows later still is told
    again, and of those that left the feed before they could be told it is said how many they were.

    Args:
        before: lines that need not be told.
    """

    SETTLE_S = 1.0

    def __init__(self, before: Sequence[Json] = ()) -> None:
        self._told = {line["n"]: line["text"] for line in before}
        self._next = before[-1]["n"] + 1 if before else 0
        self.settled = True  #: no line waits

    def news(self, picture: Json, now: float, *, over: bool = False) -> list[Json]:
        """The lines to tell now; ``over``: all of them."""
        out: list[Json] = []
        self.settled = True
        if picture["feed"] and (missed := picture["feed"][0]["n"] - self._next) > 0:
            self._next += missed
            text = f"({plural(missed, 'more event')})"
            out.append({"at": picture["feed"][0]["at"], "level": "info", "text": text})
        for line in picture["feed"]:
            number, text = line["n"], line["text"]
            if number < self._next and self._told.get(number) == text:
                continue
            self.settled = over or now - line["at"] >= self.SETTLE_S
            if not self.settled:
                break
            self._told[number] = text
            self._next = max(self._next, number + 1)
            out.append(line)
        for gone in [number for number in self._told if number < picture["older"]]:
            del self._told[gone]
        return out


class Milestones:
    """Says a job's story line by line, for a pipe or a log.

    How far the bars are is told when no line waits, so that times only go up.
    """

    def __init__(self) -> None:
        self._told = Told()
        self._quarters = {"map": 0, "reduce": 0}
        self._banner = ""

    def tell(self, picture: Json, now: float | None = None) -> list[str]:
        """The lines not told yet; ``now`` as in ``elapsed_s``: nothing may happen for long."""
        out: list[str] = []
        started = picture["started"] or 0.0
        now = picture["at"] if now is None else max(now, picture["at"])
        banner = picture["banner"] or {"kind": "", "text": ""}
        if banner["kind"] != self._banner:
            self._banner = banner["kind"]
            if banner["kind"] in ("away", "gone"):  # the others are in the feed
                out.append(f"{seconds_text(elapsed_s(picture, now)).rjust(9)}  {banner['text']}")
        over = picture["ended"] is not None
        for line in self._told.news(picture, now, over=over):
            out.append(f"{line['at'] - started:7.2f} s  {line['text']}")
        if self._told.settled and not over:
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


class ClusterStory:
    """Says what happens in a cluster line by line, from now on, for a pipe or a log.

    Args:
        picture: of the cluster as it is now.
    """

    def __init__(self, picture: Json) -> None:
        self._told = Told(picture["feed"])
        self._jobs = {job: row["state"] for job, row in picture["jobs"].items()}
        self._banner = ""

    def tell(self, picture: Json, clock: float) -> list[str]:
        """The lines not told yet.

        Args:
            picture: the newest.
            clock: Unix time.
        """
        out: list[str] = []
        banner = picture["banner"] or {"kind": "", "text": ""}
        if banner["kind"] != self._banner:
            # Away, gone, or there again.
            self._banner = banner["kind"]
            out.append(f"{clock_text(clock)}  {banner['text'] or 'the manager is there again'}")
        for line in self._told.news(picture, clock - picture["wall"]):
            out.append(f"{clock_text(line['at'] + picture['wall'])}  {line['text']}")
        for job, state, took, name in job_rows(picture, clock):
            if self._jobs.get(job) != state:
                self._jobs[job] = state
                at = picture["jobs"][job]["started" if state == "running" else "ended"]
                after = "" if state == "running" else f" after {took}"
                out.append(f"{clock_text(at + picture['wall'])}  {job} {name}: {state}{after}")
        return out


def newest(picture: Json, count: int) -> list[Json]:
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
