"""A job or a cluster to be seen in a widget, told event by event."""

from __future__ import annotations

from typing import Any

from mrkernel.ids import JobId
from mrkernel.monitor import events as ev
from mrkernel.monitor.picture import Picture
from mrkernel.monitor.view import ClusterView, JobView

JOB = JobId("j-1")


class Stage:
    """A view and the picture a client would hold of it."""

    def __init__(self, view: JobView | ClusterView) -> None:
        self.view = view
        self.source = Picture()

    def begin(self) -> None:
        self.source.receive({"snapshot": self.view.snapshot()})

    def tell(self, *story: ev.Event) -> None:
        for event in story:
            self.view.fold(event)
        delta = self.view.take_delta()
        if delta is not None and self.source.ready:
            self.source.receive({"delta": delta})


def note(text: str) -> ev.Noted:
    return ev.Noted(at=1.0, job=JOB, level="info", sentence=text)


def ended(outcome: str = "done", sentence: str = "") -> ev.JobEnded:
    return ev.JobEnded(at=5.2, job=JOB, outcome=outcome, sentence=sentence)


ACCEPTED = ev.JobAccepted(
    at=1.0, job=JOB, name="<i>count</i>", maps=2, reduces=1, input_bytes=10, functions="cell"
)


def spy(widget: Any) -> list[Any]:
    """Everything that leaves for the browser: messages, and ``"snapshot"`` for the trait."""
    sent: list[Any] = []
    widget.send = lambda content, buffers=None: sent.append(content)
    widget.observe(lambda change: sent.append("snapshot"), "snapshot")
    return sent
