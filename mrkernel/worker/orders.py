"""Orders on their way to the runners: what one loop turn has for a runner leaves as one frame."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mrkernel.protocol.messages import frame_of
from mrkernel.protocol.worker_messages import JobInfo, Start


class Orders:
    """The orders of this turn, by slot.

    Args:
        slots: how many.
        send: takes a slot and the frame for its runner.
    """

    def __init__(self, slots: int, send: Callable[[int, bytes], None]) -> None:
        self._waiting: list[list[JobInfo | Start]] = [[] for _ in range(slots)]
        self._send = send
        self._scheduled = False

    def add(self, slot: int, message: JobInfo | Start) -> None:
        """Put an order behind those before."""
        self._waiting[slot].append(message)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._send_all)

    def drop(self, slot: int) -> None:
        """Forget what was for the runner of a slot, which is no more."""
        self._waiting[slot] = []

    def drop_all(self) -> None:
        """Forget all."""
        self._waiting = [[] for _ in self._waiting]

    def _send_all(self) -> None:
        self._scheduled = False
        waiting = self._waiting
        self.drop_all()
        for slot, messages in enumerate(waiting):
            if messages:
                self._send(slot, frame_of(*messages))
