"""What a manager's state comes to, whatever way it came there: to compare one with its replay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mrkernel.manager.facts import VERSION, AnyFact, Began, decode_facts, encode_facts
from mrkernel.manager.records import Job, Task
from mrkernel.manager.state import ManagerState
from mrkernel.manager.transitions import TaskState
from mrkernel.manager.workers import Home


def describe(state: ManagerState) -> dict[str, Any]:
    """All that must be the same after a restart: what was running is ready again."""
    books = state._books
    return {
        "jobs": {job.id: _job(job) for job in state.jobs.values()},
        "blobs": {digest for job in state.jobs.values() for digest in job.blobs},
        "stores": {s.id: (s.host_id, s.directory, s.instance) for s in books.stores.values()},
        "retiring": books.retiring,
        "seen": (books.workers_seen, books.jobs_seen),
        "keys": {key: job.id for key, job in state._jobs._by_key.items()},
    }


def _job(job: Job) -> dict[str, Any]:
    return {
        "number": job.number,
        "spec": job.spec,
        "key": job.key,
        "extends": job.extends,
        "state": job.state,
        "sentence": job.sentence,
        "failure": job.failure,
        "delivered": job.delivered,
        "blobs": job.blobs,
        "skipped": job.skipped,
        "left": (job.maps_left, job.reduces_left),
        "tasks": {task.id: _task(task) for task in job.tasks.values()},
    }


def _task(task: Task) -> dict[str, Any]:
    return {
        "split": task.split,
        "done": task.state is TaskState.DONE,
        "winner": task.winner,
        "holder": task.holder,
        "origin": task.origin,
        "counters": task.counters,
        "bad": task.bad,
        "skip": task.skip if task.origin else {},
        "output": task.output,
        "part": task.part,
    }


def replayed(home: Home, facts: Iterable[AnyFact], now: float, **options: Any) -> ManagerState:
    """Make a state of facts, as a journal would have them."""
    state = ManagerState(home, **options)
    began = Began(VERSION, home.cluster, home.python, 1, 0.0)
    state.replay(decode_facts(encode_facts([began, *facts])), now, 0.0)
    state.validate()
    return state


def check_replay(state: ManagerState, home: Home, facts: Iterable[AnyFact], now: float) -> None:
    """Check that the facts so far make this state again, and so do those of its snapshot.

    Raises:
        AssertionError: something is forgotten, or made up.
    """
    before = describe(state)
    for name, told in (("the journal", facts), ("the snapshot", state.snapshot())):
        again = replayed(home, told, now)
        assert describe(again) == before, f"{name} makes another state"
        assert again.blobs == before["blobs"], f"{name} has other blobs than its jobs need"
        assert not again.take_facts(), f"{name} needs facts to be replayed"
