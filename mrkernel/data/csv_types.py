"""What the texts of a CSV column mean: its type, told from a sample, and its values. Pure.

Types are ``int`` (of any size), ``float``, ``bool`` (true and false, not 0 and 1) and ``str``; the
first of these that all texts of the sample fit. Texts that mean "missing", the ones that pandas
knows, fit any type and become None, except in a ``str`` column, where every text stays as it is.
Spaces around numbers do not count, nor do zeros before them. The spellings are those that Arrow
reads, so that it makes no difference who does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

#: Texts for a missing value.
NULLS = (
    "",
    "#N/A",
    "#N/A N/A",
    "#NA",
    "-1.#IND",
    "-1.#QNAN",
    "-NaN",
    "-nan",
    "1.#IND",
    "1.#QNAN",
    "<NA>",
    "N/A",
    "NA",
    "NULL",
    "NaN",
    "None",
    "n/a",
    "nan",
    "null",
)
TRUE = ("true", "True", "TRUE")
FALSE = ("false", "False", "FALSE")

_NULLS = frozenset(NULLS)
_BOOLS = dict.fromkeys(TRUE, True) | dict.fromkeys(FALSE, False)
#: Python reads no longer ones, because its time grows with their square.
_DIGITS = "[0-9]{1,4300}"
_PATTERNS = {
    "int": rf"[ \t]*[-+]?{_DIGITS}[ \t]*",
    "float": (
        r"[ \t]*[-+]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
        r"|[iI][nN][fF](?:[iI][nN][iI][tT][yY])?|[nN][aA][nN])[ \t]*"
    ),
}
_ONE = {kind: re.compile(pattern, re.ASCII) for kind, pattern in _PATTERNS.items()}
_ALL = {kind: re.compile(rf"(?:{text}\n)*", re.ASCII) for kind, text in _PATTERNS.items()}
_MAKE: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "bool": _BOOLS.__getitem__}


class MisfitError(Exception):
    """A text that does not fit the type of its column; ``index`` says which."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


def type_of(texts: Sequence[str]) -> str:
    """Name the type that all texts of a sample fit; "str" where all are missing."""
    said = [text for text in texts if text not in _NULLS]
    if not said:
        return "str"
    for kind in ("int", "float"):
        if _all_fit(said, kind):
            return kind
    return "bool" if all(map(_BOOLS.__contains__, said)) else "str"


def values_of(texts: Sequence[str], kind: str) -> Sequence[Any]:
    """Make the values of a column.

    Raises: MisfitError: one does not fit.
    """
    if kind == "str":
        return texts
    make = _MAKE[kind]
    if kind in _ALL and _all_fit(texts, kind) and _NULLS.isdisjoint(texts):
        return list(map(make, texts))
    fits = _BOOLS.__contains__ if kind == "bool" else _ONE[kind].fullmatch
    values: list[Any] = []
    for index, text in enumerate(texts):
        if text in _NULLS:
            values.append(None)
        elif fits(text):
            values.append(make(text))
        else:
            raise MisfitError(index)
    return values


def _all_fit(texts: Sequence[str], kind: str) -> bool:
    text = "\n".join(texts) + "\n"
    return text.count("\n") == len(texts) and _ALL[kind].fullmatch(text) is not None
