"""``mrkernel jobs | workers | cancel | logs | fetch | forget``: what a manager is asked."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator
from typing import Any

from mrkernel.errors import JobSpecError
from mrkernel.monitor.quantities import exactly
from mrkernel.monitor.text import cluster_lines, job_rows


def add_commands(commands: Any) -> None:
    """Add the commands."""
    for name, call, help_text, has_job in (
        ("jobs", show_jobs, "list the jobs of a manager", False),
        ("workers", show_workers, "list its workers", False),
        ("cancel", cancel, "stop a job everywhere", True),
        ("logs", show_logs, "print what a job's tasks printed", True),
        ("fetch", fetch, "write the result of a job, when it is done, to a place of yours", True),
        ("forget", forget, "delete all that the cluster holds of an ended job", True),
    ):
        parser = commands.add_parser(name, help=help_text)
        if has_job:
            parser.add_argument("job", metavar="ID")
        if call is show_logs:
            parser.add_argument("task", metavar="TASK", nargs="?", help="only of this, e.g. map-3")
        if call is fetch:
            _add_output(parser)
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
        sys.stderr.write("no jobs\n")
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
    """Print what the tasks of a job printed, attempt by attempt, as their workers keep it."""
    job, out = arguments.job, sys.stdout
    if arguments.task and not re.fullmatch(r"(map|reduce)-\d+", arguments.task):
        raise JobSpecError(f"{arguments.task} is no task: they are called map-0, reduce-0 ...")
    client = _connect(arguments)
    try:
        with client.logs(job) as logs:
            found = logs.find(arguments.task)
            for log in found:
                again = f", attempt {log.attempt}" if log.attempt > 1 else ""
                for line in _lines(log.pieces()):
                    out.write(f"{log.task}{again} on {log.worker} | {line}\n")
            missing = logs.missing
    finally:
        client.close()
    for sentence in missing:
        sys.stderr.write(f"mrkernel: {sentence}\n")
    if not found and not missing:
        who = f"{arguments.task} of {job}" if arguments.task else job
        sys.stderr.write(f"mrkernel: {who} printed nothing\n")
    return 1 if missing else 0


def _lines(pieces: Iterator[bytes]) -> Iterator[str]:
    """Cut a log into lines, whatever bytes are in it."""
    held = b""
    for piece in pieces:
        *lines, held = (held + piece).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in lines)
    if held:
        yield held.decode("utf-8", "replace")


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", metavar="PATH", help="as --output of `mrkernel submit`")
    parser.add_argument("--overwrite", action="store_true", help="replace what we wrote there")
    parser.add_argument("--output-format", metavar="FORMAT", help="text, jsonl, csv or parquet")
    parser.add_argument("--columns", metavar="A,B,C", help="their names")


def fetch(arguments: argparse.Namespace) -> int:
    """Wait for a job and write its result."""
    from mrkernel.config import parse_output_format

    form = arguments.output_format
    try:
        form = None if form is None else parse_output_format(form)
    except ValueError as error:
        raise JobSpecError(f"--output-format {form}: write {error}") from None
    client = _connect(arguments)
    try:
        result = client.attach(arguments.job).result()
        result.save(
            arguments.output,
            overwrite=arguments.overwrite,
            output_format=form,
            columns=arguments.columns,
        )
    finally:
        client.close()
    print(f"{exactly(len(result), 'pair')} in {arguments.output}")  # noqa: T201
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
