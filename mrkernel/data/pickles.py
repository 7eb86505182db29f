"""Pickles of what user code made: reading them back, and the modules they name. Pure.

A class of a notebook travels by value, under an id by which cloudpickle finds it again where it is
known already. It then sets the class's methods and attributes anew: to copies, which no longer see
the notebook's variables, nor what has been set since. Here a class that is known stays as it is.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable
from typing import Any

_BY_VALUE = b"cloudpickle"
#: STACK_GLOBAL, which looks a class or function up, after the memo mark of its name.
_LOOK_UP = b"\x94\x93"
#: What stands before it: two short strings, module and name, each put into the memo.
_NAMES = re.compile(rb"\x8c.([\w.]+)\x94\x8c.[\w.<>]+\Z", re.DOTALL)
_LONGEST_NAMES = 520


def loads(data: bytes | memoryview) -> Any:
    """Unpickle; classes that came by value and are known here are left alone."""
    raw = bytes(data)
    if _BY_VALUE in raw:
        return _Unpickler(io.BytesIO(raw)).load()
    return pickle.loads(raw)  # noqa: S301 - our own job's data


def dumps(thing: Any) -> bytes:
    """Pickle; what belongs to a notebook, whose module exists only there, by value.

    Raises: Exception: whatever the thing's own code raises.
    """
    try:
        data = pickle.dumps(thing, 5)
    except Exception:  # noqa: BLE001 - any __reduce__ may raise anything; the next line decides
        data = b"__main__"
    if b"__main__" not in data:
        return data
    import cloudpickle

    by_value: bytes = cloudpickle.dumps(thing, 5)
    return by_value


def modules_named(data: bytes) -> set[str]:
    """Collect the modules whose classes and functions a pickle of protocol 5 refers to.

    Found by their look, so a string in the data that looks like it is taken for a name, too.
    """
    found: set[str] = set()
    at = data.find(_LOOK_UP)
    while at >= 0:
        names = _NAMES.search(data, max(0, at - _LONGEST_NAMES), at)
        if names is not None:
            found.add(names[1].decode())
        at = data.find(_LOOK_UP, at + 1)
    return found


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self._known: set[int] = set()  # ids of the classes that were here before

    def find_class(self, module: str, name: str, /) -> Any:
        found = super().find_class(module, name)
        if module.partition(".")[0] == "cloudpickle":
            if name in ("_make_skeleton_class", "_make_skeleton_enum"):
                return self._making(found)
            if name == "_class_setstate":
                return self._filling(found)
        return found

    def _making(self, make: Callable[..., Any]) -> Callable[..., Any]:
        from cloudpickle.cloudpickle import _DYNAMIC_CLASS_TRACKER_BY_ID as known

        def make_or_find(*arguments: Any) -> Any:
            before = known.get(arguments[-2])  # by its id
            made = make(*arguments)
            if made is before:
                self._known.add(id(made))
            return made

        return make_or_find

    def _filling(self, fill: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        return lambda kind, state: kind if id(kind) in self._known else fill(kind, state)
