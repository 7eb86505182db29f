"""The least loaded worker, against looking at all of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.manager.events import PeerId
from mrkernel.manager.loads import Loads
from mrkernel.manager.records import Store, Worker
from mrkernel.manager.transitions import WorkerLiveness
from mrkernel.protocol.worker_messages import Register


def worker(number: int, slots: int) -> Worker:
    info = Register("h", "h", 1, slots, "3.11", "127.0.0.1", 1, "/")
    name = WorkerId(f"w{number}")
    store = Store(name, info.host_id, info.directory, info.instance)
    return Worker(name, number, PeerId(number), info, store, 0.0)


@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["more", "less", "doubt", "trust"]))),
)
def test_it_is_the_least_loaded_of_those_alive(
    slots: list[int], acts: list[tuple[int, str]]
) -> None:
    workers = {w.id: w for w in (worker(i + 1, n) for i, n in enumerate(slots))}
    loads = Loads(workers)
    for each in workers.values():
        loads.changed(each)
    for step, (who, what) in enumerate(acts):
        each = list(workers.values())[who % len(workers)]
        if what == "more":
            each.assigned[JobId("j1"), TaskId(f"map-{step}")] = 1
        elif what == "less" and each.assigned:
            each.assigned.popitem()
        elif what == "doubt":
            each.state = WorkerLiveness.SUSPECT
        elif what == "trust":
            each.state = WorkerLiveness.ALIVE
        if what != "doubt":
            loads.changed(each)
        alive = [w for w in workers.values() if w.state is WorkerLiveness.ALIVE]
        assert loads.least() is min(alive, key=lambda w: w.load, default=None)


def test_what_is_not_true_any_more_is_swept() -> None:
    workers = {w.id: w for w in (worker(1, 1), worker(2, 1))}
    loads = Loads(workers)
    for step in range(10_000):
        for each in workers.values():
            each.assigned[JobId("j1"), TaskId(f"map-{step}")] = 1
            loads.changed(each)
    assert len(loads._heap) < 100
    assert loads.least() is workers[WorkerId("w1")]
