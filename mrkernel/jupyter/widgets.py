"""The live views as notebook widgets, fed by one thread.

A widget draws nothing: the browser module does (``monitor/static``). It is told whole pictures by
the trait ``snapshot`` (at the start, now and then, at the end) and what changed meanwhile by
messages ``{"deltas": [...]}``. Both leave from the ``refresher``'s thread. After a gap the page
asks for a whole picture; a kernel that is too busy to hear it sends one soon anyway.

What can be done from a view (cancel a job; add, retire or kill a worker) are its ``deeds``; the
page draws a button for each name in the trait ``actions``, and sends ``{"act": name, "ticket": n}``
back. While a cell runs most kernels hear nothing, and a press would be obeyed when nobody expects
it any more: then there are no buttons, but for a page that is heard all the same (``pages``).

At the end of a job its output becomes the *static twin*: see ``twin``.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import anywidget
import traitlets

from mrkernel.errors import ClusterError
from mrkernel.jupyter import pages
from mrkernel.jupyter.busy import kernel_busy
from mrkernel.jupyter.refresher import Keyframes, refresher
from mrkernel.jupyter.twin import cluster_html, job_html, job_text, trimmed
from mrkernel.monitor.browser_module import STATIC, browser_module
from mrkernel.monitor.picture import Json
from mrkernel.monitor.text import cluster_lines

WIDGET_MIME = "application/vnd.jupyter.widget-view+json"

#: What a view says of its job's end where no button can work.
STOP_NOTE = "■ stops this job"
BUSY_NOTE = "Cancel works when the cell has ended"

#: What is to be done, given the worker meant, if one is.
Deed = Callable[[str], object]


class Source(Protocol):
    """Where a widget's pictures come from; ``monitor.picture.Picture`` is one.

    Both methods are called from the refresher's thread and must not wait.
    """

    def snapshot(self) -> Json:
        """The newest picture; ``{}``: none yet."""

    def changed_since(self, seq: int) -> list[Json] | None:
        """The deltas from picture ``seq`` on, oldest first; None: take a snapshot."""


class _PictureWidget(anywidget.AnyWidget):
    """What a job's and a cluster's view have in common.

    Args:
        source: of pictures.
        save_view: what a saved notebook keeps: ``full`` (the picture as text and tables),
            ``summary`` (one line), ``none``.
        picture: to begin with, fresher than the source's, which may lag by a tenth of a second.
        deeds: what can be done from here, by the page's names: "cancel", "add-worker", "retire",
            "kill". Each is called on a thread of its own; its error is told beside the button.
        page: gives the address of the web page. It lets in whoever has it, so only a page where
            somebody presses the button is told, and no notebook keeps it.
    """

    _esm = browser_module()
    _css = STATIC / "view.css"

    snapshot = traitlets.Dict().tag(sync=True)
    save_view = traitlets.Enum(("full", "summary", "none"), default_value="full").tag(sync=True)
    actions = traitlets.List(traitlets.Unicode()).tag(sync=True)
    note = traitlets.Unicode().tag(sync=True)
    #: Under this name a page's own line asks for the view.
    name_of_view = traitlets.Unicode().tag(sync=True)
    #: Which offer of buttons this is: a press that belongs to an earlier one comes too late.
    offer = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        source: Source,
        *,
        save_view: str = "full",
        picture: Json | None = None,
        deeds: Mapping[str, Deed] | None = None,
        page: Callable[[], str] | None = None,
        **traits: Any,
    ) -> None:
        self._deeds = dict(deeds or {})
        if page is not None and _there_is(page):
            self._deeds["page"] = lambda _: page()
        self._lines: set[Any] = set()  #: of its pages, heard while a cell runs, too
        super().__init__(
            save_view=save_view,
            snapshot=picture or source.snapshot(),
            actions=list(self._deeds),
            name_of_view=secrets.token_hex(8),
            **traits,
        )
        self.source = source
        self.over = False  #: had its last picture
        self._feeding = threading.Lock()
        self._picture: Json = self.snapshot
        self._seq: int = self._picture.get("seq", -1)
        self._keyframes = Keyframes()
        self._key_seq = self._seq
        self._handle: Any = None
        self.on_msg(self._heard)
        refresher.add(self)
        pages.know(self)

    def feed(self, now: float) -> bool:
        """Send what changed since the last time; called by the refresher.

        Returns:
            Whether anything was sent.
        """
        with self._feeding:
            if self.over:
                return False
            offered = self._offer(self._able)
            return self._feed(now) or offered

    def _feed(self, now: float) -> bool:
        due = self._keyframes.due(now)
        deltas = self.source.changed_since(self._seq) if self._seq >= 0 else None
        if deltas == [] and self._key_seq == self._seq:
            return False
        picture = self.source.snapshot()
        if not picture or picture["seq"] < self._seq:
            return False
        if self._is_last(picture):
            self._finish(picture)
            return True
        if deltas is None or due:
            self._picture, self._seq = picture, picture["seq"]
            self._key_seq = self._seq
            self.snapshot = picture
            self._keyframes.sent(picture, now)
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

        # A short job may end meanwhile: its twin has a place only when the view has.
        with self._feeding:
            self._handle = display(self, display_id=True)  # type: ignore[no-untyped-call]
            if self.over:
                self._finish(self._picture)

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
        """The newest picture as HTML that needs neither style nor script."""
        raise NotImplementedError

    @property
    def _unable_note(self) -> str:
        """What stands in the buttons' place where they would not work."""
        return ""

    def _is_last(self, picture: Json) -> bool:
        return picture.get("ended") is not None

    def heard_on(self, line: Any, *, always: bool) -> None:
        """A page has opened a line of its own; ``always``: it is heard while a cell runs, too."""
        line.on_msg(lambda message: self._heard(self, message["content"]["data"], None))
        if always:
            self._lines.add(line)
            line.on_close(lambda _: self._lines.discard(line))
        refresher.wake()

    @property
    def _able(self) -> bool:
        """Whether what is pressed now would be heard now."""
        return bool(self._lines) or not kernel_busy

    def _offer(self, able: bool) -> bool:
        """Offer the buttons, or take them away; whether that changed anything."""
        actions = list(self._deeds) if able else []
        note = "" if able or self.over else self._unable_note
        if actions == self.actions and note == self.note:
            return False
        with self.hold_sync():
            self.actions = actions
            self.note = note
            self.offer += 1
        return True

    def _finish(self, picture: Json) -> None:
        """Send the last picture; keep of it in the saved notebook what ``save_view`` says."""
        self.over = self._is_last(picture)
        if self.over:
            self._offer(False)
        if not picture:
            return
        self._picture, self._seq = picture, picture["seq"]
        self._key_seq = self._seq
        if self.save_view == "full" and not (self.over and self._handle):
            self.snapshot = picture
        else:
            # The views here see all of it. The trait is what is saved, beside the twin.
            self.send({"snapshot": picture})
            self.snapshot = {} if self.save_view == "none" else trimmed(picture)
        if self.over:
            self.publish()

    def publish(self) -> None:
        """Put the static twin in the place of the view that ``show`` displayed."""
        if self._handle is None:
            return
        from IPython.display import update_display

        data = self._twin_bundle()
        update_display(data, display_id=self._handle.display_id, raw=True)  # type: ignore[no-untyped-call]
        self._send_twin(data)

    def _twin_bundle(self) -> Json:
        data, _ = self._repr_mimebundle_()
        if "text/html" in data:
            data.pop(WIDGET_MIME, None)
        return data

    def _send_twin(self, data: Json) -> None:
        """A page that was loaded anew does not know our display: it looks for the view."""
        self.send({"twin": data, "of": self.model_id})

    def _heard(self, widget: object, content: Any, buffers: object) -> None:
        """A page says something. Called on the main thread or on that of a subshell."""
        if not isinstance(content, dict):
            return
        if content.get("views") == 1 or content.get("resync"):
            if self.over and self._picture:
                self.send({"snapshot": self._picture})
                if self._handle is not None:
                    self._send_twin(self._twin_bundle())
            self._keyframes.ask()
            refresher.wake()
        deed = self._deeds.get(str(content.get("act")))
        if deed is None:
            return
        if content.get("offer") != self.offer:
            self._answer(content, "the kernel was busy meanwhile: press again")
            return
        # Whoever obeys may have to wait for the manager; the kernel must not.
        threading.Thread(
            target=self._do, args=(deed, content), name="mrk-deed", daemon=True
        ).start()

    def _do(self, deed: Deed, content: Json) -> None:
        try:
            came = deed(str(content.get("worker", "")))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told where it was asked for
            self._answer(content, str(error) or type(error).__name__)
        else:
            self._answer(content, "", **({"open": came} if content["act"] == "page" else {}))

    def _answer(self, content: Json, refused: str, **more: object) -> None:
        self.send({"acted": content.get("ticket"), "refused": refused, **more})

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


def _there_is(page: Callable[[], str]) -> bool:
    try:
        return bool(page())
    except ClusterError:
        return False


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
        if in_cell:
            self._offer(self._able)

    def text(self) -> str:
        """The job as plain text: one line, or with bars, workers, timeline and events."""
        return job_text(self._picture, self.save_view, self._prints)

    def twin(self) -> str:
        """The job as HTML that needs neither style nor script."""
        return job_html(self._picture, self.save_view, self._prints, told=self._in_cell)

    @property
    def _able(self) -> bool:
        return bool(self._lines) or (not self._in_cell and super()._able)

    @property
    def _unable_note(self) -> str:
        if self._in_cell:
            return STOP_NOTE
        return BUSY_NOTE if "cancel" in self._deeds else ""

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
        return cluster_html(self._picture)

    def _is_last(self, picture: Json) -> bool:
        return False
