"""A program's standard input, output and error at once, by one thread that never waits for one.

Whoever writes all and then reads hangs with a program that answers before it has heard everything.
So the three pipes are looked after together: what the program takes is written, what it gives is
read, in whichever order it likes. It need not read to the end of its input, it may close any of the
three, and what it started in the background may hold them for a while, not for ever.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator

Data = bytes | bytearray | memoryview

#: Bytes a pipe should hold: the program works on while we do.
PIPE_BYTES = 1 << 20
#: Lines are handed on when there are so many bytes of them.
PIECE = 1 << 20
#: Seconds that somebody else may hold the output in silence after the program itself has ended.
LINGER_S = 10.0
#: Milliseconds between two looks at whether a silent program still lives.
LOOK_MS = 200

_F_SETPIPE_SZ = 1031
_GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL


class Conversation:
    """What is said to a program and what it answers.

    Args:
        process: with three pipes, which are closed at the end.
        source: what it is to read; asked for more only when the program has taken what came before.
        take: gets its output, whole lines at a time: the last one has a line end, whatever the
            program wrote.
        hear: gets what it writes to its standard error, as it comes.
        stir: called when some of it was taken or given.
        linger_s: see `LINGER_S`.

    Attributes:
        written: bytes that it was given.
        left_behind: whether somebody else held the output after the program had ended.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        source: Iterator[Data],
        take: Callable[[bytearray], None],
        hear: Callable[[bytes], None],
        *,
        stir: Callable[[], None] = lambda: None,
        linger_s: float = LINGER_S,
    ) -> None:
        self.written = 0
        self.left_behind = False
        self._process = process
        self._source = source
        self._take = take
        self._hear = hear
        self._stir = stir
        self._linger_s = linger_s
        self._pending = memoryview(b"")
        self._held = bytearray()
        assert process.stdin and process.stdout and process.stderr
        self._stdin: int | None = process.stdin.fileno()
        self._stdout: int | None = process.stdout.fileno()
        self._stderr: int | None = process.stderr.fileno()
        self._poll = select.poll()
        for descriptor, events in (
            (self._stdin, select.POLLOUT),
            (self._stdout, select.POLLIN),
            (self._stderr, select.POLLIN),
        ):
            os.set_blocking(descriptor, False)
            with contextlib.suppress(OSError):  # not Linux, or over the user's share
                fcntl.fcntl(descriptor, _F_SETPIPE_SZ, PIPE_BYTES)
            self._poll.register(descriptor, events)

    def hold(self) -> int:
        """Talk until the program has ended and all it wrote is read.

        Returns: its exit status; minus the number of a signal.
        """
        silent_since: float | None = None
        while self._stdin is not None or self._stdout is not None or self._stderr is not None:
            self._refill()
            ready = self._poll.poll(LOOK_MS)
            if ready:
                silent_since = None
                for descriptor, events in ready:
                    self._serve(descriptor, events)
                continue
            if self._process.poll() is None:
                continue
            now = time.monotonic()
            silent_since = now if silent_since is None else silent_since
            if now - silent_since >= self._linger_s:
                self.left_behind = True
                break
        self.close()
        if self._held:
            if not self._held.endswith(b"\n"):
                self._held += b"\n"
            self._take(self._held)
        return self._process.wait()

    def close(self) -> None:
        """Close the pipes."""
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _refill(self) -> None:
        """Have something to write, or say that there is no more."""
        while self._stdin is not None and not self._pending:
            data = next(self._source, None)
            if data is None:
                self._close_stdin()
            else:
                self._pending = memoryview(data)

    def _serve(self, descriptor: int, events: int) -> None:
        if descriptor == self._stdin:
            self._write(events)
        elif descriptor == self._stdout:
            data = _read(descriptor)
            if data is None:
                return
            if not data:
                self._poll.unregister(descriptor)
                self._stdout = None
                return
            self._stir()
            self._held += data
            if len(self._held) >= PIECE:
                self._hand_on()
        elif descriptor == self._stderr:
            data = _read(descriptor)
            if data:
                self._stir()
                self._hear(data)
            elif data is not None:
                self._poll.unregister(descriptor)
                self._stderr = None

    def _write(self, events: int) -> None:
        assert self._stdin is not None
        if events & _GONE:  # nobody reads any more, and that is the program's own affair
            self._close_stdin()
            return
        try:
            count = os.write(self._stdin, self._pending[:PIPE_BYTES])
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._close_stdin()
            return
        self._stir()
        self.written += count
        self._pending = self._pending[count:]

    def _close_stdin(self) -> None:
        assert self._stdin is not None
        assert self._process.stdin is not None
        self._poll.unregister(self._stdin)
        self._stdin = None
        self._pending = memoryview(b"")
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def _hand_on(self) -> None:
        """Hand on the lines that are whole."""
        stop = self._held.rfind(b"\n") + 1
        if stop:
            rest = self._held[stop:]
            del self._held[stop:]
            lines, self._held = self._held, rest
            self._take(lines)


def _read(descriptor: int) -> bytes | None:
    """Read what there is; b"": nobody writes any more; None: nothing yet."""
    try:
        return os.read(descriptor, PIPE_BYTES)
    except BlockingIOError:
        return None
