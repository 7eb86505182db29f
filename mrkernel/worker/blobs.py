"""Blobs a worker was sent: functions, as a rule in memory; input, and large ones, in files.

Runners read the files, and check their digests, once they are told of them.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable
from pathlib import Path

from mrkernel.protocol.messages import BlobPiece
from mrkernel.worker.disks import sentence_of

logger = logging.getLogger("mrkernel.worker")

#: Functions up to this size travel on to runners as they came; larger ones are read from a file.
SMALL_FUNCTIONS = 256 << 10


class Blobs:
    """The blobs of one worker.

    Args:
        directory: its own; they lie in a folder of it.
    """

    def __init__(self, directory: Path) -> None:
        self._folder = directory / "blobs"
        self._folder.mkdir(exist_ok=True)
        self._small: dict[str, bytes] = {}  # those that are in no file

    def add(self, piece: BlobPiece) -> None:
        """Add a piece of a blob to those before it."""
        if piece.last and not piece.offset and len(piece.data) <= SMALL_FUNCTIONS:
            self._small[piece.digest] = piece.data
        else:
            self._write(piece.digest, piece.data, "ab" if piece.offset else "wb")

    def small(self, digest: str) -> bytes | None:
        """Return a blob that is in no file; None: it is, or is not here."""
        return self._small.get(digest)

    def to_file(self, digest: str) -> None:
        """Put a blob where runners find it."""
        data = self._small.pop(digest, None)
        if data is not None:
            self._write(digest, data, "wb")

    def delete(self, digests: Iterable[str]) -> None:
        """Delete blobs at once: one may come again before long, into the same file."""
        for digest in digests:
            if self._small.pop(digest, None) is None:
                (self._folder / digest).unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete all; they are sent again if they are needed."""
        self._small.clear()
        for path in self._folder.glob("*"):
            path.unlink(missing_ok=True)

    def _write(self, digest: str, data: bytes, mode: str) -> None:
        path = self._folder / Path(digest).name
        try:
            with path.open(mode) as file:
                file.write(data)
        except OSError as error:
            # The attempts that need it fail here, and run elsewhere; this worker goes on.
            logger.warning("a blob could not be stored: %s", sentence_of(error, self._folder))
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
