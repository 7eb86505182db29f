"""The doorway of a server: who has not proved itself yet, and how many of these there may be.

A peer that never does gets a few seconds and a few kilobytes. When too many stand there the one who
has stood longest has to go, so that a crowd of silent ones cannot keep out whoever knows the token:
that takes some milliseconds. Who offers a wrong token may try again at once: no number of guesses
finds 256 bits.
"""

from __future__ import annotations

import logging

from tornado.iostream import IOStream

from mrkernel.protocol.connection import Connection

logger = logging.getLogger("mrkernel.protocol")

MOST_STRANGERS = 64


class Doorway:
    """Lets peers in that know the token.

    Args:
        token: the cluster's secret.
    """

    def __init__(self, token: bytes) -> None:
        self._token = token
        self._strangers: dict[IOStream, None] = {}  # in order of arrival
        self.turned_away = 0  #: strangers who had to make room
        self.refused = 0  #: peers who did not prove themselves

    async def admit(self, stream: IOStream) -> Connection | None:
        """Let a peer prove itself; None, and closed, when it does not."""
        if len(self._strangers) >= MOST_STRANGERS:
            longest = next(iter(self._strangers))
            del self._strangers[longest]
            longest.close()
            self.turned_away += 1
            if _is_told(self.turned_away):
                logger.warning("%d strangers had to make room", self.turned_away)
        self._strangers[stream] = None
        try:
            return await Connection.accept(stream, self._token, self._refuse)
        finally:
            self._strangers.pop(stream, None)

    def _refuse(self, reason: str) -> None:
        self.refused += 1
        if _is_told(self.refused):
            so_far = f" ({self.refused} so far)" if self.refused > 1 else ""
            logger.warning("a peer was turned away: %s%s", reason, so_far)


def _is_told(count: int) -> bool:
    """Whether to log one more of a kind: 1, 2, 4, 8 ..., for a flood must not fill the disk."""
    return count & (count - 1) == 0
