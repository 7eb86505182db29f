"""The cluster of a notebook: where its jobs run, begun, joined and left by ``%mr_cluster``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mrkernel.engines.base import Engine
from mrkernel.engines.choose import choose_engine, close_clients
from mrkernel.engines.local import LocalCluster, stop_embedded_cluster
from mrkernel.engines.remote import ManagerClient, connect
from mrkernel.errors import ClusterError
from mrkernel.monitor.quantities import plural

if TYPE_CHECKING:
    from mrkernel.jupyter.widgets import Deed


class SessionCluster:
    """Where the jobs of this session run.

    Nothing is chosen at first: then each job runs where ``choose_engine`` finds best.
    """

    def __init__(self) -> None:
        self._chosen: Engine | None = None

    def engine(self, on: Any, inputs: list[Any]) -> tuple[Engine, str]:
        """Choose the engine of a job, and say why; see ``choose_engine``."""
        return choose_engine(on, self._chosen, inputs)

    def start(self, workers: int | None) -> LocalCluster:
        """Start a cluster of its own, and wait until it is there.

        Args:
            workers: how many; None: as the cores allow.
        """
        self._leave()
        cluster = LocalCluster(workers)
        cluster.wait_for_workers()
        self._chosen = cluster
        many = plural(len(cluster.slots_of_workers), "worker")
        print(f"started {many}, {plural(cluster.slots, 'slot')}; this notebook's jobs run here")  # noqa: T201
        return cluster

    def connect(self, address: str | None) -> None:
        """Use a cluster that runs; None: the one of this machine."""
        client = connect(address)
        self._leave()
        self._chosen = client
        print(f"jobs of this notebook run on {client.label} ({client.slots} slots)")  # noqa: T201

    def stop(self) -> None:
        """Stop what this session started; leave what it only joined."""
        left = self._leave()
        stopped = stop_embedded_cluster() or left
        print("stopped" if stopped else "there is no cluster of this notebook")  # noqa: T201

    def close(self) -> None:
        """Stop what this session started, and hang up on all others."""
        self._leave()
        stop_embedded_cluster()
        close_clients()

    @property
    def running(self) -> LocalCluster | ManagerClient:
        """The cluster that is asked about workers and jobs; started where there is none."""
        engine, why = choose_engine(None, self._chosen)
        if isinstance(engine, LocalCluster):
            if why.startswith("started"):
                print(why)  # noqa: T201
                engine.wait_for_workers()
            return engine
        if isinstance(engine, ManagerClient):
            return engine
        raise ClusterError(f"{engine.label} has no workers to show")

    @property
    def client(self) -> ManagerClient:
        """What speaks with its manager."""
        cluster = self.running
        return cluster.client if isinstance(cluster, LocalCluster) else cluster

    def deeds(self) -> dict[str, Deed]:
        """Say what can be done to the workers from their view: those of a cluster of our own."""
        cluster = self.running
        if not isinstance(cluster, LocalCluster):
            return {}
        return {
            "add-worker": lambda _: cluster.add_worker(),
            "retire": cluster.retire,
            "kill": cluster.kill,
        }

    def _leave(self) -> bool:
        chosen, self._chosen = self._chosen, None
        if isinstance(chosen, LocalCluster):
            chosen.stop()
        elif isinstance(chosen, ManagerClient):
            chosen.close()
        return chosen is not None
