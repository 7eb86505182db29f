"""The fault matrix: what can go wrong, what one then sees, and which tests prove it.

A test that proves a row carries ``@pytest.mark.fault(row, ...)``. From these marks and the table
below ``docs/faults.md`` is made::

    make faults                          # run all of them, then write the page with their results
    python tests/faults.py --no-run      # write the page with the results it has

``tests/test_faults.py`` holds the page to the marks. The rows and their numbers are those of the
project's fault matrix; the titles are ours.
"""

from __future__ import annotations

import ast
import datetime
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "faults.md"
Result = Literal["passed", "failed", "skipped", "not run"]


@dataclass(frozen=True, slots=True)
class Row:
    """One fault.

    Attributes:
        title: what goes wrong.
        seen: what its user sees.
        later: with what the rest of it comes; "": all of it is here.
    """

    title: str
    seen: str
    later: str = ""


SECTIONS = {
    1: "Processes",
    14: "Network",
    24: "Disk and memory",
    33: "User code and data",
    48: "Order, time, ports",
    54: "Strangers and enemies",
}

ROWS: dict[int, Row] = {
    1: Row("worker killed in map", "its death with its cause, and where its tasks went"),
    2: Row("worker killed in reduce", "the same; nothing of a half-done part is ever visible"),
    3: Row("worker killed while others read its map output", "which maps run again, if any do"),
    4: Row("task runner killed", "the attempt's end and its cause; its worker goes on"),
    5: Row("worker frozen", "suspect at once, its tasks begun elsewhere, dead later"),
    6: Row("task runner frozen", "the task without progress; with `--timeout` its end"),
    7: Row("straggler", "a backup attempt, and what it saved"),
    8: Row("manager killed", "a banner: it is back, and so many maps were kept"),
    9: Row("manager frozen for seconds", "nothing: nobody is declared dead"),
    10: Row("kernel gone, notebook closed", "`%mr_jobs ID` shows the same job and gets its result"),
    11: Row("interrupted by its user", "cancelled everywhere, no files left"),
    12: Row("whole cluster killed, started again", "the job goes on from the journal"),
    13: Row("worker joins or leaves in mid-job", "more slots, or fewer"),
    14: Row("manager and worker cut off from each other", "suspect, dead, back under a new name"),
    15: Row("cut in one direction, worker to manager", "the same"),
    16: Row("cut in one direction, manager to worker", "the same"),
    17: Row("workers cut off from each other", "who could not read from whom; nobody dies"),
    18: Row("datagrams blocked", "said once: heartbeats go over the connection"),
    19: Row("loss, jitter, duplicates, reordering", "a slower job; nobody dies"),
    20: Row("host gone without a word", "dead within 2.5 s (embedded setting)"),
    21: Row("line of 1 Mbit/s", "a slower job; nobody is suspected"),
    22: Row("request lost, answer lost, request sent again", "nothing"),
    23: Row(
        "host has another address after it slept",
        "back under a new name",
        "who it is by certificate: comes with TLS for the LAN",
    ),
    24: Row("disk full while spilling", "the worker's disk is full; its tasks run elsewhere"),
    25: Row(
        "disk full while writing output or the journal", "what could not be written, and where"
    ),
    26: Row("mapper out of memory", "how much it used, of how much, at which record"),
    27: Row("group larger than memory", "nothing: it is read from disk"),
    28: Row("damaged map output", "that a disk (or a line) damaged it, and which maps run again"),
    29: Row("journal torn at its end", "nothing: what was acknowledged is there"),
    30: Row("output directory not writable", "an error before any task runs"),
    31: Row("output exists", "an error before any task runs, which names `--overwrite`"),
    32: Row("no more open files", "the limit by name; the process goes on when there is room"),
    33: Row("mapper raises on a record", "your traceback, the record and its place"),
    34: Row("record kills the process", "the signal, the record and its place"),
    35: Row("endless loop", "with `--timeout` its end and its record; cancel works always"),
    36: Row("closure that cannot travel", "at once, the variable by name"),
    37: Row("closure of huge data", "its size and the variable's name"),
    38: Row("module missing on a worker", "the module by name, and what to do"),
    39: Row("another Python on a worker", "refused when it joins, with both versions"),
    40: Row("mapper that is not deterministic", "that it is not, instead of a wrong answer"),
    41: Row(
        "truncated or damaged gzip",
        "the file by name, and the place after which nothing can be read",
    ),
    42: Row("input changed or vanished in mid-job", "the file by name"),
    43: Row("odd bytes: encoding, BOM, NUL, CR, no last line end", "file and offset of the byte"),
    44: Row("one huge key", "nothing: memory stays flat"),
    45: Row("one huge record", "the limit, and where the record begins"),
    46: Row("no input, empty files, no keys", "valid, empty results"),
    47: Row("odd keys", "the documented order, or a clear error"),
    48: Row("two attempts finish one task", "nothing: the first counts, counters once"),
    49: Row("attempt of a dead incarnation finishes late", "nothing: it is turned away"),
    50: Row("clock jumps", "nothing"),
    51: Row("port in use", "that it is, and `--port 0`"),
    52: Row("two managers on one state directory", "the second refuses and names the first"),
    53: Row("a thousand workers join; a worker that comes and goes", "the latter barred a while"),
    54: Row("garbage, HTTP, TLS at our ports", "nothing: shut out"),
    55: Row("frames of absurd size", "nothing: shut out"),
    56: Row("crowds of slow strangers", "nothing: the job does not notice"),
    57: Row("wrong token", "that it is wrong, and nothing else"),
    58: Row("recorded handshake", "nothing: shut out"),
    59: Row("replayed, forged, reordered, flooded heartbeats", "nothing: they change nothing"),
    60: Row("functions tampered with on their way", "the attempt's failure: nothing is unpickled"),
    61: Row("stolen worker certificate", "", "comes with TLS for the LAN"),
    62: Row("worker that sends pickles to the manager", "nothing: the manager never unpickles"),
    63: Row("another user of the machine", "nothing: shut out"),
    64: Row("hostile web page", "nothing: refused"),
    65: Row("path traversal in names of files", "nothing: refused"),
}


def marked(root: Path = ROOT) -> dict[int, list[str]]:
    """Return the ids of the tests that carry each row's mark, read from the sources.

    Raises:
        ValueError: a mark names no row of the table, or is not made of numbers.
    """
    found: dict[int, list[str]] = {row: [] for row in ROWS}
    for path in sorted((root / "tests").rglob("test_*.py")):
        source = path.read_text(encoding="utf-8")
        if "mark.fault(" not in source:
            continue
        name = path.relative_to(root).as_posix()
        for function, rows in _marks(ast.parse(source), name):
            for row in rows:
                if row not in found:
                    raise ValueError(f"{function} is marked with row {row!r}, which is none")
                found[row].append(function)
    return found


def _marks(tree: ast.AST, prefix: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield (test id, rows) of the marked tests below a module or class."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        name = f"{prefix}::{node.name}"
        rows = [row for decorator in node.decorator_list for row in _rows(decorator)]
        if rows:
            yield name, rows
        if isinstance(node, ast.ClassDef):
            yield from _marks(node, name)


def _rows(decorator: ast.expr) -> list[Any]:
    if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.fault":
        return [ast.literal_eval(argument) for argument in decorator.args]
    return []


# --- the page -------------------------------------------------------------------------------------

_HEAD = """# What can go wrong, and what proves that it does no harm

Made by `make faults` from the marks on the tests (`@pytest.mark.fault(row)`) and the table in
`tests/faults.py`; do not edit it by hand. The numbers are those of the project's fault matrix.
"""


def render(tests: dict[int, list[str]], results: dict[str, Result], day: str) -> str:
    """Draw the page.

    Args:
        tests: ids by row.
        results: by test id; those missing were not run.
        day: when the results were made; "": never.
    """
    parts = [_HEAD]
    if day:
        parts.append(f"Last run: {day}.\n")
    for number, row in ROWS.items():
        if number in SECTIONS:
            parts.append(f"\n## {SECTIONS[number]}\n\n| # | fault | one sees | test | result |\n")
            parts.append("|---|---|---|---|---|\n")
        ids = tests[number]
        proofs = "<br>".join(f"`{name.removeprefix('tests/')}`" for name in ids)
        outcome = "<br>".join(results.get(name, "not run") for name in ids)
        if row.later:
            proofs = "<br>".join(filter(None, [proofs, row.later]))
        parts.append(f"| {number} | {row.title} | {row.seen} | {proofs} | {outcome} |\n")
    return "".join(parts)


def read_results(page: str) -> tuple[dict[str, Result], str]:
    """Read back the results of a page, by test id, and their day."""
    results: dict[str, Any] = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[0].isdecimal():
            ids = [f"tests/{name}" for name in re.findall(r"`([^`]+)`", cells[3]) if "::" in name]
            results.update(zip(ids, cells[4].split("<br>"), strict=False))
    found = re.search(r"^Last run: (.*)\.$", page, re.MULTILINE)
    return results, found[1] if found else ""


class Recorder:
    """A pytest plugin: the worst outcome of each test function, over its parameters."""

    _WORSE: tuple[Result, ...] = ("not run", "passed", "skipped", "failed")

    def __init__(self) -> None:
        self.results: dict[str, Result] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        outcome: Result = report.outcome
        if report.when != "call" and outcome == "passed":
            return
        parts = report.nodeid.split("[")[0].split("::")
        for count in range(2, len(parts) + 1):  # a class may carry the mark for its tests
            name = "::".join(parts[:count])
            known = self.results.get(name, "not run")
            self.results[name] = max(known, outcome, key=self._WORSE.index)


def main(arguments: list[str]) -> int:
    """Run the marked tests, unless told not to, and write the page; return pytest's status."""
    results, day = read_results(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else ({}, "")
    status = 0
    if "--no-run" not in arguments:
        import pytest

        recorder = Recorder()
        chosen = [*(arguments or ["tests"]), "-q", "-m", "fault and not soak"]
        status = int(pytest.main(chosen, plugins=[recorder]))
        results |= recorder.results
        day = datetime.date.today().isoformat()
    PAGE.write_text(render(marked(), results, day), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
