"""Jobs that cannot be, and the one sentence in which they are refused."""

from __future__ import annotations

import re
from typing import Any

import pytest

import mrkernel
from mrkernel.errors import MRKernelError


def pair(record: Any) -> list[tuple[Any, int]]:
    return [(record, 1)]


def refused(
    place: Any, error: type[Exception], mapper: Any, inputs: Any, *more: Any, **o: Any
) -> str:
    """What a job is refused with: one line; the place works afterwards as before."""
    with pytest.raises(error) as caught:
        mrkernel.run(mapper, inputs, *more, on=place, **o)
    said = str(caught.value)
    assert "\n" not in said
    assert isinstance(caught.value, MRKernelError)
    assert mrkernel.run(pair, [2, 1, 2], "sum", on=place).to_dict() == {1: 1, 2: 2}
    return said


def matches(pattern: str, text: str) -> bool:
    assert re.search(pattern, text), text
    return True
