"""The cluster's picture: its workers and jobs."""

from __future__ import annotations

from events_strategy import JOB
from job_oracle import W1, W2, accepted, finished, fold, joined, started

from mrkernel.ids import WorkerId, map_task, reduce_task
from mrkernel.monitor import events as ev
from mrkernel.monitor.cluster_view import GONE_KEPT
from mrkernel.monitor.picture import apply
from mrkernel.monitor.view import ClusterView
from mrkernel.monitor.workers import BEATS_KEPT


def test_the_clusters_workers_and_jobs() -> None:
    view = ClusterView()
    for event in (
        joined(W1),
        joined(W2),
        accepted(),
        started(map_task(0), W1),
        started(map_task(1), W2),
        ev.WorkerBeat(at=2.0, worker=W1, cpu_percent=98.4, memory_bytes=1000),
        ev.WorkerLost(at=3.0, worker=W2, cause="connection reset"),
    ):
        view.fold(event)
    picture = view.snapshot()
    assert (picture["slots"], picture["busy"]) == (2, 1)
    view.fold(started(map_task(2), W1))
    view.fold(finished(map_task(2), W1))
    assert (view.snapshot()["busy"], view.snapshot()["workers"]["w1"]["maps"]) == (1, 1)
    assert picture["workers"]["w1"]["tasks"] == [{"task": "count map-0", "attempt": 1}]
    assert picture["workers"]["w1"]["cpu"] == 98
    assert picture["workers"]["w2"]["state"] == "dead"
    assert list(view.workers()) == ["w1"]
    view.fold(ev.JobEnded(at=4.0, job=JOB, outcome="done", sentence=""))
    assert view.snapshot()["busy"] == 0
    assert view.snapshot()["jobs"][JOB]["state"] == "done"
    view.fold(ev.JobForgotten(at=4.0, job=JOB))
    assert view.snapshot()["jobs"] == {}


def test_of_workers_that_come_and_go_the_newest_are_kept_and_all_are_counted() -> None:
    view, seen = ClusterView(), ClusterView().snapshot()
    view.fold(joined(WorkerId("w0")))
    for number in range(1, 2 * GONE_KEPT + 1):
        view.fold(joined(WorkerId(f"w{number}")))
        view.fold(ev.WorkerLost(at=3.0, worker=WorkerId(f"w{number}"), cause="connection reset"))
        view.fold(ev.WorkerCause(at=3.1, worker=WorkerId("w1"), cause="was killed (SIGKILL)"))
        if (delta := view.take_delta()) is not None:
            seen = apply(seen, delta)
    picture = view.snapshot()
    assert list(picture["workers"]) == ["w0", *(f"w{n}" for n in range(101, 201))]
    assert picture["lost"] == 200
    assert seen["workers"] == picture["workers"]


def test_who_worked_before_a_restart_is_no_worker_of_the_cluster() -> None:
    view = ClusterView()
    for event in (
        accepted(),
        finished(map_task(0), W1),
        joined(W2),
        ev.StoreAdopted(at=3.0, worker=W1, by=W2, back=True, tasks=1),
    ):
        view.fold(event)
    assert list(view.snapshot()["workers"]) == ["w2"]


def test_a_workers_heartbeats_failures_and_what_its_reduces_took() -> None:
    def beat(at: float) -> ev.WorkerBeat:
        return ev.WorkerBeat(at=at, worker=W1, cpu_percent=1.0, memory_bytes=1)

    def took(partition: int, size: int) -> ev.AttemptFinished:
        return finished(reduce_task(partition), W1, bytes_in=size)

    story = [
        joined(W1), accepted(), beat(0.5), beat(1.0), beat(1.75), finished(map_task(1), W1),
        took(0, 3000), took(1, 1000),
        ev.AttemptFailed(at=2.0, job=JOB, task=map_task(0), attempt=1, worker=W1, sentence="x"),
    ]  # fmt: skip
    cluster, job = ClusterView(), fold(*story)
    for event in story:
        cluster.fold(event)
    row = cluster.snapshot()["workers"]["w1"]
    assert (row["beats"], row["shuffled"], row["failed"]) == ([500, 750], 4000, 1)
    row = job.snapshot()["workers"]["w1"]
    assert (row["shuffled"], row["failed"]) == (4000, 1)
    assert "beats" not in row  # nobody looks at them there, and they change with each beat
    for n in range(100):
        cluster.fold(beat(2.0 + n))
    assert len(cluster.snapshot()["workers"]["w1"]["beats"]) == BEATS_KEPT
