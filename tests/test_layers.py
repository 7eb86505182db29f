"""Imports point one way, pure files stay pure, and no file is named for what it is not.

The last tests hand the checker bad sources and see that it objects.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from layering import (
    IMPURE,
    PURE,
    ROOT,
    Package,
    module_name,
)


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
