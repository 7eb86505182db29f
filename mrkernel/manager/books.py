"""The books: all that a manager knows, and what it has decided to do about it. Pure.

The state's parts (jobs, attempts, workers, scheduler) write into one pair of books, each its own
pages, and none knows the part above it.
"""

from __future__ import annotations

from collections import Counter

from mrkernel.data.splits import Split
from mrkernel.ids import JobId, WorkerId
from mrkernel.manager.events import PeerId
from mrkernel.manager.facts import AnyFact
from mrkernel.manager.instructions import Instruction, Publish, Send
from mrkernel.manager.loads import Loads
from mrkernel.manager.records import Job, Store, Task, Worker
from mrkernel.monitor import events as public
from mrkernel.protocol.client_messages import Refused

#: Splits of which it is known who read them last.
READERS_KEPT = 100_000


class Books:
    """Workers, jobs, blobs, and the instructions of the event at hand."""

    def __init__(self) -> None:
        self.workers: dict[WorkerId, Worker] = {}  #: those not dead
        self.stores: dict[WorkerId, Store] = {}  #: those that may still be read
        self.orphans: dict[WorkerId, Store] = {}  #: those of them that nobody keeps now
        self.loads = Loads(self.workers)
        self.hosts: Counter[str] = Counter()  #: workers on each host
        self.jobs: dict[JobId, Job] = {}  #: until they are forgotten, in order of arrival
        self.running: dict[JobId, Job] = {}  #: those of them that are RUNNING
        self.workers_seen = 0  #: their numbers go on after a restart, and so do those of jobs
        self.jobs_seen = 0
        self.blobs: set[str] = set()  #: digests the shell holds
        self.retiring: set[str] = set()  #: instances that were asked to go, those gone as well
        self._out: list[Instruction] = []
        self.readers: dict[Split, WorkerId] = {}
        """Who read a split last, of input that is read again and again: it may still hold it."""
        self.keepers_changed = 0  #: times that a store got another keeper, or none
        self._facts: list[AnyFact] = []

    def say(self, instruction: Instruction) -> None:
        """Put an instruction behind those before."""
        self._out.append(instruction)

    def take_instructions(self) -> list[Instruction]:
        """Return the instructions since the last call."""
        out, self._out = self._out, []
        return out

    def record(self, fact: AnyFact) -> None:
        """Put down what must be known after a restart."""
        self._facts.append(fact)

    def take_facts(self) -> list[AnyFact]:
        """Return the facts since the last call."""
        out, self._facts = self._facts, []
        return out

    def publish(self, event: public.AnyEvent) -> None:
        """Tell the views."""
        self._out.append(Publish(event))

    def note(self, job: JobId | None, level: public.Level, sentence: str, now: float) -> None:
        """Put one human line into the feed of a job, or of all jobs."""
        self.publish(public.Noted(at=now, job=job, level=level, sentence=sentence))

    def refuse(self, peer: PeerId, ticket: int, sentence: str) -> None:
        """Answer a client's request with no."""
        self._out.append(Send(peer, Refused(ticket, sentence)))

    def note_reader(self, split: Split, worker: WorkerId) -> None:
        """Put down who read a split last; those noted longest ago are forgotten."""
        self.readers.pop(split, None)
        self.readers[split] = worker
        while len(self.readers) > READERS_KEPT:
            del self.readers[next(iter(self.readers))]

    def wanted(self) -> tuple[tuple[JobId, ...], tuple[JobId, ...]]:
        """Say of which jobs files are wanted, and of which of these only the result's."""
        jobs = self.jobs.values()
        return tuple(self.jobs), tuple(job.id for job in jobs if job.delivered)

    def is_lost(self, task: Task) -> bool:
        """Whether the only copy of a DONE task's result part is gone."""
        return task.part_in_file and task.holder not in self.stores
