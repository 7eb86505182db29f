"""The picture of a job beside the truth: what the journal says, and what the test did."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from by_hand import ByHand
from watching import Gate, eventually, stopped

from mrkernel.engines.remote import ManagerClient
from mrkernel.manager.facts import TaskDone
from mrkernel.manager.journal import read_journal
from mrkernel.manager.state_directory import JOURNAL
from mrkernel.monitor.lanes import Bar, arrows_of, bars_of

CRASHES, WAITS, RECORDS = 3, 5, 12


def mapping(gate: Gate, marks: Path) -> Callable[[int], Iterator[tuple[int, int]]]:
    """A mapper that dies once at one record and waits at another."""
    pause, mark, here = gate.pause, str(marks / "crashed"), os.getpid()

    def mapper(number: int) -> Iterator[tuple[int, int]]:
        import os
        import signal

        tried = here in (os.getpid(), os.getppid())
        if number == CRASHES and not tried and not os.path.exists(mark):
            with open(mark, "w"):
                pass
            os.kill(os.getpid(), signal.SIGKILL)
        if number == WAITS:
            pause("waits")
        yield number % 3, number

    return mapper


def bars_by_name(picture: dict[str, Any]) -> dict[tuple[str, int], Bar]:
    return {(bar.task, bar.attempt): bar for bar in bars_of(picture)}


def worker(bar: Bar) -> str:
    return bar.lane.partition("·")[0]


def worker_rows(client: ManagerClient) -> dict[str, Any]:
    rows: dict[str, Any] = client.look("cluster")["workers"]
    return rows


def check_as_in_journal(by_hand: ByHand, job: str, bars: dict[tuple[str, int], Bar]) -> None:
    """Each task that was done has one bar that says so, and no other bar does."""
    told = {
        (fact.finished.task, fact.finished.attempt): fact
        for fact in read_journal(by_hand.state / JOURNAL)
        if isinstance(fact, TaskDone) and fact.finished.job == job
    }
    assert len(told) == RECORDS + 2
    assert {name for name, bar in bars.items() if bar.state == "done"} == set(told)
    for name, fact in told.items():
        bar, finished = bars[name], fact.finished
        assert worker(bar) == fact.store
        assert (bar.records, bar.bytes) == (finished.records, finished.bytes_in)
        assert bar.end is not None
        assert bar.end == pytest.approx(fact.at, abs=0.05)


@pytest.mark.fault(1)
def test_each_bar_is_as_it_was(by_hand: ByHand, gate: Gate, tmp_path: Path) -> None:
    by_hand.start_manager()
    by_hand.start_worker(slots=2)
    by_hand.start_worker(slots=2)
    with by_hand.connect() as client:
        eventually(lambda: len(client.living_workers()) == 2, "two workers")
        mapper = mapping(gate, tmp_path)
        job = client.submit(mapper, range(RECORDS), "sum", split_size=1, reduce_tasks=2)
        gate.wait_for("waits")
        eventually(lambda: client.look(job.id)["map"]["done"] == RECORDS - 1, "the other maps")

        # What is known by now is all but the record that waits.
        picture = client.look(job.id)
        rows = [["1", 22], ["2", 21], ["0", 18]]
        assert picture["top"] == {"kind": "sum", "rows": rows, "maps": RECORDS - 1}
        assert picture["shuffle"]["total"] > 0
        assert picture["shuffle"]["done"] == 0
        assert picture["map"]["running"] in (1, 2)  # it may have a backup already
        assert picture["reduce"]["running"] == 0

        # A worker that is silent gets a backup of its task, and then dies.
        first = bars_by_name(picture)[f"map-{WAITS}", 1]
        died = worker(first)
        pid = worker_rows(client)[died]["pid"]
        with stopped(pid):
            eventually(lambda: len(gate.waiting("waits")) >= 2, "backup")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: worker_rows(client)[died]["state"] == "dead", "death")
        gate.open()
        assert job.result(30).to_dict() == {0: 18, 1: 22, 2: 26}

        picture = job.last_picture()
        bars = bars_by_name(picture)
        check_as_in_journal(by_hand, job.id, bars)
        named = {(f"map-{CRASHES}", 1), (f"map-{WAITS}", 1)}
        others = [bar for name, bar in bars.items() if bar.state != "done" and name not in named]
        # On a machine that is busy other tasks get backups, too.
        assert [bar for bar in others if not bar.cause.endswith("was faster")] == []
        crashed = bars[f"map-{CRASHES}", 1]
        assert crashed.state == "failed"
        assert "killed (SIGKILL)" in crashed.cause
        lost, won = bars[f"map-{WAITS}", 1], bars[f"map-{WAITS}", 2]
        assert (lost.state, worker(lost)) == ("lost", died)
        assert lost.cause.startswith(f"{died} died")
        assert won.backup
        assert worker(won) != died
        ways = {(way.source.task, way.source.attempt, way.target.attempt) for way in arrows_of(
            bars_of(picture)
        )}  # fmt: skip
        assert ways == {(f"map-{CRASHES}", 1, 2), (f"map-{WAITS}", 1, 2)}
        for bar in bars.values():
            assert bar.input
            assert bar.begin <= (bar.end or 0.0)
        lanes: dict[str, list[Bar]] = {}
        for bar in bars.values():
            lanes.setdefault(bar.lane, []).append(bar)
        for lane in lanes.values():
            lane.sort(key=lambda bar: bar.begin)
            assert all(one.end <= two.begin for one, two in pairwise(lane))  # type: ignore[operator]
        shuffle = picture["shuffle"]
        assert shuffle["done"] == shuffle["total"] == shuffle["expected"]

        # A manager that comes back tells of each task that was done; of others it knows nothing.
        by_hand.end_manager()
    by_hand.start_manager()
    with by_hand.connect() as client:
        picture = client.look(job.id)
        again = bars_by_name(picture)
        check_as_in_journal(by_hand, job.id, again)
        assert len(again) == RECORDS + 2
        assert (picture["state"], picture["map"]["done"]) == ("done", RECORDS)


def test_what_a_cancelled_job_ran_was_stopped(by_hand: ByHand, gate: Gate) -> None:
    by_hand.start_manager()
    by_hand.start_worker(slots=2)
    pause = gate.pause

    def mapper(number: int) -> Iterator[tuple[int, int]]:
        pause("all")
        yield number, 1

    with by_hand.connect() as client:
        job = client.submit(mapper, range(6), "sum", split_size=1, reduce_tasks=1)
        eventually(lambda: len(gate.waiting()) == 2, "two that run")
        assert job.settle()
        bars = bars_of(job.last_picture())
        assert len(bars) == 2  # what waited for a slot never ran
        assert {(bar.state, bar.cause) for bar in bars} == {("killed", "cancelled")}
        assert all(bar.end is not None for bar in bars)
