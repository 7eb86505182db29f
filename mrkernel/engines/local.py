"""LocalCluster: a manager and workers on this machine, for as long as somebody holds it."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from mrkernel.deploy.local import shares_of_cores, start_supervisor
from mrkernel.engines.base import OnPrint, PreparedJob
from mrkernel.engines.cluster import Cluster
from mrkernel.engines.disturbing import Disturbable, Disturbance, How
from mrkernel.engines.job import Job
from mrkernel.errors import ClusterError, JobSpecError, NoWorkersError

if TYPE_CHECKING:
    from mrkernel.engines.remote import ManagerClient

JOIN_S = 30.0


class LocalCluster(Disturbable, Cluster):
    """A cluster on this machine: a context manager, sync and async, and an engine.

    Args:
        workers: how many; None: up to 4.
        slots: of each worker; None: together as many as there are usable cores, at least one each.
        visible: whether other programs of yours choose it when they look for a manager.
        beat_s: seconds between heartbeats, after two of which a silent worker is suspect, and after
            twenty dead; None: 0.1.

    Attributes:
        slots_of_workers: slots of each worker, as planned.

    Example:
        >>> with LocalCluster(workers=2) as cluster:
        ...     result = cluster.run(lambda line: [(len(line), 1)], iter(["a", "bb"]), "sum")
        ...     result.to_dict()
        {1: 1, 2: 1}
    """

    def __init__(
        self,
        workers: int | None = None,
        slots: int | None = None,
        *,
        visible: bool = False,
        beat_s: float | None = None,
    ) -> None:
        if workers is not None and workers < 1:
            raise JobSpecError(f"workers={workers}: a cluster has at least one worker")
        if slots is not None and slots < 1:
            raise JobSpecError(f"slots={slots}: a worker has at least one slot")
        if beat_s is not None and not 0.01 <= beat_s <= 3600:
            raise JobSpecError(f"beat_s={beat_s}: write seconds, from 0.01 to 3600")
        shares = shares_of_cores(workers)
        self.slots_of_workers = [slots] * len(shares) if slots is not None else shares
        self._supervisor = start_supervisor(
            self.slots_of_workers, embedded=not visible, beat_s=beat_s
        )
        self.label = "a local cluster"
        self._client: ManagerClient | None = None
        self._starting = threading.Lock()
        self._owner = os.getpid()
        self._stopped = False
        atexit.register(self.stop)

    @property
    def client(self) -> ManagerClient:
        """The connection to its manager; the first use waits until it is up.

        Raises:
            ClusterError: it did not start, or it was stopped.
        """
        with self._starting:
            if self._client is None:
                if self._stopped:
                    raise ClusterError("this cluster was stopped: start a new one")
                # Imported while the supervisor starts: two processors, two starts.
                from mrkernel.engines.link import SUPERVISED_LEASE_S
                from mrkernel.engines.remote import ManagerClient

                try:
                    self._client = ManagerClient(
                        self._supervisor.wait_ready(),
                        self.label,
                        lease_s=SUPERVISED_LEASE_S,
                        supervised=lambda: self._supervisor.alive,
                    )
                except BaseException:
                    self._supervisor.stop()
                    raise
            return self._client

    @property
    def address(self) -> str:
        """``host:port`` of the manager."""
        return f"{self.client.connection.host}:{self.client.connection.port}"

    def web_url(self, job: str = "") -> str:
        """The address of its web page, or of a job's: see ``ManagerClient.web_url``."""
        return self.client.web_url(job)

    @property
    def cluster_id(self) -> str:
        """The cluster's; waits until it is up."""
        return self.client.cluster_id

    @property
    def slots(self) -> int:
        """Slots of all workers as planned, whether they have joined yet or not."""
        return sum(self.slots_of_workers)

    @property
    def alive(self) -> bool:
        """Whether it can still run jobs."""
        lost = self._client is not None and self._client.closed
        return not self._stopped and self._supervisor.alive and not lost

    def __repr__(self) -> str:
        return f"<LocalCluster: {len(self.slots_of_workers)} workers, {self.slots} slots>"

    # --- jobs -------------------------------------------------------------------------------------

    def submit_prepared(self, prepared: PreparedJob, on_print: OnPrint | None = None) -> Job:
        """Send a job that passed its checks."""
        if not self._supervisor.alive:
            raise ClusterError("this cluster has ended: start a new one")
        return self.client.submit_prepared(prepared, on_print)

    # --- workers ----------------------------------------------------------------------------------

    def workers(self) -> dict[str, dict[str, Any]]:
        """Return the rows of the worker table, by worker id."""
        rows: dict[str, dict[str, Any]] = self.client.look("cluster")["workers"]
        return rows

    def wait_for_workers(self, count: int | None = None, timeout: float = JOIN_S) -> None:
        """Wait until so many workers (None: all) have joined.

        Raises:
            NoWorkersError: they did not in time.
        """
        wanted = len(self.slots_of_workers) if count is None else count
        deadline = time.monotonic() + timeout
        client = self.client
        while True:
            seen = client.cluster.snapshot().get("seq")
            # The manager is asked: our own picture may be a moment behind.
            joined = sum(row["state"] == "alive" for row in self.workers().values())
            if joined >= wanted:
                return
            patience = deadline - time.monotonic()
            if patience <= 0:
                raise NoWorkersError(
                    f"only {joined} of {wanted} workers joined within {timeout:.0f} s"
                )
            client.cluster.wait_for(lambda p: p.get("seq") != seen or client.closed, patience)  # noqa: B023

    def add_worker(self, slots: int = 1) -> None:
        """Start one more worker; it joins in a moment.

        Raises:
            ClusterError: the cluster has ended.
            JobSpecError: ``slots`` is no such number.
        """
        if slots < 1:
            raise JobSpecError(f"slots={slots}: a worker has at least one slot")
        self.client  # noqa: B018 - it is up before it is told anything
        self._supervisor.add_worker(slots)
        self.slots_of_workers.append(slots)

    def retire(self, worker: str) -> None:
        """Give a worker no new work and end it when it has none left; it is not replaced.

        Another worker takes over what it made.

        Args:
            worker: its id, "w2".

        Raises:
            ClusterError: there is no such living worker, or no other.
        """
        self._check_lives(worker)
        living = self.living_workers()
        if len(living) == 1:
            raise ClusterError(f"{worker} is the last worker: add one before it goes")
        row = living[worker]
        self._supervisor.let_go(row["pid"])  # first: an idle one goes at once
        self.client.retire(worker)
        if row["slots"] in self.slots_of_workers:
            self.slots_of_workers.remove(row["slots"])

    # --- faults -----------------------------------------------------------------------------------

    def _manager(self) -> ManagerClient:
        return self.client

    def _disturb(self, worker: str, how: How, amount: float) -> None:
        if how == "kill":  # from here: one that is frozen or busy would not obey
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.workers()[worker]["pid"], signal.SIGKILL)
        else:
            super()._disturb(worker, how, amount)

    def restart_manager(
        self, *, at: float | None = None, job: str | None = None
    ) -> Disturbance | None:
        """Kill the manager with SIGKILL; another one takes up its work at once.

        Args:
            at, job: do it when a job has reached that share of its progress; see ``Disturbable``.

        Raises:
            ClusterError: the cluster has ended.
        """
        if at is not None:
            return self._when(at, job, "kill the manager", self._restart_manager)
        self._restart_manager()
        return None

    def _restart_manager(self) -> str:
        self.client  # noqa: B018 - it is there before it is killed
        self._supervisor.restart_manager()
        return "killed the manager"

    # --- the end ----------------------------------------------------------------------------------

    def stop(self) -> None:
        """End the manager and the workers and remove their files. No-op the second time."""
        if self._stopped or os.getpid() != self._owner:
            return
        self._stopped = True
        atexit.unregister(self.stop)
        if self._client is not None:
            self._client.close()
        self._supervisor.stop()

    def close(self) -> None:
        """Stop it; so does leaving its ``with`` block."""
        self.stop()


_embedded: LocalCluster | None = None
_embedded_lock = threading.Lock()


def embedded_cluster() -> tuple[LocalCluster, bool]:
    """Return the cluster inside this session and whether it was started just now."""
    global _embedded
    with _embedded_lock:
        if _embedded is not None and _embedded.alive:
            return _embedded, False
        _embedded = LocalCluster()
        _embedded.label = "the cluster inside this session"
        return _embedded, True


def stop_embedded_cluster() -> bool:
    """Stop it; False when there was none."""
    global _embedded
    with _embedded_lock:
        cluster, _embedded = _embedded, None
    if cluster is None:
        return False
    cluster.stop()
    return True
