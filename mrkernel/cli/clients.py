"""``mrkernel jobs | workers | cancel | logs | forget``: talking to a running manager."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from mrkernel.errors import JobSpecError
from mrkernel.monitor.text import cluster_lines, job_rows


def add_commands(commands: Any) -> None:
    """Add the commands."""
    for name, call, help_text, has_job in (
        ("jobs", show_jobs, "list the jobs of a manager", False),
        ("workers", show_workers, "list its workers", False),
        ("cancel", cancel, "stop a job everywhere", True),
        ("logs", show_logs, "print what a job's tasks printed", True),
        ("forget", forget, "delete all that the cluster holds of an ended job", True),
    ):
        parser = commands.add_parser(name, help=help_text)
        if has_job:
            parser.add_argument("job", metavar="ID")
        parser.add_argument(
            "--on", metavar="NAME", help="a manager: host:port, or its name; default: my only one"
        )
        parser.set_defaults(call=call, parser=parser)


def _connect(arguments: argparse.Namespace) -> Any:
    from mrkernel.engines.remote import connect

    return connect(arguments.on)


def show_jobs(arguments: argparse.Namespace) -> int:
    """Print a line per job."""
    client = _connect(arguments)
    try:
        picture = client.look("cluster")
    finally:
        client.close()
    for row in job_rows(picture, time.time()):
        print("\t".join(row))  # noqa: T201
    if not picture["jobs"]:
        sys.stderr.write("no jobs yet\n")
    return 0


def show_workers(arguments: argparse.Namespace) -> int:
    """Print the cluster."""
    client = _connect(arguments)
    try:
        for line in cluster_lines(client.look("cluster"), 0):
            print(line)  # noqa: T201
    finally:
        client.close()
    return 0


def cancel(arguments: argparse.Namespace) -> int:
    """Cancel a job and wait until it is over."""
    client = _connect(arguments)
    try:
        job = client.attach(arguments.job)
        client.look("cluster")  # its end, if it has one, has come before the answer
        if job.wait(0):
            raise JobSpecError(f"job {job.id} has ended already: {job.status}")
        if not job.settle():
            print(f"job {job.id} has not ended yet", file=sys.stderr)  # noqa: T201
            return 1
    finally:
        client.close()
    print(f"job {job.id} was cancelled")  # noqa: T201
    return 0


def show_logs(arguments: argparse.Namespace) -> int:
    """Print what the tasks of a job printed, as far as the manager keeps it."""

    def show(task: str, worker: str, text: str, dropped: int) -> None:
        for line in text.splitlines():
            print(f"{task} on {worker} | {line}")  # noqa: T201
        if dropped:
            print(f"{task} on {worker} | … {dropped:,} more characters were dropped")  # noqa: T201

    client = _connect(arguments)
    try:
        client.attach(arguments.job, show)
        client.look("cluster")  # what was kept has come before the answer
    finally:
        client.close()
    return 0


def forget(arguments: argparse.Namespace) -> int:
    """Delete a job's result, map output and functions from the cluster."""
    client = _connect(arguments)
    try:
        job = client.attach(arguments.job)
        client.look("cluster")  # its end, if it has one, has come before the answer
        if not job.wait(0):
            raise JobSpecError(
                f"job {job.id} is running: mrkernel cancel {job.id} ends it, then forget it"
            )
        client.release(arguments.job)
        client.look("cluster")  # one question later the manager has surely done it
    finally:
        client.close()
    print(f"job {arguments.job} is forgotten")  # noqa: T201
    return 0
