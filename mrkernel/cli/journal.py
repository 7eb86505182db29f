"""``mrkernel journal JOB``: the story of a job as its manager wrote it down."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mrkernel.cli.serve import state_root
from mrkernel.errors import ClusterError, JobSpecError


def add_commands(commands: Any) -> None:
    """Add the command."""
    journal = commands.add_parser(
        "journal", help="tell the story of a job from the journal, also when no manager runs"
    )
    journal.add_argument("job", metavar="ID")
    where = journal.add_mutually_exclusive_group()
    where.add_argument("--state", type=Path, metavar="DIR", help="a manager's state directory")
    where.add_argument(
        "--on",
        metavar="NAME",
        help="a running manager: host:port, or its name; default: the only one that runs, else the "
        "only state directory there is",
    )
    journal.set_defaults(call=show_journal, parser=journal)


def show_journal(arguments: argparse.Namespace) -> int:
    """Print a line for each thing that happened to the job."""
    from mrkernel.manager.journal import read_journal
    from mrkernel.manager.state_directory import JOURNAL
    from mrkernel.manager.story import tell

    try:
        state = arguments.state or _state_of(arguments.on)
        facts = read_journal(state / JOURNAL)
    except ClusterError as error:
        raise JobSpecError(str(error)) from error  # nothing failed but what was asked
    except FileNotFoundError as error:
        raise JobSpecError(
            f"there is no journal in {state}: give the --state of `mrkernel manager`"
        ) from error
    except OSError as error:
        raise JobSpecError(f"{state / JOURNAL} cannot be read: {error.strerror}") from error
    for line in tell(facts, arguments.job):
        print(line)  # noqa: T201
    return 0


def _state_of(on: str | None) -> Path:
    """Find the state directory of a running manager, or the only one that was left by one.

    Raises:
        JobSpecError: there is none, or more than one to choose from.
        ManagerUnreachableError: no manager of this name runs.
    """
    from mrkernel.security.token import find_manager, running_managers

    if on is not None:
        running = [find_manager(on)]
    else:
        # That of a kernel too, where it is the only one: who asks has seen the job there.
        running = running_managers() or running_managers(embedded=True)
    if len(running) == 1 and running[0].state:
        return Path(running[0].state)
    if running:
        listed = ", ".join(manager.id for manager in running)
        raise JobSpecError(f"{len(running)} managers of yours run: say --on with one of {listed}")
    left = sorted(path.parent for path in state_root().glob("manager-*/journal"))
    if len(left) == 1:
        return left[0]
    if not left:
        raise JobSpecError(
            f"no manager of yours runs, and none left a journal in {state_root()}: "
            "say --state with the directory of the one you mean"
        )
    listed = ", ".join(map(str, left))
    raise JobSpecError(f"no manager of yours runs: say --state with one of {listed}")
