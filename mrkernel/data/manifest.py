"""``_SUCCESS``: the manifest of an output, which says that it is whole, and whose it is."""

from __future__ import annotations

import json

import msgspec

MANIFEST = "_SUCCESS"
FORMAT = "mrkernel-output"
VERSION = 1
#: Part files have names as Hadoop's; of formats that readers tell by the ending (pandas, duckdb,
#: Spark), the ending follows, as Spark has it.
PART_ENDINGS = {"text": "", "csv": ".csv", "jsonl": ".jsonl", "parquet": ".parquet"}
#: Formats without columns.
PLAIN = "text"


class Part(msgspec.Struct, frozen=True):
    """One part file, as the manifest lists it."""

    name: str
    records: int
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What ``_SUCCESS`` says."""

    format: str
    version: int
    job: str
    parts: list[Part]
    content: str = PLAIN  #: format of the parts
    columns: list[str] | None = None  #: their names; None: the format has none

    def to_bytes(self) -> bytes:
        """What the file holds."""
        return (json.dumps(msgspec.to_builtins(self), indent=1) + "\n").encode()


def read_manifest(data: bytes) -> Manifest | None:
    """Read what the file holds; None: it is not ours."""
    try:
        found = msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError:
        return None
    return found if found.format == FORMAT else None
