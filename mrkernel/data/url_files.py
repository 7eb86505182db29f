"""A file at a URL, read like one of this machine.

It is asked for in blocks that grow with what is read in a row, and the next one comes while the
last is worked on. What fails on the way is tried again; after that it is for the job to say who
else tries. A split's reader is the only one who reads its file, and mostly forwards: a place after
the one where the last read began costs nothing.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from mrkernel.data.addresses import address_of
from mrkernel.data.file_systems import is_web, reach, refusal
from mrkernel.data.splits import FileSplit, ParquetSplit
from mrkernel.errors import InputError, InputUnreachableError, JobSpecError

#: Bytes asked for at once, at most, where more will be read.
AHEAD = 4 << 20
#: Read past the end of a split, to finish its last record, without asking once more (bytes).
_PAST = 64 << 10
#: The least that is asked for of a file which is read here and there (bytes).
_SCATTERED = 64 << 10
#: Seconds to wait before each further try.
PAUSES_S = (0.2, 1.0)
#: What file systems call that which changes with a file; the first that is there counts.
_VERSIONS = (
    *("ETag", "etag", "e_tag", "generation", "md5Hash", "checksum", "sha", "blob_id", "CRC"),
    *("mtime", "LastModified", "Last-Modified", "last_modified", "updated", "modified"),
    *("modificationTime", "modify", "date_time", "created"),
)

_T = TypeVar("_T")


class State(NamedTuple):
    """What tells one state of a file from another."""

    size: int | None  #: bytes; None: nobody knows
    version: str  #: "": nothing changes with it

    @classmethod
    def of(cls, info: dict[str, Any]) -> State:
        """Read what a file system said of a file."""
        found = next((info[name] for name in _VERSIONS if info.get(name)), "")
        if isinstance(found, datetime):  # which a listing may have in seconds
            found = found.timestamp()
        size = info.get("size")
        return cls(None if size is None else int(size), str(found))


def open_to_read(fs: Any, path: str, size: int | None, *, streamed: bool) -> Any:
    """Open a file so that nothing is fetched but what is read.

    Args:
        size: in bytes; None: not known.
        streamed: it will be read from front to back.
    """
    if is_web(fs):
        # With a size it does not ask once more for it.
        return fs.open(
            path, "rb", size=size or 1, block_size=0 if streamed else AHEAD, cache_type="none"
        )
    return fs.open(path, "rb", cache_type="none")


class UrlFile(io.RawIOBase):
    """The file of a split.

    Raises: InputError: there is no such file system, or its package is missing here.
    """

    def __init__(self, split: FileSplit | ParquetSplit) -> None:
        self._path = split.path
        self._file: Any = None
        self._file_at = 0
        self._held = b""
        self._begin = 0  # where what is held begins
        self._at = 0
        self._next = -1  # where the last fetch ended
        self._window = 0
        self._fetches = 0
        self._ahead: tuple[int, Future[bytes]] | None = None
        self._fetcher: ThreadPoolExecutor | None = None
        self._size: int | None = None
        self._streamed = isinstance(split, FileSplit) and split.streamed
        self._scattered = isinstance(split, ParquetSplit) or split.format == "parquet"
        self._stop = 0 if isinstance(split, ParquetSplit) else split.stop
        try:
            self._fs, self._name = reach(address_of(split.path))
        except JobSpecError as error:
            raise InputError(str(error), split.path) from error.__cause__

    def state(self) -> State | None:
        """Ask what the file is like now; None: all of it came at once, after the last answer.

        Raises: InputError: it is gone or cannot be reached.
        """
        if self._size is not None and self._fetches == 1:
            return None
        found = self._tried(self._look)
        self._size = None if self._streamed and not found.size else found.size
        return found

    def _look(self) -> State:
        self._fs.invalidate_cache()
        return State.of(self._fs.info(self._name))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, at: int, whence: int = io.SEEK_SET) -> int:
        """Let the next read begin at byte ``at``."""
        if whence == io.SEEK_END:
            assert self._size is not None
            at += self._size
        elif whence == io.SEEK_CUR:
            at += self._at
        self._at = at
        return at

    def read(self, size: int = -1) -> bytes:
        """Read ``size`` bytes, fewer only at the end; negative: all there are.

        Raises: InputError: it cannot be read.
        """
        first = self._at - self._begin
        if first >= 0 and 0 <= size <= len(self._held) - first:
            self._at += size
            return self._held[first : first + size]
        if not 0 <= first <= len(self._held):
            self._held, first = b"", 0
        pieces = [self._held[first:]]
        have = len(pieces[0])
        while size < 0 or have < size:
            piece = self._take(self._at + have, AHEAD if size < 0 else size - have)
            if not piece:
                break
            pieces.append(piece)
            have += len(piece)
        self._begin, self._held = self._at, b"".join(pieces)
        data = self._held if size < 0 or have <= size else self._held[:size]
        self._at += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Let go of the file; what is on its way is not waited for."""
        if self._fetcher is not None:
            fetcher, self._fetcher = self._fetcher, None
            fetcher.submit(self._let_go)
            fetcher.shutdown(wait=False)
        else:
            self._let_go()
        super().close()

    def _let_go(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(Exception):  # the way there may be what failed
                file.close()

    # --- fetching ---------------------------------------------------------------------------------

    def _take(self, at: int, wanted: int) -> bytes:
        """Give bytes from ``at`` on; none: the file ends there."""
        data = None
        if self._ahead is not None:
            (place, coming), self._ahead = self._ahead, None
            if place == at:
                data = coming.result()
            else:
                coming.exception()  # no two fetches of a file at once
        in_a_row = at == self._next
        if data is None:
            data = self._fetch(at, self._length(at, wanted, in_a_row))
        self._next = at + len(data)
        if in_a_row and data and self._next < self._last() and not self._scattered:
            if self._fetcher is None:
                self._fetcher = ThreadPoolExecutor(1, "mrkernel-ahead")
            length = self._length(self._next, 1, True)
            self._ahead = self._next, self._fetcher.submit(self._fetch, self._next, length)
        return data

    def _last(self) -> int:
        """Where reading ends, as far as is known."""
        return self._stop if self._size is None else min(self._stop, self._size)

    def _length(self, at: int, wanted: int, in_a_row: bool) -> int:
        """How much to ask for: twice the last time, and not what nobody will want."""
        if self._scattered:
            length = max(wanted, _SCATTERED)
        else:
            self._window = min(AHEAD, 2 * self._window) if in_a_row else wanted
            length = max(wanted, min(self._window, self._stop + _PAST - at))
        return length if self._size is None else max(0, min(length, self._size - at))

    def _fetch(self, at: int, size: int) -> bytes:
        if not size:
            return b""
        self._fetches += 1
        return self._tried(lambda: self._read_at(at, size))

    def _read_at(self, at: int, size: int) -> bytes:
        if self._file is None or (self._streamed and at < self._file_at):
            self._let_go()
            self._file = open_to_read(self._fs, self._name, self._size, streamed=self._streamed)
            self._file_at = 0
        if not self._streamed:
            self._file.seek(at)
        while self._streamed and self._file_at < at:
            self._more(min(AHEAD, at - self._file_at))
        self._file_at = at
        pieces = []
        left = size
        while left and (piece := self._more(left)):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def _more(self, size: int) -> bytes:
        piece: bytes = self._file.read(size)
        self._file_at += len(piece)
        if not piece and self._size is not None and self._file_at < self._size:
            raise ConnectionError(f"it ended at byte {self._file_at:,} of {self._size:,}")
        return piece

    def _tried(self, what: Callable[[], _T]) -> _T:
        """Do something, and once more where that may help."""
        for pause in (*PAUSES_S, None):
            try:
                return what()
            except Exception as error:  # noqa: BLE001 - each file system has its own
                self._let_go()
                refused = refusal(error, self._path, began=True)
                if pause is None or not isinstance(refused, InputUnreachableError):
                    raise refused from None
                time.sleep(pause)
        raise AssertionError
