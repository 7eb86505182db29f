"""Modules of the user's own, which travel as source: which they are, and what they import."""

from __future__ import annotations

import ast
import dis
import sys
import threading
import tokenize
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import CodeType

import msgspec

from mrkernel.job.failure import owner_of

_IMPORT_NAME = dis.opmap["IMPORT_NAME"]
#: CPython 3.11 counts the depth of ast.parse once for all threads, so two that parse at the same
#: time end in SystemError: "AST constructor recursion depth mismatch".
_parsing = threading.Lock()


class Source(msgspec.Struct, frozen=True, array_like=True):
    """A module as source."""

    name: str  #: as imported, "pkg.helper"
    file: str  #: where it was read, for tracebacks and ``__file__``
    text: str
    package: bool  #: it is the ``__init__`` of a package


class LocalModules:
    """Collects the local modules that functions use, and those that these import in turn.

    Local is a module whose file is Python source and lies neither in the standard library nor in a
    directory of installed packages nor in mrkernel. Loaded ones count wherever they are; those to
    be imported yet are looked for beside the notebook and on ``sys.path``.
    """

    def __init__(self, beside: Path) -> None:
        self._beside = beside
        self._known: dict[str, bool] = {}
        self._found: dict[str, Source] = {}
        self._places: list[Path] | None = None

    def sources(self) -> list[Source]:
        """All modules to ship, by name."""
        return [self._found[name] for name in sorted(self._found)]

    def use(self, name: str) -> bool:
        """Take the module ``name`` along if it is local; says whether it is."""
        known = self._known.get(name)
        if known is not None:
            return known
        self._known[name] = False
        if name in ("__main__", "builtins") or name.partition(".")[0] in sys.stdlib_module_names:
            return False
        file = self._file_of(name)
        if file is None:
            return False
        try:
            with tokenize.open(file) as opened:
                text = opened.read()
        except (OSError, SyntaxError, UnicodeDecodeError):
            return False  # it cannot be shipped; where it runs, the import will say so
        self._known[name] = True
        package = file.name == "__init__.py"
        self._found[name] = Source(name, str(file), text, package)
        parent = name.rpartition(".")[0]
        if parent and not self.use(parent):
            self._use_folder(parent, file.parent.parent if package else file.parent)
        for imported in _imports_of_source(text, name if package else parent):
            self.use(imported)
        return True

    def _use_folder(self, name: str, folder: Path) -> None:
        """Take along a folder without ``__init__.py``, which is a package as well."""
        module = sys.modules.get(name)
        portions = [folder] if module is None else list(getattr(module, "__path__", ()))
        if getattr(module, "__file__", None) or not portions:
            return
        if any(owner_of(str(Path(portion) / "x.py")) != "user" for portion in portions):
            return  # installed packages have a part in it: it is found where they are
        self._known[name] = True
        self._found[name] = Source(name, str(folder / "__init__.py"), "", True)
        parent = name.rpartition(".")[0]
        if parent and not self.use(parent):
            self._use_folder(parent, folder.parent)

    def use_imports_of(self, code: CodeType) -> None:
        """Take along the local modules that a function imports when it runs."""
        for name in _imports_of_code(code):
            self.use(name)

    def _file_of(self, name: str) -> Path | None:
        module = sys.modules.get(name)
        if module is not None:
            loaded = getattr(module, "__file__", None)
            if not loaded or not loaded.endswith(".py") or owner_of(loaded) != "user":
                return None
            return Path(loaded)
        relative = Path(*name.split("."))
        for place in self._where():
            for file in (place / relative / "__init__.py", place / relative.with_suffix(".py")):
                if file.is_file() and owner_of(str(file)) == "user":
                    return file
        return None

    def _where(self) -> list[Path]:
        if self._places is None:
            on_path = [Path(entry or ".") for entry in sys.path if not entry.endswith(".zip")]
            places = [self._beside, *on_path]
            own = [p.absolute() for p in places if owner_of(str(p.absolute() / "x.py")) == "user"]
            self._places = list(dict.fromkeys(own))
        return self._places


def _imports_of_code(code: CodeType) -> Iterator[str]:
    if _IMPORT_NAME in code.co_code[::2]:
        names: object = ()
        for instruction in dis.get_instructions(code):
            if instruction.opname == "LOAD_CONST":
                names = instruction.argval
            elif instruction.opname == "IMPORT_NAME":
                yield instruction.argval
                if isinstance(names, tuple):
                    yield from (f"{instruction.argval}.{each}" for each in names if each != "*")
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _imports_of_code(const)


@lru_cache(maxsize=256)
def _imports_of_source(text: str, package: str) -> tuple[str, ...]:
    """Absolute names of all modules that a source may import, submodules by ``from`` included."""
    try:
        with _parsing:
            tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return ()  # importing it will say so, with the line
    return tuple(_imports_of_tree(tree, package))


def _imports_of_tree(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")
                above = above[: len(above) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
