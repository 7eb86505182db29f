from __future__ import annotations

import ctypes
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from mrkernel.worker import heap


def test_arrow_and_python_share_one_heap() -> None:
    program = (
        "import pyarrow as pa\n"
        "from mrkernel.worker.heap import keep_freed_memory\n"
        "keep_freed_memory()\n"
        "assert pa.default_memory_pool().backend_name == 'system'\n"
        "assert sum(pa.array(range(100_000)).to_pylist()) == 4_999_950_000\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("library", [SimpleNamespace(), None])
def test_another_c_library_is_left_alone(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow

    pools: list[str] = []

    def load(name: None) -> Any:
        if library is None:
            raise OSError("no such library")
        return library

    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(pyarrow, "set_memory_pool", lambda pool: pools.append(pool.backend_name))
    heap.keep_freed_memory()
    assert pools == ["system"]
