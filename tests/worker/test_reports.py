"""Reports are kept while they can be of use, and no longer."""

from __future__ import annotations

import pytest

from mrkernel.ids import JobId, TaskId
from mrkernel.protocol.worker_messages import Finished, PartOutput, RunOutput
from mrkernel.worker import reports as module
from mrkernel.worker.reports import Reports


def report(number: int, job: str = "j1", size: int | None = None, part: bool = False) -> Finished:
    data = None if size is None else bytes(size)
    output = None if part else RunOutput((1,), data=data)
    made = PartOutput("", size or 0, 1, data) if part else None
    return Finished(JobId(job), TaskId(f"map-{number}"), 1, 1, 1, 1, 0.1, output, made)


def kept(reports: Reports) -> list[str]:
    return [each.task for each in reports.offer().finished]


def test_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    reports = Reports()
    for number in range(5):
        reports.add(report(number, size=10))
    assert kept(reports) == ["map-2", "map-3", "map-4"]
    assert reports.nbytes == 30
    reports.add(report(5, size=85))
    assert kept(reports) == ["map-4", "map-5"]
    reports.add(report(6, size=101))  # more than all that may be kept
    assert kept(reports) == []
    assert reports.nbytes == 0


def test_forgotten_jobs_are_not_offered() -> None:
    reports = Reports()
    for made in (report(0), report(1, "j2", 5), report(2, part=True, size=7), report(3)):
        reports.add(made)
    reports.forget(JobId("j1"), runs_only=True)
    assert kept(reports) == ["map-1", "map-2"]  # its runs are gone, its parts are not
    reports.forget(JobId("j1"), runs_only=False)
    assert kept(reports) == ["map-1"]
    assert (len(reports), reports.nbytes) == (1, 5)
    reports.clear()
    assert (kept(reports), reports.nbytes) == ([], 0)
