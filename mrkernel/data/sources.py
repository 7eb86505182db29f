"""Named inputs, ``orders=orders/*.csv``: their records say which input they are of."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrkernel.errors import InputError

_NAMED = re.compile(r"([^\W\d]\w*)=(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Named:
    """An input that the user gave a name: a path, or anything in memory."""

    source: str
    given: Any


def named(inputs: Mapping[Any, Any]) -> list[Named]:
    """Make inputs of a dict, name → input, or several of them.

    Raises: InputError: these are no names, or no inputs.
    """
    found = []
    for name, given in inputs.items():
        paths_or_items = isinstance(given, (str, os.PathLike)) or _has_items(given)
        if not (isinstance(name, str) and name and paths_or_items):
            raise InputError(
                "the input is a dict: write {input.items()} for its pairs; a dict of several "
                "inputs has a name for each, such as {'orders': 'orders/*.csv', 'people': frame}"
            )
        several = isinstance(given, (list, tuple)) and any(
            isinstance(each, (str, os.PathLike)) for each in given
        )
        found += [Named(name, each) for each in (given if several else [given])]
    return found


def _has_items(given: Any) -> bool:
    return hasattr(given, "__iter__") or hasattr(given, "__arrow_c_stream__")


def split_names(inputs: Sequence[Any], cwd: Path) -> tuple[list[Any], list[str]]:
    """Take the names off inputs; give both, "" for no name.

    A path that is there as it stands is a path, whatever is in it: ``year=2024/a.csv``.

    Raises: InputError: some have names and others do not.
    """
    found = [_split(given, cwd) for given in inputs]
    names = [each.source for each in found]
    if any(names) and not all(names):
        given = next(each.given for each in found if not each.source)
        shown = given if isinstance(given, (str, os.PathLike)) else f"a {type(given).__name__}"
        raise InputError(
            f"some inputs have a name ({next(filter(None, names))}=) and {shown} has none: a "
            "mapper(source, record) needs one for each, such as orders=orders/*.csv"
        )
    return [each.given for each in found], names


def _split(given: Any, cwd: Path) -> Named:
    if isinstance(given, Named):
        return given
    match = _NAMED.fullmatch(given) if isinstance(given, str) else None
    if match is None:
        return Named("", given)
    if os.path.lexists(cwd / given):
        return Named("", given)
    head = cwd / given.partition("/")[0]  # year=2024/*.csv, a folder as other systems name them
    if "/" in given and os.path.lexists(head):
        return Named("", given)
    return Named(match[1], match[2])
