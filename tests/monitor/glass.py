"""A terminal on paper: what a reader would see, and what has scrolled away."""

from __future__ import annotations

import codecs
import fcntl
import os
import re
import select
import struct
import termios
import time
from collections.abc import Callable
from typing import TextIO

_PIECE = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])|\r|\n|[^\x1b\r\n]+")


class Glass:
    """Rows and a cursor; rows too long wrap, and wrap anew when it becomes narrower."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.scrolled: list[str] = []  #: what has left at the top
        self.rows = [""]
        self._row = self._column = 0
        self._rest = ""

    def feed(self, text: str) -> None:
        """Take in what a program wrote; a code that nobody here knows is an error."""
        text, place = self._rest + text, 0
        while place < len(text):
            piece = _PIECE.match(text, place)
            if piece is None or (piece.end() == len(text) and piece[0].startswith("\x1b")):
                assert "\x1b" not in text[place + 1 :], f"unknown: {text[place : place + 20]!r}"
                if piece is None:
                    break
            self._take(piece)
            place = piece.end()
        self._rest = text[place:]

    def resize(self, width: int, height: int) -> None:
        """As most terminals do it: the text before the cursor stays before the cursor."""
        before, self._row = self.rows, 0
        self.width, self.height, self.rows = width, height, []
        for row in before:
            self.rows += [row[n : n + width] for n in range(0, len(row) or 1, width)]
        self._row, self._column = len(self.rows) - 1, len(self.rows[-1])
        self._scroll()

    @property
    def text(self) -> str:
        """What stands there."""
        return "\n".join(row.rstrip() for row in self.rows).rstrip()

    @property
    def everything(self) -> str:
        """What a reader finds who scrolls back."""
        return "\n".join([*(row.rstrip() for row in self.scrolled), self.text])

    def _take(self, piece: re.Match[str]) -> None:
        if piece[0] == "\r":
            self._column = 0
        elif piece[0] == "\n":
            self._down()
        elif piece[3] is None:
            for sign in piece[0]:
                self._put(sign)
        elif piece[1]:
            assert piece[2] in ("2026", "2004", "1", "12", "25"), piece[0]
        elif piece[3] == "A":
            self._row = max(0, self._row - int(piece[2] or 1))
        elif piece[3] in "JK":
            assert piece[2] in ("", "0"), piece[0]
            self.rows[self._row] = self.rows[self._row][: self._column]
            if piece[3] == "J":
                del self.rows[self._row + 1 :]
        else:
            assert piece[3] == "m", piece[0]

    def _put(self, sign: str) -> None:
        if self._column == self.width:
            self._column = 0
            self._down()
        row = self.rows[self._row].ljust(self._column)
        self.rows[self._row] = row[: self._column] + sign + row[self._column + 1 :]
        self._column += 1

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self.rows):
            self.rows.append("")
        self._scroll()

    def _scroll(self) -> None:
        while len(self.rows) > self.height:
            self.scrolled.append(self.rows.pop(0))
            self._row = max(0, self._row - 1)


class Terminal:
    """A pseudo-terminal with somebody who looks at it.

    Attributes:
        glass: what is seen.
        raw: all that was written.
        file: to be written to, for programs inside this process.
    """

    def __init__(self, width: int = 80, height: int = 24, *, encoding: str = "utf-8") -> None:
        self.ours, self.theirs = os.openpty()
        self.glass = Glass(width, height)
        self.raw = ""
        self._unseen = ""
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._set_size(width, height)
        self.file: TextIO = os.fdopen(os.dup(self.theirs), "w", encoding=encoding)

    def resize(self, width: int, height: int) -> None:
        self.look()
        self.glass.resize(width, height)
        self._set_size(width, height)

    def look(self) -> str:
        """What is seen now."""
        while select.select([self.ours], [], [], 0)[0] and self._read():
            pass
        return self.glass.text

    def until(self, wanted: Callable[[str], bool], timeout: float = 60.0) -> str:
        """Wait until what is seen is as wanted."""
        end = time.monotonic() + timeout
        while not wanted(self.look()):
            if time.monotonic() > end:
                raise AssertionError(f"not seen in {timeout} s:\n{self.glass.everything}")
            select.select([self.ours], [], [], 0.1)
        return self.glass.text

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def close(self) -> None:
        self.file.close()
        os.close(self.theirs)
        os.close(self.ours)

    def _read(self) -> bool:
        try:
            data = os.read(self.ours, 1 << 16)
        except OSError:
            return False
        text = self._decoder.decode(data)
        self.raw += text
        self._unseen += text
        # What is to be shown at once is shown when it is whole.
        begun, over = (self._unseen.rfind(f"\x1b[?2026{end}") for end in "hl")
        whole = begun if begun > over else len(self._unseen)
        self.glass.feed(self._unseen[:whole])
        self._unseen = self._unseen[whole:]
        return bool(data)

    def _set_size(self, width: int, height: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
