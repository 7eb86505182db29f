"""What the runner of a slot prints: attempt by attempt, capped, no character cut. Pure."""

from __future__ import annotations

import codecs

from mrkernel.protocol.worker_messages import Printed, Start

#: What a runner writes between the output of one attempt and that of the next.
END = b"\0\x1emrkernel: end of attempt\x1e\0"
#: Bytes of output one attempt may send; the rest is counted, not sent.
PRINT_LIMIT = 20_000
#: Bytes held for the attempt's log before they are written to its file.
LOG_BLOCK = 1 << 20


class SlotOutput:
    """Books what is printed on the attempt that prints it."""

    def __init__(self) -> None:
        self._expected: list[Start] = []
        self._pending = bytearray()
        self._later: list[bytearray] = []  # what came behind an end mark that waits for its end
        # Output comes cut at any byte: the rest of a character is waited for.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._sent = 0
        self._dropped = 0
        self._log = bytearray()  # all that was printed since it was taken

    @property
    def log_is_long(self) -> bool:
        """Whether what is to be logged should not wait any more."""
        return len(self._log) >= LOG_BLOCK

    def expect(self, start: Start) -> None:
        """The runner was given an attempt, behind those it has."""
        self._expected.append(start)

    def ended(self) -> bool:
        """The first of its attempts is over; return whether the next has printed already."""
        if self._expected:
            self._expected.pop(0)
        if self._sent or self._dropped:
            self._sent = self._dropped = 0
            self._decoder.reset()
        if self._later:
            self._keep(self._later.pop(0))
        return bool(self._pending)

    def add(self, data: bytes) -> None:
        """It printed something."""
        first, *others = data.split(END)
        if self._later:
            self._later[-1] += first
        else:
            self._keep(first)
        self._later += map(bytearray, others)

    def _keep(self, data: bytes | bytearray) -> None:
        if not data:
            return  # as a rule: most attempts print nothing
        if self._expected or not self.log_is_long:  # else it is nobody's, and nobody takes it
            self._log += data
        room = PRINT_LIMIT - self._sent - len(self._pending)
        self._pending += data[: max(room, 0)]
        self._dropped += max(0, len(data) - max(room, 0))

    def take_log(self) -> tuple[Start, bytes] | None:
        """Return what is to be logged and for which attempt; None: nothing, or nobody's."""
        if not self._log or not self._expected:
            return None
        data = bytes(self._log)
        self._log.clear()
        return self._expected[0], data

    def take(self) -> Printed | None:
        """Return what is to be sent; None: nothing, or nobody to book it on."""
        if not self._expected or not (self._pending or self._dropped):
            return None
        start = self._expected[0]
        text = self._decoder.decode(self._pending)
        self._sent += len(self._pending)
        dropped, self._dropped = self._dropped, 0
        self._pending.clear()
        if not text and not dropped:
            return None
        return Printed(start.job, start.task, start.attempt, text, dropped)
