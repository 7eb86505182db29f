"""The tables: what has a row moves, what has none is refused and changes nothing."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pytest

from mrkernel.errors import InvalidTransition
from mrkernel.manager.transitions import (
    JOB_TRANSITIONS,
    TASK_TRANSITIONS,
    WORKER_TRANSITIONS,
    JobState,
    JobTrigger,
    Story,
    TaskState,
    TaskTrigger,
    WorkerLiveness,
    WorkerTrigger,
    advance,
)

Table = Mapping[Any, Any]

TABLES: list[tuple[Table, type[StrEnum], type[StrEnum]]] = [
    (TASK_TRANSITIONS, TaskState, TaskTrigger),
    (JOB_TRANSITIONS, JobState, JobTrigger),
    (WORKER_TRANSITIONS, WorkerLiveness, WorkerTrigger),
]
ROWS = [(table, *row, after) for table, _, _ in TABLES for row, after in table.items()]
GAPS = [
    (table, *pair)
    for table, states, triggers in TABLES
    for pair in itertools.product(states, triggers)
    if pair not in table
]


@dataclass
class Thing:
    state: Any
    story: Story = field(default_factory=list)

    def __repr__(self) -> str:
        return "thing 7"


@pytest.mark.parametrize(("table", "state", "trigger", "after"), ROWS, ids=str)
def test_a_row_moves_and_tells(table: Table, state: Any, trigger: Any, after: Any) -> None:
    thing = Thing(state)
    assert advance(thing, table, trigger, 1.5, "why not") is after
    assert thing.state is after
    assert thing.story == [(1.5, trigger, "why not")]


@pytest.mark.parametrize(("table", "state", "trigger"), GAPS, ids=str)
def test_no_row_no_move(table: Table, state: Any, trigger: Any) -> None:
    thing = Thing(state, [(1.0, "born", ""), (2.5, "moved", "by hand")])
    with pytest.raises(InvalidTransition, match=f"thing 7 is {state}: no row") as caught:
        advance(thing, table, trigger, 3.0, "a bug")
    assert thing.state is state
    assert thing.story == [(1.0, "born", ""), (2.5, "moved", "by hand")]
    assert caught.value.story == ("1.000 born", "2.500 moved by hand")
    assert str(caught.value).splitlines()[1:] == ["  1.000 born", "  2.500 moved by hand"]


def test_the_ends_are_ends() -> None:
    """A dead worker never comes back; a job that failed or was cancelled stays so."""
    starts = {state for state, _ in [*JOB_TRANSITIONS, *WORKER_TRANSITIONS]}
    assert starts.isdisjoint({WorkerLiveness.DEAD, JobState.FAILED, JobState.CANCELLED})


def test_every_state_but_the_first_is_entered() -> None:
    for table, states, _ in TABLES:
        entered = set(table.values())
        born = {TaskState.WAITING, TaskState.READY, JobState.RUNNING, WorkerLiveness.ALIVE}
        assert set(states) - entered <= born
