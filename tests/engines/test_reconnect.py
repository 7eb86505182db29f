"""A client whose manager goes away and comes back, or does not."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fake_manager import PATIENCE_S, FakeManager, Peer, picture

from mrkernel.data.host import host_id
from mrkernel.engines.base import PreparedJob
from mrkernel.engines.delivery import COPIED_BYTES
from mrkernel.engines.job import Job
from mrkernel.engines.local import LocalCluster
from mrkernel.engines.remote import ManagerClient
from mrkernel.errors import ClusterError, JobError, JobSpecError, ManagerUnreachableError
from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.job.functions import Functions
from mrkernel.job.spec import JobSpec
from mrkernel.protocol.client_messages import (
    Accepted,
    Agreed,
    Attach,
    CancelJob,
    DisturbWorker,
    Ended,
    FetchFunctions,
    JobPrinted,
    Look,
    Refused,
    ReleaseJob,
    Submit,
    View,
    Watch,
)
from mrkernel.protocol.client_messages import Functions as FunctionsOf
from mrkernel.protocol.messages import BlobPiece
from mrkernel.protocol.worker_messages import PartPlace
from mrkernel.shuffle.part import PartWriter

J1 = JobId("j1")


def ended(job: JobId = J1, outcome: Any = "done", sentence: str = "", **fields: Any) -> Ended:
    return Ended(job, "job", outcome, sentence, 1.0, **fields)


def printed(text: str, worker: str = "w1") -> JobPrinted:
    return JobPrinted(J1, TaskId("map-0"), WorkerId(worker), text)


def prepared(**fields: Any) -> PreparedJob:
    spec = JobSpec(name="job", functions="0" * 64, reduce_tasks=1, python="3.11")
    functions = Functions(mapper=print, reducer=None)
    return PreparedJob(spec, (), functions, {"0" * 64: b"functions"}, **fields)


@pytest.fixture
def manager() -> Iterator[FakeManager]:
    with FakeManager() as manager:
        yield manager


class Client:
    """A client, the manager's end of its connection, and a thread that waits on its behalf."""

    def __init__(self, manager: FakeManager, **options: Any) -> None:
        self.manager = manager
        self.pool = ThreadPoolExecutor(4)
        made, self.peer = manager.begin(lambda: ManagerClient(manager.connection, **options))
        self.client: ManagerClient = made

    def meanwhile(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return self.pool.submit(call, *arguments)

    def submit(self, on_print: Any = None) -> Job:
        """Submit a job that is accepted at once."""
        waiting = self.meanwhile(self.client.submit_prepared, prepared(), on_print)
        self.peer.say(Accepted(self.peer.expect(Submit).ticket, J1))
        job: Job = waiting.result(PATIENCE_S)
        return job

    def restart(self, cluster: str = "a") -> Peer:
        """The manager dies and is back at once."""
        self.manager.die()
        self.manager.start()
        self.peer = self.manager.accept(cluster, start=2)
        return self.peer

    def close(self) -> None:
        self.client.close()
        self.pool.shutdown()


@pytest.fixture
def held(manager: FakeManager) -> Iterator[Client]:
    client = Client(manager)
    yield client
    client.close()


def test_a_running_job_is_attached_to_again_and_ends(held: Client) -> None:
    job = held.submit()
    peer = held.restart()
    attach = peer.expect(Attach)
    assert attach.job == J1
    peer.say(Accepted(attach.ticket, J1), ended())
    assert len(job.result(PATIENCE_S)) == 0
    assert not held.client.closed


@pytest.mark.fault(22)
@pytest.mark.fault(22)
def test_a_submit_without_an_answer_is_sent_again_with_its_key_and_blobs(held: Client) -> None:
    waiting = held.meanwhile(held.client.submit_prepared, prepared(extends="j7"))
    first = held.peer.expect(Submit)
    assert len(first.key) >= 32
    peer = held.restart()
    assert isinstance(peer.next(), Watch)
    assert peer.next() == BlobPiece("0" * 64, b"functions")
    second = peer.next()
    assert second == first
    assert second.extends == "j7"
    peer.say(Accepted(second.ticket, J1), ended())
    assert waiting.result(PATIENCE_S).result(PATIENCE_S).job == J1


def test_a_job_accepted_just_before_the_end_is_attached_to_by_its_id(held: Client) -> None:
    """Whoever submitted it may not have looked at the answer yet."""
    waiting = held.meanwhile(held.client.submit_prepared, prepared())
    held.peer.say(Accepted(held.peer.expect(Submit).ticket, J1))
    peer = held.restart()
    attach = peer.expect(Attach)
    peer.say(Accepted(attach.ticket, J1), ended())
    assert waiting.result(PATIENCE_S).result(PATIENCE_S).job == J1


@pytest.mark.fault(22)
def test_looks_and_requests_without_an_answer_are_asked_again(held: Client) -> None:
    look = held.meanwhile(held.client.look, "j1")
    functions = held.meanwhile(held.client.functions, "j1")
    disturb = held.meanwhile(held.client.disturb, "w2", "slow", 4.0)
    for _ in range(3):
        held.peer.next()
    peer = held.restart()
    asked = {type(message): message for message in (peer.next() for _ in range(4))}
    assert set(asked) == {Watch, Look, FetchFunctions, DisturbWorker}
    assert (asked[DisturbWorker].worker, asked[DisturbWorker].how) == ("w2", "slow")
    peer.show(asked[Look])
    peer.say(FunctionsOf(asked[FetchFunctions].ticket, b"packed"))
    peer.say(Agreed(asked[DisturbWorker].ticket))
    assert look.result(PATIENCE_S)["name"] == "name of j1"
    assert functions.result(PATIENCE_S) == b"packed"
    assert disturb.result(PATIENCE_S) is None


def test_what_is_refused_is_a_sentence(held: Client) -> None:
    functions = held.meanwhile(held.client.functions, "j9")
    held.peer.say(Refused(held.peer.expect(FetchFunctions).ticket, "there is no job 'j9' here"))
    with pytest.raises(JobSpecError, match="no job 'j9'"):
        functions.result(PATIENCE_S)
    disturb = held.meanwhile(held.client.disturb, "w9", "kill")
    held.peer.say(Refused(held.peer.expect(DisturbWorker).ticket, "no worker 'w9' lives here"))
    with pytest.raises(ClusterError, match="no worker 'w9'"):
        disturb.result(PATIENCE_S)


def test_words_said_while_it_is_away_are_said_when_it_is_back(held: Client) -> None:
    job = held.submit()
    held.manager.die()
    held.client.cluster.wait_for(lambda p: p["banner"] is not None, PATIENCE_S)
    job.cancel()  # none of this waits, or raises
    held.client.release("j0")
    submitting = held.meanwhile(held.client.submit_prepared, prepared())
    held.client.watch("j1")
    held.manager.start()
    peer = held.manager.accept(start=2)
    said = [peer.next() for _ in range(7)]
    assert {type(message) for message in said[:3]} == {Watch, Attach}
    assert [type(message) for message in said[3:5]] == [BlobPiece, Submit]
    assert said[5:] == [CancelJob(J1), ReleaseJob(JobId("j0"))]
    peer.say(ended(outcome="cancelled"), Accepted(said[4].ticket, JobId("j2")))
    assert job.wait(PATIENCE_S)
    assert job.status == "cancelled"
    assert submitting.result(PATIENCE_S).id == "j2"


def test_a_cancel_that_the_manager_took_to_its_grave_is_said_again(held: Client) -> None:
    job = held.submit()
    job.cancel()
    assert held.peer.expect(CancelJob).job == J1
    peer = held.restart()
    peer.expect(Attach)
    assert peer.next() == CancelJob(J1)


@pytest.mark.fault(8)
def test_every_picture_says_that_the_manager_is_gone_and_goes_on(held: Client) -> None:
    held.submit()
    live = held.client.watch("j1")
    held.peer.say(View({"topic": "j1", "snapshot": picture("j1", 41)}))
    assert live.wait_for(lambda p: bool(p), PATIENCE_S)
    held.manager.die()
    assert live.wait_for(lambda p: p["banner"] is not None, PATIENCE_S)
    assert live.snapshot()["banner"]["text"] == (
        "the manager is gone, looking for it; the job is in its journal"
    )
    assert held.client.cluster.wait_for(lambda p: p["banner"] is not None, PATIENCE_S)
    seen = live.snapshot()["seq"]
    held.manager.start()
    peer = held.manager.accept(start=2)
    assert {peer.next().topic, peer.next().topic} == {"cluster", "j1"}
    peer.say(View({"topic": "j1", "snapshot": picture("j1", 3, name="told anew")}))
    assert live.wait_for(lambda p: p["name"] == "told anew", PATIENCE_S)
    # A new manager counts from 0; who follows the picture must not take it for an old one.
    assert live.snapshot()["seq"] > seen
    assert live.snapshot()["banner"] is None
    peer.say(View({"topic": "j1", "delta": {"seq": 4, "set": {"name": "goes on"}}}))
    assert live.wait_for(lambda p: p["name"] == "goes on", PATIENCE_S)


def test_another_cluster_at_the_address_has_none_of_our_jobs(held: Client) -> None:
    job = held.submit()
    live = held.client.watch("j1")
    held.peer.say(View({"topic": "j1", "snapshot": picture("j1")}))
    assert live.wait_for(lambda p: bool(p), PATIENCE_S)
    asking = held.meanwhile(held.client.functions, "j1")
    held.peer.expect(FetchFunctions)
    job.cancel()
    submitting = held.meanwhile(held.client.submit_prepared, prepared())
    submit = held.peer
    while not isinstance(submit, Submit):
        submit = held.peer.next()
    peer = held.restart(cluster="b")
    assert isinstance(peer.next(), Watch)
    assert isinstance(peer.next(), BlobPiece)
    assert peer.next() == submit  # it was never accepted: that cluster runs it as well
    with pytest.raises(JobError, match=r"another cluster answers at 127.*run it again"):
        job.result(PATIENCE_S)
    with pytest.raises(ManagerUnreachableError, match="another cluster"):
        asking.result(PATIENCE_S)
    assert live.snapshot()["state"] == "failed"
    peer.say(Accepted(submit.ticket, J1), ended())
    assert submitting.result(PATIENCE_S).result(PATIENCE_S).job == J1


def test_a_job_that_the_restarted_manager_does_not_know_fails(held: Client) -> None:
    job = held.submit()
    peer = held.restart()
    peer.say(Refused(peer.expect(Attach).ticket, "there is no job 'j1' here; jobs I know: none"))
    with pytest.raises(JobError, match="j1 is gone, run it again: there is no job 'j1' here"):
        job.result(PATIENCE_S)


def test_what_a_job_printed_is_not_shown_twice(held: Client) -> None:
    heard: list[str] = []
    job = held.submit(lambda task, worker, text, dropped: heard.append(text))
    held.peer.say(printed("a"), printed("b"), printed("a"))
    peer = held.restart()
    attach = peer.expect(Attach)
    told = [printed("a"), printed("b"), printed("a"), printed("a"), printed("c")]
    peer.say(Accepted(attach.ticket, J1), *told, ended())
    job.result(PATIENCE_S)
    assert heard == ["a", "b", "a", "a", "c"]


def test_connections_that_break_again_and_again(held: Client) -> None:
    job = held.submit()
    for _ in range(5):
        peer = held.restart()
        assert peer.expect(Attach).job == J1
    peer.say(ended())
    job.result(PATIENCE_S)


def test_a_manager_that_ends_before_its_first_word_is_looked_for_again(held: Client) -> None:
    job = held.submit()
    held.manager.die()
    held.manager.start()
    assert held.manager._listening is not None
    for _ in range(2):
        held.manager._listening.accept()[0].close()
    peer = held.manager.accept(start=2)
    peer.expect(Attach)
    peer.say(ended())
    job.result(PATIENCE_S)


def test_after_the_lease_everybody_is_told(manager: FakeManager) -> None:
    held = Client(manager, lease_s=0.3)
    job = held.submit()
    asking = held.meanwhile(held.client.look, "j1")
    held.peer.expect(Look)
    began = time.monotonic()
    manager.die()
    with pytest.raises(JobError, match=r"of job j1 is gone .* looked for for 0 s.*again"):
        job.result(PATIENCE_S)
    assert time.monotonic() - began >= 0.3
    with pytest.raises(ManagerUnreachableError, match="is gone"):
        asking.result(PATIENCE_S)
    assert held.client.closed
    with pytest.raises(ManagerUnreachableError, match="start a new one"):
        held.client.look("cluster")
    held.close()


def test_a_manager_that_always_hangs_up_is_not_stormed_and_not_for_ever(
    manager: FakeManager,
) -> None:
    """Whatever it has against us: the pauses grow, and the lease ends."""
    held = Client(manager, lease_s=1.0)
    job = held.submit()
    taken = 0
    assert manager._listening is not None
    manager._listening.settimeout(0.1)

    def hang_up() -> None:
        nonlocal taken
        while not held.client.closed:
            with contextlib.suppress(OSError, ClusterError):
                manager.accept(start=2).close()
                taken += 1

    hanging_up = threading.Thread(target=hang_up)
    hanging_up.start()
    held.peer.close()
    with pytest.raises(JobError, match=r"of job j1 is gone .* looked for for 1 s"):
        job.result(PATIENCE_S)
    hanging_up.join()
    assert 2 <= taken <= 10
    held.close()


def test_managers_that_live_short_but_come_back_at_once_are_not_away(manager: FakeManager) -> None:
    """The lease is for the time without one, not since one lived for long."""
    held = Client(manager, lease_s=1.0)
    job = held.submit()
    assert manager._listening is not None
    peer, began = held.peer, time.monotonic()
    while time.monotonic() - began < 2.5:
        time.sleep(0.5)  # a life
        peer.close()
        peer = manager.accept(start=2)
    assert not held.client.closed
    assert job.status == "running"
    peer.close()
    held.close()


def test_where_nobody_would_start_it_again_it_is_not_looked_for(manager: FakeManager) -> None:
    lives = threading.Event()
    lives.set()
    held = Client(manager, lease_s=PATIENCE_S, supervised=lives.is_set)
    job = held.submit()
    lives.clear()
    manager.die()
    with pytest.raises(JobError, match="is gone"):
        job.result(PATIENCE_S / 2)
    held.close()


def test_who_hangs_up_leaves_nobody_waiting(held: Client) -> None:
    job = held.submit()
    held.client.close()
    assert held.peer.hung_up
    with pytest.raises(JobError, match="we hung up"):
        job.result(PATIENCE_S)


def part(folder: Any, name: str, worker: str) -> PartPlace:
    """A part of a result, too large to be copied, as far as its place tells."""
    writer = PartWriter(folder / name)
    writer.add_group("a", [("a", 1)])
    writer.add_group("b", [("b", 2)])
    writer.close()
    return PartPlace(
        0, name, COPIED_BYTES + 1, 2, None, WorkerId(worker), host_id(), str(folder), "127.0.0.1", 1
    )


def test_a_part_that_went_with_its_worker_is_read_from_its_new_place(
    held: Client, tmp_path: Any
) -> None:
    job = held.submit()
    old = part(tmp_path, "old", "w1")
    held.peer.say(ended(parts=(old,)))
    result = job.result(PATIENCE_S)
    (tmp_path / "old").unlink()
    reading = held.meanwhile(list, result)
    attach = held.peer.expect(Attach)
    held.peer.say(Accepted(attach.ticket, J1), ended(parts=(part(tmp_path, "new", "w2"),)))
    assert reading.result(PATIENCE_S) == [("a", 1), ("b", 2)]
    # While it is read as well: the part was made again exactly as it was.
    part(tmp_path, "third", "w3")
    (tmp_path / "new").unlink()
    reading = held.meanwhile(list, result)
    attach = held.peer.expect(Attach)
    held.peer.say(Accepted(attach.ticket, J1), ended(parts=(part(tmp_path, "third", "w3"),)))
    assert reading.result(PATIENCE_S) == [("a", 1), ("b", 2)]


def here_in(picture: dict[str, Any]) -> set[str]:
    """The workers that are there."""
    return {name for name, row in picture["workers"].items() if row["state"] == "alive"}


@pytest.mark.fault(8)
def test_a_real_manager_is_killed_twice_in_one_job(tmp_path: Path) -> None:
    here, gate = os.getpid(), str(tmp_path / "gate")

    def mapper(record: int) -> list[tuple[int, int]]:
        if here not in (os.getpid(), os.getppid()):
            print("record", record)
            while record >= 10 and not os.path.exists(gate):
                time.sleep(0.005)
        return [(record % 3, 1)]

    with LocalCluster(workers=2) as cluster:
        cluster.wait_for_workers()
        job = cluster.submit(mapper, range(20), "sum", split_size=1)
        live = job.picture
        for _ in range(2):
            assert live.wait_for(lambda p: bool(p) and p["map"]["done"] == 10, PATIENCE_S)
            before = here_in(live.snapshot())
            cluster.restart_manager()
            assert cluster.alive
            cluster.client.look("cluster")  # asked while it is away, answered when it is back
            assert live.wait_for(lambda p, b=before: bool(here_in(p) - b), PATIENCE_S)
            assert live.snapshot()["restarts"] == 1  # of this manager's knowledge
        again = cluster.client.attach(job.id)
        assert again is job
        Path(gate).touch()
        assert job.result(PATIENCE_S).to_dict() == {0: 7, 1: 7, 2: 6}
        assert job.last_picture()["redone"] == 0
