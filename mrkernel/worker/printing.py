"""What runners print on its way to the manager: collected for a moment, flushed in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mrkernel.protocol.worker_messages import Printed, Start
from mrkernel.worker.slot_output import SlotOutput

#: Seconds output is collected for, so that a chatty mapper costs few messages.
PRINT_DELAY_S = 0.1


class Printing:
    """The output of all slots.

    Args:
        slots: how many.
        send: takes what is to be sent.
        log: takes all of what an attempt printed, piece by piece.
    """

    def __init__(
        self,
        slots: int,
        send: Callable[[Printed], None],
        log: Callable[[Start, bytes], None],
    ) -> None:
        self._outputs = [SlotOutput() for _ in range(slots)]
        self._send = send
        self._log = log
        self._timer: asyncio.TimerHandle | None = None

    def fresh(self, slot: int) -> None:
        """Another runner is to come into the slot."""
        self._outputs[slot] = SlotOutput()

    def expect(self, slot: int, start: Start) -> None:
        """The slot's runner was given an attempt, behind those it has."""
        self._outputs[slot].expect(start)

    def add(self, slot: int, data: bytes) -> None:
        """The slot's runner printed something."""
        self._outputs[slot].add(data)
        if self._outputs[slot].log_is_long:
            self._flush_log(slot)
        self._flush_soon()

    def ended(self, slot: int) -> None:
        """The first of its attempts is over: send what it printed."""
        self.flush(slot)
        if self._outputs[slot].ended():
            self._flush_soon()

    def flush(self, slot: int) -> None:
        """Send what there is."""
        self._flush_log(slot)
        printed = self._outputs[slot].take()
        if printed is not None:
            self._send(printed)

    def _flush_log(self, slot: int) -> None:
        taken = self._outputs[slot].take_log()
        if taken is not None:
            self._log(*taken)

    def _flush_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PRINT_DELAY_S, self._flush_all)

    def _flush_all(self) -> None:
        self._timer = None
        for slot in range(len(self._outputs)):
            self.flush(slot)
