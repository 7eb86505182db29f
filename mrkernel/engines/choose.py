"""Where a job runs when nobody says, and what ``on`` may be."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, cast

from mrkernel.data.sources import Named
from mrkernel.engines.base import Engine
from mrkernel.engines.local import embedded_cluster
from mrkernel.engines.remote import ManagerClient, connect
from mrkernel.engines.result import JobResult
from mrkernel.errors import JobSpecError
from mrkernel.security.token import find_manager, running_managers

_clients: dict[str, ManagerClient] = {}


def choose_engine(
    on: Any = None, chosen: Engine | None = None, inputs: Iterable[Any] = ()
) -> tuple[Engine, str]:
    """Choose where to run: ``on``, else what the session chose, else where the job's input lies,
    else ``MRKERNEL_ADDRESS``, else my only running manager, else the cluster inside this session.

    Args:
        on: an engine, "inline", "local", ``host:port`` or the name of a manager; None: choose.
        chosen: what ``%mr_cluster`` chose.
        inputs: of the job; one may be the result of another, which a cluster keeps.

    Returns: the engine, and one sentence that says which it is and why.

    Raises:
        JobSpecError: ``on`` is none of these.
        ManagerUnreachableError: nobody answers there.
    """
    if on is not None and not isinstance(on, str):
        if not hasattr(on, "submit_prepared"):
            raise JobSpecError(
                f"on={on!r} is no cluster: give inline, local, host:port, or a cluster object"
            )
        return cast(Engine, on), f"running on {on.label}"
    if on == "inline":
        from mrkernel.engines.inline import InlineEngine  # a manager and a worker in one

        return InlineEngine(), "running in this process"
    if on == "local":
        return _embedded()
    if on is not None:
        return _client(on), f"running on the manager at {on}"
    if chosen is not None:
        return chosen, f"running on {chosen.label} (chosen with %mr_cluster)"
    for given in inputs:
        given = given.given if isinstance(given, Named) else given
        engine = given.engine if isinstance(given, JobResult) else None
        if isinstance(engine, ManagerClient) and not engine.closed:
            return engine, f"running on {engine.label}, where the job's input is"
    address = os.environ.get("MRKERNEL_ADDRESS")
    if address:
        return _client(address), f"running on the manager at {address} (MRKERNEL_ADDRESS)"
    managers = running_managers()
    if len(managers) == 1:
        where = f"{managers[0].host}:{managers[0].port}"
        return _client(where), f"running on your manager at {where}"
    return _embedded()


def _embedded() -> tuple[Engine, str]:
    cluster, started = embedded_cluster()
    count = len(cluster.slots_of_workers)
    what = f"{count} worker{'s' * (count != 1)}, {cluster.slots} slot{'s' * (cluster.slots != 1)}"
    if started:
        return cluster, f"started a cluster inside this session: {what}; it ends with it"
    return cluster, f"running on the cluster inside this session ({what})"


def _client(address: str) -> ManagerClient:
    """Connect once per manager and program."""
    connection = find_manager(address)
    client = _clients.get(connection.id)
    if client is None or client.closed:
        client = _clients[connection.id] = connect(address)
    return client


def close_clients() -> None:
    """Hang up on every manager."""
    while _clients:
        _clients.popitem()[1].close()
