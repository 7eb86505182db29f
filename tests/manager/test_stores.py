"""Stores outlive their writers: who keeps them, when their owner is back, when they are lost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from desk import ON_DISK, Desk, maps_done, sent, two_workers

from mrkernel.ids import JobId, WorkerId
from mrkernel.manager.events import PeerId
from mrkernel.manager.instructions import Instruction, Send
from mrkernel.manager.records import Task
from mrkernel.manager.stores import GRACE_S
from mrkernel.manager.transitions import TaskState
from mrkernel.monitor import events as public
from mrkernel.protocol.client_messages import Attach, Ended, FindStores, Refused, StorePlaces
from mrkernel.protocol.worker_messages import Adopt, Disown, Forget, Registered, Start

J1 = JobId("j1")


def told(out: Iterable[Instruction], kind: type) -> list[tuple[PeerId, Any]]:
    """Who is told something of a kind."""
    return [(i.peer, i.message) for i in out if isinstance(i, Send) and isinstance(i.message, kind)]


def keepers(desk: Desk) -> dict[str, str | None]:
    """Store → who keeps it."""
    stores = desk.state._books.stores.values()
    return {store.id: store.keeper.id if store.keeper else None for store in stores}


# --- adopted --------------------------------------------------------------------------------------


@pytest.mark.fault(3)
def test_a_dead_workers_output_is_kept_by_another_of_its_host(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2, reduces=2)
    maps_done(desk)
    directory = desk.infos["w1"].directory
    out = desk.lose("w1")
    assert told(out, Adopt) == [(desk.peers["w2"], Adopt(directory, (J1,)))]
    (adopted,) = desk.published(public.StoreAdopted)
    assert (adopted.worker, adopted.by, adopted.back, adopted.tasks) == ("w1", "w2", False, 1)
    assert desk.job().maps_left == 0  # nothing runs again
    (start,) = sent(desk.finish("w2", "reduce-1"), Start)
    ports = {source.worker: source.data_port for source in start.sources}
    port = desk.infos["w2"].data_port
    assert ports == {"w1": port, "w2": port}  # both are served by w2 now
    assert {source.directory for source in start.sources} == {directory, desk.infos["w2"].directory}
    assert sent(desk.finish("w2", "reduce-0"), Ended)


def test_the_least_loaded_of_the_host_keeps_it(desk: Desk) -> None:
    desk.join_hosts("h1", "h1", "h1", "h2")
    desk.submit(maps=4)
    desk.finish("w1", "map-0")
    desk.finish("w3", "map-2")
    desk.lose("w1")
    assert keepers(desk) == {"w1": "w3", "w2": "w2", "w3": "w3", "w4": "w4"}


def test_what_was_adopted_is_adopted_again(desk: Desk) -> None:
    desk.join_hosts("h1", "h1", "h1")
    desk.submit(maps=4)
    for number in (1, 2):
        desk.finish(f"w{number}", f"map-{number - 1}")
    first, second = desk.infos["w1"].directory, desk.infos["w2"].directory
    desk.lose("w1")
    assert keepers(desk)["w1"] == "w2"
    out = desk.lose("w2")
    assert {message.directory for _, message in told(out, Adopt)} == {first, second}
    assert keepers(desk) == {"w1": "w3", "w2": "w3", "w3": "w3"}
    assert desk.published(public.OutputLost) == []


def test_a_store_without_anything_is_deleted_by_who_gets_it(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=3)
    directory = desk.infos["w1"].directory
    out = desk.lose("w1")
    assert told(out, Disown) == [(desk.peers["w2"], Disown(directory, delete=True))]
    assert keepers(desk) == {"w2": "w2"}


def test_another_host_keeps_nothing(desk: Desk) -> None:
    desk.join_hosts("h1", "h2")
    desk.submit(maps=2)
    maps_done(desk)
    assert told(desk.lose("w1"), Adopt) == []
    assert keepers(desk) == {"w1": None, "w2": "w2"}


def test_who_arrives_does_not_make_the_manager_look_at_every_task(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand workers of one host took minutes to come back after the manager's restart."""
    two_workers(desk)
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    desk.restart()
    looks = []

    def run_in_file(task: Task) -> bool:
        looks.append(task)
        return True

    monkeypatch.setattr(Task, "run_in_file", property(run_in_file))
    monkeypatch.setattr("desk.check_replay", lambda *_: None)
    monkeypatch.setattr(desk.state, "validate", lambda: None)
    out = desk.return_of("w1")
    directory = desk.infos["w2"].directory
    assert told(out, Adopt) == [(desk.peers["w3"], Adopt(directory, (J1,)))]
    assert looks == []


# --- nobody keeps it, for a while -----------------------------------------------------------------


@pytest.mark.fault(13)
def test_reduces_wait_for_a_keeper_and_then_nothing_runs_again(desk: Desk) -> None:
    desk.join_hosts("h1", "h2")
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    desk.lose("w1")
    desk.wait(GRACE_S - 1.0)
    assert desk.running() == {"w2": []}
    out = desk.join(host="h1")  # a supervisor starts another one there
    assert told(out, Adopt) == [(desk.peers["w3"], Adopt(desk.infos["w1"].directory, (J1,)))]
    (start,) = sent(out, Start)
    assert start.task == "reduce-0"
    assert desk.published(public.OutputLost) == []


@pytest.mark.fault(20)
def test_after_the_grace_the_maps_run_again(desk: Desk) -> None:
    desk.join_hosts("h1", "h2")
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    desk.lose("w1")
    assert desk.starts(desk.wait(GRACE_S - 0.2)) == []
    assert desk.starts(desk.wait(0.4)) == [("w2", "map-0", 2)]
    assert keepers(desk) == {"w2": "w2"}
    (lost,) = desk.published(public.OutputLost)
    assert (lost.worker, lost.tasks) == ("w1", ("map-0",))


def test_the_grace_stands_still_while_we_do(desk: Desk) -> None:
    desk.join_hosts("h1", "h2")
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    desk.wait(0.2)
    desk.lose("w1")
    desk.tick(3600.0)  # a laptop's night: nobody could come back
    assert desk.task("map-0").state is TaskState.DONE
    assert desk.starts(desk.wait(GRACE_S + 0.2)) == [("w2", "map-0", 2)]


def test_maps_go_on_elsewhere_during_the_grace(desk: Desk) -> None:
    desk.join_hosts("h1", "h2")
    desk.submit(maps=4, reduces=1)
    desk.finish("w1", "map-0")
    desk.lose("w1")
    assert desk.running() == {"w2": ["map-1"]}
    assert desk.starts(desk.finish("w2", "map-1")) == [("w2", "map-2", 2)]


def test_an_orphan_that_nobody_needs_is_gone_at_once(desk: Desk) -> None:
    desk.join_hosts("h1", "h2")
    desk.submit(maps=2, reduces=1)
    desk.lose("w1")
    assert keepers(desk) == {"w2": "w2"}


def test_a_result_part_of_an_orphan_is_where_it_was(desk: Desk) -> None:
    desk.join_hosts("h1", "h2")
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    desk.finish("w1", "reduce-0", part=ON_DISK)
    desk.lose("w1")
    (ended,) = sent(desk.ask(Attach(5, J1)), Ended)
    (part,) = ended.parts
    assert (part.worker, part.host_id, part.data_port) == ("w1", "h1", 0)
    assert part.directory == desk.infos["w1"].directory
    desk.join(host="h1")
    (ended,) = sent(desk.ask(Attach(6, J1)), Ended)
    assert ended.parts[0].worker == "w3"
    assert ended.parts[0].data_port == desk.infos["w3"].data_port


# --- its owner is back ----------------------------------------------------------------------------


def test_who_lost_its_connection_keeps_its_own_again(desk: Desk) -> None:
    desk.join_hosts("h1", "h2")
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    desk.lose("w1")
    out = desk.return_of("w1")
    (registered,) = sent(out, Registered)
    assert (registered.worker, registered.keep, registered.jobs) == ("w3", True, (J1,))
    assert told(out, Adopt) == []  # it has it
    assert keepers(desk) == {"w1": "w3", "w2": "w2"}
    (adopted,) = desk.published(public.StoreAdopted)
    assert (adopted.worker, adopted.by, adopted.back) == ("w1", "w3", True)
    (start,) = sent(out, Start)
    assert {source.worker for source in start.sources} == {"w1", "w2"}


def test_the_adopter_hands_it_back(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    directory = desk.infos["w1"].directory
    desk.lose("w1")
    out = desk.return_of("w1")
    assert told(out, Disown) == [(desk.peers["w2"], Disown(directory))]  # and does not delete it
    assert keepers(desk) == {"w1": "w3", "w2": "w2"}


def test_who_comes_back_with_what_it_adopted_keeps_that_too(desk: Desk) -> None:
    desk.join_hosts("h1", "h1")
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    directory = desk.infos["w1"].directory
    desk.lose("w1")
    desk.lose("w2")
    out = desk.return_of("w2", adopted=(directory,))
    assert told(out, Adopt) == []
    assert keepers(desk) == {"w1": "w3", "w2": "w3"}


def test_who_is_back_before_its_end_was_noticed_is_one_worker(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    old = desk.peers["w1"]
    desk.return_of("w1")
    assert sorted(desk.state.workers) == ["w2", "w3"]
    (lost,) = desk.published(public.WorkerLost)
    assert lost.cause == "it connected anew"
    assert keepers(desk) == {"w1": "w3", "w2": "w2"}
    desk.peers["w1"] = old
    assert desk.lose("w1") == []  # the end of the old connection comes now


@pytest.mark.parametrize("cluster", ["", "another"])
def test_who_comes_from_another_cluster_brings_nothing(desk: Desk, cluster: str) -> None:
    (registered,) = sent(desk.join(cluster=cluster, previous=WorkerId("w9")), Registered)
    assert (registered.keep, registered.jobs, registered.results) == (False, (), ())


# --- nobody needs it any more ---------------------------------------------------------------------


def test_what_was_adopted_is_deleted_when_its_job_is_released(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    directory, keeper = desk.infos["w1"].directory, desk.peers["w2"]
    desk.lose("w1")
    desk.finish("w2", "reduce-0", part=ON_DISK)
    out = desk.release(runs_only=True)
    assert told(out, Forget) == [(keeper, Forget(J1, runs_only=True))]
    assert told(out, Disown) == [(keeper, Disown(directory, delete=True))]
    assert keepers(desk) == {"w2": "w2"}


def test_a_part_in_it_keeps_it_until_the_job_is_forgotten(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    desk.finish("w1", "reduce-0", part=ON_DISK)
    desk.lose("w1")
    assert told(desk.release(runs_only=True), Disown) == []
    assert keepers(desk) == {"w1": "w2", "w2": "w2"}
    assert len(told(desk.release(), Disown)) == 1
    assert keepers(desk) == {"w2": "w2"}


# --- after a restart ------------------------------------------------------------------------------


@pytest.mark.fault(12)
def test_after_a_restart_every_store_is_an_orphan_until_its_keeper_is_back(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    desk.lose("w1")
    desk.restart()
    assert keepers(desk) == {"w1": None, "w2": None}
    assert desk.wait(GRACE_S - 1.0) == []
    desk.return_of("w2", adopted=(desk.infos["w1"].directory,))
    assert keepers(desk) == {"w1": "w3", "w2": "w3"}
    out = desk.offer("w3")
    assert [start.task for start in sent(out, Start)] == ["reduce-0"]
    desk.wait(2.0)
    assert desk.published(public.OutputLost) == []


def test_after_a_restart_what_nobody_brings_back_is_lost(desk: Desk) -> None:
    desk.join_hosts("h1", "h2")
    desk.submit(maps=2, reduces=1)
    maps_done(desk)
    desk.restart()
    desk.return_of("w2")
    desk.offer("w3")
    out = desk.wait(GRACE_S + 0.2)
    assert [start.task for start in sent(out, Start)] == ["map-0"]


def test_what_a_dead_worker_printed_is_kept_until_the_job_is_forgotten(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2, reduces=1)
    desk.printed("w1", "map-0", "hello\n")
    maps_done(desk)
    directory, keeper = desk.infos["w1"].directory, desk.peers["w2"]
    desk.lose("w1")
    desk.finish("w2", "reduce-0", part=ON_DISK)
    assert told(desk.release(runs_only=True), Disown) == []
    (answer,) = [message for _, message in told(desk.ask(FindStores(9, J1)), StorePlaces)]
    info = desk.infos["w2"]
    assert [(place.worker, place.directory, place.data_port) for place in answer.places] == [
        ("w1", directory, info.data_port),
        ("w2", info.directory, info.data_port),
    ]
    out = desk.release()
    assert told(out, Disown) == [(keeper, Disown(directory, delete=True))]
    (refused,) = [message for _, message in told(desk.ask(FindStores(9, J1)), Refused)]
    assert "there is no job 'j1' here" in refused.sentence
