"""The pictures in words."""

from __future__ import annotations

import io

import pytest
from events_strategy import JOB, events
from hypothesis import given, settings
from rich.console import Console

from mrkernel.ids import WorkerId, map_task, reduce_task
from mrkernel.monitor import events as ev
from mrkernel.monitor.quantities import bytes_text, count_text, names_text, seconds_text
from mrkernel.monitor.terminal import cluster_renderable, job_renderable
from mrkernel.monitor.text import (
    ClusterStory,
    Milestones,
    bar_parts,
    bar_text,
    cluster_lines,
    is_troubled,
    job_lines,
    job_rows,
    rates_text,
    summary_line,
)
from mrkernel.monitor.view import ClusterView, JobView

W1, W2 = WorkerId("w1"), WorkerId("w2")


def story() -> list[ev.Event]:
    """Two maps and a reduce; w2 dies with one map running and one done."""
    attempt = {"job": JOB, "attempt": 1}
    did = {"records": 10, "pairs": 20, "bytes_in": 500, "bytes_out": 300, "seconds": 1.0}
    return [
        ev.WorkerJoined(at=0.0, worker=W1, host="h", pid=1, slots=1),
        ev.WorkerJoined(at=0.0, worker=W2, host="h", pid=2, slots=1),
        ev.JobAccepted(
            at=1.0, job=JOB, name="count [b]", maps=2, reduces=1, input_bytes=1000, functions="x"
        ),
        ev.AttemptStarted(at=1.0, task=map_task(0), worker=W2, input="a.txt", **attempt),
        ev.AttemptFinished(at=2.0, task=map_task(0), worker=W2, **attempt, **did),
        ev.AttemptStarted(at=2.0, task=map_task(1), worker=W2, input="b.txt", **attempt),
        ev.WorkerLost(at=3.0, worker=W2, cause="connection reset"),
        ev.OutputLost(at=3.0, job=JOB, worker=W2, tasks=(map_task(0),)),
        ev.AttemptStarted(at=3.0, job=JOB, task=map_task(1), attempt=2, worker=W1, input="b"),
        ev.AttemptFinished(at=4.0, job=JOB, task=map_task(1), attempt=2, worker=W1, **did),
        ev.AttemptFinished(at=4.2, job=JOB, task=map_task(0), attempt=2, worker=W1, **did),
        ev.AttemptFinished(at=5.0, task=reduce_task(0), worker=W1, **attempt, **did),
        ev.JobEnded(at=5.2, job=JOB, outcome="done", sentence=""),
    ]


def view_after(count: int) -> JobView:
    view = JobView(JOB)
    for event in story()[:count]:
        view.fold(event)
    return view


def drawn(renderable: object, width: int = 80, **options: object) -> str:
    console = Console(width=width, file=io.StringIO(), **options)
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


def test_the_summary_line() -> None:
    assert summary_line(view_after(13).snapshot()) == (
        "✓ 4.2 s · 1 worker lost, 1 task moved, 1 task redone"
    )
    assert summary_line(view_after(4).snapshot()) == "▶ running 0.00 s"
    assert summary_line(view_after(4).snapshot(), now=3.5) == "▶ running 2.5 s"
    failed = view_after(4)
    failed.fold(ev.JobEnded(at=1.5, job=JOB, outcome="failed", sentence="map-0 raised\nmore"))
    assert summary_line(failed.snapshot()) == "✗ failed after 0.50 s · map-0 raised"
    assert bar_text(failed.snapshot(), "reduce") == "0 of 1"


def test_bars_in_words_and_lengths() -> None:
    picture = view_after(9).snapshot()
    assert bar_text(picture, "map") == "0 of 2 · 1 running · 2 again"
    assert bar_parts(picture, "map") == (0.0, 0.0, 1.0)
    assert bar_text(picture, "shuffle") == "waits for maps"
    assert bar_text(picture, "reduce") == "0 of 1 · waits for maps"
    picture = view_after(13).snapshot()
    assert [bar_text(picture, phase) for phase in ("map", "shuffle", "reduce")] == [
        "2 of 2",
        "500 B",
        "1 of 1",
    ]
    assert all(bar_parts(picture, phase)[0] == 1.0 for phase in ("map", "shuffle", "reduce"))


@settings(max_examples=100)
@given(events)
def test_any_picture_can_be_drawn(story: list[ev.Event]) -> None:
    view, cluster, milestones = JobView(JOB), ClusterView(), Milestones()
    for event in story:
        view.fold(event)
        cluster.fold(event)
    picture = view.snapshot()
    for phase in ("map", "shuffle", "reduce"):
        parts = bar_parts(picture, phase)
        assert all(part >= 0 for part in parts)
        assert sum(parts) <= 1 + 1e-9
    for width in (20, 80):
        lines = job_lines(picture, width) + cluster_lines(cluster.snapshot(), width)
        assert all(len(line) <= width and "\n" not in line for line in lines)
    milestones.tell(picture)


def test_plain_lines_tell_the_whole_story_without_control_codes() -> None:
    lines = job_lines(view_after(13).snapshot(), 0)
    text = "\n".join(lines)
    assert "\x1b" not in text
    assert lines[0].startswith("count [b]  ✓ 4.2 s · 1 worker lost")
    assert "✗ w2  1 map · died at 2.0 s: connection reset" in lines
    assert (
        "   2.00 s  w2 died (connection reset): map-1 → w1; "
        "1 finished task runs again; cost 2.0 s of work" in text
    )


def test_the_newest_error_stays_in_sight() -> None:
    view = view_after(9)
    for number in range(20):
        view.fold(ev.Noted(at=4.0, job=JOB, level="info", sentence=f"note {number}"))
    text = drawn(job_renderable(view.snapshot(), height=12))
    assert "w2 died" in text
    assert "note 19" in text
    assert "note 16" not in text


def test_a_terminal_shows_header_bars_workers_and_events_in_80_columns() -> None:
    text = drawn(job_renderable(view_after(9).snapshot()))
    assert all(len(line) <= 80 for line in text.splitlines())
    for words in ("count [b]", "▶ running", "1 worker lost", "Map", "Shuffle", "Reduce", "w1"):
        assert words in text
    assert "╱" in text  # hatched, not only red
    assert "waiting for the manager" in drawn(job_renderable({}))
    assert "waiting for the manager" in drawn(cluster_renderable({}))


def test_a_terminal_shows_the_clusters_workers() -> None:
    view = ClusterView()
    for event in story()[:7]:
        view.fold(event)
    text = drawn(cluster_renderable(view.snapshot()))
    assert "1 worker · 1 slot, 0 busy · 1 lost" in text
    assert "died: connection reset" in text


def test_milestones_tell_each_line_once_and_wait_for_a_growing_one() -> None:
    view, milestones, told = JobView(JOB), Milestones(), []
    for event in story():
        view.fold(event)
        told += milestones.tell(view.snapshot())
    deaths = [line for line in told if "died" in line]
    assert deaths == [
        "   2.00 s  w2 died (connection reset): map-1 → w1; "
        "1 finished task runs again; cost 2.0 s of work"
    ]
    assert told[-1] == "   4.20 s  done in 4.2 s"
    assert len(told) == len(set(told))
    assert milestones.tell(view.snapshot()) == []


def troubled_view() -> JobView:
    """w2 was killed, w1 is suspect, the manager was restarted, and records were skipped."""
    view = view_after(9)
    for event in (
        ev.WorkerCause(at=3.1, worker=W2, cause="was killed (SIGKILL)"),
        ev.WorkerSuspect(at=3.2, worker=W1, silent_s=0.3),
        ev.ManagerRestarted(at=3.3, job=JOB, maps_kept=1, maps=2, down_s=1.4),
    ):
        view.fold(event)
    return view


def test_a_banner_and_the_reason_of_a_death_reach_every_kind_of_text() -> None:
    picture = troubled_view().snapshot()
    restarted = "manager restarted after 1.4 s: 1 of 2 maps kept"
    lines = job_lines(picture, 0)
    assert lines[1] == f"! {restarted}"
    assert "✗ w2  1 map · was killed (SIGKILL) at 2.0 s" in lines
    assert "◐ w1  no heartbeat for 0.3 s · map-1 (attempt 2)" in lines
    screen = drawn(job_renderable(picture), 100)
    assert f"! {restarted}" in screen
    assert "was killed (SIGKILL) at 2.0 s" in screen
    away = {"kind": "away", "level": "warning", "text": "the manager is gone, looking for it"}
    cluster = {**ClusterView().snapshot(), "banner": away}
    assert cluster_lines(cluster)[1] == "! the manager is gone, looking for it"
    assert "! the manager is gone" in drawn(cluster_renderable(cluster))


def test_a_job_that_skipped_records_did_well() -> None:
    view = view_after(4)
    view.fold(
        ev.AttemptFinished(
            at=2.0, job=JOB, task=map_task(0), attempt=1, worker=W1, records=1, pairs=1,
            bytes_in=1, bytes_out=1, seconds=1.0, bad=3,
        )
    )  # fmt: skip
    view.fold(ev.JobEnded(at=2.0, job=JOB, outcome="done", sentence=""))
    picture = view.snapshot()
    assert summary_line(picture) == "✓ 1.0 s · 3 bad records skipped"
    assert not is_troubled(picture)
    assert is_troubled(troubled_view().snapshot())


def test_a_log_says_once_that_the_manager_is_gone() -> None:
    milestones = Milestones()
    picture = view_after(4).snapshot()
    milestones.tell(picture)
    told = []
    for seconds in ("", " for 1 s", " for 2 s"):
        text = f"the manager is gone{seconds}, looking for it"
        banner = {"kind": "away", "level": "warning", "text": text}
        told += milestones.tell({**picture, "banner": banner})
    assert told == ["   0.00 s  the manager is gone, looking for it"]


def test_rates() -> None:
    picture = view_after(13).snapshot()
    assert rates_text(picture) == "238 B/s · 5 records/s"


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (16_000_000, "16 MB"), (999_600, "1.0 MB")],
)
def test_bytes(number: int, text: str) -> None:
    assert bytes_text(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(4018, "4,018"), (99_999, "99,999"), (5_100_000, "5.1 M"), (3e15, "3,000 T")],
)
def test_counts(number: float, text: str) -> None:
    assert count_text(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(-1, "0.00 s"), (0.04, "0.04 s"), (4.2, "4.2 s"), (187, "3 min 07 s"), (7500, "2 h 05 min")],
)
def test_seconds(number: float, text: str) -> None:
    assert seconds_text(number) == text


def test_names() -> None:
    names = [f"map-{number}" for number in range(8)]
    assert names_text(names[:5]) == "map-0, map-1, map-2, map-3, map-4"
    assert names_text(names) == "map-0, map-1, map-2, map-3 and 4 more"


def test_a_wait_is_told_though_nothing_else_happens() -> None:
    view, milestones = JobView(JOB), Milestones()
    view.fold(story()[2])
    view.fold(ev.JobWaits(at=3.0, job=JOB, sentence="waiting for a worker"))
    picture = view.snapshot()
    assert milestones.tell(picture, 3.1) == [
        "   0.00 s  count [b]: 2 maps and 1 reduce over 1.0 kB"
    ]
    assert milestones.tell(picture, 4.1) == ["   2.00 s  waiting for a worker"]


def test_the_times_that_are_told_only_go_up() -> None:
    view, milestones = view_after(4), Milestones()
    view.fold(ev.WorkerJoined(at=1.9, worker=WorkerId("w3"), host="h", pid=3, slots=1))
    view.fold(story()[4])
    told = milestones.tell(view.snapshot(), 2.0)
    assert not any("w3 joined" in line or "map 1 of 2" in line for line in told)
    joined, half = milestones.tell(view.snapshot(), 3.0)
    assert "w3 joined" in joined
    assert half.startswith("    1.0 s  map 1 of 2")


def test_a_job_that_runs_has_taken_until_now() -> None:
    cluster = ClusterView(wall=1000.0)
    for event in story()[:4]:
        cluster.fold(event)
    assert job_rows(cluster.snapshot(), 1004.2) == [(JOB, "running", "3.2 s", "count [b]")]
    cluster.fold(story()[-1])
    assert job_rows(cluster.snapshot(), 2000.0) == [(JOB, "done", "4.2 s", "count [b]")]


def test_many_tasks_are_few_lines() -> None:
    """A sentence for each thing that happened, none for a tick."""
    view, milestones, told = JobView(JOB), Milestones(), []
    names = {"job": JOB, "attempt": 1, "worker": W1}
    did = {"records": 1, "pairs": 1, "bytes_in": 1, "bytes_out": 1, "seconds": 0.01}
    view.fold(story()[0])
    view.fold(ev.JobAccepted(at=0.0, job=JOB, name="x", maps=5000, reduces=0, input_bytes=0,
                             functions=""))  # fmt: skip
    for number in range(5000):
        at = number / 100
        view.fold(ev.AttemptStarted(at=at, task=map_task(number), input="", **names))
        view.fold(ev.AttemptFinished(at=at + 0.01, task=map_task(number), **names, **did))
        if number % 50 == 49:
            told += milestones.tell(view.snapshot())
    view.fold(ev.JobEnded(at=51.0, job=JOB, outcome="done", sentence=""))
    told += milestones.tell(view.snapshot())
    assert [line[11:].split(" · ")[0] for line in told] == [
        "w1 joined with 1 slot",
        "x: 5,000 maps, no reduce",
        "map 1,250 of 5,000",
        "map 2,500 of 5,000",
        "map 3,750 of 5,000",
        "all 5,000 maps done after 50.0 s",
        "done in 51.0 s",
    ]


def test_of_lines_that_nobody_could_tell_it_is_said_how_many_they_were() -> None:
    view, milestones = view_after(4), Milestones()
    told = milestones.tell(view.snapshot(), 9.0)
    before = len(told)
    for number in range(1000):
        view.fold(ev.Noted(at=2.0, job=JOB, level="info", sentence=f"note {number}"))
    told += milestones.tell(view.snapshot(), 9.0)
    assert told[before] == "   1.00 s  (800 more events)"
    assert told[before + 1 :] == [f"   1.00 s  note {number}" for number in range(800, 1000)]


def test_a_clusters_story_begins_now() -> None:
    cluster = ClusterView(wall=1000.0)
    for event in story()[:2]:
        cluster.fold(event)
    told = ClusterStory(cluster.snapshot())
    assert told.tell(cluster.snapshot(), 1001.0) == []
    for event in story()[2:8]:
        cluster.fold(event)
    lines = told.tell(cluster.snapshot(), 1009.0)
    assert [line[10:] for line in lines] == [
        "w2 died (connection reset)", "j-1 count [b]: running"
    ]  # fmt: skip
    away = {"kind": "away", "level": "warning", "text": "the manager is gone, looking for it"}
    picture = cluster.snapshot()
    lines = told.tell({**picture, "banner": away}, 1010.0)
    assert lines[0].endswith("  the manager is gone, looking for it")
    later = {**away, "text": "the manager is gone for 3 s, looking for it"}
    assert told.tell({**picture, "banner": later}, 1013.0) == []
    # It is a new manager with a feed of its own.
    new = ClusterView(wall=1000.0)
    new.fold(ev.WorkerJoined(at=14.0, worker=WorkerId("w3"), host="h", pid=1, slots=1))
    new.fold(story()[2])
    new.fold(ev.JobEnded(at=15.0, job=JOB, outcome="done", sentence=""))
    lines = told.tell(new.snapshot(), 1016.0)
    assert [line[10:] for line in lines] == [
        "the manager is there again", "w3 joined with 1 slot", "j-1 count [b]: done after 14.0 s"
    ]  # fmt: skip
