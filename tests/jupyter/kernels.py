"""A real kernel to try cells in, as JupyterLab does: one message in, what comes back collected."""

from __future__ import annotations

import json
import queue
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.manager import KernelManager

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")

#: No cell of these tests takes longer, nor does anything they wait for.
WITHIN_S = 20.0


@dataclass
class Ran:
    """What a cell left behind.

    Attributes:
        ok: False stops Run All.
        error: name of the exception in the red box; "" without one (a UsageError has none).
        trace: the box's text, without colours.
        value: the cell's value as plain text.
        displays: MIME bundles displayed, each in its last state.
        messages: what went to widgets: the content of each comm message.
        seconds: from sending the cell to its end.
    """

    out: str = ""
    err: str = ""
    ok: bool = True
    error: str = ""
    trace: str = ""
    value: str = ""
    displays: list[dict[str, Any]] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def picture(self) -> dict[str, Any]:
        """The last whole picture that a view was sent."""
        told = [m["data"].get("state") or m["data"].get("content", {}) for m in self.messages]
        pictures = [each["snapshot"] for each in told if each.get("snapshot")]
        whole = [picture for picture in pictures if not picture.get("trimmed")]
        return (whole or pictures or [{}])[-1]


class Kernel:
    """A kernel whose current folder is ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shown: dict[str, dict[str, Any]] = {}  #: displays that may still be updated
        self._heard: list[dict[str, Any]] = []  #: messages of cells whose end nobody asked for yet
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(folder))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=WITHIN_S)

    @property
    def pid(self) -> int:
        return int(self.manager.provisioner.pid)

    def begin(self, code: str) -> str:
        """Send a cell and do not wait for it; return what ``end`` wants."""
        return str(self.client.execute(code, allow_stdin=False, stop_on_error=False))

    def hear(self, pattern: str) -> str:
        """Wait until what a cell says to the page, its views included, matches; return the match.

        The cell goes on, and ``end`` gives all of it.
        """
        while True:
            message = self.client.get_iopub_msg(timeout=WITHIN_S)
            self._heard.append(message)
            if found := re.search(pattern, json.dumps(message["content"], default=str)):
                return found[0]

    def end(self, cell: str, began: float | None = None) -> Ran:
        """Wait for the end of a cell."""
        ran = Ran()
        while True:
            try:
                message = (
                    self._heard.pop(0)
                    if self._heard
                    else self.client.get_iopub_msg(timeout=WITHIN_S)
                )
            except queue.Empty:
                raise TimeoutError(f"the cell has not ended; so far: {ran}") from None
            if message["parent_header"].get("msg_id") != cell:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                name = "out" if content["name"] == "stdout" else "err"
                setattr(ran, name, getattr(ran, name) + content["text"])
            elif kind == "error":
                ran.error = content["ename"]
                ran.trace = _COLOURS.sub("", "\n".join(content["traceback"]))
            elif kind == "execute_result":
                ran.value = content["data"]["text/plain"]
            elif kind == "display_data":
                ran.displays.append(content["data"])
                self._shown[content["transient"].get("display_id", "")] = content["data"]
            elif kind == "update_display_data":
                data = self._shown[content["transient"]["display_id"]]
                data.clear()
                data.update(content["data"])
            elif kind in ("comm_open", "comm_msg"):
                ran.messages.append(content)
            elif kind == "status" and content["execution_state"] == "idle":
                break
        while True:
            reply = self.client.get_shell_msg(timeout=WITHIN_S)
            if reply["parent_header"].get("msg_id") == cell:
                break
        ran.ok = reply["content"]["status"] == "ok"
        ran.seconds = time.monotonic() - began if began is not None else 0.0
        return ran

    def run(self, code: str) -> Ran:
        """Run a cell to its end."""
        began = time.monotonic()
        return self.end(self.begin(code), began)

    def value(self, code: str) -> str:
        """Run a cell that must go well; return its value as text."""
        ran = self.run(code)
        assert ran.ok, ran
        return ran.value

    def interrupt(self) -> None:
        """Press ■."""
        self.manager.interrupt_kernel()

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=not self.manager.is_alive())
        self.manager.cleanup_resources()


def until(true: Callable[[], Any], within_s: float = WITHIN_S) -> float:
    """Wait for something outside to become true; return how many seconds it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < within_s, f"not true within {within_s} s"
        time.sleep(0.005)
    return time.monotonic() - began


def works(process: psutil.Process) -> bool:
    """Whether a process lives; one that ended and that nobody has waited for yet does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
