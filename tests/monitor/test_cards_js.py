"""Workers and events in a browser, when there are many of them."""

from __future__ import annotations

from typing import Any

import pytest
from events_strategy import JOB
from pages import W1, begin, hear, running

from mrkernel.ids import WorkerId, map_task
from mrkernel.monitor import events as ev
from mrkernel.monitor.view import ClusterView, JobView

pytestmark = pytest.mark.browser

NAMES = [WorkerId(f"w{n}") for n in range(1, 41)]


def crowd(slots: int = 2) -> JobView:
    """A job that begins on forty workers."""
    view = JobView(JOB)
    for name in NAMES:
        view.fold(ev.WorkerJoined(at=0.0, worker=name, host="h", pid=1, slots=slots))
    view.fold(
        ev.JobAccepted(
            at=0.0, job=JOB, name="many", maps=99, reduces=1, input_bytes=1, functions="cell"
        )
    )
    return view


def start(view: JobView | ClusterView, number: int, worker: WorkerId, at: float = 1.0) -> None:
    view.fold(
        ev.AttemptStarted(
            at=at, job=JOB, task=map_task(number), attempt=1, worker=worker, input=f"{number}.txt"
        )
    )


def card(page: Any, name: str) -> Any:
    return page.locator(f".mrk-worker:has(b:text-is('{name}'))")


def order(page: Any) -> list[str]:
    return list(page.locator(".mrk-worker b").all_inner_texts())


def test_who_died_last_comes_first_and_the_other_dead_come_last(page: Any) -> None:
    view = crowd()
    for at, name in enumerate(NAMES[:6], 1):
        view.fold(ev.WorkerLost(at=float(at), worker=name, cause="was killed (SIGKILL)"))
    view.fold(ev.WorkerSuspect(at=6.5, worker=NAMES[20], silent_s=0.4))
    view.take_delta()
    begin(page, {"snapshot": view.snapshot()})
    living = [name for name in NAMES[6:] if name != "w21"]
    assert order(page) == ["w6", "w5", "w4", "w3", "w21", *living, "w2", "w1"]
    view.fold(ev.WorkerLost(at=7.0, worker=NAMES[29], cause="was killed (SIGKILL)"))
    hear(page, view)
    living.remove(NAMES[29])
    assert order(page) == ["w30", "w6", "w5", "w4", "w21", *living, "w3", "w2", "w1"]
    # After a minute they have made room.
    view.fold(ev.WorkerBeat(at=70.0, worker=NAMES[30], cpu_percent=1.0, memory_bytes=1))
    hear(page, view)
    assert order(page) == ["w21", *living, "w30", "w6", "w5", "w4", "w3", "w2", "w1"]


def test_tasks_that_would_be_a_wall_are_counted(page: Any) -> None:
    view = running()
    view.fold(ev.WorkerJoined(at=1.0, worker=WorkerId("w3"), host="h", pid=3, slots=16))
    for number in range(10, 18):
        start(view, number, W1)
    for number in range(30, 46):
        start(view, number, WorkerId("w3"))
    begin(page, {"snapshot": view.snapshot()})
    page.click(".mrk-toggle")
    one, sixteen = (card(page, name).locator(".mrk-task") for name in ("w1", "w3"))
    assert one.all_inner_texts() == ["map-10", "7 wait"]
    assert one.last.get_attribute("title") == (
        "waits here for a free slot: " + ", ".join(f"map-{n}" for n in range(11, 18))
    )
    assert sixteen.all_inner_texts() == [*(f"map-{n}" for n in range(30, 35)), "11 more"]


def test_a_card_out_of_sight_is_drawn_when_one_looks(page: Any) -> None:
    view = ClusterView()
    for name in NAMES:
        view.fold(ev.WorkerJoined(at=0.0, worker=name, host="h", pid=1, slots=2))
    view.take_delta()
    begin(page, {"snapshot": view.snapshot()})
    last = card(page, "w40").locator(".mrk-task")
    assert last.all_inner_texts() == ["free", "free"]
    page.wait_for_function("document.querySelector('.mrk-worker:last-child').mrkSeen === false")
    for name, number in ((NAMES[0], 1), (NAMES[39], 2)):
        start(view, number, name)
    hear(page, view)
    assert card(page, "w1").locator(".mrk-task").first.inner_text() == "j-1 map-1"
    assert last.first.inner_text() == "free"
    last.first.scroll_into_view_if_needed()
    page.wait_for_function(
        "document.querySelector('.mrk-worker:last-child .mrk-task').textContent.includes('map-2')"
    )
    # What became of a worker is told wherever it stands.
    page.evaluate("document.querySelector('.mrk-workers').scrollTop = 0")
    page.wait_for_function("document.querySelector('.mrk-worker:last-child').mrkSeen === false")
    view.fold(ev.WorkerSuspect(at=2.0, worker=NAMES[39], silent_s=0.4))
    hear(page, view)
    assert order(page)[0] == "w40"


def test_events_past_the_newest_are_there_when_one_scrolls(page: Any) -> None:
    view = running()
    for number in range(150):
        view.fold(ev.Noted(at=2.0, job=JOB, level="info", sentence=f"note {number}"))
    view.take_delta()
    begin(page, {"snapshot": view.snapshot()})
    page.click(".mrk-toggle")
    told = len(view.snapshot()["feed"])
    lines = page.locator(".mrk-feed li")
    assert lines.first.inner_text().endswith("note 149")
    assert lines.count() == 61
    assert f"{told - 60} earlier events" in lines.last.inner_text()
    page.evaluate("document.querySelector('.mrk-feed').scrollTop = 40")
    page.wait_for_function("document.querySelectorAll('.mrk-feed li').length > 61")
    assert lines.count() == told
    notes = [line.rsplit(" ", 1)[1] for line in lines.all_inner_texts()[:150]]
    assert notes == [str(number) for number in range(149, -1, -1)]
    view.fold(ev.Noted(at=2.0, job=JOB, level="info", sentence="note 150"))
    hear(page, view)
    assert lines.count() == told + 1
