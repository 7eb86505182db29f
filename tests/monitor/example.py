"""A job to look at: words counted on four workers, one of which is killed."""

from __future__ import annotations

import heapq
import random
from collections import deque
from typing import Any, NamedTuple

from mrkernel.ids import JobId, TaskId, WorkerId, map_task, reduce_task
from mrkernel.monitor import events as ev
from mrkernel.monitor.view import JobView

JOB = JobId("j-1")


class Run(NamedTuple):
    """An attempt that runs."""

    task: TaskId
    attempt: int
    worker: WorkerId
    begin: float


def word_count(
    maps: int = 40, reduces: int = 8, workers: int = 4, *, until: float | None = None, seed: int = 1
) -> JobView:
    """Run it on paper, with two slots each.

    At 9.4 s the second worker is killed, with three finished maps whose output nobody fetched;
    map-20 fails once; map-21 gets a backup that wins.

    Args:
        until: when to stop and look; None: at the end.
    """
    chance = random.Random(seed)
    view = JobView(JOB, wall=1_700_000_000.0)
    names = [WorkerId(f"w{n}") for n in range(1, workers + 1)]
    for name in names:
        view.fold(ev.WorkerJoined(at=0.0, worker=name, host="node-1", pid=4000, slots=2))
    view.fold(
        ev.JobAccepted(
            at=0.0, job=JOB, name="word-count", maps=maps, reduces=reduces,
            input_bytes=maps * 16_000_000, functions="In [4]",
        )
    )  # fmt: skip
    todo = deque((map_task(n), 1) for n in range(maps))
    free = deque(name for name in names for _ in range(2))
    ends: list[tuple[float, int, Run]] = [(9.4, 0, Run(TaskId(""), 0, names[1], 0.0))]
    running: dict[int, Run] = {}
    finished: dict[TaskId, WorkerId] = {}
    number, at = 0, 0.0

    def start(task: TaskId, attempt: int, worker: WorkerId, **fields: Any) -> None:
        nonlocal number
        number += 1
        running[number] = Run(task, attempt, worker, at)
        seconds = chance.uniform(1.6, 3.2)
        if task == "map-21" and attempt == 1:
            seconds = 12.0
        heapq.heappush(ends, (at + seconds, number, running[number]))
        view.fold(
            ev.AttemptStarted(
                at=at, job=JOB, task=task, attempt=attempt, worker=worker,
                input=f"books/{task}.txt 0-16 MB", **fields,
            )
        )  # fmt: skip

    def fill() -> None:
        while todo and free:
            start(*todo.popleft(), free.popleft())

    def end(run: Run, kind: type[ev.Event], **fields: Any) -> None:
        names = {"job": JOB, "task": run.task, "attempt": run.attempt, "worker": run.worker}
        view.fold(kind(at=at, **names, **fields))

    def kill(worker: WorkerId) -> None:
        view.fold(ev.WorkerLost(at=at, worker=worker, cause="was killed (SIGKILL)"))
        for key, run in list(running.items()):
            if run.worker == worker:
                del running[key]
                todo.appendleft((run.task, run.attempt + 1))
        lost = tuple(task for task, name in finished.items() if name == worker)[:3]
        view.fold(ev.OutputLost(at=at, job=JOB, worker=worker, tasks=lost))
        for task in lost:
            del finished[task]
            todo.append((task, 2))
        while worker in free:
            free.remove(worker)

    fill()
    backed_up = False
    while ends:
        when, key, run = heapq.heappop(ends)
        if until is not None and when > until:
            view.fold(
                ev.WorkerBeat(at=until, worker=names[0], cpu_percent=98.0, memory_bytes=10**8)
            )
            return view
        at = when
        if key == 0:
            kill(run.worker)
        elif running.pop(key, None) is None:
            continue
        elif run.task == "map-20" and run.attempt == 1:
            end(run, ev.AttemptFailed, sentence="ZeroDivisionError at line 5 of your cell")
            todo.appendleft((run.task, 2))
            free.append(run.worker)
        else:
            is_map = run.task.startswith("m")
            sizes = tuple(1_000_000 * (3 if p == 2 else 1) for p in range(reduces))
            end(
                run, ev.AttemptFinished, records=200_000, pairs=900_000,
                bytes_in=16_000_000 if is_map else 50_000_000,
                bytes_out=sum(sizes) if is_map else 100_000, seconds=at - run.begin,
                sizes=sizes if is_map else (), top=(("the", 9000.0), ("<b>of</b>", 7000.0)),
            )  # fmt: skip
            finished[run.task] = run.worker
            free.append(run.worker)
            for other, twin in list(running.items()):
                if twin.task == run.task:
                    del running[other]
                    end(twin, ev.AttemptLost, cause="cancelled")
                    free.append(twin.worker)
        if at > 10 and not backed_up and free and any(r.task == "map-21" for r in running.values()):
            backed_up = True
            start(map_task(21), 2, free.popleft(), backup=True)
        if not todo and not running and not any(task[0] == "r" for task in finished):
            todo.extend((reduce_task(n), 1) for n in range(reduces))
        fill()
    view.fold(ev.JobEnded(at=at, job=JOB, outcome="done", sentence=""))
    return view
