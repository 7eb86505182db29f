"""Random event sequences: any order, late, twice, never announced."""

from __future__ import annotations

from hypothesis import strategies as st

from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.monitor import events as ev

JOB = JobId("j-1")

# Few names, so that events meet: a strategy whose events never concern the same attempt finds
# nothing.
OTHER = JobId("j-2")
jobs = st.sampled_from([JOB] * 7 + [OTHER])
tasks = st.sampled_from([TaskId(name) for name in ("map-0", "map-1", "reduce-0")])
attempts = st.integers(1, 2)
workers = st.sampled_from([WorkerId(name) for name in ("w1", "w2")])
counts = st.integers(0, 1000)
texts = st.sampled_from(["connection reset", "cancelled", "retired", "<b>&", "ZeroDivisionError"])

_attempt = {"job": jobs, "task": tasks, "attempt": attempts, "worker": workers}

_kinds: list[tuple[type[ev.Event], dict[str, st.SearchStrategy[object]]]] = [
    (
        ev.JobAccepted,
        {
            "job": jobs,
            "name": texts,
            "maps": st.integers(0, 3),
            "reduces": st.integers(0, 1),
            "input_bytes": counts,
            "functions": texts,
        },
    ),
    *[(ev.AttemptStarted, {**_attempt, "input": texts, "backup": st.booleans()})] * 6,
    *[(ev.Progress, {**_attempt, "records": counts, "bytes": counts})] * 4,
    *[
        (
            ev.AttemptFinished,
            {
                **_attempt,
                "records": counts,
                "pairs": counts,
                "bytes_in": counts,
                "bytes_out": counts,
                "seconds": st.just(0.5),
                "bad": st.sampled_from([0, 0, 0, 1, 3]),
                "saved_s": st.sampled_from([0.0, 14.0]),
            },
        )
    ]
    * 6,
    (ev.AttemptFailed, {**_attempt, "sentence": texts}),
    (ev.AttemptLost, {**_attempt, "cause": texts}),
    (
        ev.OutputLost,
        {"job": jobs, "worker": workers, "tasks": st.lists(tasks, max_size=3).map(tuple)},
    ),
    (
        ev.JobEnded,
        {
            "job": st.sampled_from([OTHER] * 7 + [JOB]),
            "outcome": st.sampled_from(["done", "failed", "cancelled"]),
            "sentence": texts,
        },
    ),
    (ev.JobForgotten, {"job": jobs}),
    (ev.Printed, {"job": jobs, "task": tasks, "worker": workers, "text": texts}),
    (ev.Noted, {"job": jobs | st.none(), "level": st.just("warning"), "sentence": texts}),
    (
        ev.WorkerJoined,
        {"worker": workers, "host": texts, "pid": counts, "slots": st.integers(1, 4)},
    ),
    (ev.WorkerBeat, {"worker": workers, "cpu_percent": st.just(98.5), "memory_bytes": counts}),
    (ev.WorkerSuspect, {"worker": workers, "silent_s": st.just(0.4)}),
    (ev.WorkerAlive, {"worker": workers}),
    (ev.WorkerLost, {"worker": workers, "cause": texts}),
    (ev.WorkerCause, {"worker": workers, "cause": st.just("was killed (SIGKILL)")}),
    (
        ev.WorkerBarred,
        {
            "worker": workers,
            "cause": st.sampled_from(["its disk is full", ""]),
            "seconds": st.sampled_from([0.0, 60.0]),
        },
    ),
    (
        ev.StoreAdopted,
        {"worker": workers, "by": workers, "back": st.booleans(), "tasks": st.integers(0, 2)},
    ),
    (
        ev.ManagerRestarted,
        {"job": jobs, "maps_kept": counts, "maps": counts, "down_s": st.just(0.4)},
    ),
    (ev.JobWaits, {"job": jobs, "sentence": st.sampled_from(["", "waiting for map-0", "<i>"])}),
]

at = st.integers(0, 100).map(lambda tenths: tenths / 10)

# sampled_from keeps the weights: one_of would merge equal branches.
event: st.SearchStrategy[ev.Event] = st.sampled_from(range(len(_kinds))).flatmap(
    [st.builds(kind, at=at, **fields) for kind, fields in _kinds].__getitem__
)
events = st.lists(event, min_size=5, max_size=60)
