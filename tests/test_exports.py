"""The public names: all there, all documented, and cheap until they are used."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from types import ModuleType

import pytest

import mrkernel
from mrkernel import errors

#: The contract of README and CHANGELOG; a name that leaves needs a line there.
PROMISED = {
    "Job",
    "JobResult",
    "JobSpec",
    "LocalCluster",
    "connect",
    "counter",
    "run",
    "submit",
}

#: Modules that ``import mrkernel`` may import, those of the standard library included.
IMPORT_LIMIT = 60

COSTLY = {"IPython", "anywidget", "asyncio", "cloudpickle", "fsspec", "ipykernel", "ipywidgets"}
COSTLY |= {"numpy", "pandas", "psutil", "pyarrow", "rich", "tornado", "multiprocessing"}

ERRORS = [
    error
    for error in vars(errors).values()
    if inspect.isclass(error) and issubclass(error, errors.MRKernelError)
]


def fresh(code: str) -> str:
    """Run ``code`` in a Python of its own and return what it prints."""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_every_promised_name_is_public() -> None:
    assert set(mrkernel.__all__) >= PROMISED | {error.__name__ for error in ERRORS}


def test_every_public_name_resolves_and_is_listed() -> None:
    missing = [name for name in mrkernel.__all__ if not hasattr(mrkernel, name)]
    assert missing == []
    assert set(mrkernel.__all__) <= set(dir(mrkernel))
    assert len(mrkernel.__all__) == len(set(mrkernel.__all__))


def test_every_public_name_says_what_it_is() -> None:
    silent = [
        name
        for name in mrkernel.__all__
        if not name.startswith("__") and not inspect.getdoc(getattr(mrkernel, name))
    ]
    assert silent == []


def test_nothing_else_is_public() -> None:
    """In a fresh process: here other tests have imported submodules, which become attributes."""
    code = "import mrkernel; print(*(n for n in vars(mrkernel) if not n.startswith('_')))"
    stray = set(fresh(code).split()) - set(mrkernel.__all__) - {"annotations"}
    assert stray == set()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        mrkernel.no_such_name  # noqa: B018


def test_import_loads_nothing_costly() -> None:
    code = "import sys, mrkernel; print(*{m.partition('.')[0] for m in sys.modules})"
    assert set(fresh(code).split()) & COSTLY == set()


def test_import_is_quick() -> None:
    # In modules, 38 today in 20 ms: a busy machine does not make them more.
    code = "import sys; bare = len(sys.modules); import mrkernel; print(len(sys.modules) - bare)"
    assert int(fresh(code)) < IMPORT_LIMIT


def test_the_module_submit_does_not_hide_the_function() -> None:
    """``python -m mrkernel.submit`` needs a module of the function's name."""
    fresh("import mrkernel.submit, mrkernel; assert callable(mrkernel.submit), mrkernel.submit")
    fresh(
        "import mrkernel; mrkernel.submit; import mrkernel.submit; assert callable(mrkernel.submit)"
    )


def test_it_is_an_ipython_extension() -> None:
    assert callable(mrkernel.load_ipython_extension)
    assert callable(mrkernel.unload_ipython_extension)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_is_in_the_drawn_tree_and_crosses_processes(error: type[Exception]) -> None:
    assert error.__name__ in (errors.__doc__ or "")
    sent = error("what, where, what to do next")
    got = pickle.loads(pickle.dumps(sent))
    assert type(got) is error
    assert str(got) == str(sent)
    assert vars(got) == vars(sent)


def test_submodules_are_not_mistaken_for_public_names() -> None:
    modules = [n for n in mrkernel.__all__ if isinstance(getattr(mrkernel, n), ModuleType)]
    assert set(modules) <= {"testing"}
