"""The timeline of a job beside the truth: what the journal says, and what the test did."""

from __future__ import annotations

import os
import shutil
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from by_hand import ByHand
from watching import Gate, answer, eventually, stopped

from mrkernel.engines.remote import ManagerClient
from mrkernel.manager.facts import TaskDone
from mrkernel.manager.journal import read_journal
from mrkernel.manager.state_directory import JOURNAL
from mrkernel.monitor.lanes import Arrow, Bar, arrows_of, bars_of

#: The record whose runner is killed, the one that waits, and how many there are.
CRASHES, WAITS, RECORDS = 3, 5, 12
#: Beats without which nobody is dead: minutes, for on a busy machine a worker may be late.
MISSED = 3000

Bars = dict[tuple[str, int], Bar]


@pytest.fixture
def swept(by_hand: ByHand) -> Iterator[None]:
    """What a killed worker left goes: a later one would sweep it when its lease is over."""
    yield
    by_hand.close()
    for folder in (Path(os.environ["XDG_CACHE_HOME"]) / "mrkernel/spill").iterdir():
        shutil.rmtree(folder)


def mapping(gate: Gate, marks: Path) -> Callable[[int], Iterator[tuple[int, int]]]:
    """A mapper that kills its process once at one record, and waits at another."""
    pause, mark, here = gate.pause, str(marks / "crashed"), os.getpid()

    def mapper(number: int) -> Iterator[tuple[int, int]]:
        import os
        import signal

        tried = here in (os.getpid(), os.getppid())
        if number == CRASHES and not tried and not os.path.exists(mark):
            os.mkdir(mark)  # a second attempt at the same moment fails here, as it should
            os.kill(os.getpid(), signal.SIGKILL)
        if number == WAITS:
            pause("waits")
        yield number % 3, number

    return mapper


def by_name(picture: dict[str, Any]) -> Bars:
    return {(bar.task, bar.attempt): bar for bar in bars_of(picture)}


def worker(bar: Bar) -> str:
    return bar.lane.partition("·")[0]


def rows(client: ManagerClient) -> dict[str, Any]:
    found: dict[str, Any] = client.look("cluster")["workers"]
    return found


def check_done_as_in_journal(by_hand: ByHand, job: str, bars: Bars) -> None:
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
        assert bar.end == pytest.approx(fact.at, abs=0.05)


def check_lanes(bars: Bars) -> None:
    """Each attempt had a slot for itself."""
    ends: dict[str, float] = defaultdict(float)
    for bar in bars.values():
        assert bar.end is not None
        assert ends[bar.lane] <= bar.begin <= bar.end, bar
        ends[bar.lane] = bar.end
    assert {lane[-1] for lane in ends} <= {"0", "1"}


@pytest.mark.fault(1)
@pytest.mark.usefixtures("swept")
def test_each_bar_is_as_it_was(by_hand: ByHand, gate: Gate, tmp_path: Path) -> None:
    by_hand.start_manager(missed=MISSED)
    by_hand.start_worker(slots=2)
    by_hand.start_worker(slots=2)
    with by_hand.connect() as client:
        eventually(lambda: len(client.living_workers()) == 2, "two workers")
        mapper = mapping(gate, tmp_path)
        job = client.submit(mapper, range(RECORDS), "sum", split_size=1, reduce_tasks=2)
        gate.wait_for("waits")
        eventually(lambda: client.look(job.id)["map"]["done"] == RECORDS - 1, "other maps")

        # What is known by now is all but the record that waits.
        picture = client.look(job.id)
        assert picture["top"] == {
            "kind": "sum",
            "rows": [["1", 22], ["2", 21], ["0", 18]],
            "maps": RECORDS - 1,
        }
        assert picture["shuffle"]["total"] > 0
        assert picture["shuffle"]["done"] == 0
        assert picture["map"]["running"] >= 1  # it may have a backup already
        assert picture["reduce"]["running"] == 0

        # A worker that is silent gets a backup of its task, and then dies.
        died = worker(by_name(picture)[f"map-{WAITS}", 1])
        pid = rows(client)[died]["pid"]
        with stopped(pid):
            eventually(lambda: len(gate.waiting("waits")) >= 2, "backup")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: rows(client)[died]["state"] == "dead", "death")
        gate.open()
        assert answer(client, job).to_dict() == {0: 18, 1: 22, 2: 26}

        picture = job.last_picture()
        bars = by_name(picture)
        check_done_as_in_journal(by_hand, job.id, bars)
        check_lanes(bars)
        lost, won = bars[f"map-{WAITS}", 1], bars[f"map-{WAITS}", 2]
        assert (lost.state, worker(lost)) == ("lost", died)
        assert lost.cause.startswith(f"{died} died")
        assert (won.state, won.backup) == ("done", True)
        assert worker(won) != died
        failed = [bar for bar in bars.values() if bar.state == "failed"]
        assert {bar.task for bar in failed} == {f"map-{CRASHES}"}
        assert any("killed (SIGKILL)" in bar.cause for bar in failed)
        # On a machine that is busy other tasks get backups, too.
        others = [bar for bar in bars.values() if bar.state not in ("done", "failed")]
        assert {bar.cause.partition(" ")[2] for bar in others if bar != lost} <= {"was faster"}
        arrows = arrows_of(list(bars.values()))
        assert {arrow.source for arrow in arrows} == {lost, *failed}
        assert Arrow(lost, won) in arrows
        assert all(bar.input for bar in bars.values())
        shuffle = picture["shuffle"]
        assert shuffle["done"] == shuffle["total"] == shuffle["expected"]

        # A manager that comes back tells of each task that was done; of others it knows nothing.
        by_hand.end_manager()
    by_hand.start_manager(missed=MISSED)
    with by_hand.connect() as client:
        picture = client.look(job.id)
        again = by_name(picture)
        check_done_as_in_journal(by_hand, job.id, again)
        assert len(again) == RECORDS + 2
        assert (picture["state"], picture["map"]["done"]) == ("done", RECORDS)


def test_what_a_cancelled_job_ran_was_stopped(by_hand: ByHand, gate: Gate) -> None:
    by_hand.start_manager(missed=MISSED)
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
