"""Imports point one way, pure files stay pure, and no file is named for what it is not.

Reads the source of every file; runs none of it. Imports inside functions count, and so do
``importlib.import_module("mrkernel...")`` with the name written out; those under ``TYPE_CHECKING``
do not. The last tests hand the checker bad sources and see that it objects.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

import mrkernel

ROOT = Path(mrkernel.__file__).parent

#: Top to bottom; a module may import what is further down, never what is further up.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("testing",),
    ("jupyter", "cli"),
    ("engines",),
    ("deploy",),
    ("manager", "worker"),
    ("shuffle",),
    ("protocol", "security"),
    ("monitor",),
    ("job",),
    ("data",),
    ("config", "errors", "ids"),
)

#: Neighbours of one layer know nothing of each other, but for these: (who imports, what).
NEIGHBOURS = {
    ("protocol", "security"),  # the handshake compares tokens
    ("config", "errors"),
    ("config", "ids"),
    ("errors", "ids"),
}

#: Started by the interpreter, imported by nothing: they may import anything.
ENTRY_POINTS = {"mrkernel", "mrkernel.submit"}

#: All of the package's own namespace that its modules may ask for; the rest is for users.
OF_THE_FACADE = {"__version__"}

PURE = (
    "manager/events.py",
    "manager/instructions.py",
    "manager/transitions.py",
    "manager/policy.py",
    "manager/records.py",
    "manager/books.py",
    "manager/gathering.py",
    "manager/loads.py",
    "manager/invariants.py",
    "manager/facts.py",
    "manager/attempts.py",
    "manager/outputs.py",
    "manager/failures.py",
    "manager/backups.py",
    "manager/stores.py",
    "manager/watchdog.py",
    "manager/replay.py",
    "manager/snapshot.py",
    "manager/story.py",
    "manager/jobs.py",
    "manager/workers.py",
    "manager/scheduler.py",
    "manager/state.py",
    "protocol/heartbeat.py",
    "deploy/restarts.py",
    "worker/gathers.py",
    "worker/deaths.py",
    "worker/lease.py",
    "worker/reports.py",
    "worker/slot_output.py",
    "worker/state.py",
    "shuffle/keys.py",
    "shuffle/key_column.py",
    "shuffle/partition.py",
    "shuffle/range_partition.py",
    "shuffle/columns.py",
    "shuffle/dict_column.py",
    "shuffle/tuple_column.py",
    "shuffle/growing.py",
    "shuffle/collector.py",
    "shuffle/pickling.py",
    "shuffle/assembly.py",
    "shuffle/order.py",
    "shuffle/grouping.py",
    "shuffle/digest.py",
    "shuffle/sort_buffer.py",
    "shuffle/fold.py",
    "shuffle/fold_arrays.py",
    "shuffle/fold_block.py",
    "shuffle/fold_groups.py",
    "shuffle/fold_moments.py",
    "protocol/messages.py",
    "protocol/framing.py",
    "protocol/handshake.py",
    "monitor/events.py",
    "monitor/picture.py",
    "monitor/cluster_view.py",
    "monitor/quantities.py",
    "monitor/stories.py",
    "monitor/tally.py",
    "monitor/view.py",
    "monitor/workers.py",
    "monitor/broker.py",
    "job/bad_records.py",
    "job/failure.py",
    "job/builtins.py",
    "job/moments.py",
    "job/suggest.py",
    "job/captures.py",
    "job/plan.py",
    "job/projection.py",
    "job/spec.py",
    "data/arrays.py",
    "data/lines.py",
    "data/rendering.py",
    "data/row_shape.py",
    "data/splits.py",
    "data/schemas.py",
    "data/csv_types.py",
    "data/pickles.py",
)

#: What needs or makes a clock, chance, a connection, a thread or a process.
IMPURE = {
    *("asyncio", "concurrent", "multiprocessing", "random", "secrets", "select", "selectors"),
    *("signal", "socket", "socketserver", "ssl", "subprocess", "threading", "time", "tornado"),
    *("uuid", "zmq"),
}

#: They say nothing about what is inside.
NAMELESS = {"utils", "util", "helpers", "helper", "common", "misc"}


class Import(NamedTuple):
    """One import statement's target: a module, and a name in it where ``from`` gives one."""

    line: int
    module: str
    name: str | None = None


def imports(source: str, module: str, *, package: bool = False) -> Iterator[Import]:
    """Yield what ``source`` imports, names made absolute.

    Args:
        source: Python source.
        module: its dotted name, for relative imports.
        package: whether it is an ``__init__.py``.
    """
    parents = module.split(".") if package else module.split(".")[:-1]

    def visit(node: ast.AST) -> Iterator[Import]:
        if isinstance(node, ast.If) and is_type_checking(node.test):
            for child in node.orelse:
                yield from visit(child)
            return
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = parents[: len(parents) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(node.lineno, origin, alias.name)
        elif isinstance(node, ast.Call) and (target := loaded_by_name(node)):
            yield Import(node.lineno, target)
        for child in ast.iter_child_nodes(node):
            yield from visit(child)

    return visit(ast.parse(source))


def is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def loaded_by_name(call: ast.Call) -> str | None:
    """Return the module that ``import_module("it")`` loads; None for any other call."""
    function = getattr(call.func, "attr", "") or getattr(call.func, "id", "")
    if function not in {"import_module", "__import__"}:
        return None
    target = call.args[0] if call.args else None
    return str(target.value) if isinstance(target, ast.Constant) else None


class Package:
    """The import graph of ``mrkernel``.

    Args:
        files: the text of every file, by its path below ``mrkernel/``.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        self.modules = {module_name(file) for file in files}
        self.imports = {
            module_name(file): [
                self.resolved(one)
                for one in imports(source, module_name(file), package=file.endswith("__init__.py"))
            ]
            for file, source in files.items()
        }

    def resolved(self, one: Import) -> Import:
        """Turn ``from mrkernel.shuffle import keys`` into the module it means."""
        whole = f"{one.module}.{one.name}"
        return Import(one.line, whole) if whole in self.modules else one

    def ours(self, name: str) -> Iterator[Import]:
        """Yield the imports of ``name`` that stay within the package."""
        return (one for one in self.imports[name] if one.module.split(".")[0] == "mrkernel")

    def upward(self) -> list[str]:
        """Sentences about imports that go up, sideways, to an entry point or to no module."""
        told = []
        for name in self.modules:
            if is_entry_point(name):
                continue
            if (here := place(name)) is None:
                told.append(f"{name}: stands in no layer; give it a line in LAYERS")
                continue
            for one in self.ours(name):
                if reason := objection(here, one):
                    told.append(f"{name}, line {one.line}: {reason}")
        return told

    def impure(self, name: str) -> list[str]:
        """Sentences about what the pure module ``name`` imports, itself or through others."""
        told = []
        todo, seen = [(name, name)], {name}
        while todo:
            at, way = todo.pop()
            for one in self.imports[at]:
                if one.module.split(".")[0] in IMPURE:
                    told.append(f"{way}, line {one.line}: imports {one.module}")
                elif one.module in self.modules and one.module not in seen | ENTRY_POINTS:
                    seen.add(one.module)
                    todo.append((one.module, f"{way} → {one.module}"))
        return told

    def cycles(self) -> list[str]:
        """One sentence for each import that closes a circle (depth first, in order of names)."""
        told: list[str] = []
        done: set[str] = set()

        def visit(name: str, path: tuple[str, ...]) -> None:
            if name in path:
                told.append(" → ".join([*path[path.index(name) :], name]))
            elif name not in done:
                for one in self.ours(name):
                    if one.module in self.modules and one.module not in ENTRY_POINTS:
                        visit(one.module, (*path, name))
                done.add(name)

        for name in sorted(self.modules):
            if not is_entry_point(name):
                visit(name, ())
        return told

    def nameless(self) -> list[str]:
        return [name for name in self.modules if NAMELESS & set(name.split("."))]


def place(module: str) -> tuple[int, str] | None:
    """Return a module's height (0 = bottom) and its part of the package; None if in no layer."""
    part = module.split(".")[1]
    for height, parts in enumerate(reversed(LAYERS)):
        if part in parts:
            return height, part
    return None


def is_entry_point(module: str) -> bool:
    return module in ENTRY_POINTS or module.endswith(".__main__")


def objection(here: tuple[int, str], one: Import) -> str | None:
    """Say what is wrong with an import of ours by a module at ``here``; None if nothing is."""
    if one.module == "mrkernel" and one.name is not None:
        if one.name in OF_THE_FACADE:
            return None
        return f"imports {one.name} from the public face; import it from where it is defined"
    if is_entry_point(one.module):
        return f"imports {one.module}, which is only for starting"
    if (there := place(one.module)) is None:
        return f"imports {one.module}, which stands in no layer"
    if there[0] > here[0]:
        return f"imports {one.module}, which is above {here[1]}"
    if there[0] == here[0] and there[1] != here[1] and (here[1], there[1]) not in NEIGHBOURS:
        return f"imports {one.module}: {here[1]} and {there[1]} know nothing of each other"
    return None


def module_name(file: str) -> str:
    """``shuffle/keys.py`` → ``mrkernel.shuffle.keys``; a package's own file is the package."""
    parts = ("mrkernel", *Path(file).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.fixture(scope="module")
def package() -> Package:
    files = sorted(ROOT.rglob("*.py"))
    return Package({path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in files})


def test_imports_point_down(package: Package) -> None:
    assert package.upward() == []


def test_no_import_closes_a_circle(package: Package) -> None:
    assert package.cycles() == []


def test_no_module_is_called_utils(package: Package) -> None:
    assert package.nameless() == []


@pytest.mark.parametrize("file", PURE)
def test_pure_file_imports_no_clock_chance_or_connection(package: Package, file: str) -> None:
    name = module_name(file)
    assert name in package.modules, f"{file} is listed as pure and does not exist"
    assert package.impure(name) == []


def test_who_says_pure_is_held_to_it() -> None:
    files = {
        path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in ROOT.rglob("*.py")
    }
    say = {
        file
        for file, source in files.items()
        if "Pure." in (ast.get_docstring(ast.parse(source)) or "")
    }
    assert say - set(PURE) == set()


def test_pure_files_load_nothing_costly() -> None:
    """What the sources cannot show: what comes along when they are really imported."""
    modules = [module_name(file) for file in PURE if (ROOT / file).exists()]
    code = "import sys; before = set(sys.modules)\n"
    code += "".join(f"import {module}\n" for module in modules)
    code += "print(*sorted({m.split('.')[0] for m in set(sys.modules) - before}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    loaded = set(run.stdout.split())
    assert "mrkernel" in loaded
    assert not loaded & {"asyncio", "tornado", "multiprocessing", "IPython", "numpy", "pyarrow"}


# The checker itself: each bad example must be found, each good one let pass.


def of(files: Mapping[str, str]) -> Package:
    """A package of ``{"part/module.py": source}``; the folders' own files are made up."""
    folders = {parent for file in files for parent in Path(file).parents}
    return Package({(f / "__init__.py").as_posix(): "" for f in folders} | dict(files))


UPWARD = {
    "plain": ("job/plan.py", "import mrkernel.shuffle.keys"),
    "from a package": ("job/plan.py", "from mrkernel.shuffle import keys"),
    "a name from a module": ("job/plan.py", "from mrkernel.shuffle.keys import encode"),
    "from the root": ("job/plan.py", "from mrkernel import shuffle"),
    "relative": ("job/plan.py", "from ..shuffle import keys"),
    "relative, of the root": ("job/plan.py", "from .. import shuffle"),
    "renamed": ("job/plan.py", "import mrkernel.shuffle.keys as k"),
    "in a function": ("job/plan.py", "def f():\n    from mrkernel.shuffle import keys"),
    "in a method": ("job/plan.py", "class A:\n    def f(self):\n        import mrkernel.shuffle"),
    "in a try": (
        "job/plan.py",
        "try:\n    import mrkernel.shuffle\nexcept ImportError:\n    raise",
    ),
    "by its name": (
        "job/plan.py",
        "import importlib\nimportlib.import_module('mrkernel.shuffle.keys')",
    ),
    "by dunder": ("job/plan.py", "__import__('mrkernel.shuffle.keys')"),
    "else of TYPE_CHECKING": (
        "job/plan.py",
        "if TYPE_CHECKING:\n    pass\nelse:\n    import mrkernel.shuffle.keys",
    ),
    "in a package's own file": ("job/__init__.py", "from ..shuffle import keys"),
    "neighbours": ("manager/state.py", "from mrkernel.worker import state"),
    "neighbours, the other way": ("worker/state.py", "from mrkernel.manager import state"),
    "cli and jupyter": ("cli.py", "from mrkernel.jupyter import magic"),
    "security and protocol": ("security/token.py", "from mrkernel.protocol import framing"),
    "bottom to bottom": ("ids.py", "import mrkernel.errors"),
    "the public face": ("engines/local.py", "from mrkernel import submit_job"),
    "an entry point": ("engines/local.py", "import mrkernel.submit"),
    "a dunder main": ("engines/local.py", "from mrkernel.manager import __main__"),
    "no layer": ("job/plan.py", "import mrkernel.elsewhere"),
    "stands in no layer": ("elsewhere.py", ""),
    "testing": ("engines/local.py", "import mrkernel.testing"),
}


@pytest.mark.parametrize(("file", "source"), UPWARD.values(), ids=UPWARD)
def test_the_checker_finds_an_import_that_does_not_point_down(file: str, source: str) -> None:
    others = {
        "shuffle/keys.py": "",
        "worker/state.py": "",
        "manager/state.py": "",
        "manager/__main__.py": "",
        "jupyter/magic.py": "",
        "protocol/framing.py": "",
        "errors.py": "",
        "testing.py": "",
        "submit.py": "",
    }
    assert len(of({**others, file: source}).upward()) == 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        (
            "shuffle/run.py",
            "import os, json\nfrom mrkernel.shuffle import keys\nfrom . import merge",
        ),
        ("shuffle/run.py", "from mrkernel.job.spec import JobSpec\nimport mrkernel.errors"),
        ("job/plan.py", "if TYPE_CHECKING:\n    from mrkernel.shuffle import keys"),
        ("job/plan.py", "if typing.TYPE_CHECKING:\n    import mrkernel.cli"),
        ("job/plan.py", "from mrkernel import __version__, errors"),
        ("protocol/handshake.py", "from mrkernel.security.token import matches"),
        ("manager/__main__.py", "from mrkernel import cli\nimport mrkernel.worker.server"),
        ("submit.py", "import mrkernel.cli"),
        ("testing/plugin.py", "from mrkernel.engines import inline"),
    ],
)
def test_the_checker_lets_pass_what_points_down(file: str, source: str) -> None:
    others = dict.fromkeys(
        [
            "shuffle/keys.py",
            "shuffle/merge.py",
            "job/spec.py",
            "errors.py",
            "cli.py",
            "worker/server.py",
        ],
        "",
    )
    others |= {"security/token.py": "", "engines/inline.py": ""}
    assert of({**others, file: source}).upward() == []


@pytest.mark.parametrize("module", sorted(IMPURE))
@pytest.mark.parametrize(
    "form", ["import {}", "from {} import x", "def f():\n    import {}.y", "import os, {} as z"]
)
def test_the_checker_finds_an_impure_import(module: str, form: str) -> None:
    package = of({"manager/state.py": form.format(module)})
    assert len(package.impure("mrkernel.manager.state")) == 1


def test_the_checker_finds_impurity_at_third_hand() -> None:
    package = of(
        {
            "manager/state.py": "from mrkernel.job.plan import plan",
            "job/plan.py": "from mrkernel.data import splits",
            "data/splits.py": "import time",
        }
    )
    assert package.impure("mrkernel.manager.state") == [
        "mrkernel.manager.state → mrkernel.job.plan → mrkernel.data.splits, line 1: imports time"
    ]


def test_the_checker_lets_types_of_impure_modules_pass() -> None:
    package = of({"manager/policy.py": "if TYPE_CHECKING:\n    import random\nimport timeit_"})
    assert package.impure("mrkernel.manager.policy") == []


@pytest.mark.parametrize(
    "files",
    [
        {"job/a.py": "from . import b", "job/b.py": "from mrkernel.job.a import x"},
        {"job/a.py": "from . import b", "job/b.py": "def f():\n    from mrkernel.job import a"},
        {
            "job/a.py": "import mrkernel.job.b",
            "job/b.py": "from . import c",
            "job/c.py": "from . import a",
        },
        {"job/__init__.py": "from . import a", "job/a.py": "from mrkernel.job import NAME"},
        {"job/a.py": "import mrkernel.job.a"},
    ],
)
def test_the_checker_finds_a_circle(files: dict[str, str]) -> None:
    assert len(of(files).cycles()) == 1


def test_the_checker_takes_no_diamond_for_a_circle() -> None:
    package = of(
        {
            "job/a.py": "from . import b, c",
            "job/b.py": "from . import d",
            "job/c.py": "from . import d",
        }
    )
    assert package.cycles() == []


@pytest.mark.parametrize("name", ["utils.py", "job/helpers.py", "shuffle/common/keys.py"])
def test_the_checker_finds_a_name_that_says_nothing(name: str) -> None:
    assert of({name: ""}).nameless() != []
