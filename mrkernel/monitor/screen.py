"""The end of a terminal, drawn anew in place. rich is imported only where one is made.

Below the picture the cursor waits at the beginning of an empty line. Lines that stay as they were
are not written again; nothing is erased before it is drawn; a frame is one write, which terminals
that can show it all at once. So nothing flickers, and little travels to a terminal far away.

What is printed meanwhile, by whatever thread, is held back and stands above the picture with the
next frame: a thousand prints a second cost no more frames than none.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Signs for a terminal that has none of ours.
_PLAIN = str.maketrans("━╍─█▊▓▒░╱✗►·●◐○✓▶■→–…×", "#=-#|%=:/x>.*oo+>#>-.x")

#: Control codes, and characters that move the cursor. A line's own tabs stay.
_CODES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.")
_MOVES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

#: Ask the terminal to show what is between them at once; those that cannot pass them over.
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
_ERASE_BELOW, _ERASE_REST = "\x1b[J", "\x1b[K"


def is_live(file: TextIO) -> bool:
    """Whether pictures can be drawn there: a terminal, and one that can move its cursor."""
    return file.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


class Screen:
    """A picture at the end of a terminal; a context manager, during which prints go above it.

    Args:
        file: the terminal.
    """

    def __init__(self, file: TextIO) -> None:
        from rich.console import Console

        self._file = file
        self._console = Console(file=file)
        self._utf8 = (file.encoding or "").lower().replace("-", "") == "utf8"
        self._lines: list[str] = []  #: as they stand there
        self._width, self._height = self._size()
        self._above = _Above(file)
        self._replaced: dict[str, TextIO] = {}

    @property
    def height(self) -> int:
        """Lines that a picture may have now."""
        return max(1, self._size()[1] - 1)

    def show(self, picture: RenderableType) -> None:
        """Draw a picture in the place of the last."""
        from rich.console import ConsoleDimensions

        width, height = self._size()
        self._console.size = ConsoleDimensions(width, height)
        lines = self._drawn(picture, width)[: max(1, height - 1)]
        above = self._above.take()
        if above or (width, height) != (self._width, self._height):
            out = f"{self._back(self._rows(width, height))}{_ERASE_BELOW}{above}"
            out += "".join(f"{line}\n" for line in lines)
        elif lines == self._lines:
            return
        else:
            out = self._changed(lines)
        self._lines, self._width, self._height = lines, width, height
        self._write(out)

    def close(self) -> None:
        """Leave what stands there; what is printed from now on stands below."""
        for name, stream in self._replaced.items():
            setattr(sys, name, stream)
        self._replaced = {}
        if rest := self._above.take(last=True):
            self._write(rest)

    def __enter__(self) -> Screen:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            # What goes into a file or a pipe is not seen here.
            if stream is not None and stream.isatty():
                self._replaced[name] = stream
                setattr(sys, name, self._above)
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _drawn(self, picture: RenderableType, width: int) -> list[str]:
        # The last column stays empty: behind a character there some terminals wrap, some do not.
        with self._console.capture() as captured:
            self._console.print(picture, width=max(1, width - 1), end="")
        text = captured.get().removesuffix("\n")
        return [line.rstrip() for line in text.split("\n")] if text else []

    def _size(self) -> tuple[int, int]:
        """Columns and lines, now: rich would believe COLUMNS, which stays as it is at a resize."""
        try:
            width, height = os.get_terminal_size(self._file.fileno())
        except (OSError, ValueError):
            width, height = 0, 0
        return width or 80, height or 24

    def _changed(self, lines: list[str]) -> str:
        """From the lines that stand there to these."""
        out = [self._back(len(self._lines))]
        for line, before in zip(lines, [*self._lines, *[None] * len(lines)], strict=False):
            out.append("\n" if line == before else f"{line}{_ERASE_REST}\n")
        if len(lines) < len(self._lines):
            out.append(_ERASE_BELOW)
        return "".join(out)

    def _rows(self, width: int, height: int) -> int:
        """How many rows our lines take in a terminal of this size, the cursor's not among them.

        Terminals wrap anew what was wider than they have become.
        """
        if width >= self._width:
            return len(self._lines)
        from rich.cells import cell_len

        rows = sum(max(1, -(-cell_len(_CODES.sub("", line)) // width)) for line in self._lines)
        return min(rows, height - 1)

    @staticmethod
    def _back(rows: int) -> str:
        return f"\r\x1b[{rows}A" if rows else "\r"

    def _write(self, text: str) -> None:
        if not self._utf8:
            text = text.translate(_PLAIN)
            encoding = self._file.encoding or "ascii"
            text = text.encode(encoding, "replace").decode(encoding)
        self._file.write(f"{_BEGIN}{text}{_END}")
        self._file.flush()


class _Above:
    """Stands for ``sys.stdout`` and ``sys.stderr``: whole lines wait for the next frame."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._text: list[str] = []

    def write(self, text: str) -> int:
        with self._lock:
            self._text.append(text)
        return len(text)

    def flush(self) -> None:
        """Nothing is written here."""

    def take(self, *, last: bool = False) -> str:
        """The whole lines that came since the last call; at last the unfinished one as well."""
        with self._lock:
            text = "".join(self._text)
            if last and text and not text.endswith("\n"):
                text += "\n"
            whole, rest = text[: (cut := text.rfind("\n") + 1)], text[cut:]
            self._text = [rest] if rest else []
        return _MOVES.sub("", _CODES.sub("", whole.replace("\r\n", "\n").replace("\r", "\n")))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
