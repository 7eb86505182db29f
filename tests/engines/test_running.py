"""The jobs that a client follows: nothing that comes of one is lost, or told out of order."""

from __future__ import annotations

from mrkernel.engines.job import Job
from mrkernel.engines.running import RunningJobs
from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.monitor.live import LivePicture
from mrkernel.protocol.client_messages import Ended, JobPrinted

J1 = JobId("j1")


def printed(text: str) -> JobPrinted:
    return JobPrinted(J1, TaskId("map-0"), WorkerId("w1"), text)


def test_what_comes_while_a_job_is_taken_up_waits_behind_what_came() -> None:
    """Its end comes on the link's thread while its submitter still hears what it printed before."""
    jobs = RunningJobs(b"", release=lambda *_: None, places=lambda _: (), attach=lambda _: None)
    job = Job("j1", "job", watch=LivePicture, cancel=lambda: None)
    heard: list[str] = []

    def on_print(task: str, worker: str, text: str, dropped: int) -> None:
        heard.append(text)
        assert not job.wait(0)
        if text == "a":
            jobs.heard(printed("c"))
            jobs.heard(Ended(J1, "job", "cancelled", "", 1.0, None, (), {}))

    jobs.expect(J1)
    for text in "ab":
        jobs.heard(printed(text))
    jobs.add(job, None, on_print)
    assert heard == ["a", "b", "c"]
    assert job.status == "cancelled"
    jobs.heard(printed("d"))  # it has ended: nobody listens, and nothing is kept
    assert heard == ["a", "b", "c"]
