"""What a worker server fetches ahead while maps run: in which order, how much at once. Pure.

The manager says what will be wanted here, as it looks (``Gather``); nothing is promised either way.
A reduce attempt that starts takes what is here and fetches the rest by itself, so what was queued
for it is dropped. Copies of a job that was let go are deleted when they turn up late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass

import msgspec

from mrkernel.ids import JobId, WorkerId
from mrkernel.protocol.worker_messages import Forget, Gather, RunSource

#: Fetches at once: enough to keep a link busy, few enough to leave the slots their processors.
FETCHES = 2


@dataclass(frozen=True, slots=True)
class Fetch:
    """Fetch what one worker's runs have of one partition; ``Fetched`` will come."""

    number: int
    job: JobId
    partition: int
    source: RunSource


class Gathers:
    """The fetches that wait and those under way."""

    def __init__(self) -> None:
        #: In order of arrival; by job, partition, store, and whose runs.
        self.waiting: dict[tuple[JobId, int, WorkerId, JobId], Fetch] = {}
        self.under_way: dict[int, Fetch] = {}
        self._let_go: dict[JobId, Forget] = {}  #: with fetches under way
        self._seen = 0

    def add(self, message: Gather) -> None:
        """Put what is asked for behind what is waiting, or to the rest of the same worker's."""
        for partition in message.partitions:
            for source in message.sources:
                key = (message.job, partition, source.worker, source.job)
                before = self.waiting.get(key)
                wanted = source
                if before is not None:
                    runs = before.source.runs + source.runs
                    wanted = msgspec.structs.replace(source, runs=runs)
                self._seen += 1
                self.waiting[key] = Fetch(self._seen, message.job, partition, wanted)

    def begun(self, job: JobId, partition: int) -> None:
        """A reduce attempt of the partition is here and looks after itself."""
        self._drop(lambda fetch: fetch.job == job and fetch.partition == partition)

    def forget(self, message: Forget) -> None:
        """Nothing more is wanted for the job."""
        self._drop(lambda fetch: fetch.job == message.job)
        if any(fetch.job == message.job for fetch in self.under_way.values()):
            self._let_go[message.job] = message

    def forget_everything(self) -> None:
        """Nothing is wanted any more; what is under way ends unheard."""
        self.waiting.clear()
        self.under_way.clear()
        self._let_go.clear()

    def ended(self, number: int) -> Forget | None:
        """A fetch is over; return what has to be deleted now, if its job was let go meanwhile."""
        fetch = self.under_way.pop(number, None)
        if fetch is None or any(other.job == fetch.job for other in self.under_way.values()):
            return None
        return self._let_go.pop(fetch.job, None)

    def start(self) -> Iterator[Fetch]:
        """Yield the fetches that may begin now: no two of the same worker at once."""
        if len(self.under_way) >= FETCHES:
            return
        for key, fetch in list(self.waiting.items()):
            if len(self.under_way) >= FETCHES:
                return
            busy = {other.source.worker for other in self.under_way.values()}
            if fetch.source.worker not in busy:
                del self.waiting[key]
                self.under_way[fetch.number] = fetch
                yield fetch

    def validate(self, jobs: Set[JobId]) -> None:
        """Check that not too much is fetched, and nothing for nobody.

        Args:
            jobs: those that the worker was told of.

        Raises:
            AssertionError: it is.
        """
        assert len(self.under_way) <= FETCHES
        workers = [fetch.source.worker for fetch in self.under_way.values()]
        assert len(workers) == len(set(workers)), f"two fetches from one worker: {workers}"
        assert {fetch.job for fetch in self.waiting.values()} <= jobs, (
            "a fetch for an unknown job waits"
        )

    def _drop(self, unwanted: Callable[[Fetch], bool]) -> None:
        self.waiting = {key: f for key, f in self.waiting.items() if not unwanted(f)}
