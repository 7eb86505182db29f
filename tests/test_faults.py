"""The fault table: every row has a test or says with what it comes, and the page is up to date."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults import PAGE, ROWS, Recorder, Row, marked, read_results, render


def test_every_row_has_a_test_or_comes_later() -> None:
    tests = marked()
    assert list(ROWS) == list(range(1, 66))
    without = {
        number: row.title for number, row in ROWS.items() if not (tests[number] or row.later)
    }
    assert without == {}


def test_the_page_lists_the_marked_tests() -> None:
    page = PAGE.read_text(encoding="utf-8")
    results, day = read_results(page)
    assert page == render(marked(), results, day), "docs/faults.md is behind: `make faults`"


def write(folder: Path, source: str) -> Path:
    (folder / "tests").mkdir()
    (folder / "tests" / "test_it.py").write_text(source)
    return folder


def test_marks_are_read_from_functions_and_classes(tmp_path: Path) -> None:
    source = """
@pytest.mark.parametrize("how", "ab")
@pytest.mark.fault(5, 14)
def test_one(how): ...
@pytest.mark.fault(5)
class TestAll:
    @pytest.mark.fault(6)
    async def test_two(self): ...
def test_three(): ...
"""
    found = {row: ids for row, ids in marked(write(tmp_path, source)).items() if ids}
    assert found == {
        5: ["tests/test_it.py::test_one", "tests/test_it.py::TestAll"],
        6: ["tests/test_it.py::TestAll::test_two"],
        14: ["tests/test_it.py::test_one"],
    }


def test_a_mark_of_no_row_is_an_error(tmp_path: Path) -> None:
    folder = write(tmp_path, "@pytest.mark.fault(66)\ndef test_one(): ...\n")
    with pytest.raises(ValueError, match=r"test_one is marked with row 66"):
        marked(folder)


def test_results_survive_the_page() -> None:
    tests = {row: [] for row in ROWS} | {
        5: ["tests/a.py::one", "tests/a.py::two"],
        23: ["tests/b.py::x"],
    }
    page = render(tests, {"tests/a.py::one": "passed", "tests/b.py::x": "failed"}, "2026-01-02")
    assert read_results(page) == (
        {"tests/a.py::one": "passed", "tests/a.py::two": "not run", "tests/b.py::x": "failed"},
        "2026-01-02",
    )
    assert render(tests, *read_results(page)) == page


def test_the_worst_of_its_parameters_is_the_result_of_a_test() -> None:
    recorder = Recorder()

    class Report:
        def __init__(self, nodeid: str, outcome: str, when: str = "call") -> None:
            self.nodeid, self.outcome, self.when = nodeid, outcome, when

    for report in (
        Report("tests/a.py::one[x]", "passed"),
        Report("tests/a.py::one[y]", "failed"),
        Report("tests/a.py::one[z]", "passed"),
        Report("tests/a.py::two", "skipped", "setup"),
        Report("tests/a.py::T::three", "passed"),
        Report("tests/a.py::T::three", "passed", "teardown"),
    ):
        recorder.pytest_runtest_logreport(report)
    assert recorder.results == {
        "tests/a.py::one": "failed",
        "tests/a.py::two": "skipped",
        "tests/a.py::T": "passed",
        "tests/a.py::T::three": "passed",
    }


def test_no_title_breaks_the_table() -> None:
    for row in ROWS.values():
        assert isinstance(row, Row)
        assert "|" not in row.title + row.seen + row.later
