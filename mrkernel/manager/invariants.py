"""What must hold of a manager's books after every event. Pure; used by tests and the simulator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set

from mrkernel.ids import JobId, WorkerId
from mrkernel.manager.records import Job, Store, Task, Worker
from mrkernel.manager.transitions import JobState, TaskState, WorkerLiveness


def check_invariants(
    workers: Mapping[WorkerId, Worker],
    jobs: Mapping[JobId, Job],
    stores: Mapping[WorkerId, Store],
    orphans: Mapping[WorkerId, Store],
    blobs: Set[str],
    running: Mapping[JobId, Job],
    least: Worker | None,
) -> None:
    """Check the books of workers and jobs against each other, and against the blobs at hand.

    Args:
        orphans: the stores that nobody keeps.
        running: the jobs that the scheduler looks at.
        least: the worker that it takes for the least loaded.

    Raises:
        AssertionError: they disagree; the message names the noun.
    """
    for worker in workers.values():
        assert worker.state is not WorkerLiveness.DEAD, f"{worker!r} is dead and still in the books"
        for (job_id, task_id), attempt in worker.assigned.items():
            task = jobs[job_id].tasks[task_id]
            run = task.running.get(attempt)
            assert run is not None and run.worker == worker.id, f"{worker!r} has {task!r} alone"
        assert worker.jobs <= set(jobs), f"{worker!r} knows forgotten jobs"
        assert worker.blobs <= blobs | {""}, f"{worker!r} has blobs that nobody needs"
        assert stores.get(worker.store.id) is worker.store, f"{worker!r} writes into nothing"
        assert worker.store.keeper is worker, f"{worker!r} does not keep what it writes"
    for store in stores.values():
        assert (store.keeper is None) == (store.id in orphans), f"{store.id}: orphan or not?"
        if store.keeper is not None:
            assert workers.get(store.keeper.id) is store.keeper, f"{store.id} is kept by the dead"
            assert store.keeper.info.host_id == store.host_id, f"{store.id} is on another host"
    assert set(orphans) <= set(stores), "an orphan that is in no book"
    loads = [
        (w.load, w.number)
        for w in workers.values()
        if w.state is WorkerLiveness.ALIVE and not w.barred
    ]
    assert (least and (least.load, least.number)) == min(loads, default=None), (
        f"{least!r} is not the least loaded"
    )
    assert set(running) == {job.id for job in jobs.values() if job.state is JobState.RUNNING}, (
        "the scheduler looks at other jobs than those that run"
    )
    for job in jobs.values():
        _check_job(job, workers, stores)
        assert job.blobs <= blobs or job.spec.in_process, f"{job!r} misses blobs"
        assert not job.delivered or job.blobs <= {job.spec.functions}, f"{job!r} keeps blobs"


def _check_job(
    job: Job, workers: Mapping[WorkerId, Worker], stores: Mapping[WorkerId, Store]
) -> None:
    tasks = list(job.tasks.values())
    maps_left = sum(task.state is not TaskState.DONE for task in job.maps)
    reduces_left = sum(task.state is not TaskState.DONE for task in job.reduces)
    running = sum(len(task.running) for task in tasks)
    assert (maps_left, reduces_left) == (job.maps_left, job.reduces_left), f"{job!r} miscounts"
    holders = Counter(task.holder for task in job.maps if task.run_in_file and task.holder)
    parts = Counter(task.holder for task in job.result_tasks if task.part_in_file and task.holder)
    assert job.delivered or holders == +job.holders, f"{job!r} miscounts where its outputs are"
    assert parts == +job.part_holders, f"{job!r} miscounts where its parts are"
    assert running == job.running, f"{job!r} miscounts its attempts"
    if job.state is JobState.DONE:
        assert not reduces_left, f"{job!r} is done without {reduces_left} reduces"
        assert not (job.map_only and maps_left), f"{job!r} is done without {maps_left} maps"
    if job.state is not JobState.RUNNING:
        assert not running, f"{job!r} has ended and still runs"
    for task in tasks:
        for attempt, run in task.running.items():
            assigned = workers[run.worker].assigned.get((job.id, task.id))
            assert assigned == attempt, f"{task!r} is lost"
            assert attempt <= task.attempts
        assert (task.state is TaskState.RUNNING) == bool(task.running), (
            f"{task!r} is {task.state} with {len(task.running)} attempts"
        )
        assert (task.state is TaskState.DONE) == bool(task.winner), f"{task!r} has no winner"
        if job.state is JobState.RUNNING:
            _check_place_in_line(job, task)
    if job.state is JobState.RUNNING:
        assert not job.delivered, f"{job!r} runs for nobody"
        _check_inputs(job, stores)
    if job.state is JobState.DONE and not job.delivered:
        for task in job.result_tasks:
            nowhere = task.part_in_file and task.holder not in stores
            assert not nowhere, f"{task!r} has a part that is nowhere"


def _check_place_in_line(job: Job, task: Task) -> None:
    if task.state is TaskState.READY:
        line = job.ready_maps if task.is_map else job.ready_reduces
        assert line.count(task) == 1, f"{task!r} stands in line {line.count(task)} times"
        assert task.is_map or not job.maps_left, f"{task!r} is ready before its inputs"
    if task.state is TaskState.WAITING:
        assert job.maps_left, f"{task!r} waits for nothing"


def _check_inputs(job: Job, stores: Mapping[WorkerId, Store]) -> None:
    """What a ready reduce reads is there."""
    if job.maps_left:
        return
    for reduce in job.reduces:
        if reduce.state is not TaskState.READY:
            continue
        for task in job.maps:
            output = task.output
            if output is not None and output.data is None and output.sizes[reduce.index]:
                assert task.holder in stores, f"{reduce!r} needs {task!r}, whose store is gone"
