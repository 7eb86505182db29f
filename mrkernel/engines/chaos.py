"""Chaos: faults at random, the same ones for the same seed."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from mrkernel.engines.disturbing import Disturbable
from mrkernel.errors import JobSpecError, MRKernelError

#: Faults by name, with the range of what goes with them: seconds, or a factor.
FAULTS = {
    "kill": (0.0, 0.0),
    "freeze": (0.1, 3.0),  # up to more than it takes to be given up for dead
    "slow": (2.0, 10.0),
    "restart_manager": (0.0, 0.0),
}


class Chaos:
    """Disturbs a cluster at random for as long as its ``with`` block runs.

    Args:
        cluster: whose workers fail.
        seed: the same one gives the same pauses, faults and amounts, and picks the same ones of
            the workers that live then.
        faults: names of what may happen, separated by blanks; None: all that this cluster can.
        every: seconds between two faults, at least and at most.

    Attributes:
        done: what was done, one sentence each.

    Raises:
        JobSpecError: there is no such fault, or this cluster cannot do it.

    Example:
        >>> from mrkernel import LocalCluster
        >>> with LocalCluster(workers=2) as cluster, Chaos(cluster, seed=7, every=(5, 9)) as chaos:
        ...     cluster.run(lambda line: [(len(line), 1)], iter(["a", "bb"]), "sum").to_dict()
        {1: 1, 2: 1}
        >>> chaos.done
        []
    """

    def __init__(
        self,
        cluster: Disturbable,
        seed: int = 0,
        faults: str | None = None,
        every: tuple[float, float] = (1.0, 3.0),
    ) -> None:
        self._restart: Callable[[], Any] | None = getattr(cluster, "restart_manager", None)
        able = [name for name in FAULTS if name != "restart_manager" or self._restart]
        self._faults = able if faults is None else faults.split()
        for fault in self._faults or [""]:
            if fault not in able:
                raise JobSpecError(f"faults={faults!r}: this cluster can {', '.join(able)}")
        if not 0 <= every[0] <= every[1]:
            raise JobSpecError(f"every={every!r}: write the fewest and the most seconds")
        self._cluster = cluster
        self._every = every
        self._chance = random.Random(seed)
        self._stopped = threading.Event()
        self._slowed: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="mrk-chaos", daemon=True)
        self.done: list[str] = []

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End it, and let workers that were slowed down have all of their time again."""
        self._stopped.set()
        self._thread.join()
        for worker in self._slowed.intersection(self._cluster.living_workers()):
            self._cluster.slow(worker, 1)
        self._slowed.clear()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self) -> None:
        began = time.monotonic()
        while True:
            # Drawn before anything is looked at: the sequence depends on the seed alone.
            pause_s = self._chance.uniform(*self._every)
            fault = self._chance.choice(self._faults)
            which, amount = self._chance.random(), self._chance.uniform(*FAULTS[fault])
            if self._stopped.wait(pause_s):
                return
            try:
                told = self._disturb(fault, which, amount)
            except MRKernelError as error:
                told = f"could not {fault}: {error}"
            self.done.append(f"after {time.monotonic() - began:.1f} s: {told}")

    def _disturb(self, fault: str, which: float, amount: float) -> str:
        if fault == "restart_manager":
            assert self._restart is not None
            self._restart()
            return "killed the manager"
        living = list(self._cluster.living_workers())
        if not living:
            return f"nobody was there to {fault}"
        worker = living[int(which * len(living))]
        if fault == "kill":
            self._cluster.kill(worker)
            return f"killed {worker}"
        if fault == "freeze":
            self._cluster.freeze(worker, amount)
            return f"froze {worker} for {amount:.1f} s"
        self._cluster.slow(worker, amount)
        self._slowed.add(worker)
        return f"made {worker} {amount:.1f} times slower"
