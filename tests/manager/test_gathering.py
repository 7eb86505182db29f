"""What workers on several hosts are told to fetch while maps run, and who then reduces what."""

from __future__ import annotations

from desk import Desk, sent

from mrkernel.protocol.worker_messages import Forget, Gather, JobInfo


def two_hosts(maps: int = 4, reduces: int = 4) -> Desk:
    """w1 on one host, w2 on another, a slot each; maps 0 and 1 run."""
    desk = Desk()
    desk.join(host="east")
    desk.join(host="west")
    desk.submit(maps, reduces)
    return desk


def test_nothing_is_told_on_one_host() -> None:
    desk = Desk()
    desk.join(host="here")
    desk.join(host="here")
    desk.submit(4, 2)
    desk.finish("w1", "map-0")
    assert sent(desk.tick(), Gather) == []
    assert desk.job().fresh == []
    assert desk.job().plan == []


def test_the_other_host_is_told_of_finished_maps_at_the_next_tick() -> None:
    desk = two_hosts()
    assert sent(desk.finish("w1", "map-0"), Gather) == []
    (message,) = sent(desk.tick(), Gather)
    assert message.partitions == (1, 3)
    assert [(s.worker, s.host_id, s.runs) for s in message.sources] == [("w1", "east", ((0, 1),))]
    assert sent(desk.tick(), Gather) == []  # once


def test_empty_shares_are_left_out() -> None:
    desk = two_hosts()
    desk.finish("w1", "map-0", sizes=(5, 0, 5, 0))
    assert sent(desk.tick(), Gather) == []


def test_outputs_of_a_tick_travel_together() -> None:
    desk = two_hosts(maps=6)
    desk.finish("w1", "map-0", seconds=0.5)
    desk.finish("w1", "map-2", seconds=0.5)
    desk.finish("w2", "map-1", seconds=0.5)
    east, west = sorted(sent(desk.tick(), Gather), key=lambda g: g.partitions)
    assert [(s.worker, s.runs) for s in east.sources] == [("w2", ((1, 1),))]
    assert [(s.worker, s.runs) for s in west.sources] == [("w1", ((0, 1), (2, 1)))]


def test_what_was_lost_before_the_tick_is_not_told() -> None:
    desk = two_hosts()
    desk.join(host="south")
    desk.finish("w1", "map-0")
    desk.lose("w1")
    assert sent(desk.tick(), Gather) == []


def test_a_worker_that_only_fetches_is_told_of_the_job_and_of_its_end() -> None:
    desk = Desk()
    desk.join(host="east")
    desk.submit(1, 2)
    desk.join(host="west")  # there is no map left for it
    desk.finish("w1", "map-0")
    assert desk.running() == {"w1": ["reduce-0"], "w2": ["reduce-1"]}
    desk = Desk()
    desk.join(host="east", slots=2)
    desk.submit(2, 2)
    desk.join(host="west")
    desk.finish("w1", "map-0")
    out = desk.tick()
    assert len(sent(out, JobInfo)) == len(sent(out, Gather)) == 1
    desk.finish("w1", "map-1")
    desk.finish("w1", "reduce-0")
    desk.finish("w2", "reduce-1")
    assert len(sent(desk.release(), Forget)) == 2


def test_each_reduces_what_it_was_told_to_fetch_for() -> None:
    desk = two_hosts(maps=2, reduces=4)
    desk.finish("w2", "map-1")
    desk.tick()
    assert desk.job().plan == ["w1", "w2", "w1", "w2"]
    desk.finish("w1", "map-0")
    assert desk.running() == {"w1": ["reduce-0"], "w2": ["reduce-1"]}
    desk.finish("w2", "reduce-1", seconds=1.0)
    assert desk.running() == {"w1": ["reduce-0"], "w2": ["reduce-3"]}  # not 2: that is for w1
    desk.finish("w2", "reduce-3", seconds=1.0)
    assert desk.running() == {"w1": ["reduce-0"], "w2": ["reduce-2"]}  # rather than no work


def test_who_died_is_replaced_in_the_plan_and_the_others_stay() -> None:
    desk = two_hosts(maps=6, reduces=4)
    desk.join(host="south")
    desk.finish("w1", "map-0")
    desk.tick()
    before = list(desk.job().plan)
    assert sorted(before) == ["w1", "w1", "w2", "w3"]
    desk.lose("w2")
    desk.finish("w1", desk.running()["w1"][0])
    desk.tick()
    after = desk.job().plan
    assert sorted(after) == ["w1", "w1", "w3", "w3"]
    assert [(a, b) for a, b in zip(before, after, strict=True) if a != b] == [("w2", "w3")]
