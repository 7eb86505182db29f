"""Chance in a task: seeded by (job seed, task), the same on every attempt.

``random`` and NumPy's global generator are seeded. ``numpy.random.default_rng()`` without a seed
asks the system each time, so it is outside: write ``default_rng(random.getrandbits(64))``.
"""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.machinery
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_NUMPY_RANDOM = "numpy.random"


def seed(job_seed: int, task: str) -> None:
    """Seed ``random`` and ``numpy.random`` (when it is, or once it gets, imported) for a task."""
    digest = hashlib.blake2b(f"{job_seed}/{task}".encode(), digest_size=32).digest()
    random.seed(int.from_bytes(digest))
    _SeedWhenImported.digest = digest
    numpy_random = sys.modules.get(_NUMPY_RANDOM)
    if numpy_random is not None:
        _seed_numpy(numpy_random, digest)
    elif _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def state() -> tuple[Any, Any]:
    """How far the generators are, for ``restore``."""
    numpy_random: Any = sys.modules.get(_NUMPY_RANDOM)
    return random.getstate(), None if numpy_random is None else numpy_random.get_state()


def restore(state: tuple[Any, Any]) -> None:
    """Put the generators back to where they were."""
    plain, numpy_state = state
    random.setstate(plain)
    numpy_random: Any = sys.modules.get(_NUMPY_RANDOM)
    if numpy_random is None:
        return
    if numpy_state is not None:
        numpy_random.set_state(numpy_state)
    elif _SeedWhenImported.digest:  # imported since: it begins where an import would have it begin
        _seed_numpy(numpy_random, _SeedWhenImported.digest)


@contextmanager
def seeded(job_seed: int, task: str) -> Iterator[None]:
    """Seed for a task that runs inside the user's own process; the states before come back."""
    state = random.getstate()
    numpy_random: Any = sys.modules.get(_NUMPY_RANDOM)
    numpy_state = None if numpy_random is None else numpy_random.get_state()
    seed(job_seed, task)
    try:
        yield
    finally:
        random.setstate(state)
        if numpy_state is not None:
            numpy_random.set_state(numpy_state)
        if _finder in sys.meta_path:
            sys.meta_path.remove(_finder)


def _seed_numpy(numpy_random: Any, digest: bytes) -> None:
    words = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, len(digest), 4)]
    numpy_random.seed(words)


class _SeedWhenImported(importlib.abc.MetaPathFinder):
    """Seeds ``numpy.random`` right after its import: importing NumPy for everybody costs 80 ms."""

    digest = b""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != _NUMPY_RANDOM:
            return None
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _SeedingLoader(spec.loader, self.digest)
        return spec


_finder = _SeedWhenImported()


class _SeedingLoader(importlib.abc.Loader):
    def __init__(self, loader: Any, digest: bytes) -> None:
        self._loader = loader
        self._digest = digest

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None:
            module.__loader__ = spec.loader = self._loader
        self._loader.exec_module(module)
        _seed_numpy(module, self._digest)
