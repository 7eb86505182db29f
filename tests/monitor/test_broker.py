"""Who gets what, and when."""

from __future__ import annotations

import pytest
from events_strategy import JOB, events
from hypothesis import given, settings
from hypothesis import strategies as st

from mrkernel.ids import JobId, WorkerId
from mrkernel.monitor import events as ev
from mrkernel.monitor.broker import CLUSTER, Broker
from mrkernel.monitor.picture import Picture


def accepted(job: JobId = JOB) -> ev.JobAccepted:
    return ev.JobAccepted(
        at=0.0, job=job, name="count", maps=1, reduces=1, input_bytes=0, functions=""
    )


def noted(text: str = "hello") -> ev.Noted:
    return ev.Noted(at=0.0, job=JOB, level="info", sentence=text)


def kinds(sent: list[tuple[object, dict[str, object]]]) -> list[tuple[object, str]]:
    return [(reader, "snapshot" if "snapshot" in p else "delta") for reader, p in sent]


def test_a_reader_begins_with_a_snapshot_and_goes_on_with_deltas_at_most_every_100_ms() -> None:
    broker = Broker()
    broker.subscribe("a", JOB)
    assert broker.due(0.0) is None
    assert broker.collect(0.0) == []  # there is no such job yet
    broker.publish(accepted())
    assert broker.due(0.0) == 0.0
    assert kinds(broker.collect(0.0)) == [("a", "snapshot")]
    assert broker.due(0.0) is None
    broker.publish(noted())
    assert broker.due(0.04) == pytest.approx(0.06)
    assert broker.collect(0.04) == []
    broker.publish(noted())
    sent = broker.collect(0.1)
    assert kinds(sent) == [("a", "delta")]
    assert len(sent[0][1]["delta"]["feed"]) == 2
    assert broker.collect(0.2) == []


def test_one_delta_for_all_readers_in_step_and_a_snapshot_for_who_comes_late() -> None:
    broker = Broker()
    broker.publish(accepted())
    broker.subscribe("a", JOB)
    broker.subscribe("b", JOB)
    broker.collect(0.0)
    broker.publish(noted())
    broker.subscribe("late", JOB)
    sent = dict(broker.collect(0.01))  # the newcomer does not wait for the interval
    assert kinds(list(sent.items())) == [("a", "delta"), ("b", "delta"), ("late", "snapshot")]
    assert sent["a"] is sent["b"]


def test_the_end_of_a_job_does_not_wait() -> None:
    broker = Broker()
    broker.publish(accepted())
    broker.subscribe("a", JOB)
    broker.collect(0.0)
    broker.publish(ev.JobEnded(at=0.01, job=JOB, outcome="done", sentence=""))
    assert broker.due(0.01) == 0.0
    [(_, payload)] = broker.collect(0.01)
    assert payload["delta"]["set"]["state"] == "done"


def test_a_slow_reader_loses_deltas_and_gets_a_snapshot() -> None:
    broker = Broker()
    broker.publish(accepted())
    broker.subscribe("slow", JOB)
    broker.subscribe("quick", JOB)
    broker.collect(0.0)
    for tick in range(1, 4):
        broker.publish(noted())
        assert kinds(broker.collect(tick * 0.1, slow={"slow"})) == [("quick", "delta")]
    assert broker.due(0.4, slow={"slow"}) is None
    assert broker.due(0.4) == 0.0
    [(reader, payload)] = broker.collect(0.4)
    assert reader == "slow"
    assert payload["snapshot"] == broker.snapshot(JOB)


def test_a_job_knows_the_workers_that_were_there_and_hears_of_new_ones() -> None:
    broker = Broker(wall=100.0)
    for number, name in enumerate(("w1", "w2")):
        broker.publish(
            ev.WorkerJoined(at=0.0, worker=WorkerId(name), host="h", pid=number, slots=1)
        )
    broker.publish(ev.WorkerLost(at=0.0, worker=WorkerId("w1"), cause="gone"))
    broker.publish(accepted())
    broker.publish(ev.WorkerJoined(at=0.1, worker=WorkerId("w3"), host="h", pid=3, slots=1))
    picture = broker.snapshot(JOB)
    assert picture is not None
    assert list(picture["workers"]) == ["w2", "w3"]
    assert picture["wall"] == 100.0
    assert [line["text"] for line in picture["feed"]] == [
        "count: 1 map and 1 reduce",
        "w3 joined with 1 slot",
    ]


def test_a_forgotten_job_says_so_and_its_topic_is_gone() -> None:
    broker = Broker()
    broker.publish(accepted())
    broker.subscribe("a", JOB)
    broker.collect(0.0)
    broker.publish(ev.JobForgotten(at=1.0, job=JOB))
    [(_, payload)] = broker.collect(0.01)
    assert payload["delta"]["set"]["forgotten"] is True
    assert broker.snapshot(JOB) is None
    assert broker.collect(1.0) == []

    unread = JobId("j-2")
    broker.publish(accepted(unread))
    broker.publish(ev.JobForgotten(at=1.0, job=unread))
    assert broker.jobs == {}


def test_who_left_gets_nothing() -> None:
    broker = Broker()
    broker.publish(accepted())
    broker.subscribe("a", JOB)
    broker.subscribe("a", CLUSTER)
    assert len(broker.collect(0.0)) == 2
    broker.unsubscribe("a", JOB)
    broker.publish(noted())
    broker.publish(ev.Noted(at=0.1, job=None, level="info", sentence="all"))
    assert [payload["topic"] for _, payload in broker.collect(1.0)] == [CLUSTER]
    broker.unsubscribe("a")
    broker.publish(ev.Noted(at=0.1, job=None, level="info", sentence="all"))
    assert broker.collect(2.0) == []


@settings(max_examples=100)
@given(events, st.lists(st.sampled_from(["join", "slow", "collect", "leave"]), max_size=40))
def test_every_reader_ends_with_the_same_picture(story: list[ev.Event], acts: list[str]) -> None:
    broker = Broker()
    broker.publish(accepted())
    readers = {"first": Picture()}
    broker.subscribe("first", JOB)
    now = 0.0
    for number, event in enumerate(story):
        if isinstance(event, ev.JobForgotten):
            continue
        broker.publish(event)
        now += 0.05
        act = acts[number] if number < len(acts) else "collect"
        if act == "join":
            readers[f"r{number}"] = Picture()
            broker.subscribe(f"r{number}", JOB)
        for reader, payload in broker.collect(now, slow={"first"} if act == "slow" else ()):
            readers[str(reader)].receive(payload)
    for reader, payload in broker.collect(now + 1):
        readers[str(reader)].receive(payload)
    assert all(picture.snapshot() == broker.snapshot(JOB) for picture in readers.values())
