"""What a task costs a manager, in CPU of its state alone, by the number of workers.

What a healthy world's manager hears is recorded, and then played to a fresh state without anything
around it: one reading of the processor's time before, one after. Played once more without clients,
it is what workers cost that have nothing to do; the difference is what the tasks cost.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable
from dataclasses import dataclass

from mrkernel.manager.events import Event, Heartbeat, PeerJoined, Received, Tick
from mrkernel.manager.facts import encode_facts
from mrkernel.manager.workers import Liveness
from mrkernel.protocol.worker_messages import Alive, Beat, Register

from .jobs import Script
from .world import Setting, World

#: What a task may cost, in µs.
LIMIT_US = 60.0


@dataclass(frozen=True)
class Cost:
    """CPU of one manager's state, its facts and their encoding included.

    Attributes:
        task_us: µs of a task: submitted, handed out, reported on, finished.
        idle: of one processor, while workers only live.
        backups: of all attempts, where nobody is slow.
    """

    workers: int
    tasks: int
    task_us: float
    idle: float
    backups: float


def measure(workers: int, *, jobs: int = 4, rounds: int = 3) -> Cost:
    """Run healthy jobs on so many workers of one slot, tasks of half a second."""
    tasks = max(4_000, 8 * workers)
    maps = tasks // jobs * 9 // 10
    reduces = tasks // jobs - maps
    scripts = tuple(
        (1.0 + 2 * number, Script(f"s{number}", maps, min(reduces, 64), (0.5, 0.5), dense=True))
        for number in range(jobs)
    )
    setting = Setting(1, workers, 1, scripts, Liveness(), check_every=1 << 60)
    world = World(workers, setting)
    world.recorded = []
    figures = world.run()
    events = world.recorded
    idle = [pair for pair in events if _is_idle(pair[0])]
    busy_s = min(_play(world, events) for _ in range(rounds))
    idle_s = min(_play(world, idle) for _ in range(rounds))
    return Cost(
        workers,
        figures.tasks,
        1e6 * (busy_s - idle_s) / figures.tasks,
        idle_s / figures.virtual_s,
        figures.backups / figures.tasks,
    )


def _is_idle(event: Event) -> bool:
    """Whether it is there without any job."""
    match event:
        case Received(_, message):
            return isinstance(message, Register | Alive | Beat)
        case PeerJoined() | Heartbeat() | Tick():
            return True
    return False


def _play(world: World, events: Iterable[tuple[Event, float]]) -> float:
    """Return the seconds of CPU that a fresh state needs for some events."""
    state = world.fresh_state(world.state_directory)
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)  # as the server does
    try:
        began = time.process_time()
        for event, now in events:
            state.handle(event, now)
            facts = state.take_facts()
            if facts:
                encode_facts(facts)
        return time.process_time() - began
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
