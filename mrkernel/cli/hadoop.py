"""The flags of Hadoop Streaming and Madoop, as people have them in their shell's history."""

from __future__ import annotations

import argparse
import os
from typing import Any

from mrkernel.errors import JobSpecError

#: Flag → option that means the same.
_SAME = {
    **{f"-{name}": name for name in ("mapper", "reducer", "combiner", "partitioner", "output")},
    "-cmdenv": "cmdenv",
    "-file": "file",
    "-cacheFile": "file",
    "-jobconf": "define",
}
_MANY = ("cmdenv", "file", "define")
#: What Hadoop needs to be told and nobody here does: flag → words that follow it.
_NEEDLESS = {"-verbose": 0, "-lazyOutput": 0, "-inputformat": None, "-outputformat": None}
#: What only Hadoop can do: flag → what to do here instead.
_ELSEWHERE = {
    **dict.fromkeys(
        ("-archives", "-cacheArchive"), "nothing is unpacked here: ship files with -file"
    ),
    "-background": "let the shell do that: end the line with &",
    "-libjars": "no Java runs here: leave it out",
    **dict.fromkeys(
        ("-mapdebug", "-reducedebug"), "a failure is told with the line that shows it again"
    ),
    "-inputreader": "see --format: lines, csv, jsonl, parquet, whole, fixed:N",
    "-io": "programs read and write lines here: leave it out",
    **dict.fromkeys(("-fs", "-jt", "-conf"), "say --on HOST:PORT where a manager runs"),
}
_LINES = frozenset({"TextInputFormat", "TextOutputFormat"})


def add_hadoop_spellings(parser: argparse.ArgumentParser) -> None:
    """Let a parser take them, without a word in the help: there are ours for each."""

    def add(*flags: str, dest: str, **how: Any) -> None:
        parser.add_argument(
            *flags, dest=dest, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **how
        )

    for flag, dest in _SAME.items():
        add(flag, dest=dest, action="append" if dest in _MANY else "store")
    add("-input", dest="hadoop_input", action="append")
    add("-files", "--files", dest="hadoop_files", action="append")
    for flag in _ELSEWHERE:
        add(flag, dest=_kept(flag), nargs="?")
    add("-numReduceTasks", "--numReduceTasks", dest="hadoop_reduces")
    for flag, words in _NEEDLESS.items():
        add(flag, dest=f"hadoop_{flag[1:]}", action="store" if words is None else "store_true")


def _kept(flag: str) -> str:
    return f"elsewhere_{flag[1:]}"


def take_hadoop_spellings(arguments: argparse.Namespace, given: dict[str, Any]) -> None:
    """Put what was said with them where it belongs: inputs and options.

    Raises:
        JobSpecError: it asks for what only Hadoop has.
    """
    said = vars(arguments)
    for flag, instead in _ELSEWHERE.items():
        if _kept(flag) in said:
            raise JobSpecError(f"{flag} is Hadoop's: {instead}")
    for text in arguments.inputs:
        if "streaming" in text and text.endswith(".jar"):
            raise JobSpecError(f"{text} is Hadoop's: leave it out, no Java runs here")
    for text in said.get("hadoop_input", ()):
        # A name with a comma may be one file: it is there, then.
        arguments.input += [text] if os.path.exists(text) else text.split(",")  # noqa: PTH110
    for text in said.get("hadoop_files", ()):
        given["file"] = [*given.get("file", ()), *text.split(",")]
    if "hadoop_reduces" in said:
        setting = f"mapreduce.job.reduces={said['hadoop_reduces']}"
        given["define"] = [*given.get("define", ()), setting]
    for name in ("inputformat", "outputformat"):
        java = said.get(f"hadoop_{name}")
        if java is not None and java.rpartition(".")[2] not in _LINES:
            raise JobSpecError(
                f"-{name} {java} is a Java class, which only Hadoop can run: leave it out for "
                "lines of text, or see --format and --output-format"
            )
