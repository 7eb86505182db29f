"""Modules beside the notebook: they travel with the functions, and with the records."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mrkernel


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of the user's, from which Python imports here and workers do not."""
    known = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_classes_of_a_module_beside_travel_with_the_records(place: Any, beside: Path) -> None:
    """Also when no function names the module: only the records do."""
    (beside / "beside_the_notebook.py").write_text(
        "from typing import NamedTuple\n\nclass Point(NamedTuple):\n    x: int\n"
    )
    shapes = importlib.import_module("beside_the_notebook")

    def mapper(point: Any) -> Iterator[tuple[int, Any]]:
        yield point.x, point

    def checking(point: Any) -> Iterator[tuple[int, Any]]:
        assert type(point) is shapes.Point
        yield point.x, point

    for function in (mapper, checking):
        points = [shapes.Point(2), shapes.Point(1)]
        result = mrkernel.run(function, points, "first", on=place)
        assert result.to_dict() == {1: shapes.Point(1), 2: shapes.Point(2)}
        assert {type(point) for _, point in result} == {shapes.Point}


def test_an_edited_module_is_used_by_the_next_run(cluster: Any, beside: Path) -> None:
    """Also where this process still has the old one."""
    path = beside / "edited_between_runs.py"
    path.write_text("def factor(record):\n    return 2\n")
    edited = importlib.import_module("edited_between_runs")

    def mapper(record: int) -> list[tuple[int, int]]:
        return [(record, edited.factor(record))]

    assert cluster.run(mapper, [1], "first").to_dict() == {1: 2}
    path.write_text("def factor(record):\n    return 3\n")
    assert cluster.run(mapper, [1], "first").to_dict() == {1: 3}
    assert edited.factor(1) == 2


def test_a_module_imported_in_a_function_travels(cluster: Any, beside: Path) -> None:
    (beside / "imported_late.py").write_text("from imported_later import VALUE\n")
    (beside / "imported_later.py").write_text("VALUE = 5\n")

    def mapper(record: int) -> list[tuple[int, int]]:
        import imported_late

        return [(record, imported_late.VALUE)]

    assert cluster.run(mapper, [1], "first").to_dict() == {1: 5}
    assert "imported_late" not in sys.modules


def test_a_folder_of_modules_needs_no_init(cluster: Any, beside: Path) -> None:
    folder = beside / "a_folder" / "below"
    folder.mkdir(parents=True)
    (folder / "tools.py").write_text("def double(n):\n    return 2 * n\n")
    tools = importlib.import_module("a_folder.below.tools")
    double = tools.double

    def mapper(record: int) -> list[tuple[int, int]]:
        from a_folder.below.tools import double as again

        return [(record, double(record) + tools.double(record) + again(record))]

    assert cluster.run(mapper, [1], "first").to_dict() == {1: 6}


def test_a_bound_method_keeps_its_object(cluster: Any, beside: Path) -> None:
    (beside / "with_methods.py").write_text(
        "class Scaler:\n"
        "    def __init__(self, n):\n        self.n = n\n"
        "    def map(self, record):\n        return [(record, self.n)]\n"
        "    @classmethod\n    def made(cls, record):\n        return [(record, cls.__name__)]\n"
        "    @staticmethod\n    def plain(record):\n        return [(record, 0)]\n"
    )
    scaler = importlib.import_module("with_methods").Scaler
    for mapper, found in [(scaler(7).map, 7), (scaler.made, "Scaler"), (scaler.plain, 0)]:
        assert cluster.run(mapper, [1], "first").to_dict() == {1: found}
