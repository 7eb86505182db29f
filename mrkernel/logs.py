"""The log of a process: sentences on standard error, and a file of one JSON object a line.

A file may be that of several processes, because each line says whose it is and is written in one
go; ``{process}`` and ``{pid}`` in its name make one for each.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import sys
from datetime import UTC, datetime
from typing import Any

LEVELS = ("debug", "info", "warning", "error")
#: Handed on to the processes that this one starts.
LEVEL, FILE = "MRKERNEL_LOG_LEVEL", "MRKERNEL_LOG_FILE"

_handlers: list[logging.Handler] = []  # those of this process


class JsonLines(logging.Formatter):
    """A record as one line of JSON.

    Args:
        process: what this one is: "manager", "worker", "submit" ...
    """

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Render a record; what ``extra={"fields": {...}}`` gave comes along."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._process,
            "pid": os.getpid(),  # a runner is forked from the worker that set this up
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=repr)


def set_up(
    process: str, level: str | None = None, file: str | None = None, *, quiet: str = "warning"
) -> None:
    """Begin the log of this process.

    Args:
        level: the least that is logged; None: as ``MRKERNEL_LOG_LEVEL`` says, else ``quiet`` on
            standard error and "info" in the file.
        file: where to, besides standard error; None: as ``MRKERNEL_LOG_FILE`` says.
        quiet: what standard error gets when nobody says more.

    Raises:
        ValueError: there is no such level.
        OSError: the file cannot be written.
    """
    level = (level or os.environ.get(LEVEL) or "").lower()
    file = file or os.environ.get(FILE)
    if level and level not in LEVELS:
        raise ValueError(f"{level!r}: write {', '.join(LEVELS[:-1])} or {LEVELS[-1]}")
    if level:
        os.environ[LEVEL] = level
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    handlers[0].setFormatter(logging.Formatter("%(name)s: %(message)s"))
    handlers[0].setLevel((level or quiet).upper())
    if file:
        os.environ[FILE] = file = os.path.abspath(file)  # noqa: PTH100 - braces are no path
        path = file.replace("{process}", process).replace("{pid}", str(os.getpid()))
        # One that was moved away, as logrotate does, is made anew.
        kept = logging.handlers.WatchedFileHandler(path, encoding="utf-8", errors="replace")
        kept.setFormatter(JsonLines(process))
        kept.setLevel((level or "info").upper())
        handlers.append(kept)
    root = logging.getLogger()
    while _handlers:
        root.removeHandler(_handlers.pop())  # another process had set them up, and forked this one
    for handler in handlers:
        root.addHandler(handler)
    _handlers.extend(handlers)
    root.setLevel(logging.WARNING)
    # Of libraries only what is wrong; of ours, whatever somebody wants.
    logging.getLogger("mrkernel").setLevel(min(handler.level for handler in handlers))
