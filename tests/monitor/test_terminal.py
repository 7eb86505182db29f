"""The pictures in a terminal of any size."""

from __future__ import annotations

import io

import pytest
from events_strategy import JOB, events
from example import word_count
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from mrkernel.ids import JobId, WorkerId
from mrkernel.monitor import events as ev
from mrkernel.monitor.picture import Json
from mrkernel.monitor.terminal import cluster_renderable, job_line, job_renderable
from mrkernel.monitor.view import ClusterView, JobView


def drawn(renderable: object, width: int = 80, **options: object) -> list[str]:
    console = Console(width=width, file=io.StringIO(), **options)
    console.print(renderable)
    return console.file.getvalue().splitlines()


RUNNING = word_count(until=12.0).snapshot()


@settings(max_examples=100)
@given(events, st.integers(20, 220), st.integers(5, 60))
def test_every_picture_has_room_in_every_terminal(
    story: list[ev.Event], width: int, height: int
) -> None:
    view, cluster = JobView(JOB), ClusterView()
    for event in story:
        view.fold(event)
        cluster.fold(event)
    picture = view.snapshot()
    lines = drawn(job_renderable(picture, height=height), width)
    assert all(len(line) <= width for line in lines)
    # Header, bars, and how it ended stand there in any case.
    assert len(lines) <= max(height, 8 + len(picture["sentence"]) // 18 + 200 // width)
    lines = drawn(cluster_renderable(cluster.snapshot(), 0.0, height=height), width)
    assert len(lines) <= max(height, 2)
    assert len(drawn(job_line(picture), 500)) == 1


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_usual_terminal_shows_all_there_is_to_see(width: int) -> None:
    lines = drawn(job_renderable(RUNNING, height=23), width)
    text = "\n".join(lines)
    assert len(lines) <= 23
    for words in (
        "▶ running  12.0 s · ", " left", "✗ 1 worker lost",  # how far, how long
        "Map  ", "Shuffle", "Reduce", "━╍", "╱─",  # done, begun, to be done again
        "✗ w2  7 maps", "was killed (SIGKILL) at 9.4 s", "● w3",
        "w2·0 ░", "╱✗", "running  ✗ failed or lost",  # what was lost with it, and what broke off
        "Most frequent keys so far (29 of 40 splits, not final)",
        "  9.40 s  w2 was killed (SIGKILL): map-27 → w4, map-30 →",
    ):  # fmt: skip
        assert words in text


def test_a_tall_terminal_shows_what_stands_out_with_bars() -> None:
    text = "\n".join(drawn(job_renderable(RUNNING, height=49), 120))
    assert "the        ━━━━━━━━━━━━━━━━━━━━━━━━ 261,000" in text
    assert "reduce-2  ━━━━━━━━━━━━━━━━━━━━━━━━ 87 MB" in text
    assert "►" in text  # where a lost task goes on
    assert "map-20 failed on w4: ZeroDivisionError" in text


def test_a_hundred_workers_are_those_in_trouble_and_a_number() -> None:
    picture = word_count(2000, 8, 100, until=12.0).snapshot()
    lines = drawn(job_renderable(picture, height=40), 120)
    assert len(lines) <= 40
    assert any(line.startswith("✗ w2 ") for line in lines)
    assert any("and 8" in line and "more" in line for line in lines)
    assert any("more lanes" in line for line in lines)


def test_states_are_told_without_colours_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = "\n".join(drawn(job_renderable(RUNNING, height=23), 80, force_terminal=True))
    assert "\x1b[3" not in out  # no colour
    assert {"━", "╍", "╱", "─", "✗", "●", "▒", "░"} <= set(out)


def test_a_job_folds_to_one_line() -> None:
    (line,) = drawn(job_line(word_count().snapshot()), 200)
    assert line == (
        "word-count  ✓ 22.7 s · 1 worker lost, 1 attempt failed, 3 tasks moved, 3 tasks redone"
    )
    view = JobView(JOB)
    view.fold(ev.JobAccepted(at=0.0, job=JOB, name="x", maps=1, reduces=1, input_bytes=0,
                             functions=""))  # fmt: skip
    view.fold(ev.JobEnded(at=2.0, job=JOB, outcome="failed", sentence="map-0 raised"))
    # Why is said by the error, right below.
    assert drawn(job_line(view.snapshot())) == ["x  ✗ failed after 2.0 s"]


def cluster_of(*jobs: str) -> tuple[ClusterView, dict[str, Json]]:
    """A cluster with two workers and jobs that run, two maps of each done of three."""
    view, pictures = ClusterView(wall=1000.0), {}
    for name in ("w1", "w2"):
        joined = ev.WorkerJoined(at=0.0, worker=WorkerId(name), host="h", pid=1, slots=1)
        view.fold(joined)
    for number, name in enumerate(jobs, 1):
        job = JobId(f"j{number}")
        one = JobView(job)
        for event in (
            ev.JobAccepted(
                at=float(number), job=job, name=name, maps=3, reduces=1, input_bytes=9, functions=""
            ),
            *(
                ev.AttemptFinished(
                    at=5.0, job=job, task=f"map-{n}", attempt=1, worker=WorkerId("w1"), records=1,
                    pairs=1, bytes_in=3, bytes_out=3, seconds=1.0,
                )
                for n in range(2)
            ),
        ):  # fmt: skip
            view.fold(event)
            one.fold(event)
        pictures[job] = one.snapshot()
    return view, pictures


def test_a_cluster_shows_how_far_its_jobs_are() -> None:
    view, pictures = cluster_of("words", "letters")
    view.fold(ev.JobEnded(at=6.0, job=JobId("j1"), outcome="done", sentence=""))
    lines = drawn(cluster_renderable(view.snapshot(), 1008.0, jobs=pictures), 100)
    (running,) = [line for line in lines if "letters" in line]
    assert running.startswith("▶ j2 running  6.0 s  letters  ━━━━")
    assert "──" in running
    assert "2 of 3 maps, 0 of 1 reduces" in running
    assert "✓ j1 done     5.0 s  words" in lines
    assert lines[0] == "2 workers · 2 slots, 0 busy"
    assert any(line.startswith("● w1  4 maps") for line in lines)


def test_many_jobs_are_the_newest_and_a_number() -> None:
    view, _ = cluster_of(*(f"job-{n}" for n in range(60)))
    lines = drawn(cluster_renderable(view.snapshot(), 1008.0, height=24), 80)
    assert len(lines) <= 24
    assert any("job-59" in line for line in lines)
    assert not any("job-3 " in line for line in lines)
    assert any("earlier jobs" in line for line in lines)
