"""What goes wrong in a simulated world, and when it is mended."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .world import World

#: How often each kind is chosen, relative to the others.
WEIGHTS = {
    "kill a runner": 6,
    "kill a worker": 6,
    "freeze a worker": 4,
    "slow a worker": 2,
    "freeze a runner": 2,
    "fill a disk": 2,
    "remove a file": 2,
    "damage a file": 2,
    "kill the manager": 4,
    "kill the manager as it writes": 4,
    "freeze the manager": 1,
    "reset a client": 2,
    "reset a worker": 3,
    "cut a host off": 3,
    "cut one way": 3,
    "cut hosts from each other": 2,
    "take a host down": 1,
    "block datagrams": 1,
}
#: Kinds that need more than one host.
BETWEEN_HOSTS = {
    "cut a host off",
    "cut one way",
    "cut hosts from each other",
    "take a host down",
    "block datagrams",
}


class Faults:
    """Disturbs a world, by its chance."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = world.chance
        self._mending: dict[int, Callable[[], None]] = {}  #: what is broken now, and its cure
        self._numbers = 0
        self.count = 0
        self.armed: str = ""  #: when the manager dies in its next turn that writes: before, after

    def plan(self, number: int, until: float) -> None:
        """Let so many faults happen before a time."""
        kinds = [kind for kind in WEIGHTS if self._world.hosts > 1 or kind not in BETWEEN_HOSTS]
        kinds = [kind for kind in kinds if kind in self._world.allowed]
        weights = [WEIGHTS[kind] for kind in kinds]
        for _ in range(number if kinds else 0):
            (kind,) = self._chance.choices(kinds, weights)
            when = self._chance.uniform(0.0, until)
            self._world.clock.at(when, partial(self.strike, kind))

    def strike(self, kind: str) -> None:
        """Let one fault happen, if there is something for it to happen to."""
        deed: Callable[[], bool] = getattr(self, "_" + kind.replace(" ", "_"))
        if deed():
            self.count += 1
            self._world.struck[kind] += 1
            self._world.note(f"fault: {kind}")

    def mend(self) -> None:
        """Mend whatever is broken."""
        mending, self._mending = self._mending, {}
        self.armed = ""
        for cure in mending.values():
            cure()

    def _for_a_while(self, cure: Callable[[], None], least: float, most: float) -> None:
        self._numbers += 1
        number = self._numbers
        self._mending[number] = cure

        def end() -> None:
            if self._mending.pop(number, None) is not None:
                self._world.note("fault: mended")
                cure()

        self._world.clock.after(self._chance.uniform(least, most), end)

    # --- processes --------------------------------------------------------------------------------

    def _kill_a_runner(self) -> bool:
        runners = [
            runner
            for worker in self._world.workers
            for runner in worker.runners
            if runner.up and not runner.dying and not worker.frozen
        ]
        if runners:
            self._chance.choice(runners).crash("SIGKILL")
        return bool(runners)

    def _kill_a_worker(self) -> bool:
        workers = list(self._world.workers)
        if workers:
            self._chance.choice(workers).die()
        return bool(workers)

    def _freeze_a_worker(self) -> bool:
        workers = [worker for worker in self._world.workers if not worker.frozen]
        if not workers:
            return False
        worker = self._chance.choice(workers)
        worker.freeze()

        def thaw() -> None:
            if worker.alive:
                worker.thaw()

        self._for_a_while(thaw, 0.1, self._chance.choice([1.0, 5.0, 30.0]))
        return True

    def _slow_a_worker(self) -> bool:
        workers = self._world.workers
        if not workers:
            return False
        worker = self._chance.choice(workers)
        worker.slowness = self._chance.choice([3.0, 10.0, 30.0])
        self._for_a_while(partial(setattr, worker, "slowness", 1.0), 1.0, 20.0)
        return True

    def _freeze_a_runner(self) -> bool:
        runners = [
            runner
            for worker in self._world.workers
            for runner in worker.runners
            if runner.up and not runner.frozen and not worker.frozen
        ]
        if not runners:
            return False
        runner = self._chance.choice(runners)
        runner.freeze()
        self._for_a_while(runner.thaw, 0.5, 20.0)
        return True

    def _kill_the_manager(self) -> bool:
        return self._world.kill_manager()

    def _kill_the_manager_as_it_writes(self) -> bool:
        self.armed = self._chance.choice(["before", "after", "after"])
        return True

    def _freeze_the_manager(self) -> bool:
        manager = self._world.manager
        if manager is None or manager.frozen:
            return False
        manager.freeze()
        self._for_a_while(manager.thaw, 0.2, self._chance.choice([2.0, 8.0, 30.0]))
        return True

    def _take_a_host_down(self) -> bool:
        """A power failure: nobody is told; it comes up again with its disks."""
        host = self._worker_host()
        for worker in [worker for worker in self._world.workers if worker.host == host]:
            worker.die(silently=True)
        return True

    # --- disks ------------------------------------------------------------------------------------

    def _fill_a_disk(self) -> bool:
        host = self._worker_host()

        def fill(full: bool) -> None:
            for worker in self._world.workers:
                if worker.host == host:
                    worker.disk_full = full

        fill(True)
        self._for_a_while(partial(fill, False), 0.5, 5.0)
        return True

    def _remove_a_file(self) -> bool:
        files = self._world.disks.runs()
        if files:
            folder, place = self._chance.choice(files)
            self._world.oracle.damaged(place[0])
            del folder.files[place]
        return bool(files)

    def _damage_a_file(self) -> bool:
        files = self._world.disks.runs()
        if files:
            folder, place = self._chance.choice(files)
            self._world.oracle.damaged(place[0])
            folder.files[place].damaged = True
        return bool(files)

    # --- the network ------------------------------------------------------------------------------

    def _worker_host(self) -> str:
        return f"h{self._chance.randrange(self._world.hosts)}"

    def _reset_a_client(self) -> bool:
        self._chance.choice(self._world.clients).reset()
        return True

    def _reset_a_worker(self) -> bool:
        """Somebody between them ends the connection; both live."""
        workers = [worker for worker in self._world.workers if not worker.frozen]
        if not workers:
            return False
        self._chance.choice(workers).reset()
        return True

    def _cut_a_host_off(self) -> bool:
        host, manager = self._worker_host(), self._world.manager_host
        if host == manager:
            return False
        return self._cut([(host, manager), (manager, host)])

    def _cut_one_way(self) -> bool:
        host, manager = self._worker_host(), self._world.manager_host
        if host == manager:
            return False
        return self._cut([self._chance.choice([(host, manager), (manager, host)])])

    def _cut_hosts_from_each_other(self) -> bool:
        one, other = self._worker_host(), self._worker_host()
        if one == other or self._world.manager_host in (one, other):
            return False
        return self._cut([(one, other), (other, one)])

    def _cut(self, ways: list[tuple[str, str]]) -> bool:
        network = self._world.network
        for way in ways:
            network.block(*way)

        def cure() -> None:
            for way in ways:
                network.unblock(*way)

        self._for_a_while(cure, 0.2, self._chance.choice([1.0, 6.0, 25.0]))
        return True

    def _block_datagrams(self) -> bool:
        self._world.network.loss = 1.0
        self._for_a_while(partial(setattr, self._world.network, "loss", 0.0), 1.0, 20.0)
        return True
