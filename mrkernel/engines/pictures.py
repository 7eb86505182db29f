"""The pictures that a client of a manager watches, also while the manager is away."""

from __future__ import annotations

import threading
from typing import Any

from mrkernel.monitor.live import LivePicture
from mrkernel.monitor.picture import PictureGap
from mrkernel.protocol.client_messages import Watch
from mrkernel.protocol.messages import Message

CLUSTER = "cluster"


class Pictures:
    """Pictures by topic; those of topics not watched any more stay as they were."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pictures: dict[str, LivePicture] = {}
        self._watched: set[str] = set()

    def watch(self, topic: str) -> LivePicture:
        """The picture of a topic, to be kept up to date from now on."""
        with self._lock:
            self._watched.add(topic)
            return self._pictures.setdefault(topic, LivePicture())

    def unwatch(self, topic: str) -> None:
        """A topic need not be kept up to date."""
        with self._lock:
            self._watched.discard(topic)

    def forget_jobs(self) -> None:
        """Watch no job any more: another cluster's jobs have the same names."""
        with self._lock:
            self._watched &= {CLUSTER}

    def watches(self) -> list[Message]:
        """What to say on a new connection; a job that has ended keeps its last picture."""
        with self._lock:
            return [
                Watch(topic)
                for topic in self._watched
                if self._pictures[topic].snapshot().get("ended") is None
            ]

    def receive(self, payload: dict[str, Any]) -> bool:
        """Take in what the manager sent; False: something was missed, watch the topic anew."""
        picture = self._pictures.get(payload["topic"])
        if picture is not None:
            try:
                picture.receive(payload)
            except PictureGap:
                return False
        return True

    def away(self, seconds: float) -> None:
        """Say in every picture that it stands still, and why."""
        gone = "the manager is gone" + (f" for {seconds:.0f} s" if seconds >= 1 else "")
        for topic, picture in list(self._pictures.items()):
            if picture.snapshot().get("ended") is None:
                job = "; the job is in its journal" if topic != CLUSTER else ""
                text = f"{gone}, looking for it{job}"
                picture.change({"banner": {"kind": "away", "level": "warning", "text": text}})

    def job_gone(self, job_id: str, sentence: str) -> None:
        """A job is gone with its manager: nobody else will say so."""
        picture = self._pictures.get(job_id)
        if picture is None or not picture.ready or picture.snapshot()["ended"] is not None:
            return
        at = picture.snapshot()["at"]
        picture.change({"state": "failed", "sentence": sentence, "ended": at, "banner": None})

    def gone(self, why: str) -> None:
        """Nothing will change any more; wake those who wait for it."""
        for topic, picture in list(self._pictures.items()):
            if topic == CLUSTER:
                picture.change({"banner": {"kind": "gone", "level": "error", "text": why}})
            picture.wake()
