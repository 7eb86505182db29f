"""What the tasks of a job printed, read from the workers that keep it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mrkernel.errors import ClusterError
from mrkernel.protocol.client_messages import StorePlace
from mrkernel.shuffle.transfer import RunReader

#: Bytes read at once.
_PIECE = 1 << 20


@dataclass(frozen=True)
class AttemptLog:
    """What one attempt printed.

    Attributes:
        task: "map-3".
        attempt: from 1.
        worker: that ran it.
    """

    task: str
    attempt: int
    worker: str
    _reader: RunReader
    _name: str
    _nbytes: int

    def pieces(self) -> Iterator[bytes]:
        """Give it piece by piece.

        Raises: ClusterError: it cannot be read any more.
        """
        for at in range(0, self._nbytes, _PIECE):
            yield self._reader.read(self._name, at, min(_PIECE, self._nbytes - at))


class TaskLogs:
    """The logs of one job; a context manager, which hangs up in the end.

    Args:
        places: of all stores of the cluster.
        token: the cluster's secret.
        job: its id.

    Attributes:
        missing: sentences about stores that cannot be looked into; complete after ``find``.
    """

    def __init__(self, places: Sequence[StorePlace], token: bytes, job: str) -> None:
        self._places = places
        self._token = token
        self._job = job
        self._readers: dict[tuple[str, int], RunReader] = {}
        self.missing: list[str] = []

    def __enter__(self) -> TaskLogs:
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self._readers.values():
            reader.close()

    def find(self, task: str | None = None) -> list[AttemptLog]:
        """List them by task and attempt; of one task only, if that is given."""
        found = []
        for place in self._places:
            try:
                if not place.data_host:
                    raise ClusterError("no worker of its host is here")
                reader = self._reader((place.data_host, place.data_port))
                files = reader.logs(self._job, place.directory)
            except ClusterError as error:
                self.missing.append(f"what {place.worker} kept cannot be read ({error})")
                continue
            found += [
                AttemptLog(file.task, file.attempt, place.worker, reader, file.name, file.nbytes)
                for file in files
                if task in (None, file.task)
            ]
        return sorted(found, key=lambda log: (_order(log.task), log.attempt))

    def _reader(self, address: tuple[str, int]) -> RunReader:
        if address not in self._readers:
            self._readers[address] = RunReader(address, self._token)
        return self._readers[address]


def _order(task: str) -> tuple[str, int]:
    """Maps before reduces, 2 before 10."""
    number = re.search(r"\d+$", task)
    return task.partition("-")[0], int(number[0]) if number else 0
