"""The timeline and the buttons in a browser."""

from __future__ import annotations

from typing import Any

import pytest
from events_strategy import JOB
from pages import W1, W2, begin, hear, running

from mrkernel.ids import TaskId, WorkerId, map_task, reduce_task
from mrkernel.monitor import events as ev
from mrkernel.monitor.text import eta_text
from mrkernel.monitor.view import ClusterView, JobView

pytestmark = pytest.mark.browser

DID: dict[str, Any] = {"records": 1200, "pairs": 20, "bytes_in": 5000, "bytes_out": 300}


def started(task: TaskId, attempt: int, worker: WorkerId, at: float, **more: Any) -> ev.Event:
    return ev.AttemptStarted(
        at=at, job=JOB, task=task, attempt=attempt, worker=worker, input="<b>a.txt</b>", **more
    )


def finished(task: TaskId, attempt: int, worker: WorkerId, at: float, **more: Any) -> ev.Event:
    return ev.AttemptFinished(
        at=at, job=JOB, task=task, attempt=attempt, worker=worker, seconds=1.0, **{**DID, **more}
    )


def troubled() -> JobView:
    """w2 did map-1, raised in map-2 and dies with map-0; w1 takes all of it up."""
    view = running()
    for event in (
        finished(map_task(0), 1, W2, 2.0),
        started(map_task(1), 1, W2, 2.0),
        ev.AttemptFailed(
            at=3.0, job=JOB, task=map_task(1), attempt=1, worker=W2, sentence="it <i>raised</i>"
        ),
        started(map_task(1), 2, W1, 3.1),
        started(map_task(2), 1, W2, 3.2),
        finished(map_task(1), 2, W1, 4.0, sizes=(100, 900), top=(("<u>the", 7.0), ("of", 3.0))),
        ev.WorkerLost(at=4.0, worker=W2, cause="was killed (SIGKILL)"),
        ev.OutputLost(at=4.0, job=JOB, worker=W2, tasks=(map_task(0),)),
        started(map_task(2), 2, W1, 4.2),
    ):
        view.fold(event)
    view.take_delta()
    return view


def tip(page: Any) -> str:
    return str(page.inner_text(".mrk-tip"))


def test_a_bar_for_each_attempt_in_the_lane_of_its_slot(page: Any) -> None:
    begin(page, {"snapshot": troubled().snapshot()})
    page.locator(".mrk-alternative summary").click()
    rows = page.locator(".mrk-tables table").nth(1).locator("tbody tr")
    rows.first.wait_for()
    lanes = rows.all_inner_texts()
    assert [line.split("\t")[:5] for line in lanes] == [
        ["w1·0", "alive", "1", "1", "0"],
        ["w2·0", "dead", "0", "0", "3"],
    ]
    troubles = page.locator(".mrk-tables table").first.inner_text()
    assert "it <i>raised</i>" in troubles
    assert "attempt 2 on w1·0" in troubles
    assert page.locator("#out i i, #out u").count() == 0
    # Something is painted, and more than one colour.
    assert page.evaluate(
        """() => {
          const canvas = document.querySelector(".mrk-glass canvas");
          const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          return new Set(new Uint32Array(data.buffer)).size;
        }"""
    ) > 8  # fmt: skip


def test_keys_walk_from_bar_to_bar_and_along_the_arrow(page: Any) -> None:
    begin(page, {"snapshot": troubled().snapshot()})
    page.focus(".mrk-lanes")
    page.keyboard.press("t")
    assert "map-0" in tip(page)
    assert "its output was lost" in tip(page)
    page.keyboard.press("ArrowRight")
    said = page.get_attribute(".mrk-focusring", "aria-label")
    assert said.startswith("map-1. ✗ failed")
    assert "cause it <i>raised</i>" in said
    assert "next attempt 2 on w1·0" in said
    assert page.get_attribute(".mrk-lanes", "aria-activedescendant") == page.get_attribute(
        ".mrk-focusring", "id"
    )
    page.keyboard.press("Enter")
    assert tip(page).startswith("map-1")
    assert "done, attempt 2" in tip(page)
    assert "attempt 1 on w2·0 failed" in tip(page)
    assert "1,200 records, 5.0 kB" in tip(page)
    page.keyboard.press("End")
    assert "running, attempt 2" in tip(page)
    page.keyboard.press("ArrowDown")
    assert "slot\nw2·0" in tip(page)
    page.keyboard.press("Escape")
    assert not page.is_visible(".mrk-tip")
    assert not page.is_visible(".mrk-focusring")


def test_a_whole_picture_takes_nothing_from_the_reader(page: Any) -> None:
    """The widget sends one every few seconds."""
    view = troubled()
    begin(page, {"snapshot": view.snapshot()})
    page.focus(".mrk-lanes")
    page.keyboard.press("t")
    page.keyboard.press("+")
    page.evaluate("(p) => hear(p)", {"snapshot": view.snapshot()})
    assert "map-0" in tip(page)
    assert page.get_by_role("button", name="Whole job").is_enabled()
    page.keyboard.press("ArrowRight")
    assert "map-1" in tip(page)


def test_the_pointer_finds_bars_and_zooms(page: Any) -> None:
    view = troubled()
    begin(page, {"snapshot": view.snapshot()})
    box = page.locator(".mrk-lanes").bounding_box()
    assert page.get_by_role("button", name="Whole job").is_disabled()
    # w2·0 is the second lane.
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 36)
    assert "map-0" in tip(page)
    axis = "() => document.querySelector('.mrk-axis').toDataURL()"
    before = page.evaluate(axis)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40, steps=3)
    assert page.is_visible(".mrk-chosen")
    page.mouse.up()
    assert not page.is_visible(".mrk-chosen")
    whole = page.get_by_role("button", name="Whole job")
    assert whole.is_enabled()
    assert page.evaluate(axis) != before
    # Who looks back is not taken to the present, until it is asked for.
    follow = page.get_by_role("button", name="Follow now")
    assert follow.get_attribute("aria-pressed") == "false"
    follow.click()
    assert follow.get_attribute("aria-pressed") == "true"
    page.mouse.dblclick(box["x"] + box["width"] * 0.5, box["y"] + 12)
    assert whole.is_disabled()
    page.keyboard.down("Control")
    page.mouse.wheel(0, -200)
    page.keyboard.up("Control")
    page.wait_for_selector("button:has-text('Whole job'):enabled")
    # The bar it points at may go.
    view.fold(ev.JobEnded(at=6.0, job=JOB, outcome="failed", sentence="so"))
    hear(page, view)
    assert not follow.is_visible()


def test_what_runs_goes_on_and_what_is_put_together_stays_found(page: Any) -> None:
    view = troubled()
    begin(page, {"snapshot": view.snapshot()})
    for number in range(200):
        task = map_task(3 + number)
        view.fold(started(task, 1, W1, 5.0 + number / 1000))
        view.fold(finished(task, 1, W1, 5.0 + number / 1000 + 0.0009))
        if number % 20 == 0:
            hear(page, view)
    view.fold(started(reduce_task(0), 1, W1, 5.5))
    hear(page, view)
    page.locator(".mrk-alternative summary").click()
    there = page.locator(".mrk-tables table").nth(1).locator("tbody tr").first.inner_text()
    picture = view.snapshot()
    done = sum(bar[6] for bar in picture["bars"].values() if bar[0] == "w1·0" and bar[3] == "done")
    assert there.split("\t")[2] == str(done)
    assert page.evaluate("resyncs") == 0


def test_keys_and_partitions_so_far_are_never_final(page: Any) -> None:
    view = troubled()
    begin(page, {"snapshot": view.snapshot()})
    top = page.inner_text(".mrk-top")
    assert "1 of 4 splits, not final" in top
    assert "<u>the" in top
    assert "reduce-1" in page.inner_text(".mrk-parts li >> nth=0")
    view.fold(ev.JobEnded(at=6.0, job=JOB, outcome="failed", sentence="so"))
    hear(page, view)
    assert not page.is_visible(".mrk-top")
    assert not page.is_visible(".mrk-parts")


@pytest.mark.parametrize(
    ("eta", "said"),
    [
        ([8.2, 10.1], "8–11 s left"),
        ([0.2, 2.5], "less than 3 s left"),
        ([8.0, 8.0], "8–9 s left"),
        ([42, 67], "40–70 s left"),
        ([130, 290], "2–5 min left"),
        ([47, 290], "45 s–5 min left"),
        ([0.3, 290], "less than 5 min left"),
        ([1900, 14000], "30 min–4 h left"),
        ([7300, 14000], "2–4 h left"),
        (None, ""),
    ],
)
def test_time_left_is_a_range_or_not_said(page: Any, eta: list[float] | None, said: str) -> None:
    assert page.evaluate("(eta) => view.etaText({ eta })", eta) == said
    assert eta_text({"eta": eta}) == said


def test_more_lanes_than_fit_scroll_and_can_be_seen_at_once(page: Any) -> None:
    view = troubled()
    for number in range(3, 40):
        worker = WorkerId(f"w{number}")
        view.fold(ev.WorkerJoined(at=4.0, worker=worker, host="h", pid=number, slots=2))
        view.fold(started(map_task(number), 1, worker, 4.5))
    begin(page, {"snapshot": view.snapshot()})
    lanes = page.locator(".mrk-lanes")
    scrolls = "(e) => e.scrollHeight > e.clientHeight + 1"
    assert lanes.evaluate(scrolls)
    assert lanes.bounding_box()["height"] < 400
    assert "troubled first" in page.inner_text(".mrk-timeline .mrk-aside")
    page.locator(".mrk-alternative summary").click()
    assert page.locator(".mrk-tables table").nth(1).locator("tbody th").first.inner_text() == "w2·0"
    assert page.inner_text(".mrk-worker >> nth=0").startswith("w2")
    page.get_by_role("button", name="All lanes").click()
    assert not lanes.evaluate(scrolls)


def test_buttons_are_there_only_for_what_the_source_can_do(page: Any) -> None:
    view = troubled()
    begin(page, {"snapshot": view.snapshot()}, more="{ note: '■ stops this job' }")
    assert page.locator(".mrk-action:visible").count() == 0
    assert page.inner_text(".mrk-stops") == "■ stops this job"
    act = "(...what) => { window.did = what; throw Error('not <b>now') }"
    can = f"{{ actions: ['cancel'], act: {act} }}"
    begin(page, {"snapshot": view.snapshot()}, more=can)
    page.get_by_role("button", name="Cancel").click()
    assert page.evaluate("did") == ["cancel", {}]
    assert page.inner_text(".mrk-refused >> nth=0") == "not <b>now"
    view.fold(ev.JobEnded(at=6.0, job=JOB, outcome="cancelled", sentence=""))
    hear(page, view)
    assert page.locator(".mrk-action:visible").count() == 0


def test_killing_a_worker_asks_first(page: Any) -> None:
    view = ClusterView()
    for number, worker in enumerate((W1, W2)):
        view.fold(ev.WorkerJoined(at=0.0, worker=worker, host="here", pid=7 + number, slots=2))
    for beat in range(1, 9):
        view.fold(ev.WorkerBeat(at=beat / 10, worker=W1, cpu_percent=50.0, memory_bytes=9_000_000))
    can = "['add-worker', 'retire', 'kill'], act: (...what) => { window.did.push(what) }"
    page.evaluate("window.did = []")
    begin(page, {"snapshot": view.snapshot()}, more=f"{{ actions: {can} }}")
    card = page.locator(".mrk-worker").first
    assert "here · pid 7" in card.inner_text()
    assert card.locator(".mrk-task").all_inner_texts() == ["free", "free"]
    assert "heartbeats every 100 ms" in card.locator("svg").get_attribute("aria-label")
    card.get_by_role("button", name="Kill w1").click()
    assert page.evaluate("did") == []
    assert "Kill w1 with SIGKILL?" in card.inner_text()
    page.keyboard.press("Escape")
    card.get_by_role("button", name="Kill w1").click()
    card.get_by_role("button", name="Kill", exact=True).click()
    card.get_by_role("button", name="Retire w1").click()
    page.get_by_role("button", name="Add a worker").click()
    assert page.evaluate("did") == [
        ["kill", {"worker": "w1"}],
        ["retire", {"worker": "w1"}],
        ["add-worker", {}],
    ]
    view.fold(ev.WorkerLost(at=1.0, worker=W1, cause="was killed (SIGKILL)"))
    hear(page, view)
    assert card.locator(".mrk-action:visible").count() == 0


def test_the_joined_module_is_the_same(browser: Any, site: str) -> None:
    page = browser.new_page()
    page.goto(f"{site}/joined")
    page.wait_for_selector("body[data-ready]", state="attached")
    exports = page.evaluate("import('/view.js').then((own) => Object.keys(own).sort())")
    assert page.evaluate("Object.keys(view).sort()") == exports
    begin(page, {"snapshot": troubled().snapshot()})
    page.focus(".mrk-lanes")
    page.keyboard.press("t")
    assert "map-0" in tip(page)
    page.close()
