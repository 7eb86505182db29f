from __future__ import annotations

import collections
import decimal
import enum
import pickle
import subprocess
import sys
from typing import Any

import cloudpickle
import pytest

from mrkernel.data.pickles import loads, modules_named


class Here:
    pass


def test_modules_are_found_by_their_names() -> None:
    data = pickle.dumps([decimal.Decimal(1), collections.Counter("a"), [Here()] * 2], 5)
    assert modules_named(data) == {"decimal", "collections", __name__}
    assert modules_named(pickle.dumps(["decimal", 1, {"collections": None}], 5)) == set()
    assert modules_named(pickle.dumps(["\x94\x93", b"\x94\x93"] * 50, 5)) == set()
    assert modules_named(b"") == set()


def test_a_module_behind_a_long_name_is_found() -> None:
    module = "m" * 255
    strings = b"\x8c\xff" + module.encode() + b"\x94\x8c\xff" + b"n" * 255 + b"\x94\x93"
    assert modules_named(bytes(600) + strings + b".") == {module}


def kinds() -> tuple[Any, Any]:
    seen: list[int] = []

    class Local:
        unit = "m"

        def note(self, n: int) -> list[int]:
            seen.append(n)
            return seen

    class Level(enum.Enum):
        LOW = 1

    return Local, Level


def test_a_class_that_is_here_stays_as_it_is() -> None:
    local, level = kinds()
    data = cloudpickle.dumps([local(), local, level.LOW], 5)
    note = local.note
    local.unit, level.extra = "cm", "added"
    made, kind, low = loads(memoryview(data))
    assert type(made) is kind is local
    assert low is level.LOW
    assert (local.note, local.unit, level.extra) == (note, "cm", "added")
    assert made.note(1) is local().note(2)


def test_plain_unpickling_would_have_changed_it() -> None:
    """Or the test above would prove nothing."""
    local, _ = kinds()
    data = cloudpickle.dumps(local(), 5)
    local.unit = "cm"
    pickle.loads(data)
    assert local.unit == "m"


def test_a_class_that_is_not_here_is_made_whole() -> None:
    local, level = kinds()
    data = cloudpickle.dumps([local(), level.LOW], 5)
    code = (
        "import sys\n"
        "from mrkernel.data.pickles import loads\n"
        "data = sys.stdin.buffer.read()\n"
        "for _ in range(2):\n"
        "    made, low = loads(data)\n"
        "    print(made.unit, made.note(3), low, type(made).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)
    # The second time the class is known, with what the first left in its list.
    assert done.stdout.decode().split("\n")[:2] == [
        "m [3] Level.LOW Local",
        "m [3, 3] Level.LOW Local",
    ]


def test_what_is_no_pickle_is_refused() -> None:
    with pytest.raises(pickle.UnpicklingError):
        loads(b"no pickle")
