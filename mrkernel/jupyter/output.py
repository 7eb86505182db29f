"""What user code prints in tasks, on its way into the cell: grouped by task, and capped."""

from __future__ import annotations

import threading

#: Characters of all tasks' output that one job may put into a cell.
CELL_LIMIT = 20_000


class PrintedText:
    """Collects prints from any thread; the cell's own thread takes them.

    It is an engine's ``on_print``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: list[tuple[str, str]] = []
        self._room = CELL_LIMIT
        self._dropped = 0
        self._last = ""

    def __call__(self, task: str, worker: str, text: str, dropped: int) -> None:
        with self._lock:
            kept = text[: self._room]
            self._room -= len(kept)
            self._dropped += dropped + len(text) - len(kept)
            if kept:
                self._pending.append((f"{task} on {worker}", kept))

    def take(self, *, last: bool = False) -> str:
        """Return what came since the last call, each task's under its name.

        Args:
            last: the job is over: say how much was left out.
        """
        with self._lock:
            pending, self._pending = self._pending, []
            dropped = self._dropped if last else 0
        out: list[str] = []
        for origin, text in pending:
            if origin != self._last:
                out.append(f"[{origin}]\n")
                self._last = origin
            out.append(text if text.endswith("\n") else text + "\n")
        if dropped:
            out.append(f"[… {dropped:,} more characters were printed]\n")
        return "".join(out)
