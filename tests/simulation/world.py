"""One simulated cluster, from its start until all its jobs have ended and nothing is left."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

from msgspec.structs import replace

from mrkernel.ids import JobId
from mrkernel.manager.events import Event
from mrkernel.manager.facts import VERSION, AnyFact, Began, decode_facts, encode_facts
from mrkernel.manager.instructions import DropBlob, Instruction, Publish
from mrkernel.manager.state import ManagerState
from mrkernel.manager.transitions import JobState
from mrkernel.manager.workers import EMBEDDED, Home, Liveness
from mrkernel.monitor.events import AnyEvent
from mrkernel.protocol.worker_messages import PartPlace, RunSource

from .client import SimulatedClient
from .clock import Clock
from .disks import Disks, File
from .faults import WEIGHTS, Faults
from .jobs import PYTHON, Made, Script, random_script
from .manager import SimulatedManager, StateDirectory
from .network import Network, Process
from .oracle import Oracle, Violation
from .trace import Trace
from .worker import SimulatedWorker

CLUSTER = "the cluster"
#: Time of day when a world begins: its clock and that of its people go alike.
WALL = 1e9
#: Seconds after the last fault within which every job has ended.
PATIENCE_S = 300.0
#: Seconds in which all that nobody needs any more is deleted.
TIDY_S = 5.0
#: What kills no worker server, nor makes one look dead.
NO_DEATH = {
    "kill a runner",
    "slow a worker",
    "freeze a runner",
    "fill a disk",
    "reset a client",
    "freeze the manager",
    "block datagrams",
    "remove a file",
    "damage a file",
}
#: What costs no finished work.
NO_LOSS = NO_DEATH - {"remove a file", "damage a file"} | {
    "kill the manager",
    "kill the manager as it writes",
    "reset a worker",
}
#: And where all workers share a host, on which another one is never far.
NO_LOSS_AT_HOME = NO_LOSS | {"kill a worker"}


@dataclass(frozen=True)
class Setting:
    """What kind of world it is.

    Attributes:
        hosts: of workers; one: the manager and the clients are there, too.
        workers: at the start.
        slots: of each of them.
        liveness: what the manager asks of workers.
        lag, loss: of the network.
        faults: how many.
        allowed: kinds of them.
        scripts: jobs to come, and when.
        replaced: whether a supervisor starts another worker for one that died.
        check_every: events between two looks at the states' invariants.
    """

    hosts: int
    workers: int
    slots: int
    scripts: tuple[tuple[float, Script], ...]
    liveness: Liveness = EMBEDDED
    lag: tuple[float, float] = (0.0002, 0.0005)
    loss: float = 0.0
    faults: int = 0
    allowed: frozenset[str] = frozenset(WEIGHTS)
    replaced: bool = True
    check_every: int = 1
    clients: int = 1


@dataclass
class Figures:
    """What a world came to."""

    jobs: int = 0
    tasks: int = 0
    events: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    reruns: int = 0
    backups: int = 0
    hash: str = ""
    virtual_s: float = 0.0


class World:
    """Everybody, and what is between them.

    Args:
        seed: of all chance in it.
    """

    def __init__(self, seed: int, setting: Setting) -> None:
        self.seed = seed
        self.setting = setting
        self.chance = random.Random(seed)
        self.clock = Clock()
        self.trace = Trace()
        self.oracle = Oracle()
        self.disks = Disks()
        self.network = Network(
            self.clock, self.chance, self.trace, lag=setting.lag, loss=setting.loss
        )
        self.hosts = setting.hosts
        self.allowed = setting.allowed
        self.manager_host = "h0" if setting.hosts == 1 else "m"
        self.lease_s = 60.0
        self.datagrams = True
        self.scripts = {script.name: script for _, script in setting.scripts}
        self.recorded: list[tuple[Event, float]] | None = (
            None  #: what the manager handled, and when
        )
        self.struck: Counter[str] = Counter()
        self.state_directory = StateDirectory()
        self.manager: SimulatedManager | None = None
        self.workers: list[SimulatedWorker] = []
        self.clients: list[SimulatedClient] = []
        self.faults = Faults(self)
        self._servers: dict[tuple[str, int], SimulatedWorker] = {}
        self._numbers = 0
        self._checks = 0
        self._resting = False

    # --- the story --------------------------------------------------------------------------------

    def run(self) -> Figures:
        """Live through it.

        Raises:
            Violation: something happened that must not.
            AssertionError, InvalidTransition: a state found itself wrong.
        """
        setting = self.setting
        self._start_manager()
        for number in range(setting.workers):
            self.clock.at(
                self.chance.uniform(0, 0.3), partial(self._start_worker, f"h{number % self.hosts}")
            )
        host = "h0" if self.hosts == 1 else "c"
        self.clients = [SimulatedClient(self, f"client{i}", host) for i in range(setting.clients)]
        for at, script in setting.scripts:
            self.clock.at(at, partial(self.chance.choice(self.clients).submit, script))
        last = max([at for at, _ in setting.scripts], default=0.0)
        until = last + 3.0 if setting.faults else 0.0
        self.faults.plan(setting.faults, until)
        self.clock.at(until, self._rest)
        self._live(last, until + PATIENCE_S)
        self._live_on(TIDY_S)
        self._judge_what_is_left()
        self.trace.note(self.clock.now, "oracle", self.oracle.summary())
        return self._figures()

    def _live(self, last: float, deadline: float) -> None:
        while True:
            if not self.clock.advance():
                raise Violation("nothing is going to happen any more, and jobs wait (I4)")
            if self.clock.now > last and self._settled():
                return
            if self.clock.now > deadline:
                raise Violation(f"these jobs never ended: {self._waiting()} (I4)")

    def _settled(self) -> bool:
        return self._resting and all(client.settled for client in self.clients)

    def _waiting(self) -> str:
        told = []
        for client in self.clients:
            for name, followed in client.jobs.items():
                if not followed.done_with:
                    job = self.manager.state.jobs.get(followed.id) if self.manager else None
                    story = (
                        {
                            task.id: (task.state.value, dict(task.running))
                            for task in job.tasks.values()
                        }
                        if job is not None
                        else "unknown to the manager"
                    )
                    told.append(f"{name} ({followed.id or 'not accepted'}): {story}")
        return "; ".join(told)[:2000]

    def _live_on(self, seconds: float) -> None:
        until = self.clock.now + seconds
        while self.clock.now < until and self.clock.advance():
            pass

    def _rest(self) -> None:
        """No more faults: what is broken is mended, what is missing is replaced."""
        self._resting = True
        self.note("the faults are over")
        self.faults.mend()
        if self.manager is None:
            return  # it is on its way
        if not self.workers and self._numbers >= self.setting.workers:
            self._start_worker("h0")

    def _judge_what_is_left(self) -> None:
        struck = set(self.struck)
        if struck <= NO_DEATH and self.oracle.deaths:
            raise Violation(f"{self.oracle.deaths} died, and nobody had hurt them (I5)")
        if struck <= (NO_LOSS_AT_HOME if self.hosts == 1 else NO_LOSS) and self.oracle.reruns:
            raise Violation(f"{self.oracle.reruns} finished tasks ran again, for nothing (I3)")
        if self.manager is None:
            raise Violation("there is no manager (I6)")
        self.manager.state.validate()
        for job in self.manager.state.jobs.values():
            if job.state is JobState.RUNNING:
                raise Violation(f"{job.id} still runs (I4)")
        for worker in self.workers:
            worker.state.validate()
            if worker.state.line or any(slot.held for slot in worker.state.slots):
                raise Violation(f"{worker.name} has attempts of jobs that are over (I6)")
            for directory in (worker.directory, *worker.adopted):
                folder = self.disks.at(worker.host, directory)
                left = list(folder.files) if folder is not None else []
                if left:
                    raise Violation(
                        f"{worker.name} keeps files of nobody in {directory}: {left} (I6)"
                    )
        if self.manager.blobs:
            raise Violation(f"blobs are kept for nobody: {sorted(self.manager.blobs)} (I6)")

    def _figures(self) -> Figures:
        return Figures(
            jobs=len(self.scripts),
            tasks=sum(script.maps + script.reduces for script in self.scripts.values()),
            events=self.clock.happened,
            outcomes=Counter(self.oracle.outcomes.values()),
            struck=self.struck,
            reruns=self.oracle.reruns,
            backups=self.oracle.backups,
            hash=self.trace.hash,
            virtual_s=self.clock.now,
        )

    # --- processes --------------------------------------------------------------------------------

    def _start_manager(self) -> None:
        self.note("the manager starts")
        self.manager = SimulatedManager(self, self.state_directory)
        if self._resting and not self.workers:
            self._start_worker("h0")

    def start_state(self, disk: StateDirectory) -> tuple[ManagerState, list[Instruction]]:
        """Make the state of a manager out of what its journal says."""
        state, facts, now = self.fresh_state(disk), disk.facts(), self.clock.now
        out: list[Instruction] = []
        if facts:
            self.oracle.manager_began()
            for instruction in state.replay(facts, now, WALL):
                if isinstance(instruction, Publish):
                    self.published(instruction.event)
                else:
                    assert isinstance(instruction, DropBlob), f"a replay says {instruction}"
                    out.append(instruction)
            state.validate()
            self.oracle.replayed()
            if self.chance.random() < 0.5:
                disk.records = [self._snapshot(state)]
        began = Began(VERSION, CLUSTER, PYTHON, disk.starts, WALL)
        disk.records.append(encode_facts([began]))
        return state, out

    def fresh_state(self, disk: StateDirectory) -> ManagerState:
        """Make the state of a manager that knows nothing."""
        home = Home(PYTHON, CLUSTER, disk.starts, beat_port=1)
        return ManagerState(home, liveness=self.setting.liveness)

    def _snapshot(self, state: ManagerState) -> bytes:
        """Return a journal that says the same in fewer words, and see that it does."""
        record = encode_facts(list(state.snapshot()))
        again = self.fresh_state(self.state_directory)
        again.replay(decode_facts(record), self.clock.now, WALL)
        again.validate()
        second = encode_facts(list(again.snapshot()))
        if [_timeless(fact) for fact in decode_facts(record)] != [
            _timeless(fact) for fact in decode_facts(second)
        ]:
            raise Violation(f"a snapshot is not the whole state: {record!r} became {second!r} (I3)")
        return record

    def kill_manager(self) -> bool:
        """Kill the manager; another one starts soon."""
        manager = self.manager
        if manager is None:
            return False
        self.manager = None
        self.oracle.manager_died()
        manager.die()
        self.clock.after(self.chance.uniform(0.05, 1.5), self._start_manager)
        return True

    def dies_now(self, when: str) -> bool:
        """Whether the manager dies at this point of its turn."""
        if self.faults.armed != when:
            return False
        self.faults.armed = ""
        self.note(f"the manager dies {when} it has written")
        return self.kill_manager()

    def _start_worker(self, host: str) -> None:
        self._numbers += 1
        worker = SimulatedWorker(self, self._numbers, host, self.setting.slots)
        self.workers.append(worker)
        self._servers[worker.address] = worker

    def worker_died(self, worker: SimulatedWorker) -> None:
        """A worker server is gone; its supervisor notices, and starts another one."""
        self.note(f"{worker.name} is dead")
        self.workers.remove(worker)
        del self._servers[worker.address]
        if self.hosts == 1 and self.manager is not None:
            ended = partial(self.manager.process_ended, worker.pid, "was killed (SIGKILL)")
            self.manager.after(self.chance.uniform(0.0, 0.01), ended)
        replaced = self.setting.replaced or self.chance.random() < 0.5
        if replaced or not self.workers:
            wait = (
                self.chance.uniform(0.1, 1.0) if self.hosts == 1 else self.chance.uniform(0.5, 15)
            )
            self.clock.after(wait, partial(self._start_worker, worker.host))

    # --- what processes ask of the world ----------------------------------------------------------

    def note(self, words: str) -> None:
        """Put something into the trace that nobody said."""
        self.trace.note(self.clock.now, "world", words)

    def published(self, event: AnyEvent) -> None:
        """The manager told the views."""
        self.trace.note(self.clock.now, "feed", event)
        self.oracle.published(event)

    def is_checked(self) -> bool:
        """Whether the invariants are looked at after this event."""
        self._checks += 1
        return self._checks % self.setting.check_every == 0

    def read(
        self, reader: Process, source: RunSource, job: JobId | str, name: str
    ) -> File | tuple[str, str]:
        """Let a worker read a run: the file, or (blame, reason)."""
        folder = self.disks.at(reader.host, source.directory)
        if source.host_id != reader.host or folder is None:
            server = self._servers.get((source.data_host, source.data_port))
            if server is None or server.frozen or self.network.cut(reader.host, server.host):
                return "network", "nobody answers"
            for directory in (server.directory, *server.adopted):
                folder = self.disks.at(server.host, directory)
                if folder is not None and (job, name) in folder.files:
                    break
        file = folder.files.get((job, name)) if folder is not None else None
        if file is None:
            return "gone", "the file is gone"
        if file.damaged:
            return "disk", "its checksum is wrong"
        return file

    def read_part(self, reader: Process, place: PartPlace) -> Made | None:
        """Let a client read a part of a result; None: it cannot."""
        job, _, name = place.name.partition("/")
        source = RunSource(
            place.worker, place.host_id, place.directory, place.data_host, place.data_port, ()
        )
        found = self.read(reader, source, job, name)
        return None if isinstance(found, tuple) else found.made


def _timeless(fact: AnyFact) -> AnyFact:
    """Leave out when it was: what ended is only known to have ended before now."""
    return replace(fact, at=0.0) if hasattr(fact, "at") else fact


def large_world(seed: int, workers: int, jobs: int) -> World:
    """Make up a world of many workers on many hosts, and jobs that keep them all busy."""
    chance = random.Random(f"large setting {seed}")
    scripts = []
    for number in range(jobs):
        maps = chance.randint(workers // 4, workers)
        script = Script(
            name=f"s{number}",
            maps=maps,
            reduces=chance.randint(1, 16),
            seconds=(chance.choice([0.3, 1.0, 3.0]), chance.choice([0.1, 0.5])),
            carried=chance.choice([0, 1, 4]),
            kept=chance.random() < 0.3,
            memory=chance.random() < 0.3,
        )
        scripts.append((number * chance.uniform(0.2, 1.0), script))
    allowed = set(WEIGHTS) if chance.random() < 0.5 else set(chance.sample(sorted(WEIGHTS), 4))
    return World(
        seed,
        Setting(
            hosts=chance.choice([1, workers // 50, workers // 4]),
            workers=workers,
            slots=1,
            scripts=tuple(sorted(scripts, key=lambda pair: pair[0])),
            liveness=Liveness(),
            loss=chance.choice([0.0, 0.02]),
            faults=chance.choice([0, 4, 20]),
            allowed=frozenset(allowed),
            check_every=997,
        ),
    )


def random_world(seed: int) -> World:
    """Make up a small world: some jobs, some workers, some faults."""
    chance = random.Random(f"setting {seed}")
    hosts = chance.choice([1, 1, 2, 3])
    jobs = chance.choice([1, 5, 10, 20])
    span = jobs * chance.choice([0.05, 0.3, 1.0])
    scripts = tuple(
        sorted(
            (
                (chance.uniform(0.0, span), random_script(chance, f"s{number}"))
                for number in range(jobs)
            ),
            key=lambda pair: pair[0],
        )
    )
    calm = chance.random() < 0.15
    allowed = set(WEIGHTS)
    if chance.random() < 0.3:  # few kinds, many times
        allowed = set(chance.sample(sorted(WEIGHTS), 3))
    return World(
        seed,
        Setting(
            hosts=hosts,
            workers=chance.choice([1, 2, 3, 3, 4, 6]),
            slots=chance.choice([1, 1, 2]),
            scripts=scripts,
            liveness=EMBEDDED if hosts == 1 else chance.choice([EMBEDDED, Liveness()]),
            lag=chance.choice([(0.0002, 0.0005), (0.02, 0.06)]),
            loss=chance.choice([0.0, 0.0, 0.05]),
            faults=0 if calm else chance.choice([1, 2, 4, 8, 15]),
            allowed=frozenset(allowed),
            replaced=chance.random() < 0.7,
            clients=chance.choice([1, 1, 2]),
        ),
    )
