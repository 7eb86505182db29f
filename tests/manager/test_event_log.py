"""What happens is in the manager's log, once each, with all that an event says."""

from __future__ import annotations

import logging

import pytest

from mrkernel.ids import JobId, WorkerId
from mrkernel.manager.event_log import log_event
from mrkernel.monitor import events as ev


@pytest.mark.parametrize(
    ("event", "level", "name"),
    [
        (ev.WorkerJoined(at=1.0, worker=WorkerId("w1"), host="h", pid=5, slots=2), 20, "joined"),
        (ev.Noted(at=1.0, job=None, level="info", sentence="so"), 20, "noted"),
        (ev.Noted(at=1.0, job=JobId("j1"), level="warning", sentence="oh"), 30, "noted"),
        (ev.JobWaits(at=1.0, job=JobId("j1"), sentence="x"), 10, "waits"),
    ],
)
def test_an_event_is_a_line(
    caplog: pytest.LogCaptureFixture, event: ev.AnyEvent, level: int, name: str
) -> None:
    with caplog.at_level(logging.DEBUG, "mrkernel.manager"):
        log_event(event)
    (record,) = caplog.records
    assert record.levelno == level
    assert record.fields["event"].endswith(name)
    assert "at" not in record.fields["about"]
    if isinstance(event, ev.Noted):
        assert record.getMessage() == f"{event.job or 'cluster'}: {event.sentence}"
    else:
        assert all(f"{key}=" in record.getMessage() for key in record.fields["about"])


def test_what_comes_ten_times_a_second_is_none(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "mrkernel.manager"):
        log_event(ev.WorkerBeat(at=1.0, worker=WorkerId("w1"), cpu_percent=1.0, memory_bytes=5))
    assert caplog.records == []
