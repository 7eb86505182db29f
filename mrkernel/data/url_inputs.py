"""The files that an input URL names: one, those that match a glob, or those of a directory."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from mrkernel.data.addresses import address_of, hidden, is_url, keep
from mrkernel.data.file_systems import is_web, reach, refusal
from mrkernel.data.found_files import HEAD, Found, check_kind, is_hidden
from mrkernel.data.url_files import State, open_to_read
from mrkernel.errors import InputError, JobSpecError

#: Files that are asked about at once: it takes far longer to wait for answers than to read them.
_AT_ONCE = 16
_MAGIC = re.compile(r"[*?\[]")
_WEB_MAGIC = re.compile(r"(?<=[^/])/[^?#]*?([*\[])")  # not of a host or a query

_T = TypeVar("_T")
_U = TypeVar("_U")
_Rows = dict[str, dict[str, Any]]  # what a file system says of each file


def url_files(url: str, format: str, kept: dict[str, str]) -> list[Found]:
    """Find the files that a URL names, in order of path.

    Args:
        format: as the user gave it.
        kept: where the secrets of URLs are noted, as ``addresses.keep`` does.

    Raises: InputError: nothing matches, or it cannot be reached or read; or a package is missing.
    """
    said = hidden(url)
    try:
        fs, path = reach(url)
    except JobSpecError as error:
        too = " (and so on every machine with workers)" if error.__cause__ is not None else ""
        raise InputError(f"{error}{too}", said) from error.__cause__
    try:
        fs.invalidate_cache()
        rows = _rows(fs, path, said)
    except Exception as error:  # noqa: BLE001 - each file system has its own
        type(fs).clear_instance_cache()  # what it knows of credentials may be what is wrong
        raise refusal(error, said) from None
    if not rows:
        raise InputError(
            f"{said} holds no files to read (names starting with . or _ are skipped): name the "
            "files",
            said,
        )
    given = [(name, row, keep(_link(fs, path, url, name), kept)) for name, row in rows.items()]
    return each(partial(_found, fs, format), given, at_once=fs.async_impl)


def each(do: Callable[[_T], _U], items: Iterable[_T], *, at_once: bool = True) -> list[_U]:
    """Do something with each item, many at once where there is waiting to be done."""
    items = list(items)
    if not at_once or len(items) < 2:
        return list(map(do, items))
    with ThreadPoolExecutor(min(_AT_ONCE, len(items))) as threads:
        return list(threads.map(do, items))


def may_be_asked_at_once(path: str) -> bool:
    """Whether a file is where many may be asked for at once."""
    return is_url(path) and bool(reach(address_of(path))[0].async_impl)


# --- which files ----------------------------------------------------------------------------------


def _rows(fs: Any, path: str, said: str) -> _Rows:
    web = is_web(fs)
    magic = (_WEB_MAGIC if web else _MAGIC).search(path)
    if magic is None:
        return _one(fs, path, said)
    found: _Rows = fs.glob(path, detail=True)
    folder = path.rfind("/", 0, magic.end() - 1) + 1
    shown = {
        name: row
        for name, row in found.items()
        if not is_hidden(name[folder:], path[folder:]) and not (web and _is_odd(name))
    }
    if not shown:
        if fs.exists(path):
            return _one(fs, path, said)
        raise _no_match(fs, path, said)
    rows: _Rows = {}
    for name in sorted(shown):
        if shown[name].get("type") != "directory":
            rows[name] = shown[name]
        elif "**" not in path:  # a recursive glob has named the files below as well
            rows |= _directory(fs, name, said)
    return rows


def _one(fs: Any, path: str, said: str) -> _Rows:
    """A file, or what is in a directory; on the web only what ends in a / may be one."""
    if is_web(fs):
        return _directory(fs, path, said) if path.endswith("/") else {path: {}}
    try:
        row = fs.info(path)
    except FileNotFoundError:
        raise _no_match(fs, path, said) from None
    return _directory(fs, path, said) if row.get("type") == "directory" else {path: row}


def _directory(fs: Any, path: str, said: str) -> _Rows:
    rows: _Rows = {}
    folder = path.rstrip("/") + "/"
    for row in sorted(fs.ls(path, detail=True), key=lambda row: str(row["name"])):
        below = row["name"].removeprefix(folder)
        if is_web(fs) and ("/" in below.rstrip("/") or _is_odd(below)):
            continue
        if not below.strip("/") or below.startswith((".", "_")) or row["name"] == path:
            continue
        if row.get("type") == "directory":
            here = said.rstrip("/")
            raise InputError(
                f"{said} holds a directory, {below.rstrip('/')}, and directories are not read "
                f"inside directories: write {here}/** for all files below, or {here}/*.txt for "
                "some",
                said,
            )
        rows[row["name"]] = row
    return rows


def _is_odd(link: str) -> bool:
    """Whether a link of a page is none to a file: to the page itself in another order, say."""
    return "?" in link or "#" in link


def _no_match(fs: Any, path: str, said: str) -> InputError:
    """Say the nearest thing that is there."""
    folder, _, wanted = path.rpartition("/")
    try:
        below = fs.ls(f"{folder}/" if is_web(fs) else folder, detail=False)
        names = sorted(str(name).rpartition("/")[2] for name in below if not _is_odd(str(name)))
    except Exception:  # noqa: BLE001 - it is only for the advice
        names = []
    there = [name for name in names if name and not name.startswith(".")]
    close = difflib.get_close_matches(wanted, there, n=1, cutoff=0.6)
    if close:
        advice = f"did you mean {close[0]}?"
    elif there:
        advice = f"there are {', '.join(there[:5])}" + (", …" if len(there) > 5 else "")
    else:
        advice = "check the address"
    matched = "no file matches" if _MAGIC.search(said) else "there is no file"
    return InputError(f"{matched} {said}: {advice}", said)


def _link(fs: Any, root: str, url: str, name: str) -> str:
    """The URL of a file, made like the one that it was found by: with its host and its user."""
    if name == root:
        return url
    first, chain, rest = url.partition("::")
    if not root.endswith("/"):
        first = first.rstrip("/")
    same = 0  # what the end of the URL and of its path have in common
    while same < min(len(first), len(root)) and first[-1 - same] == root[-1 - same]:
        same += 1
    if same and name.startswith(root[: len(root) - same]):
        return first[: len(first) - same] + name[len(root) - same :] + chain + rest
    link: str = fs.unstrip_protocol(name)
    return link + chain + rest


# --- what they are --------------------------------------------------------------------------------


def _found(fs: Any, format: str, given: tuple[str, dict[str, Any], str]) -> Found:
    name, row, shown = given
    try:
        if row.get("size") is None:
            row = fs.info(name)
        state = State.of(row)
        streamed = state.size is None or row.get("partial") is False
        head = b""
        if state.size != 0:
            with open_to_read(fs, name, state.size, streamed=streamed) as file:
                head = _head(file)
        if is_web(fs) and not streamed and state.size:
            streamed = not _gives_places(fs, name, state.size)
    except Exception as error:  # noqa: BLE001 - each file system has its own
        raise refusal(error, shown) from None
    compression = check_kind(shown, head, format)
    return Found(shown, state.size or 0, 0, compression, state.version, streamed)


def _head(file: Any) -> bytes:
    head = b""
    while len(head) < HEAD and (more := file.read(HEAD - len(head))):
        head += more
    return head


def _gives_places(fs: Any, name: str, size: int) -> bool:
    """Whether a web server gives a part of a file from the middle."""
    with open_to_read(fs, name, size, streamed=False) as file:
        file.seek(size - 1)
        try:
            file.read(1)
        except ValueError:
            return False
        return True
