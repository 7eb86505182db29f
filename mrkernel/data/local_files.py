"""The files of this machine that an input names: one, those of a glob, or those of a directory."""

from __future__ import annotations

import difflib
import glob
import os
import re
import stat
from pathlib import Path

from mrkernel.data.found_files import HEAD, Found, check_kind, is_hidden
from mrkernel.errors import InputError


def local_files(given: str | os.PathLike[str], cwd: Path, format: str) -> list[Found]:
    """Find the files that a path, glob or directory names, in order of path.

    Args:
        cwd: where relative paths begin.
        format: as the user gave it.

    Raises: InputError: nothing matches, or a file cannot be read as it is to be.
    """
    text = os.fspath(given)
    if not text.strip():
        raise InputError("an input path is empty: name a file, a glob or a directory", text)
    text = text.removeprefix("file://")
    pattern = os.path.join(cwd, os.path.expanduser(text))  # noqa: PTH118, PTH111 - keeps globs
    pattern = os.path.normpath(pattern)
    if os.path.lexists(pattern):
        paths = [pattern]
    elif glob.has_magic(pattern):
        paths = _globbed(pattern, text)
    else:
        raise _no_match(text, pattern)
    files: list[Found] = []
    for path in paths:
        info = _stat(path)
        if stat.S_ISDIR(info.st_mode):
            if "**" not in text:  # a recursive glob has named the files below as well
                files.extend(_directory(path, format))
        else:
            files.append(_check_readable(path, info, format))
    if not files:
        raise InputError(
            f"{text} holds no files to read (names starting with . or _ are skipped): "
            "name the files",
            text,
        )
    return files


def _globbed(pattern: str, text: str) -> list[str]:
    """Matches of a glob, sorted; hidden ones only where the pattern spells out ``.`` or ``_``."""
    fixed = pattern[: re.search(r"[*?\[]", pattern).start()]  # type: ignore[union-attr]
    from_here = fixed.rfind(os.sep) + 1
    paths = [
        path.rstrip(os.sep)
        for path in sorted(glob.iglob(pattern, recursive=True))  # noqa: PTH207 - absolute patterns
        if not is_hidden(path[from_here:], pattern[from_here:])
    ]
    if not paths:
        raise _no_match(text, pattern)
    return paths


def _directory(path: str, format: str) -> list[Found]:
    try:
        names = sorted(os.listdir(path))  # noqa: PTH208 - names, not paths
    except OSError as error:
        raise InputError(
            f"the directory {path} cannot be read ({error.strerror}): check its permissions", path
        ) from error
    files = []
    for name in names:
        if name.startswith((".", "_")):
            continue
        below = os.path.join(path, name)  # noqa: PTH118 - 10,000 files: half the time of Path
        info = _stat(below)
        if stat.S_ISDIR(info.st_mode):
            raise InputError(
                f"{path} holds a directory, {name}, and directories are not read inside "
                f"directories: write {os.path.join(path, '**')} for all files below, "  # noqa: PTH118
                f"or {os.path.join(path, '*.txt')} for some",  # noqa: PTH118
                below,
            )
        files.append(_check_readable(below, info, format))
    return files


def _stat(path: str) -> os.stat_result:
    try:
        return os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        raise InputError(
            f"{path} is a link to nothing: restore its target or remove it", path
        ) from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}): check its permissions", path
        ) from error


def _check_readable(path: str, info: os.stat_result, format: str) -> Found:
    """Refuse what cannot be read as it is to be; opening it is the only proof that it can."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"the file name {os.fsencode(path)!r} is not UTF-8: rename it", path
        ) from None
    if not stat.S_ISREG(info.st_mode):
        raise InputError(f"{path} is not a regular file: copy what it gives into one", path)
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            head = os.read(handle, HEAD)
        finally:
            os.close(handle)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}): check its permissions", path
        ) from error
    return Found(path, info.st_size, info.st_mtime_ns, check_kind(path, head, format))


def _no_match(text: str, pattern: str) -> InputError:
    """Say what was looked for where, and the nearest thing that is there."""
    folder, wanted = os.path.split(pattern)
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+:/[^/]", text):
        return InputError(
            f"there is no file {text}: write a URL as a text, for a Path takes one of its slashes "
            "away",
            text,
        )
    if "\n" in text or (" " in text and len(text) > 60):
        return InputError(
            f"no file is called {text[:40]!r}…: to read text in memory, pass a list of its lines, "
            "text.splitlines()",
            text,
        )
    while folder and not os.path.isdir(folder) and not glob.has_magic(folder):  # noqa: PTH112
        folder, wanted = os.path.split(folder)
    try:
        there = sorted(n for n in os.listdir(folder) if not n.startswith("."))  # noqa: PTH208
    except OSError:
        there = []
    lowered = {name.lower(): name for name in reversed(there)}
    close = difflib.get_close_matches(wanted.lower(), lowered, n=1, cutoff=0.6)
    if close:
        advice = f"did you mean {text.replace(wanted, lowered[close[0]], 1)}?"
    elif there:
        some = ", ".join(there[:5]) + (", …" if len(there) > 5 else "")
        advice = f"{folder} holds {some}"
    else:
        advice = f"{folder} is empty" if os.path.isdir(folder) else "check the path"  # noqa: PTH112
    said = f"no file matches {text}" if glob.has_magic(text) else f"there is no file {text}"
    at = "" if os.path.isabs(text) else f" in {os.path.split(pattern.removesuffix(text))[0]}"  # noqa: PTH117
    return InputError(f"{said}{at}: {advice}", text)
