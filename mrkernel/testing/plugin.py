"""The pytest plugin: one fixture. Loaded by every pytest of the environment, so it imports late."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def mapreduce() -> Callable[..., Any]:
    """``mrkernel.testing.run``: run a mapper and a reducer over records in this process."""
    from mrkernel.testing import run

    return run
