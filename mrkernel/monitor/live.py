"""A picture that can be waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable

from mrkernel.monitor.picture import Json, Picture


class LivePicture(Picture):
    """A ``Picture`` whose readers may wait for news, each on a thread of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._news = threading.Condition()

    def receive(self, payload: Json) -> None:
        """Take in what a broker sent, and wake those who wait; see ``Picture.receive``."""
        super().receive(payload)
        self.wake()

    def change(self, fields: Json) -> None:
        """Change fields on our own account, and wake those who wait; see ``Picture.change``."""
        super().change(fields)
        self.wake()

    def wake(self) -> None:
        """Let those who wait look again, though nothing came."""
        with self._news:
            self._news.notify_all()

    def wait_for(self, wanted: Callable[[Json], bool], timeout: float | None = None) -> bool:
        """Wait until the picture is as wanted; False when ``timeout`` seconds were not enough.

        Args:
            wanted: asked whenever the picture changed; gets ``{}`` before the first.
        """
        with self._news:
            return self._news.wait_for(lambda: wanted(self.snapshot()), timeout)
