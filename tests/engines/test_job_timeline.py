"""A job's timeline and report, on every engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import mrkernel
from mrkernel.engines import job as jobs
from mrkernel.engines.job import Job
from mrkernel.errors import ClusterError, JobSpecError
from mrkernel.ids import JobId
from mrkernel.monitor.live import LivePicture
from mrkernel.monitor.view import JobView


def counted(place: Any) -> Job:
    lines = iter(["a", "b", "a"])
    job = mrkernel.submit(lambda line: [(line, 1)], lines, "sum", name="<count>", on=place)
    assert job.result().to_dict() == {"a": 2, "b": 1}
    return job


def test_the_timeline_says_what_ran_where(place: Any) -> None:
    timeline = counted(place).timeline()
    tasks = {bar.task for bar in timeline}
    assert {"map-0", "reduce-0"} <= tasks
    assert all(bar.end is not None and bar.state == "done" for bar in timeline)
    assert len(timeline) == len(timeline.bars)
    assert "█ map" in repr(timeline)
    svg = timeline._repr_svg_()
    assert svg is not None
    ElementTree.fromstring(svg)


def test_the_report_is_one_file(place: Any, tmp_path: Path) -> None:
    path = counted(place).report(tmp_path / "report.html")
    assert path == tmp_path / "report.html"
    html = path.read_text(encoding="utf-8")
    assert html.startswith("<!DOCTYPE html>")
    assert "<h1>&lt;count&gt;</h1>" in html
    assert "reduce-0" in html


def watched() -> LivePicture:
    picture = LivePicture()
    picture.receive({"snapshot": JobView(JobId("j7")).snapshot()})
    return picture


def test_a_report_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    job = Job("j7", "x", watch=watched, cancel=lambda: None)
    with pytest.raises(JobSpecError, match=r"no folder /.*/away: make it, or name another$"):
        job.report(tmp_path / "away" / "report.html")
    with pytest.raises(JobSpecError, match=r"it is a folder: name a file in it, such as /"):
        job.report(tmp_path)
    with pytest.raises(JobSpecError, match=r"File name too long$"):
        job.report(tmp_path / ("x" * 300))
    path = tmp_path / "report.html"
    path.write_text("of the last time")
    assert job.report(path).read_text().startswith("<!DOCTYPE html>")


def test_without_a_picture_there_is_neither(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(jobs, "LOOK_S", 0.0)
    job = Job("j7", "lost", watch=LivePicture, cancel=lambda: None)
    with pytest.raises(ClusterError, match="no picture of job j7"):
        job.timeline()
    with pytest.raises(ClusterError):
        job.report(tmp_path / "report.html")
