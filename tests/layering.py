"""What may import what, and a reader of imports that objects: the rules of ``test_layers``.

Reads the source of every file; runs none of it. Imports inside functions count, and so do
``importlib.import_module("mrkernel...")`` with the name written out; those under ``TYPE_CHECKING``
do not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

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
    ("config", "errors", "ids", "logs"),
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
    "manager/admission.py",
    "manager/budget.py",
    "manager/events.py",
    "manager/instructions.py",
    "manager/transitions.py",
    "manager/paces.py",
    "manager/policy.py",
    "manager/records.py",
    "manager/books.py",
    "manager/chains.py",
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
    "manager/totals.py",
    "manager/jobs.py",
    "manager/workers.py",
    "manager/scheduler.py",
    "manager/state.py",
    "protocol/heartbeat.py",
    "deploy/restarts.py",
    "worker/config.py",
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
    "shuffle/pairs.py",
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
    "shuffle/field_partition.py",
    "shuffle/line_pairs.py",
    "shuffle/line_writer.py",
    "shuffle/rest_column.py",
    "protocol/client_messages.py",
    "protocol/messages.py",
    "protocol/store_messages.py",
    "protocol/worker_messages.py",
    "protocol/framing.py",
    "protocol/handshake.py",
    "monitor/events.py",
    "monitor/picture.py",
    "monitor/cluster_view.py",
    "monitor/eta.py",
    "monitor/job_fold.py",
    "monitor/lanes.py",
    "monitor/output_so_far.py",
    "monitor/setbacks.py",
    "monitor/quantities.py",
    "monitor/stories.py",
    "monitor/svg.py",
    "monitor/tally.py",
    "monitor/timeline.py",
    "monitor/timeline_text.py",
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
    "job/program.py",
    "job/projection.py",
    "job/spec.py",
    "data/arrays.py",
    "data/lines.py",
    "data/rendering.py",
    "data/row_shape.py",
    "data/splits.py",
    "data/schemas.py",
    "data/csv_dialect.py",
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
