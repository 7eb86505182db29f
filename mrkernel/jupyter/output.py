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
        self._texts: dict[str, str] = {}  #: task and worker → what was not taken yet
        self._room = CELL_LIMIT
        self._dropped = 0
        self._last = ""

    def __call__(self, task: str, worker: str, text: str, dropped: int) -> None:
        with self._lock:
            kept = text[: self._room]
            self._room -= len(kept)
            self._dropped += dropped + len(text) - len(kept)
            if kept:
                origin = f"{task} on {worker}"
                self._texts[origin] = self._texts.get(origin, "") + kept

    def take(self, *, last: bool = False) -> str:
        """Return the lines that came since the last call, each task's together under its name.

        Args:
            last: the job is over: nothing will complete an unfinished line, and it is time to say
                how much was left out.
        """
        with self._lock:
            texts, self._texts = self._texts, {}
            dropped = self._dropped if last else 0
            if not last:
                # A task's output comes in pieces that end anywhere: the rest of a line follows.
                for origin, text in texts.items():
                    texts[origin], rest = text[: (cut := text.rfind("\n") + 1)], text[cut:]
                    if rest:
                        self._texts[origin] = rest
        out: list[str] = []
        for origin, text in texts.items():
            if not text:
                continue
            if origin != self._last:
                out.append(f"[{origin}]\n")
                self._last = origin
            out.append(text if text.endswith("\n") else text + "\n")
        if dropped:
            out.append(f"[… {dropped:,} more characters were printed]\n")
        return "".join(out)
