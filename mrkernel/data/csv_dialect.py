"""What ``--format csv:...`` says of CSV files: ``csv:sep=|,quote=none,noheader,text``. Pure."""

from __future__ import annotations

import msgspec

from mrkernel.errors import InputError

#: Marks that shells and commas make awkward to write.
_NAMED = {
    "tab": "\t",
    r"\t": "\t",
    "comma": ",",
    "semicolon": ";",
    "pipe": "|",
    "space": " ",
    "colon": ":",
    "double": '"',
    "single": "'",
}
_WORDS = "sep=| (or tab, pipe, semicolon ...), quote=' (or none), noheader and text"


class CsvDialect(msgspec.Struct, frozen=True):
    """How CSV files are written, where that is not seen from their header."""

    delimiter: str = ""  #: "": the one that the header has
    quote: str = '"'  #: "": there is none
    header: bool = True  #: the first record has the names of the columns
    text: bool = False  #: no types are told: all columns are ``str``


def read_dialect(format: str) -> CsvDialect:
    """Read a ``--format`` of CSV files.

    Raises: InputError: it makes no sense; says what there is.
    """
    found = CsvDialect()
    for word in format.partition(":")[2].split(","):
        name, equals, value = word.partition("=")
        if name in ("sep", "quote") and equals:
            none = name == "quote" and value == "none"
            mark = "" if none else _NAMED.get(value, value)
            if not none and (len(mark) != 1 or not mark.isascii() or mark in "\r\n\0"):
                raise InputError(
                    f"--format {format}: {name}={value} is not one ASCII character: write "
                    f"{name}=X, or one of {', '.join(k for k in _NAMED if k.isalpha())}"
                )
            field = "delimiter" if name == "sep" else "quote"
            found = msgspec.structs.replace(found, **{field: mark})
        elif word == "noheader":
            found = msgspec.structs.replace(found, header=False)
        elif word == "text":
            found = msgspec.structs.replace(found, text=True)
        elif word:
            raise InputError(f"--format {format}: there is no {word!r}: csv: takes {_WORDS}")
    if found.delimiter and found.delimiter == found.quote:
        raise InputError(f"--format {format}: sep and quote are one character: choose two")
    return found
