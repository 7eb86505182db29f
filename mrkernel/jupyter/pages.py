"""Lines that pages open to their views, heard while a cell runs.

JupyterLab gives each comm a subshell: a thread of the kernel beside the one that runs cells. But
ipykernel 7.4 hands a message to the shell that last *published* on its comm, and a widget's comm is
published on from the cell: its buttons are dead while the cell runs. On a comm that the page opened
and on which we never publish, the page's own choice stands. Elsewhere no such comm is opened, or it
is heard in the main thread, and buttons are offered only while no cell runs.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any, Protocol

import comm

TARGET = "mrkernel.view"


class View(Protocol):
    """A view, as a line needs it."""

    name_of_view: str

    def heard_on(self, line: Any, *, always: bool) -> None:
        """A page has opened a line; ``always``: it is heard while a cell runs, too."""


_views: weakref.WeakValueDictionary[str, View] = weakref.WeakValueDictionary()


def know(view: View) -> None:
    """Let pages open lines to a view."""
    if not _views:
        comm.get_comm_manager().register_target(TARGET, _opened)
    _views[view.name_of_view] = view


def _opened(line: Any, message: dict[str, Any]) -> None:
    """A page opens a line; called on the thread on which all it says will be heard."""
    view = _views.get(message["content"]["data"].get("view", ""))
    if view is None:
        line.close()
        return
    always = threading.current_thread() is not threading.main_thread()
    view.heard_on(line, always=always)
