"""From what stands behind ``--mapper`` to a program that can travel: found, looked at, read.

What would only fail on a worker, in the words of an operating system, is told here in one sentence.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from mrkernel.errors import JobSpecError
from mrkernel.job.program import Program, ShippedFile

#: What files that travel may have together: they go to every worker and into every task's folder.
MOST_BYTES = 256 << 20
#: How machine code begins, of which the system needs no first line: Linux, macOS (five kinds).
_BINARY = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"MZ")
_OPERATORS = frozenset("|&;<>")
#: Last part of a class name → what does the same here; None: what is done anyway.
_CLASSES: dict[str, str | None] = {
    "IdentityMapper": "cat",
    "IdentityReducer": "cat",
    "KeyFieldBasedPartitioner": None,
    "HashPartitioner": None,
}
_CLASS = re.compile(r"(?:org\.apache\.hadoop\.)(?:\w+\.)*(\w+)")


def defines(file: Path, name: str) -> bool:
    """Whether a Python file has, at its top, something of this name that can be called by us.

    It is read, not run. A function without parameters is none of ours: programs that are run by
    themselves call theirs ``mapper()``, too.
    """
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return False
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name:
            given = node.args
            return bool(given.posonlyargs or given.args or given.vararg)
        if isinstance(node, ast.ClassDef) and node.name == name:
            return True
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            if any((alias.asname or alias.name) in (name, "*") for alias in node.names):
                return True
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(one, ast.Name) and one.id == name for one in targets):
                return True
    return False


def is_script(file: Path) -> bool:
    """Whether a file says in its first line what runs it."""
    with file.open("rb") as opened:
        return opened.read(2) == b"#!"


def of_class(text: str, role: str) -> tuple[bool, str | None]:
    """Say what a Java class's name stands for: (whether it is one, a command or None).

    Raises:
        JobSpecError: there is no such thing here.
    """
    name = _CLASS.fullmatch(text)
    if name is None:
        return False, None
    if name[1] not in _CLASSES:
        raise JobSpecError(
            f"--{role} {text} is a Java class, which only Hadoop can run: name a program"
        )
    return True, _CLASSES[name[1]]


def find_program(text: str, role: str, files: Sequence[str] = ()) -> Program | None:
    """Find what a command names.

    Args:
        text: a command with its arguments, as in a shell; its first word is a file, also one of
            ``files`` by its name alone, or a command of the system.
        role: for messages.
        files: paths given with ``--file``.

    Returns: the program with the files that its words name; None: there is no such command.

    Raises:
        JobSpecError: it is there and cannot be run; says what to do.
    """
    said = f"--{role} {text}"
    if Path(text).is_file():
        words = [text]  # a path with spaces
    else:
        try:
            lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            if any(set(word) <= _OPERATORS for word in lexer if word):
                raise JobSpecError(
                    f"{said}: pipes and redirections are the shell's, and no shell runs it: put "
                    "the line into a script with #!/bin/sh above it, and name that"
                )
            words = shlex.split(text)
        except ValueError as error:
            raise JobSpecError(
                f"{said}: {error}".replace("No closing", "there is no closing")
            ) from None
    if not words:
        return None
    given = {Path(path.partition("#")[0]).name: path.partition("#")[0] for path in files}
    first = words[0]
    shipped: list[ShippedFile] = []
    place = Path(given.get(first.removeprefix("./"), first))
    if not place.is_file():
        if "/" in first or shutil.which(first) is None:
            if "/" in first:
                raise JobSpecError(f"{said}: there is no file {first} in {Path.cwd()}")
            return None
        typed = [first]
    elif _is_installed(place):
        check_runs(place, said)
        typed = [first]
    else:
        check_runs(place, said)
        shipped.append(read_file(place, name_of(place, first)))
        typed = [str(place) if "/" in str(place) else f"./{place}"]
        words[0] = f"./{shipped[0].name}"
    for number, word in enumerate(words[1:], 1):
        path = Path(given.get(word, word))
        if path.is_file() and not _is_installed(path):
            file = read_file(path, name_of(path, word))
            shipped.append(file)
            words[number] = file.name
            typed.append(str(path))
        else:
            typed.append(word)
    return Program(tuple(words), typed=shlex.join(typed), files=tuple(shipped))


def name_of(path: Path, word: str) -> str:
    """Name a file in the folder of tasks: as in the submitter's, if it is below it."""
    if path.is_absolute() or ".." in path.parts:
        return path.name
    return Path(word).as_posix() if Path(word) == path else path.name


def read_file(path: Path, name: str) -> ShippedFile:
    """Read a file that is to travel.

    Raises:
        JobSpecError: it cannot be read, or is too large.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise JobSpecError(
                f"{path} has over {MOST_BYTES >> 20} MB, and goes to every worker: let tasks open "
                "it by its absolute path on a disk that all share"
            )
        return ShippedFile(name, path.read_bytes(), os.access(path, os.X_OK))
    except OSError as error:
        raise JobSpecError(f"{path} cannot be read ({error.strerror})") from error


def check_runs(file: Path, said: str) -> None:
    """See that the system can run a file.

    Args:
        said: how the sentence begins.

    Raises:
        JobSpecError: it cannot; says what to do.
    """
    try:
        with file.open("rb") as opened:
            line = opened.readline(512)
    except OSError as error:
        raise JobSpecError(f"{said}: {file} cannot be read ({error.strerror})") from error
    typed = str(file) if "/" in str(file) else f"./{file}"
    if line[:2] != b"#!" and not line.startswith(_BINARY):
        raise JobSpecError(
            f"{said}: {file} does not say what runs it: make #!/bin/sh (or "
            "#!/usr/bin/env python3 ...) its first line"
        )
    if not os.access(file, os.X_OK):
        raise JobSpecError(f"{said}: {file} may not be run: chmod +x {shlex.quote(str(file))}")
    if line[:2] != b"#!":
        return
    if line.endswith(b"\r\n"):
        raise JobSpecError(
            f"{said}: the lines of {file} end as on Windows, and the system looks for a program "
            f"whose name ends in a carriage return: sed -i 's/\\r$//' {shlex.quote(typed)}"
        )
    words = line[2:].decode("utf-8", "replace").split()
    if not words:
        raise JobSpecError(f"{said}: the first line of {file} names no program: write #!/bin/sh")
    shebang = "#!" + " ".join(words)
    if not os.access(words[0], os.X_OK):
        raise JobSpecError(f"{said}: {file} begins with {shebang}, and there is no {words[0]} here")
    if Path(words[0]).name == "env":
        wanted = next((w for w in words[1:] if not w.startswith("-") and "=" not in w), None)
        if wanted is not None and shutil.which(wanted) is None:
            raise JobSpecError(
                f"{said}: {file} begins with {shebang}, and there is no command {wanted} here"
            )


def _is_installed(path: Path) -> bool:
    """Whether it is a command of the system, which other machines have as well."""
    return path.is_absolute() and shutil.which(path.name) == str(path)
