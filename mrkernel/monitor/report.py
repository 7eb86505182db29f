"""A job's report: one HTML file that says all of a picture, with nothing to fetch.

With scripts the page is the live view's own, at its last picture; without them it is the timeline
as SVG. Below are tables of everything, which need neither. Nothing in the picture can become part
of the page's code: text is escaped, the picture is data in a ``script`` that is not one, and the
page's policy lets only the two pieces of code run that are named in it by their digests.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from html import escape

from mrkernel.monitor.browser_module import STATIC, browser_module
from mrkernel.monitor.lanes import bars_of
from mrkernel.monitor.picture import Json
from mrkernel.monitor.quantities import bytes_text, count_text, plural, seconds_text
from mrkernel.monitor.svg import timeline_svg
from mrkernel.monitor.text import (
    PHASES,
    bar_text,
    done_text,
    elapsed_s,
    rates_text,
    summary_line,
    worker_text,
)

#: Bytes that the timeline of a page without scripts may take: it is a file of its own.
_SVG_LIMIT = 60_000

_STYLE = """
:root { color-scheme: light dark; }
body { max-width: 1120px; margin: 24px auto; padding: 0 16px; }
body { font: 14px/1.5 system-ui, sans-serif; }
h1 { font-size: 20px; margin: 0; }
p { margin: 0 0 12px; }
.facts { display: flex; flex-wrap: wrap; align-items: flex-start; column-gap: 64px; }
details { margin: 10px 0; }
summary { cursor: pointer; font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 2px 14px 2px 0; vertical-align: top; white-space: nowrap; }
th { border-bottom: 1px solid; }
td.long { white-space: normal; }
tr[data-bad] td:first-child { border-left: 3px solid #d9483d; padding-left: 6px; }
"""

_START = """
const picture = JSON.parse(document.getElementById("picture").textContent);
mount(document.getElementById("view"), {
  subscribe(hear) {
    hear({ snapshot: picture });
    return () => {};
  },
});
// A job that is over is folded to one line, and here is nothing else to look at.
requestAnimationFrame(() => {
  document.querySelector('#view .mrk-toggle[aria-expanded="false"]')?.click();
});
"""


def report_html(picture: Json, counters: Mapping[str, int] | None = None) -> str:
    """Write the report of a job.

    Args:
        picture: of a job, best its last.
        counters: the job's own, by name.
    """
    style = (STATIC / "view.css").read_text(encoding="utf-8") + _STYLE
    # An end tag in a string or a comment of the module would end the element.
    script = browser_module().replace("</script", "<\\/script") + _START
    policy = (
        f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"script-src {_digest(script)}; style-src {_digest(style)}"
    )
    # Without "<" no text can end the element, nor begin what a browser takes for a comment.
    data = json.dumps(picture, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    title = f"{picture['name']}: {summary_line(picture)}"
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_text(title)}</title>",
            f"<style>{style}</style></head><body>",
            f"<h1>{_text(picture['name'])}</h1>",
            f"<p>{_text(_when(picture))}</p>",
            '<div id="view"></div>',
            f"<noscript><p>{_text(summary_line(picture))}</p>",
            f"{timeline_svg(picture, _SVG_LIMIT)}</noscript>",
            '<div class="facts">',
            _details("Numbers", _table(("", ""), _numbers(picture)), opened=True),
            _counters(counters),
            "</div>",
            _workers(picture),
            _events(picture),
            _attempts(picture),
            f'<script type="application/json" id="picture">{data}</script>',
            f'<script type="module">{script}</script>',
            "</body></html>",
            "",
        ]
    )


def _when(picture: Json) -> str:
    """Which job it is, and when it began: "job j1, begun 2026-11-21 08:30:00 UTC"."""
    text = f"job {picture['job']}"
    if picture["started"] is not None:
        begun = datetime.fromtimestamp(picture["wall"] + picture["started"], UTC)
        text += f", begun {begun:%Y-%m-%d %H:%M:%S} UTC"
    return text if picture["ended"] is not None else f"{text}, not over when this was written"


def _numbers(picture: Json) -> list[tuple[str, ...]]:
    rows = [
        ("Time", seconds_text(elapsed_s(picture))),
        *((phase.capitalize(), bar_text(picture, phase)) for phase in PHASES),
        ("Input", bytes_text(picture["input_bytes"]) if picture["input_bytes"] else ""),
        ("Read", f"{count_text(picture['records'])} records, {bytes_text(picture['bytes'])}"),
        ("Speed", rates_text(picture)),
        ("Pairs from maps", count_text(picture["pairs"])),
        ("Groups", count_text(picture["groups"]) if picture["groups"] else ""),
        ("Pairs in the result", count_text(picture["pairs_out"])),
        ("Result", bytes_text(picture["bytes_out"])),
        ("Functions", picture["functions"]),
        ("Error", picture["sentence"]),
    ]
    return [row for row in rows if row[1]]


def _counters(counters: Mapping[str, int] | None) -> str:
    if not counters:
        return ""
    rows = [(name, count_text(number)) for name, number in sorted(counters.items())]
    return _details("Counters", _table(("counter", "total"), rows), opened=True)


def _workers(picture: Json) -> str:
    rows = [
        (
            name,
            row["state"],
            row["host"],
            str(row["pid"] or ""),
            str(row["slots"] or ""),
            done_text(row),
            str(row["failed"] or ""),
            count_text(row["records"]),
            bytes_text(row["bytes"]),
            seconds_text(row["seconds"]),
            worker_text(picture, row) if row["end"] else "",
        )
        for name, row in picture["workers"].items()
    ]
    heads = (
        "worker", "state", "host", "pid", "slots", "done", "failed", "records", "read", "busy",
        "end",
    )  # fmt: skip
    bad = {n for n, row in enumerate(picture["workers"].values()) if row["state"] == "dead"}
    return _details(plural(len(rows), "worker"), _table(heads, rows, bad))


def _events(picture: Json) -> str:
    started = picture["started"] or 0.0
    feed = picture["feed"]
    rows = [(f"{line['at'] - started:.2f} s", line["text"]) for line in feed]
    bad = {n for n, line in enumerate(feed) if line["level"] == "error"}
    head = plural(len(rows), "event")
    if picture["older"]:
        head += f" (and {count_text(picture['older'])} before them)"
    return _details(head, _table(("at", "what happened"), rows, bad))


def _attempts(picture: Json) -> str:
    bars = bars_of(picture)
    started = picture["started"] or 0.0
    rows, bad = [], set()
    for n, bar in enumerate(bars):
        if bar.state in ("failed", "lost", "gone"):
            bad.add(n)
        state = {"gone": "output lost", "killed": "stopped"}.get(bar.state, bar.state)
        many = f" and {plural(bar.tasks - 1, 'more', 'more')}" if bar.tasks > 1 else ""
        rows.append(
            (
                f"{bar.task}{many}",
                str(bar.attempt),
                bar.lane,
                f"{bar.begin - started:.3f} s",
                "" if bar.end is None else seconds_text(bar.end - bar.begin),
                f"{state}, backup" if bar.backup else state,
                count_text(bar.records),
                bytes_text(bar.bytes),
                bar.input,
                bar.cause,
            )
        )
    heads = ("task", "attempt", "slot", "at", "took", "state", "records", "read", "input", "cause")
    head = plural(sum(bar.tasks for bar in bars), "attempt")
    dropped = picture.get("timeline", {}).get("dropped", 0)
    if dropped:
        head += f" (and {count_text(dropped)} that are not kept)"
    return _details(head, _table(heads, rows, bad))


def _details(title: str, body: str, *, opened: bool = False) -> str:
    flag = " open" if opened else ""
    return (
        f'<details{flag}><summary>{_text(title)}</summary><div class="wide">{body}</div></details>'
    )


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]], bad: Iterable[int] = ()) -> str:
    marked = set(bad)
    parts = ["<table>"]
    if any(heads):
        cells = "".join(f'<th scope="col">{head}</th>' for head in heads)
        parts.append(f"<thead><tr>{cells}</tr></thead>")
    parts.append("<tbody>")
    for n, row in enumerate(rows):
        cells = "".join(_cell(text) for text in row)
        parts.append(f"<tr{' data-bad' if n in marked else ''}>{cells}</tr>")
    parts.append("</tbody></table>")
    return "\n".join(parts)


def _cell(text: str) -> str:
    return f'<td class="long">{_text(text)}</td>' if len(text) > 60 else f"<td>{_text(text)}</td>"


def _text(text: str) -> str:
    return escape(text.replace("\0", " "))


def _digest(code: str) -> str:
    digest = hashlib.sha256(code.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
