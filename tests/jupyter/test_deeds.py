"""What can be done from a view: buttons while they are heard, presses that come too late."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from stages import Stage, ended

from mrkernel.errors import ManagerUnreachableError
from mrkernel.jupyter import pages, widgets
from mrkernel.jupyter.busy import BUSY_AFTER_S, KernelBusy
from mrkernel.jupyter.widgets import BUSY_NOTE, STOP_NOTE, JobWidget

pytestmark = pytest.mark.usefixtures("by_hand")


class Deeds:
    """What a page may ask for, and what came of it."""

    def __init__(self) -> None:
        self.did: list[tuple[str, str]] = []
        self.answers: list[dict[str, Any]] = []
        self._answered = threading.Semaphore(0)

    def map(self) -> dict[str, Any]:
        def kill(worker: str) -> None:
            if worker == "w9":
                raise ValueError("no worker 'w9' lives here")
            self.did.append(("kill", worker))

        return {"kill": kill, "cancel": lambda worker: self.did.append(("cancel", worker))}

    def listen(self, widget: Any) -> None:
        def send(content: dict[str, Any], buffers: object = None) -> None:
            if "acted" in content:
                self.answers.append(content)
                self._answered.release()

        widget.send = send

    def wait(self) -> None:
        assert self._answered.acquire(timeout=5)

    def press(self, widget: Any, name: str, worker: str = "", offer: int | None = None) -> Any:
        offer = widget.offer if offer is None else offer
        content = {"act": name, "worker": worker, "offer": offer, "ticket": "7"}
        widget._handle_custom_msg(content, [])
        self.wait()
        return self.answers[-1]


class Line:
    """A page's own line, at the kernel's end."""

    def __init__(self) -> None:
        self.closed = False

    def on_msg(self, hear: Any) -> None:
        self._hear = hear

    def on_close(self, leave: Any) -> None:
        self.leave = lambda: leave({})

    def say(self, data: dict[str, Any]) -> None:
        self._hear({"content": {"data": data}})

    def close(self) -> None:
        self.closed = True


def test_what_is_pressed_is_done_and_answered(stage: Stage) -> None:
    deeds = Deeds()
    widget = JobWidget(stage.source, deeds=deeds.map())
    deeds.listen(widget)
    assert widget.actions == ["kill", "cancel"]
    assert deeds.press(widget, "kill", "w2") == {"acted": "7", "refused": ""}
    assert deeds.press(widget, "cancel") == {"acted": "7", "refused": ""}
    assert deeds.did == [("kill", "w2"), ("cancel", "")]
    assert deeds.press(widget, "kill", "w9")["refused"] == "no worker 'w9' lives here"
    widget._handle_custom_msg({"act": "no such thing"}, [])
    assert len(deeds.answers) == 3


def test_the_web_pages_address_is_told_to_who_presses_and_to_nobody_else(stage: Stage) -> None:
    deeds = Deeds()
    widget = JobWidget(stage.source, page=lambda: "http://127.0.0.1:1/job/j-1?token=secret")
    deeds.listen(widget)
    assert widget.actions == ["page"]
    assert deeds.press(widget, "page")["open"].endswith("secret")
    data, _ = widget._repr_mimebundle_()
    assert "secret" not in str(widget.get_state()) + str(data)

    def none() -> str:
        raise ManagerUnreachableError("this manager has no web page")

    assert JobWidget(stage.source, page=none).actions == []


def test_while_the_kernel_is_busy_no_button_is_shown_and_an_old_press_is_refused(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    busy = KernelBusy(lambda: now)
    monkeypatch.setattr(widgets, "kernel_busy", busy)
    deeds = Deeds()
    widget = JobWidget(stage.source, deeds=deeds.map())
    deeds.listen(widget)
    offer = widget.offer
    busy.begin()
    now = BUSY_AFTER_S / 2
    assert not widget.feed(now)
    now = BUSY_AFTER_S + 0.1
    assert widget.feed(now)
    assert (widget.actions, widget.note) == ([], BUSY_NOTE)
    busy.end()
    assert widget.feed(now)
    assert (widget.actions, widget.note) == (["kill", "cancel"], "")
    assert "press again" in deeds.press(widget, "kill", "w2", offer=offer)["refused"]
    assert deeds.did == []
    stage.tell(ended())
    widget.feed(now)
    assert (widget.actions, widget.note) == ([], "")


def test_a_cell_that_waits_for_its_job_says_how_to_stop_it(stage: Stage) -> None:
    deeds = Deeds()
    widget = JobWidget(stage.source, in_cell=True, deeds=deeds.map())
    assert (widget.actions, widget.note) == ([], STOP_NOTE)
    assert not widget.feed(0.0)
    assert widget.note == STOP_NOTE


def test_a_page_that_is_heard_while_a_cell_runs_has_buttons_all_the_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = KernelBusy(lambda: 100.0)
    monkeypatch.setattr(widgets, "kernel_busy", busy)
    busy._since = 0.0
    deeds = Deeds()
    widget = JobWidget(stage.source, in_cell=True, deeds=deeds.map())
    deeds.listen(widget)
    line = Line()
    opening = {"content": {"data": {"view": widget.name_of_view}}}
    pages._opened(line, opening)  # heard in the main thread: no help
    widget.feed(0.0)
    assert widget.note == STOP_NOTE
    beside = threading.Thread(target=pages._opened, args=(line, opening))
    beside.start()
    beside.join()
    widget.feed(0.1)
    assert (widget.actions, widget.note) == (["kill", "cancel"], "")
    line.say({"act": "cancel", "offer": widget.offer, "ticket": "1"})
    deeds.wait()
    assert deeds.did == [("cancel", "")]
    line.leave()
    widget.feed(0.2)
    assert widget.note == STOP_NOTE


def test_a_line_to_a_view_that_is_gone_is_closed() -> None:
    line = Line()
    pages._opened(line, {"content": {"data": {"view": "no such view"}}})
    assert line.closed
