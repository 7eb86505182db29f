"""``mrkernel``: parse, call, print. Every command's words are in the file of its name."""

from __future__ import annotations

import argparse
import atexit
import difflib
import errno
import gc
import importlib
import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from mrkernel import __version__
from mrkernel.errors import JobSpecError, MRKernelError, OutputExistsError, TaskFailedError
from mrkernel.logs import FILE, LEVEL, LEVELS, set_up

#: Objects more than before between two looks for garbage: imports make many and hardly any garbage,
#: and looking after every 700 takes an eighth of their time.
GARBAGE_AFTER = 10_000
DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

#: Command → module of this package that has it, in the order of the help.
COMMANDS = {
    "demo": "demo",
    "submit": "submit",
    **dict.fromkeys(("manager", "worker"), "serve"),
    "watch": "watch",
    **dict.fromkeys(("jobs", "workers", "cancel", "logs", "fetch", "forget"), "clients"),
    "journal": "journal",
    "debug": "debug",
}


class Parser(argparse.ArgumentParser):
    """Takes no abbreviations, and names the closest option to an unknown one."""

    def __init__(self, *arguments: object, **options: object) -> None:
        options.setdefault("allow_abbrev", False)
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*arguments, **options)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one sentence and end with status 2."""
        wrong = re.match(r"argument COMMAND: invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if wrong:
            known = re.findall(r"[\w-]+", wrong[2])
            close = difflib.get_close_matches(wrong[1], known, n=1)
            advice = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            message = f"there is no command {wrong[1]}: {advice}"
        self.exit(WRONG_USAGE, f"{self.prog}: {message}\n       {self.prog} --help lists them\n")

    def refuse(self, word: str) -> NoReturn:
        """Say that there is no such option, and which one may be meant."""
        from mrkernel.config import no_such_flag

        self.error(no_such_flag(word, self))


def make_parser(command: str = "") -> Parser:
    """Build the parser of all commands, or of one: the others need not be imported then."""
    modules = [COMMANDS[command]] if command in COMMANDS else dict.fromkeys(COMMANDS.values())
    parser = Parser(prog="mrkernel", description="MapReduce on every core you have.")
    parser.add_argument("--version", action="version", version=f"mrkernel {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for name in modules:
        importlib.import_module(f"mrkernel.cli.{name}").add_commands(commands)
    for each in (parser, *commands.choices.values()):
        _add_log_options(each)
    return parser


def _add_log_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("log")
    group.add_argument(
        "--log-level",
        metavar="LEVEL",
        default=argparse.SUPPRESS,
        help=f"{', '.join(LEVELS)}; default: ${LEVEL}, else warning, and info in the file",
    )
    group.add_argument(
        "--log-file",
        metavar="PATH",
        default=argparse.SUPPRESS,
        help="besides standard error: one JSON object a line; {process} and {pid} in PATH make one "
        f"for each process; default: ${FILE}",
    )


def program(arguments: Sequence[str] | None = None) -> NoReturn:
    """Be a program: run one command and end with its exit status.

    What this process holds is not taken apart piece by piece first, which takes as long as a small
    job.
    """
    gc.set_threshold(GARBAGE_AFTER)
    status = main(arguments)
    atexit._run_exitfuncs()
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        status = status or _not_printed(error)
    os._exit(status)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    parser = make_parser(words[0] if words else "")
    namespace, unknown = parser.parse_known_args(arguments)
    if unknown:
        namespace.parser.refuse(unknown[0])
    _begin_log(namespace)
    try:
        status: int = namespace.call(namespace)
    except KeyboardInterrupt:
        print("mrkernel: interrupted", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    except TaskFailedError as error:
        _complain(str(error))
        for line in [*error.details(), *getattr(error, "__notes__", ())]:
            print(line, file=sys.stderr)  # noqa: T201
        return FAILED
    except (JobSpecError, OutputExistsError) as error:
        _complain(str(error))
        return WRONG_USAGE
    except MRKernelError as error:
        _complain(str(error))
        return FAILED
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        return _not_printed(error)
    return status


def _not_printed(error: OSError) -> int:
    """Say nothing to a reader that went away, as `head` does, and tell of a full disk."""
    if error.errno != errno.EPIPE:
        _complain(f"what was to be printed is lost: {error.strerror}")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED


def _begin_log(namespace: argparse.Namespace) -> None:
    level, file = getattr(namespace, "log_level", None), getattr(namespace, "log_file", None)
    try:
        set_up(namespace.parser.prog.rpartition(" ")[2], level, file)
    except ValueError as error:
        namespace.parser.error(f"--log-level {error}")
    except OSError as error:
        namespace.parser.error(f"--log-file {error.filename} cannot be written: {error.strerror}")


def _complain(sentence: str) -> None:
    print(f"mrkernel: {sentence}", file=sys.stderr)  # noqa: T201
