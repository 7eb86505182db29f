from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from mrkernel.errors import CorruptRunError
from mrkernel.shuffle.columns import pack
from mrkernel.shuffle.values import SpilledValues, Values


@pytest.fixture(params=["memory", "disk"])
def values(request: pytest.FixtureRequest, tmp_path: Path) -> Values:
    if request.param == "memory":
        return Values([1, 2, 3, 4])
    spilled = SpilledValues(tmp_path / "spill")
    spilled.append(pack([1, 2]))
    spilled.append(pack([3, 4]))
    return Values(spilled)


def test_values_can_be_iterated_again(values: Values) -> None:
    assert list(values) == list(values) == [1, 2, 3, 4]
    assert [(a, b) for a in values for b in values][:5] == [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1)]
    assert len(values) == 4
    assert values
    assert 3 in values
    assert 5 not in values
    assert (sum(values), max(values)) == (10, 4)


def test_repr_is_short(values: Values) -> None:
    assert repr(values) == "<Values of 4: 1, 2, 3, ...>"
    assert repr(Values([])) == "<Values of 0: >"
    assert len(repr(Values(["x" * 10_000] * 3))) < 1000


def test_use_after_the_call_says_what_to_write(values: Values) -> None:
    values.close()
    for use in (list, len, bool, lambda it: 1 in it):
        with pytest.raises(ValueError, match=r"write list\(values\)"):
            use(values)
    assert repr(values) == "<Values, closed>"


def test_what_values_cannot_do_says_what_to_write(values: Values) -> None:
    with pytest.raises(TypeError, match=r"list\(values\)\[...\]"):
        values[0]
    with pytest.raises(TypeError, match=r"write list\(values\)"):
        pickle.dumps(values)


def test_no_values_are_false() -> None:
    assert not Values([])


def test_damage_on_disk_is_noticed(tmp_path: Path) -> None:
    spilled = SpilledValues(tmp_path / "spill")
    assert list(spilled) == []
    spilled.append(pack(["abc"]))
    data = bytearray((tmp_path / "spill").read_bytes())
    data[-3] ^= 1
    (tmp_path / "spill").write_bytes(data)
    with pytest.raises(CorruptRunError):
        list(spilled)
    spilled.close()
    assert list(tmp_path.iterdir()) == []
