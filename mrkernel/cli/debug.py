"""``mrkernel debug JOB``: the record or group that a job failed on, once more, in this terminal."""

from __future__ import annotations

import argparse
import sys
from typing import Any


def add_commands(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "debug", help="call what failed in a job again here, in a debugger if this is a terminal"
    )
    parser.add_argument("job", metavar="ID")
    parser.add_argument(
        "--on", metavar="NAME", help="a manager: host:port, or its name; default: my only one"
    )
    parser.set_defaults(call=debug, parser=parser)


def debug(arguments: argparse.Namespace) -> int:
    """Raise it again; stand in its frame, or print the traceback."""
    from mrkernel.engines.debugging import failure_of, replay_packed, users_traceback
    from mrkernel.engines.remote import connect
    from mrkernel.errors import JobSpecError

    client = connect(arguments.on)
    try:
        job = client.attach(arguments.job)
        client.look("cluster")  # its end, if it has one, has come before the answer
        if not job.wait(0):
            raise JobSpecError(f"job {job.id} is running: mrkernel watch {job.id} follows it")
        failure = failure_of(job.error, job.id)
        try:
            replay_packed(
                lambda: client.functions(arguments.job), failure, tell=_tell, for_good=True
            )
        except JobSpecError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it is what was asked for
            error.__traceback__ = users_traceback(error)
            _show(error)
    finally:
        client.close()
    return 1


def _show(error: BaseException) -> None:
    import pdb
    import traceback

    traceback.print_exception(error)
    if sys.stdin.isatty():
        pdb.post_mortem(error.__traceback__)


def _tell(sentence: str) -> None:
    sys.stderr.write(f"note: {sentence}\n")
