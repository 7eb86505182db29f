"""What has happened in a manager since it began, as numbers that only grow. Pure."""

from __future__ import annotations

from collections import Counter

from mrkernel.monitor import events as ev


class Totals:
    """Counts the events that the views are told."""

    def __init__(self) -> None:
        self.heartbeats = 0  #: datagrams of workers
        self.events: Counter[type[ev.Event]] = Counter()
        self.bytes_read = 0  #: of inputs, by maps that ended well
        self.bytes_shuffled = 0  #: of map output, by reduces that ended well
        self.records = 0
        self.outcomes: Counter[str] = Counter()  #: of jobs
        self.notes: Counter[str] = Counter()  #: lines said to people, by level

    def note(self, event: ev.Event) -> None:
        """Count one event."""
        kind = type(event)
        self.events[kind] += 1
        if kind is ev.AttemptStarted:  # many, and nothing more to say of them
            return
        if isinstance(event, ev.AttemptFinished):
            if event.task[0] == "m":
                self.bytes_read += event.bytes_in
                self.records += event.records
            else:
                self.bytes_shuffled += event.bytes_in
        elif isinstance(event, ev.JobEnded):
            self.outcomes[event.outcome] += 1
        elif isinstance(event, ev.Noted):
            self.notes[event.level] += 1
