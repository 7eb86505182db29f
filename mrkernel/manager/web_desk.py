"""What the web page's handlers share: the manager, who is let in, who follows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from mrkernel.ids import JobId
from mrkernel.manager.server import ManagerServer
from mrkernel.manager.web_access import Access
from mrkernel.monitor.broker import CLUSTER


class Supervisor(Protocol):
    """Who starts the workers, and starts anew those that die.

    Each raises ``ClusterError`` when it does not listen.
    """

    def add_worker(self, slots: int) -> None: ...
    def let_go(self, pid: int) -> None: ...
    def kill(self, pid: int) -> None: ...


class OpenPage(Protocol):
    """A browser that is told what changes."""

    def hang_up(self) -> None: ...


@dataclass(slots=True)
class Desk:
    """What the handlers share.

    Attributes:
        supervisor: starts workers; None: nobody does.
        files: kind and bytes of the browser's files, by name.
    """

    manager: ManagerServer
    access: Access
    supervisor: Supervisor | None
    files: dict[str, tuple[str, bytes]]
    followers: set[OpenPage] = field(default_factory=set)
    last: tuple[dict[str, Any], bytes] | None = None  #: what some follower was sent, encoded

    def has(self, topic: str) -> bool:
        """Whether there is such a topic now."""
        return topic == CLUSTER or JobId(topic) in self.manager.state.jobs

    def encoded(self, payload: dict[str, Any]) -> bytes:
        """A payload as JSON; those who follow one topic are sent the same one.

        A snapshot says which manager begins to count anew.
        """
        if self.last is None or self.last[0] is not payload:
            start = {"start": self.manager.start_number} if "snapshot" in payload else {}
            self.last = payload, msgspec.json.encode(payload | start)
        return self.last[1]
