"""The program itself: one command needs no other's imports, and its end is its status."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

import pytest

from mrkernel.cli import COMMANDS, FAILED, make_parser


def commands_of(parser: argparse.ArgumentParser) -> list[str]:
    (found,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return list(found.choices)


def test_every_command_is_where_it_is_looked_for() -> None:
    assert commands_of(make_parser()) == list(COMMANDS)
    for command, module in COMMANDS.items():
        home = [name for name, other in COMMANDS.items() if other == module]
        assert commands_of(make_parser(command)) == home


def test_what_starts_a_cluster_comes_before_what_uses_it() -> None:
    program = (
        "import sys; from mrkernel.cli import make_parser; make_parser('submit')\n"
        "heavy = {'asyncio', 'numpy', 'pyarrow', 'psutil', 'mrkernel.engines.prepare'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
@pytest.mark.parametrize(
    "words",
    [
        ["-m", "mrkernel", "demo", "--list"],
        ["-c", "from mrkernel import cli; cli.main = lambda _: print(1) or 0; cli.program()"],
    ],
    ids=["while it prints", "at the end"],
)
def test_a_full_disk_is_one_sentence(words: list[str]) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, *words],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
    assert done.returncode == FAILED
    assert done.stderr == "mrkernel: what was to be printed is lost: No space left on device\n"
