"""Reports: the attempts that ended well lately, as a worker told its manager. Pure.

A manager that dies takes with it what it was told last and had not written down. The next one is
offered these again, so that nothing is run twice that is finished and lies here.
"""

from __future__ import annotations

from collections import deque

from mrkernel.ids import JobId
from mrkernel.protocol.worker_messages import Finished, Offer

#: Reports kept, and bytes of output that came along with them.
MOST = 1_000
MOST_BYTES = 16 << 20


class Reports:
    """The newest reports of jobs that are not forgotten.

    Attributes:
        nbytes: of output in them.
    """

    def __init__(self) -> None:
        self._by_job: dict[JobId, deque[Finished]] = {}  # a job is forgotten in one go
        self._count = 0
        self.nbytes = 0

    def __len__(self) -> int:
        return self._count

    def add(self, report: Finished) -> None:
        """Keep a report; when there are too many, the first of the oldest job go."""
        reports = self._by_job.get(report.job)
        if reports is None:
            reports = self._by_job[report.job] = deque()
        reports.append(report)
        self._count += 1
        self.nbytes += _carried(report)
        while self._count > MOST or self.nbytes > MOST_BYTES:
            job, oldest = next(iter(self._by_job.items()))
            self._drop(oldest.popleft())
            if not oldest:
                del self._by_job[job]

    def forget(self, job: JobId, runs_only: bool) -> None:
        """Drop those of a job, or only those of runs, which are deleted."""
        for report in self._by_job.pop(job, ()):
            self._drop(report)
            if runs_only and report.output is None:
                self.add(report)

    def clear(self) -> None:
        """Drop all: what they tell of was deleted."""
        self._by_job.clear()
        self._count = self.nbytes = 0

    def offer(self) -> Offer:
        """Make the offer to a manager that is back."""
        return Offer(tuple(report for reports in self._by_job.values() for report in reports))

    def _drop(self, report: Finished) -> None:
        self._count -= 1
        self.nbytes -= _carried(report)


def _carried(report: Finished) -> int:
    made = report.output or report.part
    return 0 if made is None or made.data is None else len(made.data)
