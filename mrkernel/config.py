"""The options of a job, in one table.

The fields of ``JobOptions`` are the table: from each one come the flag of the magic and of
``mrkernel submit``, the keyword of ``mrkernel.submit``, the ``MRKERNEL_*`` variable and the line in
the help. No door has an option of its own spelling, and none takes abbreviations.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from mrkernel.errors import JobSpecError

MAGIC, CLI, API = "magic", "cli", "api"
EVERYWHERE = (MAGIC, CLI, API)

#: How input files may be read; "auto": each by its name.
FORMATS = ("auto", "lines", "csv", "csv:...", "jsonl", "parquet", "whole", "fixed:N")
_FORMAT = re.compile(r"auto|lines|csv|csv:.+|jsonl|parquet|whole|fixed:[1-9][0-9]{0,8}", re.DOTALL)


def option(
    help_text: str,
    *,
    default: Any = None,
    flags: tuple[str, ...] = (),
    metavar: str | None = None,
    parse: Callable[[str], Any] = str,
    doors: tuple[str, ...] = EVERYWHERE,
    many: bool = False,
) -> Any:
    """Describe one option.

    Args:
        flags: other spellings than ``--field-name``.
        metavar: None for a switch.
        parse: text to value; raises ValueError with what it should be.
        doors: where it is offered.
        many: it may be given several times; its value is a list.
    """
    details = {
        "help": help_text,
        "flags": flags,
        "metavar": metavar,
        "parse": parse,
        "doors": doors,
        "many": many,
    }
    return field(default=default, metadata=details)


_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def parse_bytes(text: str) -> int:
    """Read a size: ``500000``, ``64M``, ``64 MB``, ``1.5g``.

    Raises:
        ValueError: it is none; says what it should be.
    """
    plain = text.strip().lower().removesuffix("b").removesuffix("i").strip()
    unit = plain[-1:] if plain[-1:] in ("k", "m", "g") else ""
    try:
        size = int(float(plain.removesuffix(unit)) * _UNITS[unit])
    except (ValueError, OverflowError):  # no number, or an infinite one
        size = 0
    if size < 1:
        raise ValueError("a size in bytes, such as 500000, 64M or 1G")
    return size


def parse_count(text: str) -> int:
    """Read a whole number from 1.

    Raises:
        ValueError: it is none.
    """
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 1:
        raise ValueError("a whole number from 1")
    return count


def parse_seconds(text: str) -> float:
    """Read a positive number of seconds.

    Raises:
        ValueError: it is none.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise ValueError("a number of seconds greater than 0")
    return seconds


#: Bad records, at most, that a job goes on without when ``--on-error skip`` says no number.
MOST_SKIPPED = 1000


def parse_on_error(text: str) -> str:
    """Read what to do with a record that fails; give it with its number: "skip:1000".

    Raises:
        ValueError: it is none; says what there is.
    """
    how, colon, number = text.strip().lower().partition(":")
    if how == "fail" and not colon:
        return how
    if how == "skip":
        try:
            return f"skip:{parse_count(number) if colon else MOST_SKIPPED}"
        except ValueError:
            raise ValueError(
                "skip, or skip:N where N, a whole number from 1, is how many may be skipped"
            ) from None
    raise ValueError("fail, skip or skip:N")


def most_skipped(on_error: str) -> int:
    """Give the bad records that a job goes on without, at most; 0: the first one fails it."""
    return int(parse_on_error(on_error).partition(":")[2] or 0)


def parse_format(text: str) -> str:
    """Read the format of input files.

    Raises:
        ValueError: it is none; says what there is.
    """
    kind, colon, rest = text.strip(" ").partition(":")
    plain = kind.lower() + colon + rest  # the rest names characters
    if not _FORMAT.fullmatch(plain):
        raise ValueError(", ".join(FORMATS[:-1]) + f" or {FORMATS[-1]}")
    return plain


def parse_output_format(text: str) -> str:
    """Read the format of output files.

    Raises:
        ValueError: it is none; says what there is.
    """
    plain = text.strip().lower()
    if plain not in ("text", "jsonl", "csv", "parquet"):
        raise ValueError("text, jsonl, csv or parquet")
    return plain


def parse_switch(text: str) -> bool:
    """Read whether a switch is on.

    Raises:
        ValueError: it says neither.
    """
    plain = text.strip().lower()
    if plain in ("1", "true", "yes", "on"):
        return True
    if plain in ("", "0", "false", "no", "off"):
        return False
    raise ValueError("1, true, yes or on; or 0, false, no or off")


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """What a user may say about a job beside its functions and inputs. None: by default."""

    mapper: Any = option(
        "mapper: file.py with a function mapper, or file.py:function; or a program that reads "
        "lines and writes key TAB value: ./map.sh, 'awk -f words.awk'",
        flags=("--map",),
        metavar="F",
        doors=(MAGIC, CLI),
    )
    reducer: Any = option(
        "reducer, like the mapper; or sum count min max mean stats first list set top:N "
        "identity; or none = map only",
        flags=("--reduce",),
        metavar="F",
        doors=(MAGIC, CLI),
    )
    combiner: Any = option(
        "combiner: local reduce of map output, like the reducer; or sum min max first",
        flags=("--combine",),
        metavar="F",
    )
    partitioner: Any = option(
        "partitioner(key, partitions) -> number of the reduce task; or range = parts in order",
        metavar="F",
    )
    reduce_tasks: int | None = option(
        "reduce tasks (default: by input size, from 2 to 2 x slots)",
        metavar="R",
        parse=parse_count,
    )
    split_size: int | None = option(
        "bytes of input per map task, e.g. 16M (default: by size and slots, at most 64 MB)",
        metavar="BYTES",
        parse=parse_bytes,
    )
    sample: int | None = option(
        "the first N records of up to 10 splits, here and now, no cluster; nothing is written",
        metavar="N",
        parse=parse_count,
    )
    format: str = option(
        "of input files: auto (by name), lines, csv, jsonl, parquet, whole (bytes), fixed:N "
        "(records of N bytes); csv:text (all columns str), csv:sep=|,quote=none,noheader; what is "
        "compressed (gz, bz2, xz, zst) is read as if it were not",
        default="auto",
        metavar="FORMAT",
        parse=parse_format,
    )
    encoding: str = option("encoding of text input", default="utf-8", metavar="NAME")
    errors: str = option(
        "what to do with undecodable bytes, as in open(): strict, replace, ignore ...",
        default="strict",
        metavar="HOW",
    )
    batch: bool = option(
        "the mapper takes a table of many records and yields columns of keys and values",
        default=False,
    )
    sort_values: bool = option("sort the values of each group (secondary sort)", default=False)
    output: str | None = option(
        "one sorted file, ending .csv .jsonl .parquet or .txt; or a directory of part-00000 ...; "
        "here, or at a URL (s3:// ...)",
        metavar="PATH",
    )
    output_format: str | None = option(
        "of the part files: text, jsonl, csv or parquet (default: text)",
        metavar="FORMAT",
        parse=parse_output_format,
    )
    columns: Any = option(
        "names of the columns of csv, jsonl and parquet output, e.g. year,min,max",
        metavar="A,B,C",
    )
    overwrite: bool = option(
        "replace the output file, or a directory that mrkernel wrote", default=False
    )
    into: str | None = option("bind the result to NAME", metavar="NAME", doors=(MAGIC,))
    name: str | None = option("name of the job in views", metavar="TEXT")
    background: bool = option(
        "return the Job at once; its view goes on", default=False, doors=(MAGIC,)
    )
    quiet: bool = option("show no live view", default=False, doors=(MAGIC, CLI))
    on: Any = option(
        "where: inline (this process), local, host:port or the name of a manager", metavar="WHERE"
    )
    on_error: str = option(
        "what to do with a record on which the mapper fails: fail = end the job; skip = go on "
        "without it, up to 1,000 times in the job; skip:N = up to N times",
        default="fail",
        metavar="HOW",
        parse=parse_on_error,
    )
    attempts: int = option(
        "tries of a task whose process crashes or times out",
        default=4,
        metavar="N",
        parse=parse_count,
    )
    timeout: float | None = option(
        "seconds a task may go without finishing a record (default: no limit)",
        metavar="S",
        parse=parse_seconds,
    )
    no_backup: bool = option(
        "start no backup attempts of tasks that lag behind or whose worker is suspect",
        default=False,
    )
    slot_memory: int | None = option(
        "bytes one slot may hold before it spills, e.g. 512M (default: by machine)",
        metavar="BYTES",
        parse=parse_bytes,
    )

    file: Any = option(
        "a file that every task finds in its current directory; PATH#NAME: by that name",
        metavar="PATH",
        many=True,
    )
    define: Any = option(
        "a setting of Hadoop Streaming, e.g. stream.num.map.output.key.fields=2",
        flags=("-D",),
        metavar="NAME=VALUE",
        many=True,
    )
    cmdenv: Any = option(
        "an environment variable of the job's programs", metavar="NAME=VALUE", many=True
    )

    @classmethod
    def from_keywords(cls, given: Mapping[str, Any], door: str = API) -> JobOptions:
        """Make options of keyword arguments; what is not given comes from ``MRKERNEL_*``.

        Raises:
            JobSpecError: an unknown name, or a value of the wrong kind.
        """
        known = {f.name: f for f in fields(cls)}
        values: dict[str, Any] = {}
        for name, field_ in known.items():
            text = os.environ.get(f"MRKERNEL_{name.upper()}")
            if text and door in field_.metadata["doors"] and name not in given:
                said = f"MRKERNEL_{name.upper()}={text!r}"
                values[name] = _checked(text, field_.metadata, said)
        for name, value in given.items():
            if name not in known or door not in known[name].metadata["doors"]:
                offered = [n for n, f in known.items() if door in f.metadata["doors"]]
                close = difflib.get_close_matches(name, offered, n=1)
                advice = f"did you mean {close[0]}?" if close else f"there are {', '.join(offered)}"
                raise JobSpecError(f"there is no option {name!r}: {advice}")
            said = f"{name}={value!r}" if door == API else f"--{name.replace('_', '-')} {value}"
            values[name] = _checked(value, known[name].metadata, said)
        return cls(**values)


def _checked(value: Any, details: Mapping[str, Any], said: str) -> Any:
    if value is None:
        return None
    if details["many"]:
        return [value] if isinstance(value, (str, os.PathLike)) else list(value)
    if details["metavar"] is None:
        try:
            return parse_switch(value) if isinstance(value, str) else bool(value)
        except ValueError as error:
            raise JobSpecError(f"{said}: write {error}") from None
    if details["parse"] is str:
        return value
    try:
        return details["parse"](str(value))
    except ValueError as error:
        raise JobSpecError(f"{said}: write {error}") from None


def add_options(parser: argparse.ArgumentParser, door: str) -> None:
    """Give a parser every option that ``door`` offers; unset ones stay out of the namespace."""
    for field_ in fields(JobOptions):
        details = field_.metadata
        if door not in details["doors"]:
            continue
        flags = ["--" + field_.name.replace("_", "-"), *details["flags"]]
        common: dict[str, Any] = {
            "dest": field_.name,
            "help": details["help"],
            "default": argparse.SUPPRESS,
        }
        if details["metavar"] is None:
            parser.add_argument(*flags, action="store_true", **common)
        else:
            common["action"] = "append" if details["many"] else "store"
            parser.add_argument(*flags, metavar=details["metavar"], **common)


def no_such_flag(word: str, parser: argparse.ArgumentParser) -> str:
    """Say that there is no such option, and which one may be meant: what begins so, else alike."""
    known = [flag for action in parser._actions for flag in action.option_strings]
    wanted = word.split("=")[0]
    close = [flag for flag in known if flag.startswith(wanted)] if len(wanted) > 2 else []
    close = close or difflib.get_close_matches(wanted, known, n=1)
    return f"there is no {word}" + (f": did you mean {min(close, key=len)}?" if close else "")
