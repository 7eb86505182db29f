from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mrkernel.data.records import ItemBatch
from mrkernel.errors import JobSpecError
from mrkernel.job import functions
from mrkernel.job.failure import UserCodeError
from mrkernel.job.functions import Functions, isolated, pack, unpack
from mrkernel.job.mapping import MapCall


class Notebook:
    """A folder with modules and a namespace such as a notebook's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.space: dict[str, Any] = {"__name__": "__main__"}
        self.cells = 0

    def module(self, name: str, source: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
        return path

    def run(self, source: str) -> str:
        import linecache

        self.cells += 1
        file = f"/nowhere/ipykernel_1/{id(self)}-{self.cells}.py"
        source = textwrap.dedent(source)
        exec(compile(source, file, "exec"), self.space)
        linecache.cache[file] = (len(source), None, source.splitlines(True), file)
        return file

    def pack(self, mapper: str = "mapper", **options: Any) -> functions.Packed:
        return pack(Functions(self.space[mapper]), beside=self.folder, **options)

    def value(self, packed: functions.Packed, *arguments: Any) -> Any:
        with isolated(packed.data) as found:
            return found.mapper(*arguments)


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    path, meta = list(sys.path), list(sys.meta_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    sys.path.insert(0, str(tmp_path))
    yield Notebook(tmp_path)
    sys.path[:], sys.meta_path[:] = path, meta
    for name, module in list(sys.modules.items()):
        if str(tmp_path) in (getattr(module, "__file__", None) or ""):
            del sys.modules[name]


def test_functions_travel_with_their_globals(notebook: Notebook) -> None:
    notebook.run("""
        factor = 3
        def helper(x): return x * factor
        def mapper(x): return helper(x)
    """)
    packed = notebook.pack()
    notebook.space["factor"] = 100
    assert notebook.value(packed, 2) == 6
    assert packed.modules == ()
    assert packed.notes == ()


def test_built_in_names_and_none_stay_as_they_are() -> None:
    with isolated(pack(Functions(len, "sum", "max")).data) as found:
        assert found == Functions(len, "sum", "max", None)


def test_an_edited_module_is_used_by_the_next_run(notebook: Notebook) -> None:
    path = notebook.module("helper_one.py", "def f(x): return ['old', x]\n")
    notebook.run("""
        from helper_one import f
        import helper_one
        def mapper(x): return f(x), helper_one.f(x)
    """)
    assert notebook.value(notebook.pack(), 1) == (["old", 1], ["old", 1])
    path.write_text("def f(x): return ['new', x]\n")
    packed = notebook.pack()
    assert packed.modules == ("helper_one",)
    assert notebook.value(packed, 1) == (["new", 1], ["new", 1])
    assert notebook.space["mapper"](1)[0] == ["old", 1]
    assert sys.modules["helper_one"].f(1) == ["old", 1]


def test_a_stale_function_is_never_sent_by_value(notebook: Notebook) -> None:
    import importlib

    path = notebook.module("helper_two.py", "def f(): return 'one'\nclass C:\n    x = 1\n")
    notebook.run("from helper_two import f, C\ndef mapper(): return f(), C.x")
    path.write_text("def f(): return 'three'\nclass C:\n    x = 33\n")
    importlib.invalidate_caches()
    importlib.reload(sys.modules["helper_two"])  # now f is not helper_two.f any more
    assert notebook.space["f"] is not sys.modules["helper_two"].f
    assert notebook.value(
        notebook.pack(),
    ) == ("three", 33)


def test_a_function_that_is_gone_from_its_module(notebook: Notebook) -> None:
    path = notebook.module("helper_three.py", "def f(): return 1\n")
    notebook.run("from helper_three import f\ndef mapper(): return f()")
    path.write_text("def g(): return 1\n")
    packed = notebook.pack()
    with (
        pytest.raises(JobSpecError, match=r"helper_three\.py has no f any more"),
        isolated(packed.data),
    ):
        pass


def test_modules_that_are_imported_inside_functions(notebook: Notebook) -> None:
    notebook.module("pkg_four/__init__.py", "from . import base\nNAME = 'pkg'\n")
    notebook.module("pkg_four/base.py", "from pkg_four.deep.leaf import VALUE\n")
    notebook.module("pkg_four/deep/__init__.py", "")
    notebook.module(
        "pkg_four/deep/leaf.py",
        "from .. import NAMES\nVALUE = 4\n".replace("from .. import NAMES\n", ""),
    )
    notebook.module("pkg_four/unused.py", "raise AssertionError\n")
    notebook.module("single.py", "X = 5\n")
    notebook.run("""
        def mapper():
            def inner():
                import json, single
                from pkg_four import base
                return base.VALUE, single.X, single.__file__
            return inner()
    """)
    packed = notebook.pack()
    assert packed.modules == (
        "pkg_four",
        "pkg_four.base",
        "pkg_four.deep",
        "pkg_four.deep.leaf",
        "single",
    )
    sys.path.remove(str(notebook.folder))
    (notebook.folder / "single.py").unlink()
    with isolated(packed.data) as found:
        assert found.mapper() == (4, 5, str(notebook.folder / "single.py"))
    assert "single" not in sys.modules
    assert "pkg_four" not in sys.modules


def test_installed_modules_are_not_sent(notebook: Notebook) -> None:
    notebook.run(
        "import json, numpy, mrkernel.errors\ndef mapper(): return json, numpy, mrkernel.errors"
    )
    assert notebook.pack().modules == ()


def test_a_runner_forgets_the_modules_of_the_job_before(notebook: Notebook) -> None:
    path = notebook.module("helper_five.py", "X = 1\n")
    notebook.run("def mapper():\n    import helper_five\n    return helper_five.X")
    assert unpack(notebook.pack().data).mapper() == 1
    path.write_text("X = 2\n")
    packed = notebook.pack()
    assert unpack(packed.data).mapper() == 2
    assert unpack(pack(Functions(len)).data).mapper is len
    assert "helper_five" not in sys.modules


def test_tracebacks_show_shipped_lines_and_cells(notebook: Notebook) -> None:
    path = notebook.module("helper_six.py", "def f(x):\n    return 1 / x\n")
    cell = notebook.run("import helper_six\ndef mapper(x):\n    return helper_six.f(x)")
    packed = notebook.pack(names={cell: "cell 3"})
    path.write_text("# edited meanwhile\n")
    import linecache

    del linecache.cache[cell]
    mapper = unpack(packed.data).mapper
    with pytest.raises(UserCodeError) as caught:
        MapCall(mapper).pairs(ItemBatch([0]))
    outer, inner = caught.value.failure.frames
    assert (outer.file, outer.line, outer.function) == ("cell 3", 3, "mapper")
    assert outer.code.strip() == "return helper_six.f(x)"
    assert (inner.file, inner.line, inner.code.strip()) == (str(path), 2, "return 1 / x")


def test_a_module_that_does_not_compile(notebook: Notebook) -> None:
    path = notebook.module("helper_seven.py", "def f(): return 1\n")
    notebook.run("from helper_seven import f\ndef mapper(): return f()")
    path.write_text("def f() return 1\n")
    packed = notebook.pack()
    with pytest.raises(UserCodeError, match="import of your module raised SyntaxError") as caught:
        unpack(packed.data)
    assert caught.value.failure.frames[-1].file == str(path)


def test_the_notebooks_own_classes_are_left_alone(notebook: Notebook) -> None:
    notebook.run("""
        factor = 2
        class Mapper:
            made = 0
            def __call__(self, x):
                Mapper.made += 1
                return x * factor
    """)
    packed = notebook.pack("Mapper")
    mine = notebook.space["Mapper"]
    method = mine.__call__
    with isolated(packed.data) as found:
        assert found.mapper is not mine
        assert found.mapper()(4) == 8
    assert mine.__call__ is method
    assert mine.made == 0


def test_isolation_ends_after_an_error(notebook: Notebook) -> None:
    notebook.module("helper_eight.py", "X = 1\n")
    notebook.run("import helper_eight\ndef mapper(): return helper_eight.X")
    packed, module, finders = notebook.pack(), sys.modules["helper_eight"], list(sys.meta_path)
    with pytest.raises(ZeroDivisionError), isolated(packed.data):
        assert sys.modules["helper_eight"] is not module
        raise ZeroDivisionError
    assert sys.modules["helper_eight"] is module
    assert sys.meta_path == finders


@pytest.mark.fault(36)
@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            """
            import threading
            lock = threading.Lock()
            def helper(x): return lock
            def mapper(x): return helper(x)
            """,
            "`lock` used by `helper` used by `mapper` is a _thread.lock and cannot be sent to "
            "workers: create it inside the function",
        ),
        (
            """
            import threading
            config = {"a": [1, threading.Lock()]}
            def mapper(x): return config
            """,
            "`config['a'][1]` used by `mapper` is a _thread.lock",
        ),
        (
            """
            out = open("/dev/null", "w")
            def mapper(x, out=out): return out
            """,
            "`out` used by `mapper` is an _io.TextIOWrapper and cannot be sent to workers: open it "
            "inside the function",
        ),
        (
            """
            numbers = (n for n in range(3))
            mapper = lambda x: numbers
            """,
            "`numbers` used by `mapper` is a generator and cannot be sent to workers: make it a ",
        ),
        (
            """
            import threading
            class Client:
                def __init__(self): self.lock = threading.Lock()
            client = Client()
            def make(client):
                def mapper(x): return client
                return mapper
            mapper = make(client)
            """,
            "`client.lock` used by `mapper` is a _thread.lock",
        ),
        (
            """
            import sqlite3
            db = sqlite3.connect(":memory:")
            class Mapper:
                def __call__(self, x): return db
            mapper = Mapper
            """,
            "`db` used by `Mapper.__call__` used by `Mapper` is a sqlite3.Connection and cannot be "
            "sent to workers: connect inside the function",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_cannot_be_sent_is_named(notebook: Notebook, source: str, sentence: str) -> None:
    notebook.run(source)
    with pytest.raises(JobSpecError) as caught:
        notebook.pack()
    assert sentence in str(caught.value)
    for thing in (notebook.space.get("db"), notebook.space.get("out")):
        if thing is not None:
            thing.close()


@pytest.mark.fault(37)
def test_large_captures_are_named(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "NOTE_BYTES", 1_000_000)
    monkeypatch.setattr(functions, "MOST_BYTES", 4_000_000)
    notebook.run("""
        small = b"x" * 1000
        table = b"x" * 2_000_000
        def helper(): return table, small
        def mapper(): return helper()
    """)
    (note,) = notebook.pack().notes
    assert note.startswith("`table` used by `helper` used by `mapper` is 2 MB and is sent to every")
    notebook.run("table = [b'x' * 1_000_000 for _ in range(9)]")
    with pytest.raises(
        JobSpecError, match="`table` used by `helper` used by `mapper` is over 4 MB"
    ):
        notebook.pack()


@pytest.mark.fault(39)
def test_another_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pack(Functions(len)).data
    monkeypatch.setattr(sys, "version_info", (3, 99, 0, "final", 0))
    with pytest.raises(JobSpecError, match=r"packed by Python 3\.\d+ and this is Python 3\.99"):
        unpack(data)


@pytest.mark.fault(38)
def test_a_missing_module_is_named(notebook: Notebook) -> None:
    import types

    module = types.ModuleType("not_there")
    module.__file__ = sys.prefix + "/lib/site-packages/not_there.py"
    sys.modules["not_there"] = module
    exec("def f(): return 1", module.__dict__)
    notebook.space["mapper"] = module.__dict__["f"]
    packed = notebook.pack()
    del sys.modules["not_there"]
    with pytest.raises(JobSpecError, match="need the module not_there, which is not installed"):
        unpack(packed.data)
