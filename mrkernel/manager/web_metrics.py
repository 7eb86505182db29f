"""The manager's numbers in Prometheus' text format, version 0.0.4.

Gauges are read off the pictures, counters off the totals; both begin anew with each manager, as
``process_start_time_seconds`` tells. Source: prometheus.io/docs/instrumenting/exposition_formats.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from mrkernel import __version__
from mrkernel.manager.totals import Totals
from mrkernel.monitor import events as ev
from mrkernel.monitor.broker import Broker
from mrkernel.monitor.picture import Json
from mrkernel.monitor.workers import HERE

Labels = dict[str, str]
Sample = tuple[Labels, float]

JOB_STATES = ("running", "done", "failed", "cancelled")
WORKER_STATES = (*HERE, "dead", "retired", "unknown")


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the manager's own process takes."""

    cpu_s: float  #: user and system, since it began
    resident_bytes: int
    virtual_bytes: int
    open_files: int  #: -1: not known here
    started: float  #: Unix time

    @classmethod
    def now(cls) -> Vitals:
        """Measure this process."""
        import psutil

        process = psutil.Process()
        with process.oneshot():
            memory = process.memory_info()
            files = process.num_fds() if hasattr(process, "num_fds") else -1
            started = process.create_time()
        return cls(time.process_time(), memory.rss, memory.vms, files, started)


def metrics_text(broker: Broker, totals: Totals, vitals: Vitals, followers: int) -> str:
    """Write it all, a family after the other.

    Args:
        followers: browsers that follow a topic now.
    """
    return "".join(
        line
        for families in (_of_jobs(broker, totals), _of_workers(broker, totals), _own(vitals))
        for line in families
    ) + "".join(_family("mrkernel_web_followers", "gauge", "Pages that are open.", followers))


def _of_jobs(broker: Broker, totals: Totals) -> Iterator[str]:
    fields = broker.cluster.fields()
    jobs = Counter(job["state"] for job in fields["jobs"].values())
    yield from _family(
        *("mrkernel_jobs", "gauge", "Jobs that are known, by state."),
        [({"state": state}, jobs[state]) for state in JOB_STATES],
    )
    yield from _family(
        *("mrkernel_jobs_ended_total", "counter", "Jobs that ended, by outcome."),
        [({"outcome": state}, totals.outcomes[state]) for state in JOB_STATES[1:]],
    )
    tasks = _tasks(broker, [job for job, row in fields["jobs"].items() if row["ended"] is None])
    yield from _family(
        "mrkernel_tasks", "gauge", "Tasks of running jobs, by phase and state.", tasks
    )
    ends = (
        ("started", ev.AttemptStarted), ("finished", ev.AttemptFinished),
        ("failed", ev.AttemptFailed), ("lost", ev.AttemptLost),
    )  # fmt: skip
    for name, kind in ends:
        yield from _family(
            f"mrkernel_attempts_{name}_total", "counter", _ATTEMPTS[name], totals.events[kind]
        )
    yield from _family(
        *("mrkernel_outputs_lost_total", "counter"),
        *("Times that a worker's finished map output was lost.", totals.events[ev.OutputLost]),
    )
    for name, text, value in (
        ("read", "Input read by maps that ended well.", totals.bytes_read),
        ("shuffled", "Map output taken by reduces that ended well.", totals.bytes_shuffled),
    ):
        yield from _family(f"mrkernel_{name}_bytes_total", "counter", text, value)
    text = "Records read by maps that ended well."
    yield from _family("mrkernel_records_total", "counter", text, totals.records)


_ATTEMPTS = {
    "started": "Attempts that were handed to a worker.",
    "finished": "Attempts that ended well.",
    "failed": "Attempts that ended badly by their own doing.",
    "lost": "Attempts that were taken away: by a death, a cancellation, or another attempt.",
}


def _tasks(broker: Broker, jobs: Iterable[str]) -> list[Sample]:
    sums: Counter[tuple[str, str]] = Counter()
    for job in jobs:
        view = broker.jobs.get(job)  # type: ignore[call-overload]
        fields = view.fields() if view is not None else {}
        for phase in ("map", "reduce"):
            bar = fields.get(phase, {"total": 0, "done": 0, "running": 0, "retry": 0})
            waiting = bar["total"] - bar["done"] - bar["running"]
            sums[phase, "done"] += bar["done"]
            sums[phase, "running"] += bar["running"]
            sums[phase, "waiting"] += max(0, waiting)
            sums[phase, "again"] += bar["retry"]
    return [
        ({"phase": phase, "state": state}, sums[phase, state])
        for phase in ("map", "reduce")
        for state in ("waiting", "running", "done", "again")
    ]


def _of_workers(broker: Broker, totals: Totals) -> Iterator[str]:
    cluster = broker.cluster
    fields = cluster.fields()
    rows = {name: cluster.row("workers", name) or {} for name in cluster.keys("workers")}
    states = Counter(row["state"] for row in rows.values())
    yield from _family(
        *("mrkernel_workers", "gauge", "Workers that were seen, by state."),
        [({"state": state}, states[state]) for state in WORKER_STATES],
    )
    yield from _family("mrkernel_slots", "gauge", "Slots of all workers.", fields["slots"])
    yield from _family("mrkernel_slots_busy", "gauge", "Slots with a task.", fields["busy"])
    here = {name: row for name, row in rows.items() if row["state"] in HERE}
    gauges: tuple[tuple[str, str, Callable[[Json], float]], ...] = (
        ("cpu_cores", "CPU of a worker and its runners, in cores.", lambda row: row["cpu"] / 100),
        ("memory_bytes", "Memory of a worker and its runners.", lambda row: row["memory"]),
        ("tasks", "Tasks in a worker's hands.", lambda row: len(row["tasks"]) + row["more"]),
    )
    for name, text, value_of in gauges:
        samples = [({"worker": worker}, value_of(row)) for worker, row in here.items()]
        yield from _family(f"mrkernel_worker_{name}", "gauge", text, samples)
    yield from _family(
        *("mrkernel_worker_shuffled_bytes_total", "counter"),
        "Map output taken by a worker's reduces that ended well.",
        [({"worker": worker}, row["shuffled"]) for worker, row in here.items()],
    )
    for name, text, count in (
        ("heartbeats", "Heartbeats of workers heard.", totals.heartbeats),
        ("worker_reports", "Reports of workers heard.", totals.events[ev.WorkerBeat]),
        ("workers_joined", "Workers that joined.", totals.events[ev.WorkerJoined]),
        ("workers_lost", "Workers that died or left.", totals.events[ev.WorkerLost]),
        ("workers_suspected", "Times a worker was suspect.", totals.events[ev.WorkerSuspect]),
    ):
        yield from _family(f"mrkernel_{name}_total", "counter", text, count)
    yield from _family(
        *("mrkernel_notes_total", "counter", "Lines said to people in feeds, by level."),
        [({"level": level}, totals.notes[level]) for level in ("info", "warning", "error")],
    )


def _own(vitals: Vitals) -> Iterator[str]:
    yield from _family(
        *("mrkernel_info", "gauge", "The manager's version."), [({"version": __version__}, 1)]
    )
    text = "CPU time of the manager's process."
    yield from _family("process_cpu_seconds_total", "counter", text, vitals.cpu_s)
    text = "Memory of the manager's process."
    yield from _family("process_resident_memory_bytes", "gauge", text, vitals.resident_bytes)
    text = "Address space of the manager's process."
    yield from _family("process_virtual_memory_bytes", "gauge", text, vitals.virtual_bytes)
    if vitals.open_files >= 0:
        yield from _family("process_open_fds", "gauge", "Open files.", vitals.open_files)
    text = "When the manager's process began, Unix time."
    yield from _family("process_start_time_seconds", "gauge", text, vitals.started)


def _family(
    name: str, kind: Literal["gauge", "counter"], text: str, samples: float | Iterable[Sample]
) -> Iterator[str]:
    """Write the samples of one name."""
    if isinstance(samples, int | float):
        samples = [({}, samples)]
    yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
    for labels, value in samples:
        told = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        yield f"{name}{f'{{{told}}}' if told else ''} {value!r}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
