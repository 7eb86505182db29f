"""The timeline as SVG: whole, bounded, and well-formed whatever is in it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import cost
import pytest
from events_strategy import events
from example import JOB, word_count
from hypothesis import given, settings

from mrkernel.monitor import events as ev
from mrkernel.monitor.svg import LIMIT, timeline_svg
from mrkernel.monitor.view import JobView

SVG = "{http://www.w3.org/2000/svg}"
FAIL = "#d9483d"


def arrows(drawn: str) -> int:
    found = re.search(rf'stroke="{FAIL}" stroke-width="1.3" d="([^"]*)"', drawn)
    return found[1].count("M") if found else 0


def crosses(drawn: str) -> int:
    found = re.search(rf'stroke="{FAIL}" stroke-width="2" d="(M[^"]*)"/>(?!</pattern)', drawn)
    return found[1].count("M") if found else 0


def test_a_job_with_its_failures_arrows_and_backup() -> None:
    drawn = timeline_svg(word_count().snapshot())
    assert len(drawn.encode()) < 8000
    root = ET.fromstring(drawn)
    title, desc = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert root.get("role") == "img"
    assert title is not None
    assert desc is not None
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    assert title.text is not None
    assert title.text.startswith("Timeline of word-count: ✓")
    assert desc.text is not None
    assert "w2 was killed (SIGKILL): " in desc.text
    assert crosses(drawn) == 3  # two lost, one failed
    assert arrows(drawn) == 6  # and three whose output was lost
    texts = [node.text for node in root.iter(f"{SVG}text")]
    assert {"✗ w2·0", "w1·0", "map-0", "0 s"} <= set(texts)
    legend = {"map", "reduce", "output lost", "tried again", "lost", "failed", "backup", "stopped"}
    assert legend <= set(texts)
    whys = [node.text for node in root.iter(f"{SVG}title")][1:]
    assert any(why and why.endswith("ZeroDivisionError at line 5 of your cell") for why in whys)


def test_while_it_runs() -> None:
    drawn = timeline_svg(word_count(until=5.0).snapshot())
    assert "running" in [node.text for node in ET.fromstring(drawn).iter(f"{SVG}text")]


def test_nothing_ran_nothing_is_drawn() -> None:
    assert timeline_svg(JobView(JOB).snapshot()) == ""


@pytest.mark.parametrize(
    "load",
    [
        cost.Load(tasks=20_000, workers=20, fails=997),
        cost.Load(tasks=5000, workers=100, per_s=250.0, fails=7),
        cost.Load(tasks=3000, workers=4, per_s=250.0, fails=3),
    ],
)
def test_however_large_the_job_it_stays_small_and_shows_what_failed(load: cost.Load) -> None:
    view = JobView(cost.JOB)
    for event in cost.story(load):
        view.fold(event)
    drawn = timeline_svg(view.snapshot())
    ET.fromstring(drawn)
    assert 3000 < len(drawn.encode()) <= LIMIT
    assert crosses(drawn) >= 10
    assert arrows(drawn) >= 5
    assert len(timeline_svg(view.snapshot(), 6000).encode()) <= 6000


def test_its_colours_can_be_told_from_white_and_from_black() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    colours = set(re.findall("#[0-9a-f]{6}", timeline_svg(word_count().snapshot())))
    assert len(colours) == 4
    for colour in colours:
        for ground in ("#ffffff", "#111111", "#1e1e1e"):
            light, dark = sorted((luminance(colour), luminance(ground)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 3.8


def test_names_from_outside_are_text_and_nothing_more() -> None:
    picture = word_count().snapshot()
    picture["name"] = '<script>alert(1)</script>&"\x00\x1b\ud800'
    picture["job"] = 'j"><b>'
    picture["feed"][0]["level"], picture["feed"][0]["text"] = "error", "</desc><b>\ufffe"
    drawn = timeline_svg(picture)
    ET.fromstring(drawn)
    assert "<script" not in drawn
    assert "<b>" not in drawn


@settings(max_examples=100)
@given(events)
def test_any_timeline_can_be_drawn(story: list[ev.Event]) -> None:
    view = JobView(JOB)
    for event in story:
        view.fold(event)
    drawn = timeline_svg(view.snapshot())
    if drawn:
        ET.fromstring(drawn)
        assert len(drawn.encode()) <= LIMIT
