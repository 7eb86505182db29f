"""The cell below a magic: run in the user's namespace, and its errors shown as the user's own."""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from types import CodeType, TracebackType
from typing import Any, TypeVar

E = TypeVar("E", bound=BaseException)


class CellSyntaxError(Exception):
    """A SyntaxError of the cell; IPython would show one of its own kind below frames of ours."""


CellSyntaxError.__name__ = CellSyntaxError.__qualname__ = "SyntaxError"


def run_cell(shell: Any, line: str, cell: str) -> dict[str, str]:
    """Run the cell in the user's namespace.

    Args:
        shell: IPython's.
        line: what stands behind ``%%mapreduce``.

    Returns: the names it bound, with what views call the place: "this cell".

    Raises:
        BaseException: what the cell raised, shown with the user's frames only.
    """
    # The magic's own line takes a line here too, so that tracebacks number lines as Lab does.
    source = f"# %%mapreduce {line}\n" + shell.transform_cell(cell)
    name = shell.compile.cache(source, running_cell(shell), raw_code=source)
    try:
        code = shell.compile(source, name, "exec")
    except SyntaxError as error:
        shown = shell.SyntaxTB.structured_traceback(SyntaxError, error, [])
        raise rendered(CellSyntaxError(str(error)), shown) from None
    try:
        exec(code, shell.user_ns)
    except BaseException as error:
        frames = _from_file(error.__traceback__, name)
        kind = type(error)
        shown = shell.InteractiveTB.structured_traceback(kind, error, frames, tb_offset=0)
        rendered(error, shown)
        raise
    return dict.fromkeys(_stored_names(code), "this cell")


def rendered(error: E, lines: list[str]) -> E:
    """Have IPython show these lines in place of a traceback; the debugger still has all of it."""
    error._render_traceback_ = lambda: lines  # type: ignore[attr-defined]
    return error


def running_cell(shell: Any) -> int:
    """Return the number of the cell that runs now, as it stands beside it: ``[3]``.

    ``execution_count`` is one further while a cell runs, or not, by IPython's version.
    """
    numbers: dict[str, int] = getattr(shell.compile, "_filename_map", {})
    found = shell.execution_count
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        found = numbers.get(frame.f_code.co_filename, found)
    return int(found)


def cell_names(shell: Any) -> dict[str, str]:
    """What people call the files that are cells: file name → "cell 3"."""
    numbers: dict[str, int] = getattr(shell.compile, "_filename_map", {})
    return {name: f"cell {number}" for name, number in numbers.items()}


def origin_of(shell: Any, thing: Any) -> str:
    """Say where a function or class was defined: "cell 3", or its module."""
    names = cell_names(shell)
    for code in _codes(thing):
        if code.co_filename in names:
            return names[code.co_filename]
    module = getattr(thing, "__module__", None) or type(thing).__module__
    return "the notebook" if module == "__main__" else str(module)


def _codes(thing: Any) -> Iterator[CodeType]:
    """The code of a function, of what it wraps, or of a class's methods."""
    thing = getattr(thing, "func", thing)  # functools.partial
    owners = [thing, *vars(thing if isinstance(thing, type) else type(thing)).values()]
    for owner in owners:
        code = getattr(getattr(owner, "__wrapped__", owner), "__code__", None)
        if isinstance(code, CodeType):
            yield code


def _from_file(trace: TracebackType | None, file: str) -> TracebackType | None:
    """The traceback from the file's first frame on."""
    step = trace
    while step is not None:
        if step.tb_frame.f_code.co_filename == file:
            return step
        step = step.tb_next
    return trace


def _stored_names(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("STORE_NAME", "STORE_GLOBAL"):
            yield str(instruction.argval)
