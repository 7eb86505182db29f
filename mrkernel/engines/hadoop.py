"""The settings of Hadoop Streaming (``-D name=value``), and what they are here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mrkernel.config import JobOptions, most_skipped
from mrkernel.data.addresses import hidden, is_on_the_web, is_url
from mrkernel.errors import JobSpecError
from mrkernel.job.builtins import is_builtin
from mrkernel.job.commands import MOST_BYTES, find_program, read_file
from mrkernel.job.functions import Functions
from mrkernel.job.program import EXIT_MATTERS, TAB, Cut, Program, ShippedFile, variable
from mrkernel.shuffle.field_partition import FieldPartitioner

#: Old name → name of today.
_RENAMED = {
    "mapred.reduce.tasks": "mapreduce.job.reduces",
    "mapred.job.name": "mapreduce.job.name",
    "mapred.map.max.attempts": "mapreduce.map.maxattempts",
    "mapred.task.timeout": "mapreduce.task.timeout",
    "mapred.textoutputformat.separator": "mapreduce.output.textoutputformat.separator",
    "mapred.text.key.partitioner.options": "mapreduce.partition.keypartitioner.options",
    "mapred.text.key.comparator.options": "mapreduce.partition.keycomparator.options",
    "map.output.key.field.separator": "mapreduce.map.output.key.field.separator",
    "mapred.output.key.comparator.class": "mapreduce.job.output.key.comparator.class",
}
REDUCES = "mapreduce.job.reduces"
_NAME = "mapreduce.job.name"
_ATTEMPTS = "mapreduce.map.maxattempts"
_TIMEOUT = "mapreduce.task.timeout"  #: milliseconds; 0: none
_MAP_SEPARATOR = "stream.map.output.field.separator"
_MAP_FIELDS = "stream.num.map.output.key.fields"
_JOINER = "stream.reduce.input.field.separator"
_REDUCE_SEPARATOR = "stream.reduce.output.field.separator"
_REDUCE_FIELDS = "stream.num.reduce.output.key.fields"
_TEXT_SEPARATOR = "mapreduce.output.textoutputformat.separator"
_KEY_SEPARATOR = "mapreduce.map.output.key.field.separator"
_PARTITION_FIELDS = "num.key.fields.for.partition"
_PARTITION_OPTIONS = "mapreduce.partition.keypartitioner.options"
#: Settings that say in which order keys come: there is one order here, that of their bytes.
_ORDERS = (
    "mapreduce.job.output.key.comparator.class",
    "mapreduce.partition.keycomparator.options",
)
KNOWN = frozenset(
    {REDUCES, _NAME, _ATTEMPTS, _TIMEOUT, EXIT_MATTERS}
    | {_MAP_SEPARATOR, _MAP_FIELDS, _JOINER, _REDUCE_SEPARATOR}
    | {_REDUCE_FIELDS, _TEXT_SEPARATOR, _KEY_SEPARATOR, _PARTITION_FIELDS, _PARTITION_OPTIONS}
)


def settings_of(options: JobOptions) -> dict[str, str]:
    """Read the ``-D name=value`` settings, under their names of today.

    Raises:
        JobSpecError: one is no such thing, or asks for what is not done here.
    """
    settings = {}
    for given in options.define or ():
        name, equals, value = str(given).partition("=")
        if not equals or not name.strip():
            raise JobSpecError(f"-D {given}: write -D name=value")
        name = name.strip()
        settings[_RENAMED.get(name, name)] = value
    for name in _ORDERS:
        if name in settings and settings[name].strip() not in ("", "-k1,1", "-k1"):
            raise JobSpecError(
                f"-D {name}: keys are sorted by their bytes here, and in no other order: write "
                "numbers with leading zeros, or leave the setting out"
            )
    return settings


def applied(options: JobOptions, reducer: Any) -> tuple[JobOptions, Any, tuple[str, ...]]:
    """Do what the settings of a job say about the job itself.

    Returns: the options; the reducer, or "none" where there are to be no reduce tasks; notes.

    Raises:
        JobSpecError: as `settings_of`; or a value is of the wrong kind.
    """
    settings = settings_of(options)
    changes: dict[str, Any] = {}
    if REDUCES in settings and options.reduce_tasks is None:
        count = _number(settings, REDUCES, 0)
        if count:
            changes["reduce_tasks"] = count
        else:
            reducer = "none"
            changes.update(combiner=None, partitioner=None)
    if settings.get(_NAME) and options.name is None:
        changes["name"] = settings[_NAME]
    if _ATTEMPTS in settings:
        changes["attempts"] = _number(settings, _ATTEMPTS, 1)
    if _TIMEOUT in settings and options.timeout is None:
        changes["timeout"] = _number(settings, _TIMEOUT, 0) / 1000 or None
    others = sorted(settings.keys() - KNOWN)
    notes: tuple[str, ...] = ()
    if others:
        are = "is" if len(others) == 1 else "are"
        notes = (f"{', '.join(others)} {are} known to the programs, and to nobody else here",)
    return replace(options, **changes), reducer, notes


def named_programs(mapper: Any, reducer: Any, options: JobOptions) -> tuple[Any, Any, JobOptions]:
    """Find the programs that are given by their commands.

    Returns: mapper, reducer and options; what is no command stays as it is.

    Raises:
        JobSpecError: a program is there and cannot be run.
    """
    given = {
        "mapper": mapper,
        "reducer": reducer,
        "combiner": options.combiner,
        "partitioner": options.partitioner,
    }
    for role, text in given.items():
        ours = role in ("reducer", "combiner") and is_builtin(str(text))
        if isinstance(text, str) and not ours and text not in ("none", "range"):
            given[role] = find_program(text, role, options.file or ()) or text
    found = replace(options, combiner=given["combiner"], partitioner=given["partitioner"])
    return given["mapper"], given["reducer"], found


def with_programs(functions: Functions, options: JobOptions, inputs: Sequence[Any]) -> Functions:
    """Give the programs of a job their settings, and the job its files.

    Raises:
        JobSpecError: they do not go together, or a file cannot be read.
    """
    mapper, reducer = functions.mapper, functions.reducer
    combiner, partitioner = functions.combiner, functions.partitioner
    settings = settings_of(options)
    environment = {variable(name): value for name, value in settings.items()}
    environment |= _environment(options)
    _refuse_what_needs_functions(functions, options)
    if isinstance(combiner, Program) and not isinstance(mapper, Program):
        raise JobSpecError(
            f"the combiner {combiner.__name__} is a program and the mapper is none: what it writes "
            "is lines, which are not the mapper's pairs any more; make both programs, or neither"
        )
    tab = chr(TAB)
    between, fields = _byte(settings, _MAP_SEPARATOR, tab), _number(settings, _MAP_FIELDS, 1)
    text = _byte(settings, _TEXT_SEPARATOR, tab)
    joiner = _byte(settings, _JOINER, tab) if reducer is not None else text
    # What a mapper wrote, as it reads from then on.
    joined = Cut(between, fields, between) if joiner == between else Cut(joiner, 1, joiner)
    written = Cut(
        _byte(settings, _REDUCE_SEPARATOR, tab), _number(settings, _REDUCE_FIELDS, 1), text
    )
    if partitioner is None and isinstance(mapper, Program):
        partitioner = _by_fields(settings, between, fields)
    exit_matters = _truth(settings, EXIT_MATTERS, "true")
    source = ""
    if isinstance(mapper, Program) and (typed := _typed(inputs)):
        source = f"{typed} | {mapper.text} | LC_ALL=C sort"
    files: list[ShippedFile] = []

    def settled(given: Any, cut: Cut, source: str = source) -> Any:
        if not isinstance(given, Program):
            return given
        files.extend(given.files)
        variables = tuple(sorted(environment.items()))
        return replace(
            given, cut=cut, environment=variables, source=source, tolerated=not exit_matters
        )

    return Functions(
        settled(mapper, Cut(between, fields, joiner), ""),
        settled(reducer, written),
        settled(combiner, joined),
        settled(partitioner, joined),
        files=_files(files, options),
    )


def _refuse_what_needs_functions(functions: Functions, options: JobOptions) -> None:
    """Refuse options that look at single records or values, which a program keeps to itself."""
    mapper = isinstance(functions.mapper, Program)
    by_program = {
        "--batch": options.batch and mapper,
        "--on-error skip": most_skipped(options.on_error) > 0 and mapper,
        "--partitioner range": options.partitioner == "range" and mapper,
        "--sort-values": options.sort_values and isinstance(functions.reducer, Program),
    }
    for flag, wrong in by_program.items():
        if wrong:
            instead = "leave it out"
            if flag == "--sort-values":
                instead = (
                    f"make what to sort by a part of the key, -D {_MAP_FIELDS}=2, and deal by the "
                    f"first field, -D {_PARTITION_FIELDS}=1"
                )
            raise JobSpecError(f"{flag} is for functions, and a program reads lines: {instead}")


def _by_fields(settings: Mapping[str, str], between: int, fields: int) -> Any:
    """Make the partitioner that the settings ask for; None: keys go whole."""
    first = fields
    if _PARTITION_FIELDS in settings:
        first = _number(settings, _PARTITION_FIELDS, 1)
    elif _PARTITION_OPTIONS in settings:
        asked = re.fullmatch(r"\s*-k1(?:,(\d+))?\s*", settings[_PARTITION_OPTIONS])
        if asked is None:
            raise JobSpecError(
                f"-D {_PARTITION_OPTIONS}={settings[_PARTITION_OPTIONS]}: write -k1,N, the first N "
                "fields of the key"
            )
        first = int(asked[1] or fields)
    separator = _byte(settings, _KEY_SEPARATOR, chr(between))
    if first >= fields and separator == between:
        return None
    return FieldPartitioner(first, separator)


def _environment(options: JobOptions) -> dict[str, str]:
    named = {}
    for given in options.cmdenv or ():
        name, equals, value = str(given).partition("=")
        if not equals or not name:
            raise JobSpecError(f"--cmdenv {given}: write --cmdenv NAME=VALUE")
        named[name] = value
    return named


def _files(needed: Sequence[ShippedFile], options: JobOptions) -> tuple[ShippedFile, ...]:
    """Gather all files of a job, each name once."""
    files: dict[str, ShippedFile] = {}
    for file in [*needed, *map(_asked_for, options.file or ())]:
        known = files.setdefault(file.name, file)
        if known.data != file.data:
            raise JobSpecError(
                f"two different files are called {file.name}, and both would lie in the folder of "
                "every task: rename one, or say --file PATH#NAME"
            )
    total = sum(len(file.data) for file in files.values())
    if total > MOST_BYTES:
        raise JobSpecError(
            f"the files of the job have {total >> 20} MB together, and go to every worker: the "
            f"limit is {MOST_BYTES >> 20} MB"
        )
    return tuple(files.values())


def _asked_for(given: Any) -> ShippedFile:
    text, _, name = str(given).partition("#")
    path = Path(text.removeprefix("file://"))
    if not path.is_file():
        kind = "is no file" if path.exists() else "is not there"
        raise JobSpecError(f"--file {given}: {path} {kind}")
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise JobSpecError(f"--file {given}: what stands behind # is a name in the task's folder")
    return read_file(path, name or path.name)


def _typed(inputs: Sequence[Any]) -> str:
    """Write what gives the inputs in a shell; "": not all are paths, or of the web."""
    if not all(isinstance(one, (str, Path)) for one in inputs):
        return ""
    words = []
    far = [one for one in map(str, inputs) if is_url(one)]
    if far:
        simple = len(far) == len(inputs) and all(map(is_on_the_web, far))
        return f"curl -sL {' '.join(shlex.quote(hidden(one)) for one in far)}" if simple else ""
    for one in map(str, inputs):
        if "=" in one and not Path(one).exists():
            one = one.partition("=")[2]  # the name of a source stands before it
        quoted = shlex.quote(one.rstrip("/"))
        words.append(f"{quoted}/*" if Path(one).is_dir() else one if "*" in one else quoted)
    return f"cat {' '.join(words)}"


def _byte(settings: Mapping[str, str], name: str, otherwise: str) -> int:
    text = settings.get(name, otherwise).replace("\\t", "\t")
    data = text.encode()
    if len(data) != 1 or data == b"\n":
        raise JobSpecError(f"-D {name}={text}: write a single character, such as , or .")
    return data[0]


def _truth(settings: Mapping[str, str], name: str, otherwise: str) -> bool:
    text = settings.get(name, otherwise).strip().lower()
    if text not in ("true", "false"):
        raise JobSpecError(f"-D {name}={text}: write true or false")
    return text == "true"


def _number(settings: Mapping[str, str], name: str, least: int) -> int:
    text = settings.get(name, "1").strip()
    if not text.isdecimal() or int(text) < least:
        raise JobSpecError(f"-D {name}={text}: write a whole number from {least}")
    return int(text)
