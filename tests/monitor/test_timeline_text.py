"""The timeline in characters."""

from __future__ import annotations

import pytest
from events_strategy import events
from example import JOB, word_count
from hypothesis import given, settings

from mrkernel.ids import WorkerId, map_task
from mrkernel.monitor import events as ev
from mrkernel.monitor.text import eta_text, job_lines, top_lines
from mrkernel.monitor.timeline_text import chart, timeline_lines
from mrkernel.monitor.view import JobView


def test_a_line_for_each_lane_the_failed_one_with_its_cross() -> None:
    view = JobView(JOB)
    w1, w2 = WorkerId("w1"), WorkerId("w2")
    for name in (w1, w2):
        view.fold(ev.WorkerJoined(at=0.0, worker=name, host="h", pid=1, slots=1))
    view.fold(
        ev.JobAccepted(at=0.0, job=JOB, name="x", maps=3, reduces=0, input_bytes=0, functions="")
    )
    names = {"job": JOB, "attempt": 1}
    did = {"records": 1, "pairs": 1, "bytes_in": 1, "bytes_out": 1, "seconds": 1.0}

    def start(at: float, number: int, worker: WorkerId, attempt: int = 1, **more: bool) -> None:
        view.fold(
            ev.AttemptStarted(
                at=at,
                job=JOB,
                task=map_task(number),
                attempt=attempt,
                worker=worker,
                input="",
                **more,
            )
        )

    start(0.0, 0, w1)
    start(0.0, 1, w2)
    view.fold(ev.AttemptFinished(at=4.0, task=map_task(0), worker=w1, **names, **did))
    view.fold(ev.AttemptFailed(at=5.0, task=map_task(1), worker=w2, sentence="no", **names))
    start(5.0, 1, w1, 2)
    start(6.0, 2, w2)
    start(8.0, 1, w2, 3, backup=True)  # it waits: map-2 has the slot
    view.fold(ev.WorkerBeat(at=10.0, worker=w1, cpu_percent=1.0, memory_bytes=1))
    assert timeline_lines(view.snapshot(), 45) == [
        "w1·0 ███████████████▊    ►▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒",
        "w2·0 ╱╱╱╱╱╱╱╱╱╱╱╱╱╱╱╱╱╱╱✗    ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒",
        "     0 s               5.0 s           10.0 s",
        "     █ map  ▒ running  ✗ failed or lost  ► tried again",
    ]
    view.fold(ev.AttemptFinished(at=12.0, task=map_task(2), worker=w2, **names, **did))
    view.fold(ev.WorkerBeat(at=20.0, worker=w1, cpu_percent=1.0, memory_bytes=1))
    assert timeline_lines(view.snapshot(), 45)[:2] == [
        "w1·0 ███████▊  ►▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒",
        "w2·0 ╱╱╱╱╱╱╱╱╱✗  ███████████▊················",
    ]


def test_nothing_ran_nothing_is_drawn() -> None:
    assert timeline_lines(JobView(JOB).snapshot()) == []
    assert chart(JobView(JOB).snapshot(), 80) is None


def test_where_lanes_are_many_the_troubled_ones_are_shown() -> None:
    picture = word_count(maps=200, workers=20).snapshot()
    found = chart(picture, 60, 6)
    assert found is not None
    assert found.hidden == 34
    names = [strip.name for strip in found.strips]
    assert names[:2] == ["w2·0", "w2·1"]
    assert [strip.dead for strip in found.strips] == [True, True, False, False, False, False]
    assert any("✗" in run.text for strip in found.strips[2:] for run in strip.runs)  # map-20 failed
    assert "and 34 more lanes" in "\n".join(timeline_lines(picture, 60, 6))


@pytest.mark.parametrize("width", [10, 37, 80, 200])
def test_every_failure_is_seen_and_no_line_is_too_long(width: int) -> None:
    picture = word_count().snapshot()
    lines = timeline_lines(picture, width, 40)
    assert all(len(line) <= max(width, 14) for line in lines[:-1])
    lanes = {row[0] for row in picture["bars"].values() if row[3] in ("failed", "lost")}
    for lane in lanes:
        assert "✗" in next(line for line in lines if line.startswith(lane))


def test_the_job_in_lines_has_its_timeline_and_what_is_left() -> None:
    view = word_count(until=12.0)
    picture = view.snapshot()
    text = "\n".join(job_lines(picture, 100))
    assert eta_text(picture) in text
    assert " left" in text
    assert "Most frequent keys so far (" in text
    assert "not final" in text
    assert "w1·0 ██" in text
    ended = word_count().snapshot()
    assert (eta_text(ended), top_lines(ended)) == ("", [])
    assert "w1·0" not in "\n".join(job_lines(ended, 100, lanes=0))


def test_time_left_is_always_a_range() -> None:
    def said(low: float, high: float) -> str:
        return eta_text({"eta": [low, high]})

    assert said(8.2, 10.4) == "8–11 s left"
    assert said(0.2, 2.5) == "less than 3 s left"
    assert said(9.0, 9.0) == "9–10 s left"
    assert said(100, 160) == "100–160 s left"
    assert said(47, 290) == "45 s–5 min left"
    assert said(60, 290) == "1–5 min left"
    assert said(7000, 9000) == "115–150 min left"
    assert said(1000, 11_000) == "16 min–4 h left"
    assert eta_text({"eta": None}) == ""


@settings(max_examples=100)
@given(events)
def test_any_timeline_can_be_drawn(story: list[ev.Event]) -> None:
    view = JobView(JOB)
    for event in story:
        view.fold(event)
    for width in (12, 80):
        for line in timeline_lines(view.snapshot(), width, 3)[:-1]:
            assert len(line) <= max(width, 30)
            assert "\n" not in line
