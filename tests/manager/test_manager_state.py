"""What a manager decides, event by event: no sockets, no clock, no other process."""

from __future__ import annotations

from typing import Any

import pytest
from desk import ON_DISK, Desk, maps_done

from mrkernel.errors import InvalidTransition
from mrkernel.ids import JobId
from mrkernel.manager import attempts, jobs, outputs, workers
from mrkernel.manager.events import Received
from mrkernel.manager.instructions import Close
from mrkernel.manager.state import ManagerState
from mrkernel.manager.transitions import (
    JOB_TRANSITIONS,
    TASK_TRANSITIONS,
    WORKER_TRANSITIONS,
    JobState,
    TaskTrigger,
    advance,
)
from mrkernel.manager.workers import Home
from mrkernel.protocol.client_messages import CancelJob
from mrkernel.protocol.worker_messages import Beat, PartOutput


def test_whoever_leaves_his_role_is_shown_out(desk: Desk) -> None:
    desk.join()
    worker = desk.peers["w1"]
    assert desk.tell("w1", desk.worker("w1").info) == [Close(worker)]  # registers twice
    stranger = desk.new_client()
    assert desk.handle(Received(stranger, Beat(0.0, 0))) == [Close(stranger)]


def test_every_row_of_the_tables_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    reached = set()

    def recording(noun: Any, table: Any, trigger: Any, now: float, why: str = "") -> Any:
        before = noun.state
        result = advance(noun, table, trigger, now, why)
        reached.add((before, trigger))
        return result

    for module in (attempts, jobs, outputs, workers):
        monkeypatch.setattr(module, "advance", recording)
    desk = Desk()
    desk.join_hosts("h1", "h2")
    desk.submit(maps=2, reduces=2)
    maps_done(desk)
    desk.fail("w1", "reduce-0")
    desk.lose_for_good("w1")  # the output that a ready reduce task needs
    desk.finish("w2", "reduce-1", part=ON_DISK)
    desk.finish("w2", "map-0")
    desk.silence(2.0)  # a suspect
    desk.join(host="h3")
    assert desk.running() == {"w2": ["reduce-0"], "w3": ["reduce-0"]}  # a backup
    desk.finish("w2", "reduce-0", part=ON_DISK)
    assert desk.job().state is JobState.DONE
    desk.silence(2.0, "w3")
    desk.lose_for_good("w2")  # a suspect, and the result
    assert desk.job().state is JobState.RUNNING
    desk.lose("w3")
    desk.return_of("w3")  # it had finished one of each before
    reduce = desk.finished("reduce-0", 7, part=PartOutput("", 1, 1, b"x"))
    desk.offer("w4", reduce, desk.finished("map-0", 7))
    desk.ask(CancelJob(JobId("j1")))
    desk.submit(maps=1)
    desk.fail("w4", "map-0", "user", job="j2")
    assert {*TASK_TRANSITIONS, *JOB_TRANSITIONS, *WORKER_TRANSITIONS} - reached == set()


def test_a_bug_tells_the_story_of_its_noun(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1)
    task = desk.task("map-0")
    with pytest.raises(InvalidTransition) as caught:
        advance(task, TASK_TRANSITIONS, TaskTrigger.OUTPUT_LOST, 9.0)
    assert str(caught.value).splitlines() == [
        "task map-0 is running: no row for 'output lost' ()",
        "  1.000 attempt started w1",
    ]


def test_nothing_is_decided_without_an_event() -> None:
    state = ManagerState(Home("3.11"))
    assert (state.workers, state.jobs, state.blobs) == ({}, {}, set())
    state.validate()
