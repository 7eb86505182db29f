"""Long: workers and runners are killed at random while jobs run; every answer must stay right.

``make soak`` runs it for ``SOAK_SECONDS`` seconds (default 120). The seed is printed, and
``SOAK_SEED`` repeats its choices.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator

import psutil
import pytest

from mrkernel import LocalCluster

SECONDS = float(os.environ.get("SOAK_SECONDS", "120"))
SEED = int(os.environ.get("SOAK_SEED", str(time.time_ns() % 1_000_000)))
#: Seconds between two kills. A supervisor stops replacing workers that die ten times a minute.
PAUSE_S = (1.0, 2.5)


def mapper(number: int) -> Iterator[tuple[str, int]]:
    """Yield a few pairs, slowly enough to be met by a kill."""
    time.sleep(0.002)
    for divisor in range(1, 6):
        yield f"key-{number % (divisor * 7)}", number


def expected(count: int) -> dict[str, int]:
    """The same by a dict."""
    sums: Counter[str] = Counter()
    for number in range(count):
        for divisor in range(1, 6):
            sums[f"key-{number % (divisor * 7)}"] += number
    return dict(sums)


def kill_at_random(cluster: LocalCluster, chance: random.Random, stop: threading.Event) -> None:
    """Kill runners mostly, and now and then a whole worker server."""
    while not stop.wait(chance.uniform(*PAUSE_S)):
        rows = [row for row in cluster.workers().values() if row["state"] == "alive"]
        if not rows:
            continue
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            worker = psutil.Process(chance.choice(rows)["pid"])
            runners = [child for t in worker.children() for child in t.children()]
            whole = not runners or chance.random() < 0.1
            os.kill(worker.pid if whole else chance.choice(runners).pid, signal.SIGKILL)


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 120)
def test_answers_stay_right_while_processes_are_killed() -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    wanted = {count: expected(count) for count in (100, 400, 1000)}
    stop = threading.Event()
    jobs = 0
    with LocalCluster(workers=3) as cluster:
        cluster.wait_for_workers()
        killer = threading.Thread(target=kill_at_random, args=(cluster, chance, stop))
        killer.start()
        try:
            deadline = time.monotonic() + SECONDS
            while time.monotonic() < deadline:
                count = chance.choice(list(wanted))
                # Enough tries that blame never falls on a task: it is the killer's fault.
                result = cluster.run(mapper, range(count), "sum", reduce_tasks=3, attempts=50)
                assert result.to_dict() == wanted[count]
                jobs += 1
        finally:
            stop.set()
            killer.join()
    assert jobs > SECONDS / 30
