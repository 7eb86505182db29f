"""Small map outputs that travel in messages: sent on, not lost, and bounded."""

from __future__ import annotations

from desk import Desk, sent
from hypothesis import given
from hypothesis import strategies as st

from mrkernel.ids import TaskId
from mrkernel.manager.instructions import Close
from mrkernel.manager.policy import ALL_CARRIED, LARGEST_CARRIED, carried_bytes
from mrkernel.manager.transitions import TaskState
from mrkernel.protocol.worker_messages import Start


def test_a_run_that_came_along_is_sent_on_and_is_not_lost() -> None:
    desk = Desk()
    desk.join()
    desk.join()
    desk.submit(maps=2, reduces=2)
    desk.finish("w1", "map-0", sizes=(5, 0), carried=b"a run")
    desk.lose("w1")
    assert desk.task("map-0").state is TaskState.DONE
    desk.join(slots=2)
    out = desk.finish("w2", "map-1")
    starts = {start.task: start for start in sent(out, Start)}
    assert starts[TaskId("reduce-0")].carried == ((0, b"a run"),)
    assert starts[TaskId("reduce-1")].carried == ()
    runs = [source.runs for start in starts.values() for source in start.sources]
    assert runs == [((1, 1),), ((1, 1),)]


def test_no_more_is_carried_than_was_asked_for() -> None:
    desk = Desk()
    desk.join()
    desk.submit(maps=1, reduces=1)
    assert desk.finish("w1", "map-0", carried=bytes(LARGEST_CARRIED + 1)) == [
        Close(desk.peers["w1"])
    ]


@given(st.integers(1, 10**5), st.integers(1, 10**4))
def test_what_is_carried_is_bounded(maps: int, reduces: int) -> None:
    assert carried_bytes(maps, reduces) <= LARGEST_CARRIED
    assert carried_bytes(maps, reduces) * maps * reduces <= ALL_CARRIED
