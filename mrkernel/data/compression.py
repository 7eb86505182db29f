"""Compressed input files, read as if they were not.

A file is told by its first bytes, and by its name where these may be any (``whole``, ``fixed``).
None of these formats can be entered in the middle, so a compressed file is one split.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

from mrkernel.data.addresses import plain_name
from mrkernel.errors import InputError


class _Kind(NamedTuple):
    """A way to compress."""

    name: str
    ending: str  #: of file names
    magic: bytes  #: first bytes of files
    open: Callable[[io.RawIOBase], Any]  #: gives the stream of what is in a file


# What opens one is imported by who needs it.
def _gzip(file: io.RawIOBase) -> Any:
    import gzip

    return gzip.GzipFile(fileobj=file, mode="rb")


def _bz2(file: io.RawIOBase) -> Any:
    import bz2

    return bz2.BZ2File(file)


def _xz(file: io.RawIOBase) -> Any:
    import lzma

    return lzma.LZMAFile(file)  # type: ignore[arg-type]


class _StaysOpen(io.RawIOBase):
    """A file that somebody else closes."""

    def __init__(self, file: io.RawIOBase) -> None:
        self.read = file.read  # type: ignore[method-assign]

    def readable(self) -> bool:
        return True


def _zstd(file: io.RawIOBase) -> Any:
    import pyarrow as pa

    # Python has it from 3.14 on. Arrow closes what it is given.
    return pa.CompressedInputStream(pa.PythonFile(_StaysOpen(file), mode="r"), "zstd")


_KINDS = {
    kind.name: kind
    for kind in (
        _Kind("gzip", ".gz", b"\x1f\x8b", _gzip),
        _Kind("bzip2", ".bz2", b"BZh", _bz2),
        _Kind("xz", ".xz", b"\xfd7zXZ\x00", _xz),
        _Kind("zstd", ".zst", b"\x28\xb5\x2f\xfd", _zstd),
    )
}
_ENDINGS = {kind.ending: kind for kind in _KINDS.values()}
#: What follows ``BZh`` and a digit: a first block, or the end of a file that holds nothing.
_BZ2_BLOCKS = (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90")


def unpacked_name(path: str) -> str:
    """The name of a file without the ending that says that it is compressed."""
    path = plain_name(path)
    dot = path.rfind(".")
    return path[:dot] if path[dot:].lower() in _ENDINGS else path


def compression_of(path: str, head: bytes, *, binary: bool = False) -> str:
    """How a file is compressed; "": it is not.

    Args:
        head: its first bytes, ten at least where it has so many; b"": it is empty.
        binary: what it holds may begin with any bytes, so its name has a say.

    Raises: InputError: its name says that it is, and it is not; or not in that way.
    """
    name = plain_name(path)
    named = _ENDINGS.get(name[name.rfind(".") :].lower())
    found = next((kind for kind in _KINDS.values() if _begins(head, kind)), None)
    if not head or (binary and named is None):
        return ""
    if named is not None and found is not named:
        what = f"is compressed with {found.name}" if found else "is not compressed"
        ending = found.ending if found else unpacked_name(path)[path.rfind("/") + 1 :]
        raise InputError(
            f"{path} {what}, though its name ends in {named.ending}: rename it ({ending})", path
        )
    return found.name if found else ""


def _begins(head: bytes, kind: _Kind) -> bool:
    if not head.startswith(kind.magic):
        return False
    # A text may begin with these three letters.
    return kind.name != "bzip2" or head[4:10] in _BZ2_BLOCKS


class Unpacked:
    """What is in a compressed file, to be read from front to back.

    A ``seek`` to where the last read began, or to any place after it, costs nothing; one to before
    it reads all anew.

    Args:
        file: the open file; closed by ``close``.
        compression: as ``compression_of`` told.

    Attributes:
        file: the one that is compressed.
    """

    def __init__(self, file: io.RawIOBase, compression: str, path: str) -> None:
        self.file = file
        self._kind = _KINDS[compression]
        self._path = path
        self._stream: Any = None
        self._held = b""
        self._begin = 0  # where what is held begins
        self._at = 0
        self._taken = 0  # bytes of what is in it
        self._weighed = 0

    def __enter__(self) -> Unpacked:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._stream = None
        self.file.close()

    def seek(self, at: int) -> int:
        """Let the next read begin at byte ``at`` of what is in it."""
        self._at = at
        return at

    def read(self, size: int) -> bytes:
        """Read ``size`` bytes, fewer only at the end; negative: all there are.

        Raises: InputError: the file is damaged.
        """
        if self._at < self._begin:
            self.file.seek(0)
            self._stream, self._held, self._begin, self._taken = None, b"", 0, 0
        while self._begin + len(self._held) < self._at:  # from here on it is passed over
            self._begin += len(self._held)
            self._held = self._more(min(1 << 20, self._at - self._begin))
            if not self._held:
                return b""
        pieces = [self._held[self._at - self._begin :]]
        held = len(pieces[0])
        while size < 0 or held < size:
            piece = self._more(1 << 20 if size < 0 else size - held)
            if not piece:
                break
            pieces.append(piece)
            held += len(piece)
        if not held:
            return b""  # what is held may be asked for once more
        self._begin, self._held = self._at, b"".join(pieces)
        data = self._held if size < 0 else self._held[:size]
        self._at += len(data)
        return data

    def weigh(self) -> int:
        """The compressed bytes that were read since the last call."""
        before, self._weighed = self._weighed, max(self._weighed, self.file.tell())
        return self._weighed - before

    def _more(self, size: int) -> bytes:
        try:
            if self._stream is None:
                self._stream = self._kind.open(self.file)
            data: bytes = self._stream.read(size)
        except (OSError, EOFError, ValueError, zlib.error, _xz_error()) as error:
            # What the system says of a bad disk stands apart from what a decoder says.
            reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
            raise InputError(
                f"{self._path} is a damaged {self._kind.name} file: nothing can be read after "
                f"byte {self._taken:,} of what is in it ({reason}): get it anew",
                self._path,
                self._taken,
            ) from error
        self._taken += len(data)
        return data


def _xz_error() -> type[Exception]:
    import lzma

    return lzma.LZMAError
