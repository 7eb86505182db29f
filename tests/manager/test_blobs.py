"""Blobs: functions and inputs live as long as a job needs them, here and on the workers."""

from __future__ import annotations

import pytest
from desk import FUNCTIONS, Desk, sent, two_workers

from mrkernel.data.splits import MemorySplit
from mrkernel.ids import JobId
from mrkernel.manager.events import BlobStored, PeerLost
from mrkernel.manager.instructions import DropBlob, Send
from mrkernel.protocol.client_messages import Accepted, CancelJob, Refused
from mrkernel.protocol.worker_messages import Forget


def run_to_end(desk: Desk, job: str, worker: str = "w1") -> None:
    """Let the worker do all that is left of a job of one map and one reduce."""
    desk.finish(worker, "map-0", job=job)
    desk.finish(worker, "reduce-0", job=job)


def test_a_blob_that_was_damaged_once_is_kept_when_it_comes_whole(desk: Desk) -> None:
    desk.handle(BlobStored(desk.client, "a" * 64))
    assert sent(desk.submit(stored=False), Refused)  # its functions did not arrive
    assert sent(desk.submit(maps=0, reduces=0), Accepted)
    desk.handle(BlobStored(desk.client, FUNCTIONS))
    desk.release("j1")
    assert FUNCTIONS in desk.state.blobs


def test_blobs_live_as_long_as_a_job_needs_them(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1)
    desk.submit(maps=1)  # the same functions
    run_to_end(desk, "j1")
    desk.release("j1")
    assert desk.state.blobs == {FUNCTIONS}
    run_to_end(desk, "j2")
    assert DropBlob(FUNCTIONS) in desk.release("j2")
    assert desk.state.blobs == set()


def test_a_delivered_job_keeps_its_result_and_no_input(desk: Desk) -> None:
    """Or a hundred small notebooks' inputs would fill the manager's memory."""
    desk.join()
    desk.submit(splits=[MemorySplit("x", 0, 1, None, blob="a" * 64, size=10**9)])
    run_to_end(desk, "j1")
    assert desk.state.blobs == {FUNCTIONS, "a" * 64}  # the result may still have to be made again
    desk.release("j1", runs_only=True)
    assert desk.state.blobs == {FUNCTIONS}  # for who debugs it
    assert list(desk.state.jobs) == ["j1"]


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_a_job_that_ended_badly_keeps_its_functions_alone(desk: Desk, how: str) -> None:
    desk.join()
    desk.submit(splits=[MemorySplit("x", 0, 1, None, blob="a" * 64, size=9)])
    if how == "failed":
        desk.fail("w1", "map-0", "user")
    else:
        desk.ask(CancelJob(JobId("j1")))
    assert desk.state.blobs == desk.worker("w1").blobs == {FUNCTIONS}
    assert desk.worker("w1").jobs == set()
    desk.release()
    assert desk.state.blobs == desk.worker("w1").blobs == set()


def test_a_blob_that_was_just_sent_is_not_dropped_for_another_job(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1)
    run_to_end(desk, "j1")
    other = desk.new_client()
    desk.handle(BlobStored(other, FUNCTIONS))  # its job comes next ...
    desk.release("j1")  # ... but this comes between
    assert sent(desk.submit(client=other, stored=False), Accepted)


def test_a_blob_whose_client_leaves_before_its_job_is_dropped(desk: Desk) -> None:
    other = desk.new_client()
    desk.handle(BlobStored(other, "a" * 64))
    assert desk.handle(PeerLost(other, "gone")) == [DropBlob("a" * 64)]
    assert desk.state.blobs == set()


def test_a_blob_is_deleted_also_where_only_another_job_had_put_it(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2, reduces=1)  # on both workers
    desk.submit(maps=1, reduces=1)  # waits
    desk.finish("w1", "map-0")
    desk.finish("w1", "map-0", job="j2")
    desk.ask(CancelJob(JobId("j1")))
    desk.release("j1")
    worker = next(name for name, tasks in desk.running().items() if tasks)
    desk.finish(worker, "reduce-0", job="j2")
    out = desk.release("j2")
    forgets = {
        i.peer: i.message.blobs
        for i in out
        if isinstance(i, Send) and isinstance(i.message, Forget)
    }
    assert forgets == {desk.peers["w1"]: (FUNCTIONS,), desk.peers["w2"]: (FUNCTIONS,)}
