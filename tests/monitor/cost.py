"""What folding a job costs the manager: ``python tests/monitor/cost.py`` prints µs for each task.

A job of short tasks on workers of two slots that are handed one task ahead, a delta each tenth of a
second, with and without the timeline. The figure includes making the events.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from mrkernel.ids import JobId, WorkerId, map_task
from mrkernel.monitor import events as ev
from mrkernel.monitor.job_fold import JobFold
from mrkernel.monitor.view import JobView

JOB = JobId("j-1")


class Load(NamedTuple):
    """A job of maps only, and who runs it."""

    tasks: int = 20_000
    workers: int = 4
    slots: int = 2
    per_s: float = 12_000.0
    partitions: int = 4
    fails: int = 0  #: every so many-th attempt is lost
    keys: int = 0  #: that stand out, named by each map: of a thousand
    reduces: int = 0  #: that are still to come


def story(load: Load) -> Iterator[ev.Event]:
    """The job's events, in the order of their times."""
    names = [WorkerId(f"w{n}") for n in range(1, load.workers + 1)]
    for name in names:
        yield ev.WorkerJoined(at=0.0, worker=name, host="h", pid=1, slots=load.slots)
    yield ev.JobAccepted(
        at=0.0, job=JOB, name="empty", maps=load.tasks, reduces=load.reduces,
        input_bytes=1000 * load.tasks, functions="cell",
    )  # fmt: skip
    ready = deque((n, 1) for n in range(load.tasks))
    held: deque[tuple[int, int, WorkerId]] = deque()
    sizes = (25,) * load.partitions
    tops = [
        tuple((f"key {(place * 17 + n) % 1000}", float(1000 - n)) for n in range(load.keys))
        for place in range(1000)
    ]
    at, ended = 0.0, 0
    beat = 0.5
    for name in names * (2 * load.slots):
        if ready:
            number, attempt = ready.popleft()
            held.append((number, attempt, name))
            yield _start(at, number, attempt, name)
    while held:
        number, attempt, name = held.popleft()
        at += 1 / load.per_s
        ended += 1
        if at >= beat:
            beat += 0.5
            for worker in names:
                yield ev.WorkerBeat(at=at, worker=worker, cpu_percent=99.0, memory_bytes=10**8)
        task = map_task(number)
        if load.fails and ended % load.fails == 0:
            ready.appendleft((number, attempt + 1))
            yield ev.AttemptLost(
                at=at, job=JOB, task=task, attempt=attempt, worker=name, cause="worker died"
            )
        else:
            yield ev.AttemptFinished(
                at=at, job=JOB, task=task, attempt=attempt, worker=name, records=10, pairs=10,
                bytes_in=1000, bytes_out=100, seconds=0.0005, sizes=sizes, top=tops[number % 1000],
            )  # fmt: skip
        if ready:
            number, attempt = ready.popleft()
            held.append((number, attempt, name))
            yield _start(at, number, attempt, name)
    yield ev.JobEnded(at=at, job=JOB, outcome="done", sentence="")


def _start(at: float, number: int, attempt: int, worker: WorkerId) -> ev.AttemptStarted:
    return ev.AttemptStarted(
        at=at, job=JOB, task=map_task(number), attempt=attempt, worker=worker,
        input=f"data/words.txt {number}-{number + 1} MB",
    )  # fmt: skip


class Traffic(NamedTuple):
    """What a reader was sent."""

    seconds: float  #: of the job
    deltas: int
    bytes: int
    largest: int
    snapshot: int  #: bytes of the last picture


def traffic(load: Load) -> Traffic:
    """Measure what one reader who misses nothing is sent."""
    view = JobView(JOB)
    sizes = []
    next_delta = 0.1
    at = 0.0
    for event in story(load):
        view.fold(event)
        at = event.at
        if at >= next_delta and (delta := view.take_delta()) is not None:
            next_delta = at + 0.1
            sizes.append(len(json.dumps(delta, ensure_ascii=False, separators=(",", ":"))))
    last = json.dumps(view.snapshot(), ensure_ascii=False, separators=(",", ":"))
    return Traffic(at, len(sizes), sum(sizes), max(sizes), len(last.encode()))


class Mute:
    """A timeline that keeps nothing: to see what the real one costs."""

    def __init__(self, *_: object) -> None:
        self.bars: dict[str, object] = {}
        self.step, self.dropped, self.since = 0.0, 0, None

    def begun(self, *_: object) -> float:
        return 0.0

    finished = begun

    def started(self, *_: object) -> None:
        pass

    announced = progress = ended = output_lost = explained = over = started


def seconds_for(load: Load, *, deltas: bool, muted: bool = False) -> float:
    """Processor seconds to fold the story, events made beforehand."""
    events = list(story(load))
    view: JobFold = JobView(JOB)
    if muted:
        view._timeline = Mute()  # type: ignore[assignment]
    next_delta = 0.1
    start = time.process_time()
    for event in events:
        view.fold(event)
        if deltas and event.at >= next_delta:
            next_delta += 0.1
            view.take_delta()
    return time.process_time() - start


def main() -> None:
    """Print what it costs."""
    load = Load(tasks=int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
    for deltas in (False, True):
        with_it, without = (
            min(seconds_for(load, deltas=deltas, muted=muted) for _ in range(5)) / load.tasks * 1e6
            for muted in (False, True)
        )
        how = "and drawing deltas" if deltas else "folding"
        print(
            f"{load.tasks:,} tasks, {how}: {with_it:.2f} µs a task, "
            f"the timeline {with_it - without:.2f} of them"
        )
    print("empty tasks:", traffic(load))
    many = Load(
        tasks=5000, workers=100, slots=2, per_s=250, fails=5, partitions=200, keys=16, reduces=200
    )
    print("5,000 tasks, 1,250 lost, 100 workers:", sent := traffic(many))
    print(f"{sent.bytes / sent.seconds / 1000:.0f} kB a second")
    folding, drawing = (
        min(seconds_for(many, deltas=deltas) for _ in range(3)) for deltas in (False, True)
    )
    print(
        f"{folding / many.tasks * 1e6:.1f} µs a task to fold; ten deltas a second take "
        f"{(drawing - folding) / sent.seconds:.1%} of a core"
    )


if __name__ == "__main__":
    main()
