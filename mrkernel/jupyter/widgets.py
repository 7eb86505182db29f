"""The live views as notebook widgets, fed by one thread.

A widget draws nothing: ``monitor/static/view.js`` does. It is told whole pictures by the trait
``snapshot`` (at the start, every few seconds, at the end) and what changed meanwhile by messages
``{"deltas": [...]}``. Both leave from one daemon thread, the ``Refresher``, which asks each
widget's source four to ten times a second, whatever happened in between: Jupyter drops messages
above 1,000 a second, and the kernel's own loop stands still while a cell runs.

The deltas are lost on a view that is not drawn yet (its module loads, the page was reloaded): the
next whole picture brings it back in step, so no view ever has to ask, which a busy kernel could not
answer anyway.

At the end of a job its output becomes the *static twin*: plain HTML and text, because a widget
whose kernel is gone is shown by JupyterLab as an error, and by GitHub not at all.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from html import escape
from typing import Any, Protocol

import anywidget
import traitlets

from mrkernel.monitor.browser_module import STATIC, browser_module
from mrkernel.monitor.picture import Json
from mrkernel.monitor.text import (
    PHASES,
    WORKER_SIGNS,
    bar_parts,
    bar_text,
    cluster_head,
    cluster_lines,
    done_text,
    job_lines,
    rates_text,
    summary_line,
    worker_text,
)

_logger = logging.getLogger("mrkernel.jupyter")

#: Bytes of the static twin that a saved notebook keeps of one view.
TWIN_LIMIT = 20_000

#: Seconds between two rounds of the refresher: at the start, and at rest.
FAST_S = 0.1
SLOW_S = 0.25

#: Ages of a widget at which it is sent a whole picture; from then on every last interval.
_KEYFRAMES_S = (0.25, 0.5, 1.0, 2.0, 4.0)

WIDGET_MIME = "application/vnd.jupyter.widget-view+json"


class Source(Protocol):
    """Where a widget's pictures come from; ``monitor.picture.Picture`` is one.

    Both methods are called from the refresher's thread and must not wait.
    """

    def snapshot(self) -> Json:
        """The newest picture; ``{}``: none yet."""

    def changed_since(self, seq: int) -> list[Json] | None:
        """The deltas from picture ``seq`` on, oldest first; None: take a snapshot."""


class Refresher:
    """One thread that feeds all widgets; it begins with the first and ends with the last.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._fed: dict[_PictureWidget, None] = {}
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()

    def add(self, widget: _PictureWidget) -> None:
        """Feed the widget until it has had its last picture, or is closed."""
        with self._lock:
            self._fed[widget] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mrk-refresher", daemon=True)
                self._thread.start()
        self._wake.set()

    def discard(self, widget: _PictureWidget) -> None:
        """Feed the widget no more."""
        with self._lock:
            self._fed.pop(widget, None)
        self._wake.set()

    @property
    def running(self) -> bool:
        """Whether there is a thread now."""
        return self._thread is not None

    def round(self) -> bool:
        """Feed each widget once.

        Returns:
            Whether anything was sent.
        """
        with self._lock:
            widgets = list(self._fed)
        sent = False
        for widget in widgets:
            try:
                sent |= widget.feed(self._clock())
            except Exception:  # one broken view must not stop the others
                _logger.exception("the view %s stops: it cannot be fed", widget.model_id)
                self.discard(widget)
            else:
                if widget.over:
                    self.discard(widget)
        return sent

    def _run(self) -> None:
        while True:
            self._wake.clear()
            sent = self.round()
            with self._lock:
                if not self._fed:
                    self._thread = None
                    return
            self._wake.wait(FAST_S if sent else SLOW_S)


# Between the light and the dark theme's colours of view.css: a saved picture knows no theme.
_HUES = {"map": "#4a86ee", "shuffle": "#9a6fdc", "reduce": "#2aa389"}
_AGAIN = "#e0564a"

# JupyterLab would break lines in the middle of words.
_PRE = '<pre style="word-break:normal;overflow-wrap:anywhere">'

#: The one for all widgets of this kernel.
refresher = Refresher()


class _PictureWidget(anywidget.AnyWidget):
    """What a job's and a cluster's view have in common.

    Args:
        source: of pictures.
        save_view: what a saved notebook keeps: ``full`` (the picture as text and tables),
            ``summary`` (one line), ``none``.
        picture: to begin with, fresher than the source's, which may lag by a tenth of a second.
    """

    _esm = browser_module()
    _css = STATIC / "view.css"

    snapshot = traitlets.Dict().tag(sync=True)
    save_view = traitlets.Enum(("full", "summary", "none"), default_value="full").tag(sync=True)

    def __init__(
        self,
        source: Source,
        *,
        save_view: str = "full",
        picture: Json | None = None,
        **traits: Any,
    ) -> None:
        super().__init__(save_view=save_view, snapshot=picture or source.snapshot(), **traits)
        self.source = source
        self.over = False  #: had its last picture
        self._feeding = threading.Lock()
        self._picture: Json = self.snapshot
        self._seq: int = self._picture.get("seq", -1)
        self._born: float | None = None
        self._keyframes = 0
        self._key_seq = self._seq
        self._views = 0
        self._handle: Any = None
        self.on_msg(self._heard)
        refresher.add(self)

    def feed(self, now: float) -> bool:
        """Send what changed since the last time; called by the refresher.

        Returns:
            Whether anything was sent.
        """
        with self._feeding:
            if self.over:
                return False
            if self._born is None:
                self._born = now
            deltas = self.source.changed_since(self._seq) if self._seq >= 0 else None
            if deltas == [] and self._key_seq == self._seq:
                return False
            picture = self.source.snapshot()
            if not picture or picture["seq"] < self._seq:
                return False
            if self._is_last(picture):
                self._finish(picture)
                return True
            if deltas is None or self._keyframe_due(now):
                self._picture, self._seq = picture, picture["seq"]
                self._key_seq = self._seq
                self.snapshot = picture
                return True
            if not deltas:
                return False
            # The source may have moved on between the two calls: the deltas say where we are.
            self._seq = deltas[-1]["seq"]
            self.send({"deltas": deltas})
            return True

    def show(self) -> None:
        """Display the view here, so that its static twin can take the final state later."""
        from IPython.display import display

        self._handle = display(self, display_id=True)  # type: ignore[no-untyped-call]

    def settle(self) -> None:
        """Bring the view to its source's newest picture, now: at the end of a cell.

        What a saved notebook keeps is brought up to date too. Safe to call from any thread, and
        more than once.
        """
        with self._feeding:
            if not self.over:
                self._finish(self.source.snapshot())
        refresher.discard(self)

    def close(self) -> None:
        """Take the view off the page."""
        self.over = True
        refresher.discard(self)
        super().close()

    def text(self) -> str:
        """The newest picture as plain text."""
        raise NotImplementedError

    def twin(self) -> str:
        """The newest picture as plain HTML without style, at most ``TWIN_LIMIT`` bytes."""
        raise NotImplementedError

    def _is_last(self, picture: Json) -> bool:
        return picture.get("ended") is not None

    def _keyframe_due(self, now: float) -> bool:
        """Whether the views that may have missed a delta are due for a whole picture."""
        age = now - (self._born or 0.0)
        last = len(_KEYFRAMES_S) - 1
        if self._keyframes < last:
            due = _KEYFRAMES_S[self._keyframes]
        else:
            due = _KEYFRAMES_S[last] * (self._keyframes - last + 1)
        if age < due:
            return False
        while self._keyframes < last and age >= _KEYFRAMES_S[self._keyframes]:
            self._keyframes += 1
        if self._keyframes >= last:
            self._keyframes = last + int(age / _KEYFRAMES_S[last])
        return True

    def _finish(self, picture: Json) -> None:
        """Send the last picture; keep of it in the saved notebook what ``save_view`` says."""
        self.over = self._is_last(picture)
        if not picture:
            return
        self._picture, self._seq = picture, picture["seq"]
        self._key_seq = self._seq
        if self.save_view == "full":
            self.snapshot = picture
        else:
            # The views here see all of it; the trait is what is saved.
            self.send({"snapshot": picture})
            self.snapshot = {} if self.save_view == "none" else _trimmed(picture)
        if self.over:
            self.publish()

    def publish(self) -> None:
        """Put the static twin in the place of the view that ``show`` displayed."""
        if self._handle is None:
            return
        from IPython.display import update_display

        data, _ = self._repr_mimebundle_()
        if "text/html" in data:
            data.pop(WIDGET_MIME, None)
        update_display(data, display_id=self._handle.display_id, raw=True)  # type: ignore[no-untyped-call]

    def _heard(self, widget: object, content: Any, buffers: object) -> None:
        """A view came or went: nothing is fed that nobody sees. Any thread."""
        if isinstance(content, dict) and isinstance(content.get("views"), int):
            self._views = max(0, self._views + content["views"])

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[Json, Json]:
        data: Json = {}
        metadata: Json = {}
        base: Any = super()._repr_mimebundle_(**kwargs)
        if base is not None:
            data |= base[0]
            metadata |= base[1]
        picture = self.source.snapshot()
        if picture and picture["seq"] > self._picture.get("seq", -1):
            self._picture = picture
        data["text/plain"] = self.text()
        if self.save_view != "none":
            data["text/html"] = self.twin()
        return data, metadata


class JobWidget(_PictureWidget):
    """One job, live; see ``_PictureWidget`` for the other arguments.

    Args:
        in_cell: the cell waits for the job, so that a failure's sentence stands below the view.
        printed: gives what tasks printed, to be shown below the final picture. None: the cell
            shows it itself.
    """

    def __init__(
        self,
        source: Source,
        *,
        in_cell: bool = False,
        printed: Callable[[], str] | None = None,
        **others: Any,
    ) -> None:
        self._in_cell = in_cell
        self._printed = printed
        self._prints = ""
        super().__init__(source, **others)

    def text(self) -> str:
        """The job as plain text: one line, or with bars, workers and events."""
        picture = self._picture
        if not picture:
            return "a job that has not begun"
        if self.save_view != "full":
            lines = [f"{picture['name']}  {summary_line(picture)}"]
        else:
            lines = job_lines(picture, 120, feed=20)
        return "\n".join([*lines, *self._prints.splitlines()])

    def twin(self) -> str:
        """The job as HTML without style."""
        picture = self._picture
        if not picture:
            return ""
        failed = picture["state"] == "failed"
        told = failed and self._in_cell  # below, in red
        summary = summary_line({**picture, "sentence": ""} if told else picture)
        rates = "" if failed else rates_text(picture)
        head = f"<b>{escape(picture['name'])}</b> {escape(summary)}"
        head += f" · {escape(rates)}" if rates else ""
        prints = f"{_PRE}{escape(self._prints)}</pre>" if self._prints else ""
        if self.save_view != "full":
            return f"<div>{head}</div>{prints}"
        bars = "".join(_bar_html(picture, phase) for phase in PHASES)
        workers = _workers_html(picture)
        began = picture["started"] or 0.0
        times = [f"{line['at'] - began:.2f} s" for line in picture["feed"]]
        wide = max(map(len, times), default=0)
        events = [
            f"{at:>{wide}}  {line['text']}" for at, line in zip(times, picture["feed"], strict=True)
        ]
        earlier = picture["older"]
        opened = " open" if failed and not told else ""
        frame = (
            f"<details{opened}><summary>{head}</summary>"
            f"<table>{bars}</table>{workers}{_PRE}</pre></details>"
        )
        room = TWIN_LIMIT - len(frame.encode()) - 100
        kept: list[str] = []
        for line in reversed(events):
            room -= len(escape(line).encode()) + 1
            if room < 0:
                break
            kept.append(escape(line))
        earlier += len(events) - len(kept)
        if earlier:
            kept.append(f"{earlier} earlier events are not kept")
        return frame.replace(_PRE, _PRE + "\n".join(reversed(kept))) + prints

    def _finish(self, picture: Json) -> None:
        if self._printed is not None and self._is_last(picture):
            self._prints += self._printed()
        super()._finish(picture)


class ClusterWidget(_PictureWidget):
    """The workers of a cluster, live; it is fed until it is closed."""

    def feed(self, now: float) -> bool:
        """Send what changed since the last time, while somebody looks."""
        if self.comm is None:
            self.over = True
            return False
        return super().feed(now)

    def text(self) -> str:
        """The cluster as plain text."""
        picture = self._picture
        return "\n".join(cluster_lines(picture, 120)) if picture else "no cluster yet"

    def twin(self) -> str:
        """The cluster as HTML without style."""
        picture = self._picture
        if not picture:
            return ""
        return f"<b>{escape(cluster_head(picture))}</b>{_workers_html(picture)}"

    def _is_last(self, picture: Json) -> bool:
        return False


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


def _workers_html(picture: Json) -> str:
    """The workers as a bare table; as many as fit into half of what a view may keep."""
    rows: list[str] = []
    room = TWIN_LIMIT // 2
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


def _trimmed(picture: Json) -> Json:
    """The picture without its rows: what the summary line and the bars need."""
    return {**picture, "workers": {}, "troubles": {}, "feed": [], "older": 0, "trimmed": True}
