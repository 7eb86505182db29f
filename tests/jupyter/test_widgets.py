"""The widgets' Python side: what is sent, when, and what a saved notebook keeps."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from stages import ACCEPTED, JOB, Stage, ended, note, spy

from mrkernel.ids import TaskId, WorkerId
from mrkernel.jupyter import widgets
from mrkernel.jupyter.refresher import Refresher
from mrkernel.jupyter.twin import TWIN_LIMIT
from mrkernel.jupyter.widgets import WIDGET_MIME, ClusterWidget, JobWidget
from mrkernel.monitor import events as ev
from mrkernel.monitor.picture import Picture
from mrkernel.monitor.view import ClusterView, JobView

pytestmark = pytest.mark.usefixtures("by_hand")


def test_it_begins_with_the_picture_and_goes_on_with_deltas(stage: Stage) -> None:
    widget = JobWidget(stage.source)
    assert widget.snapshot["name"] == "<i>count</i>"
    sent = spy(widget)
    assert not widget.feed(0.0)
    stage.tell(note("a"))
    stage.tell(note("b"))
    assert widget.feed(0.1)
    [message] = sent  # two deltas, one message
    assert [delta["feed"][0]["text"] for delta in message["deltas"]] == ["a", "b"]
    assert not widget.feed(0.2)


def test_a_picture_that_comes_later_is_shown_when_it_comes() -> None:
    stage = Stage(JobView(JOB))
    widget = JobWidget(stage.source)
    assert widget.snapshot == {}
    assert not widget.feed(0.0)
    stage.tell(ACCEPTED)
    stage.begin()
    assert widget.feed(0.1)
    assert widget.snapshot["name"] == "<i>count</i>"


def test_whole_pictures_come_now_and_then_for_views_that_missed_a_delta(stage: Stage) -> None:
    widget = JobWidget(stage.source)
    sent = spy(widget)
    ages = []
    for tenth in range(200):
        stage.tell(note(str(tenth)))
        widget.feed(tenth / 10)
        if sent[-1] == "snapshot":
            ages.append(tenth / 10)
    assert ages == [0.3, 0.5, 1.0, 2.0, 4.0, 8.0, 12.0, 16.0]
    assert len(sent) == 200


def test_the_larger_a_picture_the_rarer_it_is_sent_whole(stage: Stage) -> None:
    for number in range(200):
        stage.tell(note("x" * 1500 + str(number)))
    widget = JobWidget(stage.source)
    sent = spy(widget)
    ages = []
    for tenth in range(600):
        stage.tell(note(str(tenth)))
        widget.feed(tenth / 10)
        if sent[-1] == "snapshot":
            ages.append(tenth / 10)
    # 300 kB at 30 kB/s, until the feed's long lines have made room for short ones.
    assert ages[0] == 0.3
    assert 8.0 < ages[1] - ages[0] < 12.0


def test_a_page_that_was_loaded_anew_or_missed_something_asks(stage: Stage) -> None:
    widget = JobWidget(stage.source)
    sent = spy(widget)
    for tenth in range(51):
        stage.tell(note(str(tenth)))
        widget.feed(tenth / 10)
    for question in ({"views": 1}, {"resync": True}):
        widget._heard(widget, question, [])
        seen = len(sent)
        for tenth in range(51, 63):
            stage.tell(note("on"))
            widget.feed(tenth / 10 + (1.2 if "resync" in question else 0.0))
        assert sent[seen:].count("snapshot") == 1


def test_a_view_left_behind_is_brought_back_even_when_nothing_more_happens(stage: Stage) -> None:
    widget = JobWidget(stage.source)
    sent = spy(widget)
    widget.feed(0.0)
    stage.tell(note("the view is not drawn yet"))
    widget.feed(0.1)
    widget.feed(0.3)
    assert sent[-1] == "snapshot"
    assert widget.snapshot["feed"][-1]["text"] == "the view is not drawn yet"
    assert not widget.feed(10.0)  # it has the newest picture


def test_deltas_too_old_give_a_whole_picture(stage: Stage) -> None:
    widget = JobWidget(stage.source)
    sent = spy(widget)
    for number in range(100):
        stage.tell(note(str(number)))
    widget.feed(0.1)
    assert sent == ["snapshot"]


def test_the_end_is_a_whole_picture_and_the_last_thing_sent(stage: Stage) -> None:
    widget = JobWidget(stage.source)
    sent = spy(widget)
    stage.tell(ended())
    assert widget.feed(0.1)
    assert (sent, widget.over, widget.snapshot["state"]) == (["snapshot"], True, "done")
    assert not widget.feed(0.2)
    widget.settle()
    assert sent == ["snapshot"]


@pytest.mark.parametrize("save_view", ["summary", "none"])
def test_a_saved_notebook_keeps_what_it_is_told_to(stage: Stage, save_view: str) -> None:
    widget = JobWidget(stage.source, save_view=save_view)
    sent = spy(widget)
    stage.tell(note("secret"), ended())
    widget.settle()
    # The open views see all, the trait (which is saved) does not.
    assert sent[0]["snapshot"]["feed"]
    assert "secret" not in str(widget.snapshot)
    data, _ = widget._repr_mimebundle_()
    assert "secret" not in str(data)
    assert ("text/html" in data) == (save_view == "summary")
    assert data["text/plain"] == "<i>count</i>  ✓ 4.2 s"


def test_the_twin_is_escaped_and_says_how_it_ended(stage: Stage) -> None:
    widget = JobWidget(stage.source)
    stage.tell(
        ev.WorkerJoined(at=1.0, worker=WorkerId("<w>"), host="h", pid=1, slots=1),
        note("<script>alert(1)</script>"),
        ended("failed", "<b>why</b>"),
    )
    widget.settle()
    data, _ = widget._repr_mimebundle_()
    html = data["text/html"]
    assert WIDGET_MIME in data
    assert html.startswith("<details open><summary><b>&lt;i&gt;count&lt;/i&gt;</b> ✗ failed")
    assert "&lt;script&gt;" in html
    for raw in ("<script", "<i>", "<b>why", "<w>"):
        assert raw not in html
    assert "<script>alert(1)</script>" in data["text/plain"]


def test_the_twin_stays_small(stage: Stage) -> None:
    for number in range(500):
        worker = WorkerId(f"w{number}")
        stage.tell(
            ev.WorkerJoined(at=1.0, worker=worker, host="h", pid=1, slots=1),
            ev.AttemptStarted(
                at=1.0, job=JOB, task=TaskId("map-0"), attempt=1, worker=worker, input="x" * 200
            ),
            note("ü" * 300 + str(number)),
        )
    stage.tell(ended())
    stage.begin()
    widget = JobWidget(stage.source)
    data, _ = widget._repr_mimebundle_()
    size = sum(len(data[kind].encode()) for kind in ("text/html", "text/plain"))
    assert TWIN_LIMIT / 2 < size <= TWIN_LIMIT
    assert "ü499" in data["text/html"]
    assert "earlier events are not kept" in data["text/html"]
    assert "more lines are not kept" in data["text/plain"]


def test_the_clusters_view_goes_on_until_it_is_closed() -> None:
    stage = Stage(ClusterView())
    stage.tell(ev.WorkerJoined(at=0.0, worker=WorkerId("w1"), host="h", pid=1, slots=2))
    stage.begin()
    widget = ClusterWidget(stage.source)
    stage.tell(ev.WorkerLost(at=1.0, worker=WorkerId("w1"), cause="reset"))
    assert widget.feed(0.1)
    data, _ = widget._repr_mimebundle_()
    assert data["text/plain"].startswith("0 workers · 0 slots, 0 busy · 1 lost")
    widget.settle()
    assert not widget.over
    widget.close()
    assert widget.over
    assert not widget.feed(1.0)


# --- The thread -----------------------------------------------------------------------------------


def test_one_thread_feeds_all_and_ends_with_the_last(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    refresher = Refresher()
    monkeypatch.setattr(widgets, "refresher", refresher)
    first = JobWidget(stage.source)
    second = JobWidget(stage.source)
    [thread] = [t for t in threading.enumerate() if t.name == "mrk-refresher"]
    assert thread.daemon
    stage.tell(ended())
    thread.join(10)
    assert not thread.is_alive()
    assert not refresher.running
    assert (first.over, second.over) == (True, True)
    # It can begin again.
    later = Stage(JobView(JOB))
    third = JobWidget(later.source)
    assert refresher.running
    third.close()
    [*threads] = [t for t in threading.enumerate() if t.name == "mrk-refresher"]
    for thread in threads:
        thread.join(10)
    assert not refresher.running


def test_a_broken_view_does_not_stop_the_others(
    stage: Stage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Picture):
        def changed_since(self, seq: int) -> list[dict[str, Any]] | None:
            raise RuntimeError("broken source")

    broken = Broken()
    broken.receive({"snapshot": stage.view.snapshot()})
    refresher = Refresher(clock=lambda: 0.0)
    monkeypatch.setattr(refresher, "_run", lambda: None)
    bad, good = JobWidget(broken), JobWidget(stage.source)
    refresher.add(bad)
    refresher.add(good)
    stage.tell(note("on"))
    assert refresher.round()
    assert "broken source" in caplog.text
    stage.tell(note("and on"))
    caplog.clear()
    assert refresher.round()
    assert caplog.text == ""


def test_show_updates_its_output_with_the_static_twin_in_the_end(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    import IPython.display

    class Handle:
        display_id = "d1"

    updates: list[tuple[dict[str, Any], str]] = []
    monkeypatch.setattr(IPython.display, "display", lambda obj, display_id: Handle())
    monkeypatch.setattr(
        IPython.display,
        "update_display",
        lambda data, display_id, raw: updates.append((data, display_id)),
    )
    widget = JobWidget(stage.source)
    sent = spy(widget)
    widget.show()
    stage.tell(note("x"))
    widget.feed(0.1)
    assert updates == []
    stage.tell(ended())
    widget.feed(0.2)
    [(data, display_id)] = updates
    assert display_id == "d1"
    # A page that was loaded anew does not know the display; it finds the view by its model.
    assert sent[-1] == {"twin": data, "of": widget.model_id}
    sent.clear()
    widget._handle_custom_msg({"views": 1}, [])
    assert sent[-1] == {"twin": data, "of": widget.model_id}
    # A widget without its kernel is an error message in JupyterLab.
    assert set(data) == {"text/html", "text/plain"}
    assert "✓ 4.2 s" in data["text/html"]
    # Beside the twin a saved notebook needs no picture.
    assert widget.snapshot["trimmed"]
    assert widget.snapshot["bars"] == {}


def test_a_job_that_ends_while_its_view_is_displayed_has_its_twin_too(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    import IPython.display

    class Handle:
        display_id = "d1"

    updates: list[dict[str, Any]] = []
    held: list[bool] = []

    def display(shown: Any, display_id: bool) -> Handle:
        held.append(shown._feeding.locked())
        return Handle()

    monkeypatch.setattr(IPython.display, "display", display)
    monkeypatch.setattr(
        IPython.display, "update_display", lambda data, display_id, raw: updates.append(data)
    )
    widget = JobWidget(stage.source)
    stage.tell(ended())
    assert widget.feed(0.1)  # the refresher is quicker
    assert updates == []
    widget.show()
    assert held == [True]
    [data] = updates
    assert "✓ 4.2 s" in data["text/html"]
    assert widget.snapshot["trimmed"]


def test_a_page_loaded_anew_after_the_end_is_told_all(stage: Stage) -> None:
    widget = JobWidget(stage.source)
    sent = spy(widget)
    stage.tell(note("x"), ended())
    widget.feed(0.2)
    sent.clear()
    widget._handle_custom_msg({"views": 1}, [])
    [message] = sent
    assert message["snapshot"]["feed"][-2]["text"] == "x"
