"""Functions named on a command line: ``file.py``, ``file.py:function``, or a built-in's name."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from mrkernel.errors import JobSpecError

MAP_ONLY = "none"


def load_function(text: str | None, role: str) -> Any:
    """Load what ``text`` names.

    Args:
        text: ``file.py`` (the function called ``role`` in it) or ``file.py:function``; anything
            else is left as it is, for a built-in's name or "none". None stays None.
        role: "mapper", "reducer", "combiner" or "partitioner".

    Raises:
        JobSpecError: there is no such file or function, or the file cannot be run.
    """
    if text is None:
        return None
    path, colon, name = text.rpartition(":") if ".py:" in text else (text, "", role)
    if not path.endswith(".py"):
        if role == "mapper":
            raise JobSpecError(
                f"--mapper {text}: write file.py, or file.py:function; programs of other kinds "
                "are not run by this version"
            )
        return text
    file = Path(path)
    if not file.is_file():
        raise JobSpecError(f"--{role} {text}: there is no file {path} in {Path.cwd()}")
    module = _load(file, role)
    try:
        return getattr(module, name)
    except AttributeError:
        if not colon and os.access(file, os.X_OK) and file.read_bytes()[:2] == b"#!":
            raise JobSpecError(
                f"--{role} {text} is a program without a function {name}(); programs are not run "
                f"by this version: put def {name} into it"
            ) from None
        functions = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        has = f"it has {', '.join(functions)}" if functions else "it has no function"
        raise JobSpecError(f"--{role} {text}: no {name} in {path}; {has}") from None


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
