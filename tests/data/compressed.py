"""Files compressed in every way there is, by what the machine has."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable

import pyarrow as pa


def _zstd(data: bytes) -> bytes:
    packed: bytes = pa.compress(data, codec="zstd", asbytes=True)
    return packed


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": _zstd,
}


def in_pieces(data: bytes, compress: Callable[[bytes], bytes], piece: int) -> bytes:
    """Compressed piece by piece, one after the other, as ``cat a.gz b.gz`` and pigz do."""
    return b"".join(compress(data[at : at + piece]) for at in range(0, max(1, len(data)), piece))
