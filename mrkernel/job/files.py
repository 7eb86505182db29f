"""Functions named on a command line: ``file.py``, ``file.py:function``, or a built-in's name."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mrkernel.errors import JobSpecError
from mrkernel.job.builtins import is_builtin
from mrkernel.job.commands import defines, find_program, is_script, of_class
from mrkernel.job.program import Program

MAP_ONLY = "none"
#: What programs say and modules hardly.
_READS = re.compile(rb"\b(stdin|fileinput)\b")


def load_function(text: str | None, role: str, files: Sequence[str] = ()) -> Any:
    """Load what ``text`` names.

    Args:
        text: ``file.py`` (the function called ``role`` in it) or ``file.py:function``; a built-in's
            name or "none", which stay as they are; a command, which becomes a `Program`. None stays
            None.
        role: "mapper", "reducer", "combiner" or "partitioner".
        files: paths given with ``--file``.

    Raises:
        JobSpecError: there is no such file or function, or the file cannot be run.
    """
    if text is None:
        return None
    is_class, text_of_class = of_class(text, role)
    if is_class and text_of_class is None:
        return None
    text = text_of_class or text
    path, colon, name = text.rpartition(":") if ".py:" in text else (text, "", role)
    if not path.endswith(".py") or (not colon and _is_program(path, role, files)):
        return _load_program(text, role, files)
    file = Path(path)
    if not file.is_file():
        raise JobSpecError(f"--{role} {text}: there is no file {path} in {Path.cwd()}")
    if not colon and _READS.search(file.read_bytes()) and not defines(file, name):
        # As a module it would read what is typed here, for ever.
        raise JobSpecError(
            f"--{role} {text}: {path} has no function {name}(...) and reads standard input, so it "
            f"is a program: --{role} 'python3 {path}' runs it as one"
        )
    module = _load(file, role)
    try:
        return getattr(module, name)
    except AttributeError:
        functions = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        has = f"it has {', '.join(functions)}" if functions else "it has no function"
        raise JobSpecError(f"--{role} {text}: no {name} in {path}; {has}") from None


def _is_program(path: str, role: str, files: Sequence[str]) -> bool:
    """Whether a Python file is run by itself: it has a first line that says so, and no function."""
    named = {Path(each.partition("#")[0]).name: each.partition("#")[0] for each in files}
    file = Path(named.get(path, path))
    if not file.is_file():
        return " " in path
    return is_script(file) and not defines(file, role)


def _load_program(text: str, role: str, files: Sequence[str]) -> Program | str:
    """Find a program; what is none is left as it is, where it may be a name of ours."""
    if text.lower() == MAP_ONLY and role == "reducer":
        return MAP_ONLY
    if role in ("reducer", "combiner") and (is_builtin(text) or text == MAP_ONLY):
        return text
    program = find_program(text, role, files)
    if program is not None:
        return program
    if role in ("mapper", "partitioner") or " " in text:
        raise JobSpecError(
            f"--{role} {text}: there is no file and no command {text.split()[0]} here; write "
            "file.py, file.py:function, or a program such as ./map.sh"
        )
    return text


def _load(file: Path, role: str) -> Any:
    """Import a file as a module of its own stem, its folder importable as if it were run."""
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    name = file.stem
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(file.resolve()):
        return known
    if known is not None:
        name = f"{name}_{role}"  # say, a file called json.py: the library keeps its name
    spec = importlib.util.spec_from_file_location(name, file.resolve())
    if spec is None or spec.loader is None:
        raise JobSpecError(f"--{role} {file}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise JobSpecError(f"--{role} {file}, line {error.lineno}: {error.msg}") from error
    except Exception as error:
        kind = type(error).__name__
        raise JobSpecError(f"--{role} {file} cannot be imported: {kind}: {error}") from error
    return module
