"""What the tests of the manager share."""

from __future__ import annotations

import pytest
from desk import Desk


@pytest.fixture
def desk() -> Desk:
    """A manager without workers or jobs."""
    return Desk()
