"""The options of a magic, by IPython's own parser: so ``?`` and UsageError are as everywhere."""

from __future__ import annotations

from typing import Any, NoReturn

from IPython.core.error import UsageError
from IPython.core.magic_arguments import MagicArgumentParser

from mrkernel.config import MAGIC, add_options, no_such_flag
from mrkernel.jupyter.line import split_line


class Parser(MagicArgumentParser):
    """IPython's parser without abbreviations, and with a guess at what was meant."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self.allow_abbrev = False

    def error(self, message: str) -> NoReturn:
        """Refuse a line in one sentence."""
        if "unrecognized arguments" in message:
            wrong = message.split(":", 1)[1].split()[0]
            message = no_such_flag(wrong, self)
        raise UsageError(f"{message} (%{self.prog.lstrip('%')}? lists the options)")


def job_parser(name: str, description: str) -> Parser:
    """Make the parser of a magic that takes inputs and the options of a job."""
    parser = Parser(prog=name, description=description, add_help=False)
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="file, glob, directory or URL, or {expression}: an iterable or DataFrame of records, "
        "the result of another job; NAME=INPUT: a mapper(source, record) gets the name",
    )
    add_options(parser, MAGIC)
    return parser


def parse(parser: Parser, line: str) -> dict[str, Any]:
    """Parse a magic's line; expressions come back as they are.

    Raises:
        UsageError: an option is unknown or lacks its value.
    """
    words = split_line(line)
    # argparse wants text: an expression is a name that no user can type.
    tokens = [word if isinstance(word, str) else f"\0{index}" for index, word in enumerate(words)]

    def word_of(value: Any) -> Any:
        if isinstance(value, list):
            return [word_of(each) for each in value]
        if isinstance(value, str) and value.startswith("\0"):
            return words[int(value[1:])]
        return value

    return {name: word_of(value) for name, value in vars(parser.parse_args(tokens)).items()}
