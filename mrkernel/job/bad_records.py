"""Records that a job went on without (``--on-error skip``). Pure."""

from __future__ import annotations

import msgspec


class BadRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One record that its map task went on without, and why."""

    task: str  #: "map-7"
    index: int  #: of the record in its split, from 0
    file: str  #: path, or the name of an input in memory
    offset: int  #: byte (or item) where it begins
    record: str  #: its repr, shortened
    error: str  #: "ValueError: invalid literal ...", "crashed (SIGSEGV)", "took longer than 5 s"
    traceback: str = ""  #: the user's frames, as text; "" when its runner died
    where: str = ""  #: its place for people: "data/a.txt, byte 1234"
    pickled: bytes = b""
    """(key, record), for ``Job.retry_bad_records``; b"" where it could not be pickled, or is
    read from ``file`` again."""
