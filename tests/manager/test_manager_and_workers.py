"""The manager's state and the workers' states together, in a world where everything goes wrong.

Hypothesis plays fate: it decides which message arrives next, which runner ends how, which worker
dies or comes back as another, and when the manager dies and another takes up its journal. Whatever
it does, the books are right after each event, and what was written down makes them again; once fate
rests, every job ends, each task with one winner, and nothing is left running.
"""

from __future__ import annotations

import itertools
from typing import Any

from description import check_replay
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from simulated_worker import File, SimulatedWorker

from mrkernel.data.splits import MemorySplit
from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.job.spec import JobSpec
from mrkernel.manager.events import (
    BlobStored,
    Event,
    PeerId,
    PeerJoined,
    PeerLost,
    Received,
    Tick,
)
from mrkernel.manager.facts import VERSION, AnyFact, Began
from mrkernel.manager.instructions import Close, DropBlob, Instruction, Publish, Send, SendBlob
from mrkernel.manager.state import ManagerState
from mrkernel.manager.transitions import JobState, TaskState
from mrkernel.manager.workers import Home
from mrkernel.monitor import events as public
from mrkernel.protocol.client_messages import Accepted, Attach, CancelJob, Ended, ReleaseJob, Submit
from mrkernel.protocol.worker_messages import PartOutput, RunOutput, RunSource, Start
from mrkernel.worker import state as worker_side

CLIENT = PeerId(0)
#: What fate needs at most to bring every job to its end.
PATIENCE = 5_000
#: Seconds in which whatever waits for time alone must have gone on: graces, bars.
LONG_S = 70.0
TICK_S = 20.0


class World(RuleBasedStateMachine):
    """Everybody, and what is under way between them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.home = Home("3.11", cluster="c1", host_id="h0")
        self.manager = ManagerState(self.home, tick_s=TICK_S)
        self.facts: list[AnyFact] = []
        self.disks: dict[tuple[str, str], set[File]] = {}  #: by host and directory
        self.unnoticed: list[PeerId] = []  #: whose end the manager has not seen yet
        self.blobs: set[str] = set()
        self.workers: list[SimulatedWorker] = []
        self.peers = itertools.count(1)
        self.tickets = itertools.count(1)
        self.jobs: list[JobId] = []
        self.ended: dict[JobId, Ended] = {}
        self.released: set[JobId] = set()
        self.winners: dict[tuple[JobId, TaskId], int] = {}  #: finished minus lost

    # --- the shell --------------------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        self.obey(self.manager.handle(event, self.now))
        self.facts += self.manager.take_facts()

    def obey(self, instructions: list[Instruction]) -> None:
        for instruction in instructions:
            match instruction:
                case Send(peer, message) if peer == CLIENT:
                    self.client_hears(message)
                case Send(peer, message):
                    worker = self.at(peer)
                    if worker is not None:
                        worker.inbox.append(message)
                case SendBlob(peer, digest):
                    assert digest in self.blobs, "the manager sends a blob that it dropped"
                    worker = self.at(peer)
                    if worker is not None:
                        worker.inbox.append(digest)
                case DropBlob(digest):
                    self.blobs.remove(digest)
                case Publish(public.AttemptFinished() as event_):
                    key = (event_.job, event_.task)
                    self.winners[key] = self.winners.get(key, 0) + 1
                    assert self.winners[key] == 1, f"{key} was won twice"
                case Publish(public.OutputLost() as event_):
                    for task in event_.tasks:
                        self.winners[event_.job, task] -= 1
                        assert self.winners[event_.job, task] == 0, f"{task} was lost twice"
                case Close(peer):
                    assert self.at(peer) is None, "the manager closes an honest peer's connection"
        assert self.manager.blobs == self.blobs

    def client_hears(self, message: Any) -> None:
        match message:
            case Accepted(_, job):
                if job not in self.jobs:
                    self.jobs.append(job)
            case Ended():
                self.ended[message.job] = message
                if message.outcome == "done" and message.job not in self.released:
                    for part in message.parts:
                        there = any(
                            file[:3] == (message.job, False, part.index)
                            for file in self.disks.get((part.host_id, part.directory), ())
                        )
                        empty = not part.nbytes
                        assert empty or part.data is not None or there, (
                            "a part of a result is nowhere"
                        )

    def at(self, peer: PeerId) -> SimulatedWorker | None:
        return next((worker for worker in self.workers if worker.peer == peer), None)

    def output_of(self, start: Start) -> tuple[RunOutput | None, PartOutput | None]:
        """What an attempt gives: the same for every attempt of a task."""
        reduces = self.manager.jobs[start.job].reduces if start.job in self.manager.jobs else ()
        if start.split is not None and reduces:
            sizes = tuple(5 * ((start.index + p.index) % 3 != 0) for p in reduces)
            carried = b"the run" if start.index % 4 == 1 and start.carry >= 7 else None
            return RunOutput(sizes, 0, carried), None
        if start.index % 3 == 0:
            return None, PartOutput("", 8, 1, b"the part")
        if start.index % 3 == 1:
            return None, PartOutput(f"{start.job}/part-{start.index}", 10**6, 1)
        return None, PartOutput("", 0, 0)

    def serves(self, source: RunSource, file: File, reader: SimulatedWorker) -> bool:
        """Whether a worker can read a file where it was told to."""
        if source.host_id == reader.host:
            return file in self.disks.get((source.host_id, source.directory), ())
        keeper = self.at(PeerId(source.data_port))
        return keeper is not None and any(file in folder for folder in keeper.folders())

    def missing_source(
        self, start: Start, reader: SimulatedWorker
    ) -> tuple[int, int, WorkerId] | None:
        """The first run that a reduce attempt cannot read, and of which nothing was fetched."""
        for source in start.sources:
            for index, attempt in source.runs:
                if (start.job, index, attempt, start.index) in reader.shares:
                    continue
                if not self.serves(source, (start.job, True, index, attempt), reader):
                    return index, attempt, source.worker
        return None

    # --- what fate may do -------------------------------------------------------------------------

    @initialize(slots=st.integers(1, 2), hosts=st.integers(1, 2))
    def begin(self, slots: int, hosts: int) -> None:
        for _ in range(hosts):
            self.join(slots)

    @precondition(lambda self: len(self.workers) < 4)
    @rule(slots=st.integers(1, 3))
    def join(self, slots: int) -> None:
        self.workers.append(SimulatedWorker(PeerId(next(self.peers)), slots, self))

    @precondition(lambda self: len(self.jobs) < 4)
    @rule(
        maps=st.integers(0, 5),
        reduces=st.integers(0, 3),
        functions=st.sampled_from(["f1", "f2"]),
        blobs=st.booleans(),
    )
    def submit(self, maps: int, reduces: int, functions: str, blobs: bool) -> None:
        splits = tuple(
            MemorySplit("x", i, 1, None if blobs else b"x", blob=f"b{i}" if blobs else "")
            for i in range(maps)
        )
        for digest in {functions, *(s.blob for s in splits if s.blob)}:
            self.blobs.add(digest)
            self.tell(BlobStored(CLIENT, digest))
        spec = JobSpec(name="job", functions=functions, reduce_tasks=reduces, python="3.11")
        self.tell(Received(CLIENT, Submit(next(self.tickets), spec, splits)))

    @rule(who=st.integers(0, 3), many=st.integers(1, 6))
    def deliver_to_a_worker(self, who: int, many: int) -> None:
        if self.workers:
            worker = self.workers[who % len(self.workers)]
            for _ in range(min(many, len(worker.inbox))):
                worker.hear(worker.inbox.popleft(), self.now)

    @rule(who=st.integers(0, 3), many=st.integers(1, 6))
    def deliver_to_the_manager(self, who: int, many: int) -> None:
        if self.workers:
            worker = self.workers[who % len(self.workers)]
            for _ in range(min(many, len(worker.outbox))):
                self.tell(Received(worker.peer, worker.outbox.popleft()))

    @rule(who=st.integers(0, 3), many=st.integers(1, 12))
    def work_goes_on(self, who: int, many: int) -> None:
        if self.workers:
            worker = self.workers[who % len(self.workers)]
            for _ in range(many):
                self.move_on(worker)
            self.tick()

    @rule(
        who=st.integers(0, 3),
        slot=st.integers(0, 2),
        how=st.sampled_from(["well", "well", "well", "well", "crash", "environment", "user"]),
    )
    def runner_acts(self, who: int, slot: int, how: str) -> None:
        if self.workers:
            worker = self.workers[who % len(self.workers)]
            slot %= len(worker.runners)
            runner = worker.runners[slot]
            if not runner.up:
                runner.up = True
                worker.handle(worker_side.RunnerUp(slot), self.now)
            elif how == "crash" or (runner.dying and how == "user"):
                worker.bury(slot, self)
            elif runner.orders:
                worker.end_attempt(slot, how, self)

    @rule(who=st.integers(0, 3))
    def fetch_ends(self, who: int) -> None:
        if self.workers and self.workers[who % len(self.workers)].fetching:
            self.workers[who % len(self.workers)].end_fetch(self)

    @rule(who=st.integers(0, 3), said=st.booleans(), back=st.booleans(), late=st.booleans())
    def connection_breaks(self, who: int, said: bool, back: bool, late: bool) -> None:
        """The worker is dead, or comes back; its last words may arrive, its end be noticed late."""
        if self.workers:
            worker = self.workers[who % len(self.workers)]
            while said and worker.outbox:
                self.tell(Received(worker.peer, worker.outbox.popleft()))
            peer = worker.peer
            if back:
                worker.start_anew(PeerId(next(self.peers)))
            else:
                self.workers.remove(worker)
            if late:
                self.unnoticed.append(peer)
            else:
                self.tell(PeerLost(peer, "connection reset"))

    @rule()
    def ends_are_noticed(self) -> None:
        while self.unnoticed:
            self.tell(PeerLost(self.unnoticed.pop(), "connection reset"))

    @rule()
    def the_manager_dies(self) -> None:
        """And another takes up its journal; what was under way is lost."""
        check_replay(self.manager, self.home, self.facts, self.now)
        self.home = Home("3.11", "c1", self.home.start + 1, host_id="h0")
        self.manager = ManagerState(self.home, tick_s=TICK_S)
        self.unnoticed.clear()
        self.winners.clear()
        began = Began(VERSION, "c1", "3.11", self.home.start, 0.0)
        told = self.manager.replay([began, *self.facts], self.now, 0.0)
        self.blobs = set(self.manager.blobs)
        self.obey(told)
        self.facts += self.manager.take_facts()
        for worker in self.workers:
            worker.start_anew(PeerId(next(self.peers)))
        self.tell(PeerJoined(CLIENT, "client"))
        for job in self.jobs:
            if job not in self.ended:
                self.tell(Received(CLIENT, Attach(next(self.tickets), job)))

    @rule(seconds=st.sampled_from([0.1, 0.1, 0.5, 1.0, 30.0]), beat=st.booleans())
    def time_goes_by(self, seconds: float, beat: bool) -> None:
        self.now += seconds
        for worker in self.workers:
            if beat:
                progress = tuple(worker_side.RunnerProgress(1, 1, 1) for _ in worker.runners)
                worker.handle(worker_side.Pulse(1.0, 1, progress), self.now)
                while worker.outbox:
                    self.tell(Received(worker.peer, worker.outbox.popleft()))
        self.tick()

    def tick(self) -> None:
        # So soon after the words of all it is no reason to fear for anyone: silence is judged in
        # the tests of the manager alone, where it is played out in full.
        for known in self.manager.workers.values():
            known.last_seen = self.now
        self.tell(Tick())

    @precondition(lambda self: self.jobs)
    @rule(which=st.integers(0, 3))
    def file_vanishes(self, which: int) -> None:
        files = ((place, file) for place, held in self.disks.items() for file in held)
        runs = sorted(each for each in files if each[1][1])
        if runs:
            place, file = runs[which % len(runs)]
            self.disks[place].remove(file)

    @precondition(lambda self: self.jobs)
    @rule(which=st.integers(0, 3), what=st.sampled_from(["cancel", "release", "deliver", "attach"]))
    def client_acts(self, which: int, what: str) -> None:
        job = self.jobs[which % len(self.jobs)]
        if what == "cancel":
            self.tell(Received(CLIENT, CancelJob(job)))
        elif what == "attach":
            self.tell(Received(CLIENT, Attach(next(self.tickets), job)))
        elif job in self.ended:
            self.released.add(job)
            self.tell(Received(CLIENT, ReleaseJob(job, runs_only=what == "deliver")))

    @invariant()
    def books_are_right(self) -> None:
        self.manager.validate()
        for worker in self.workers:
            worker.state.validate()

    # --- when fate rests --------------------------------------------------------------------------

    def teardown(self) -> None:
        self.workers.append(SimulatedWorker(PeerId(next(self.peers)), 1, self))
        self.ends_are_noticed()
        rested = 0.0
        for _ in range(PATIENCE):
            self.tick()
            moved = sum(self.move_on(worker) for worker in self.workers) > 0
            rested = 0.0 if moved else rested + 5.0
            self.now += 0.0 if moved else 5.0
            if rested > LONG_S:
                break
        else:
            raise AssertionError("there is no end to it")
        self.books_are_right()
        assert set(self.jobs) == set(self.ended), "a job never ended"
        for worker in self.manager.workers.values():
            assert not worker.assigned, f"{worker!r} has work left"
        for simulated in self.workers:
            assert not simulated.state.line
            assert not simulated.state.gathers.waiting
            assert not simulated.state.gathers.under_way
            for job_id, *_ in simulated.shares:
                assert not self.manager.jobs[job_id].delivered, "a share is kept for nobody"
            assert not any(slot.held for slot in simulated.state.slots)
            for folder in simulated.folders():
                for job_id, *_ in folder:
                    assert job_id in self.manager.jobs, "a file is kept for nobody"
        for job in self.manager.jobs.values():
            assert job.state is not JobState.RUNNING
            if job.state is JobState.DONE:
                assert self.ended[job.id].outcome == "done"
                for task in job.result_tasks:
                    assert task.state is TaskState.DONE
                    assert self.winners[job.id, task.id] == 1
        needed = {digest for job in self.manager.jobs.values() for digest in job.blobs}
        assert self.blobs == needed, "blobs are kept for nobody"

    def move_on(self, worker: SimulatedWorker) -> bool:
        """Let a worker and those in it do the next thing there is to do; False: nothing is."""
        if worker.outbox:
            self.tell(Received(worker.peer, worker.outbox.popleft()))
            return True
        if worker.inbox:
            worker.hear(worker.inbox.popleft(), self.now)
            return True
        if worker.fetching:
            worker.end_fetch(self)
            return True
        for slot, runner in enumerate(worker.runners):
            if not runner.up:
                runner.up = True
                worker.handle(worker_side.RunnerUp(slot), self.now)
                return True
            if runner.dying:
                worker.bury(slot, self)
                return True
            if runner.orders:
                worker.end_attempt(slot, "well", self)
                return True
        return False


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
