"""mrjob's local runner on two cores. Variant ``comb`` has a combiner where the job has one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from benchmarks.jobs import Job

NEEDS = ("mrjob", "pkg_resources")


def versions() -> str:
    import mrjob

    return f"mrjob {mrjob.__version__}"


def takes(job: Job, variant: str) -> bool:
    """Its parts are in no order, and it starts a task for each of 4,000 files."""
    if variant == "comb":
        return job.name in ("wc", "grep", "stats")
    return job.name not in ("sort", "inv")


class Session:
    """Nothing to start: each of its tasks is a new process."""

    def __init__(self, job: Job, variant: str) -> None:
        os.environ["BENCHMARKS_JOB"] = job.name
        os.environ["BENCHMARKS_COMBINER"] = "yes" if variant == "comb" else ""
        from benchmarks import mrjob_script

        self._job, self._script = job, mrjob_script

    def run(self, files: Sequence[str], out: str) -> Any:
        """Run the job."""
        arguments = ["-r", "local", "--num-cores", "2", "--no-bootstrap-mrjob"]
        if self._job.writes:
            arguments += ["--output-dir", out]
        job = self._script.Script([*files, *arguments])
        job.sandbox()
        with job.make_runner() as runner:
            runner.run()
            if self._job.writes:
                return None
            return list(job.parse_output(runner.cat_output()))

    def close(self) -> None:
        """Nothing to end."""
