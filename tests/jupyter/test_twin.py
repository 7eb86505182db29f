"""What a saved notebook keeps of a view: small, complete, and safe where styles are stripped."""

from __future__ import annotations

import re
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from example import word_count

from mrkernel.jupyter.twin import TWIN_LIMIT, bounded, job_html, job_text, trimmed


def image_of(html: str) -> str:
    found = re.search(r'<img src="data:image/svg\+xml,([^"]*)"', html)
    assert found is not None
    return unquote(found[1])


def test_it_has_bars_workers_events_and_the_timeline() -> None:
    picture = word_count().snapshot()
    html = job_html(picture, "full")
    svg = ElementTree.fromstring(image_of(html))
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(list(svg.iter("{http://www.w3.org/2000/svg}path"))) > 10
    # Without tags and images (GitHub) all of it is still said.
    bare = re.sub(r"<[^>]*>", " ", html)
    for said in ("word-count", "40 of 40", "1 worker lost", "map-20 failed", "was killed"):
        assert said in bare
    assert "map-0 attempt" not in bare  # no labels of the drawing
    text = job_text(picture, "full")
    assert "█" in text
    assert len(html.encode()) + len(text.encode()) <= TWIN_LIMIT


@pytest.mark.parametrize("maps", [1, 40, 3000])
@pytest.mark.parametrize("workers", [1, 60])
def test_it_stays_small_whatever_the_job(maps: int, workers: int) -> None:
    picture = word_count(maps, 8, max(workers, 2)).snapshot()
    html, text = job_html(picture, "full"), job_text(picture, "full")
    assert len(html.encode()) + len(text.encode()) <= TWIN_LIMIT
    ElementTree.fromstring(image_of(html))


def test_one_line_is_one_line() -> None:
    picture = word_count().snapshot()
    assert job_html(picture, "summary").startswith("<div><b>word-count</b> ✓ ")
    assert "img" not in job_html(picture, "summary")
    assert "\n" not in job_text(picture, "summary")


def test_nothing_in_a_name_becomes_part_of_the_page() -> None:
    picture = {**word_count().snapshot(), "name": "\"'><script>alert(1)</script>&"}
    html = job_html(picture, "full")
    assert "<script" not in html
    title = ElementTree.fromstring(image_of(html)).find("{http://www.w3.org/2000/svg}title")
    assert title is not None
    assert (title.text or "").startswith("Timeline of \"'><script>")


def test_a_trimmed_picture_has_no_rows() -> None:
    picture = word_count().snapshot()
    small = trimmed(picture)
    assert len(str(small)) < 3000 < len(str(picture))
    assert (small["bars"], small["workers"], small["feed"]) == ({}, {}, [])
    assert small["seq"] == picture["seq"]


def test_what_there_is_no_room_for_is_counted() -> None:
    assert bounded(["a", "b"], 100) == ["a", "b"]
    lines = bounded(["x" * 30] * 10, 140)
    assert lines[-1] == "… 7 more lines are not kept"
    assert len("\n".join(lines).encode()) <= 140
