"""Programs: executables as mapper, reducer, combiner or partitioner, ready to travel. Pure.

A program reads lines and writes lines (Hadoop Streaming). What it needs is all here: its words, the
files that lie beside it when it runs, how its lines are cut into keys and values, its environment.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import PurePath

TAB = 0x09
#: The setting that says whether a program may end with another status than 0.
EXIT_MATTERS = "stream.non.zero.exit.is.failure"
_NO_NAME = re.compile(r"\W", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cut:
    """How a line becomes a key and what follows it.

    Attributes:
        separator: the byte between fields.
        fields: so many of them are the key; a line with fewer is all key.
        joiner: the byte that stands behind the key from then on (``stream.reduce.input.field.
            separator`` of what a mapper writes).
    """

    separator: int = TAB
    fields: int = 1
    joiner: int = TAB


@dataclass(frozen=True, slots=True)
class ShippedFile:
    """A file that lies in the folder of every task.

    Attributes:
        name: its path there, relative.
        data: what is in it.
        executable: whether it may be run.
    """

    name: str
    data: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    """An executable with its arguments.

    Attributes:
        words: what is run, in the folder of the task.
        typed: what one types in the submitter's folder to run the same; "": the words.
        cut: how the lines it writes are cut.
        environment: variables of its own, beside those that every task has.
        files: what it needs; ``Functions.files`` has those of all programs of a job.
        tolerated: whether it may end with another status than 0.
        source: the shell's text for what it reads, such as ``cat in/* | ./map.sh | LC_ALL=C sort``;
            "": the input itself.
    """

    words: tuple[str, ...]
    typed: str = ""
    cut: Cut = Cut()
    environment: tuple[tuple[str, str], ...] = ()
    files: tuple[ShippedFile, ...] = ()
    source: str = ""
    tolerated: bool = False

    @property
    def __name__(self) -> str:
        """What people call it: the name of the script rather than of what runs it."""
        for word in self.words:
            if any(file.name == word.removeprefix("./") for file in self.files):
                return PurePath(word).name
        return PurePath(self.words[0]).name

    @property
    def text(self) -> str:
        """What one types in a shell."""
        return self.typed or shlex.join(self.words)

    def mentions(self, name: str) -> bool:
        """Whether a script, or one of the words, has this name in it."""
        whole = re.compile(rf"(?<![A-Za-z0-9_]){name}(?![A-Za-z0-9_])")
        texts = [self.text, *(file.data.decode("latin-1") for file in self.files)]
        return any(whole.search(text) for text in texts)


def variable(setting: str) -> str:
    """Name the environment variable of a setting, as Hadoop does: ``a.b-c`` is ``a_b_c``."""
    return _NO_NAME.sub("_", setting)
