"""How one worker is set up. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: How long a worker looks for a manager before it ends itself, when nobody says.
LEASE_S = 30.0


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """How one worker is set up.

    Attributes:
        manager: its address.
        token: the cluster's secret.
        slots: runners it keeps.
        directory: its own, made by it, and removed; runs and blobs lie here.
        host, port: where it serves its runs; port 0 = any free one; host "0.0.0.0" = everywhere.
        lease_s: how long it looks for a manager, unless that says otherwise.
        always_fetch: read runs over TCP even from this host, as between hosts.
        supervised: whoever started it removes ``directory``: others of its cluster may serve it.
    """

    manager: tuple[str, int]
    token: bytes
    slots: int
    directory: Path
    host: str = "127.0.0.1"
    port: int = 0
    lease_s: float = LEASE_S
    always_fetch: bool = False
    supervised: bool = False
