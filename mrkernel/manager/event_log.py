"""The events that the views show, as lines of the manager's log."""

from __future__ import annotations

import logging

import msgspec

from mrkernel.monitor import events as ev

logger = logging.getLogger("mrkernel.manager")

#: Too many to be of use, or kept elsewhere.
_NEVER = (ev.Progress, ev.WorkerBeat, ev.Printed)
_DETAILS = (ev.AttemptStarted, ev.AttemptFinished, ev.JobWaits, ev.WorkerAlive)


def log_event(event: ev.AnyEvent) -> None:
    """Log an event: its name, and all that it says."""
    level = logging.DEBUG if isinstance(event, _DETAILS) else logging.INFO
    if isinstance(event, ev.Noted) and event.level != "info":
        level = logging.WARNING
    if isinstance(event, _NEVER) or not logger.isEnabledFor(level):
        return
    told = msgspec.to_builtins(event)
    name = tag = told.pop("event")
    del told["at"]  # of a clock that nobody else has
    told = {key: value for key, value in told.items() if value not in (None, "")}
    said = " ".join(f"{key}={value!r}" for key, value in told.items())
    if isinstance(event, ev.Noted):
        name, said = f"{event.job or 'cluster'}:", event.sentence
    told = {"event": tag, "about": told}
    logger.log(level, "%s %s", name, said, extra={"fields": told})
