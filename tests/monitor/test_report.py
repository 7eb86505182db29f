"""The report: one file, safe to open, readable with and without scripts."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from example import JOB, word_count

from mrkernel.monitor.report import report_html
from mrkernel.monitor.view import JobView


class Page(HTMLParser):
    """The elements of a page, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "br", "img", "input"):
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        assert "svg" in self.open, f"<{tag}/> is no end in HTML"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data


def test_all_of_the_picture_is_in_the_file() -> None:
    picture = word_count().snapshot()
    text = report_html(picture, {"bad lines": 12})
    page = Page(text)
    assert json.loads(page.scripts[0]) == picture
    assert "mount(" in page.scripts[1]
    for said in (
        "<td>bad lines</td><td>12</td>",
        "<title>word-count: ✓",
        "<noscript><p>✓ 22.7 s",
        "<svg ",
        "<td>map-20</td><td>1</td>",
        "ZeroDivisionError at line 5 of your cell",
        "was killed (SIGKILL)",
        "<summary>4 workers</summary>",
    ):
        assert said in text, said
    assert text.count("data-bad") > 6
    rows = re.findall(r"<tr[^>]*><td>(?:map|reduce)-\d+</td>", text)
    assert len(rows) == len(picture["bars"])


def test_its_elements_end_and_its_names_are_its_own() -> None:
    page = Page(report_html(word_count(until=12.0).snapshot(), {"bad": 1}))
    assert page.open == []
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(names)) == len(names)


def test_it_says_which_job_it_was_and_when() -> None:
    done, running = word_count().snapshot(), word_count(until=12.0).snapshot()
    assert "<p>job j-1, begun 2023-11-14 22:13:20 UTC</p>" in report_html(done)
    assert "22:13:20 UTC, not over when this was written</p>" in report_html(running)


def test_it_fetches_nothing_and_runs_only_what_its_policy_names() -> None:
    page = Page(report_html(word_count().snapshot()))
    policy = next(
        attributes["content"] or ""
        for tag, attributes in page.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag, attributes in page.tags:
        assert not {"src", "href", "style", "onclick", "onload"} & set(attributes), tag
        assert tag not in ("link", "img", "iframe", "base")


def test_what_comes_from_outside_cannot_end_its_element() -> None:
    picture = word_count().snapshot()
    evil = "</script><script>alert(1)</script><!--<script>\"&'\x00"
    picture["name"] = picture["sentence"] = picture["functions"] = evil
    picture["feed"][0]["text"] = evil
    next(iter(picture["workers"].values()))["host"] = evil
    for row in picture["bars"].values():
        row[9] = row[10] = evil
    page = Page(report_html(picture, {evil: 1}))
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 2
    assert json.loads(page.scripts[0]) == picture


def test_a_job_of_which_nothing_is_known_has_a_report_too() -> None:
    text = report_html(JobView(JOB).snapshot())
    assert "<summary>0 attempts</summary>" in text


@pytest.mark.browser
def test_a_browser_shows_it_without_a_complaint(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(report_html(word_count().snapshot()), encoding="utf-8")
    complaints: list[str] = []
    page = browser.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.set_viewport_size({"width": 400, "height": 700})
    page.goto(file.as_uri())
    page.locator("#view canvas").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    assert not page.locator("noscript svg").is_visible()
    page.close()
    assert complaints == []
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(file.as_uri())
    assert plain.locator("svg[role=img]").is_visible()
    context.close()
