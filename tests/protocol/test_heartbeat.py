"""Heartbeat datagrams: only the fresh ones of who holds the key count, each once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrkernel.protocol.heartbeat import SIZE, HeartbeatReceiver, HeartbeatSender

KEY = b"k" * 32


def pair(number: int = 7) -> tuple[HeartbeatSender, HeartbeatReceiver]:
    receiver = HeartbeatReceiver()
    receiver.expect(number, KEY)
    return HeartbeatSender(KEY, number), receiver


def test_each_beat_is_heard_once() -> None:
    sender, receiver = pair()
    beats = [sender.next() for _ in range(3)]
    assert [receiver.accept(beat) for beat in beats] == [7, 7, 7]
    assert [receiver.accept(beat) for beat in beats] == [None] * 3  # replayed
    assert receiver.dropped == 3


@pytest.mark.fault(59)
@given(st.lists(st.integers(0, 9), max_size=30))
def test_in_any_order_only_what_is_newer_counts(order: list[int]) -> None:
    sender, receiver = pair()
    beats = [sender.next() for _ in range(10)]
    newest = -1
    for index in order:
        assert (receiver.accept(beats[index]) == 7) == (index > newest)
        newest = max(newest, index)


@pytest.mark.fault(59)
@given(st.integers(0, SIZE * 8 - 1))
def test_a_beat_with_one_bit_changed_is_none(bit: int) -> None:
    sender, receiver = pair()
    beat = bytearray(sender.next())
    beat[bit // 8] ^= 1 << bit % 8
    assert receiver.accept(bytes(beat)) is None
    assert receiver.accept(sender.next()) == 7  # and does nobody harm


@given(st.binary(max_size=2 * SIZE))
def test_garbage_is_nobodys(garbage: bytes) -> None:
    sender, receiver = pair()
    assert receiver.accept(garbage) is None
    assert receiver.dropped == 1
    assert receiver.accept(sender.next()) == 7


@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b + b"\0", lambda b: b + b])
def test_a_beat_of_another_length_is_none(change: object) -> None:
    sender, receiver = pair()
    assert receiver.accept(change(sender.next())) is None  # type: ignore[operator]


def test_a_key_speaks_for_its_own_registration_alone() -> None:
    receiver = HeartbeatReceiver()
    receiver.expect(1, b"a" * 32)
    receiver.expect(2, b"b" * 32)
    assert receiver.accept(HeartbeatSender(b"a" * 32, 2).next()) is None
    assert receiver.accept(HeartbeatSender(b"a" * 32, 3).next()) is None
    assert receiver.accept(HeartbeatSender(b"a" * 32, 1).next()) == 1


@pytest.mark.fault(59)
def test_who_is_forgotten_is_not_revived() -> None:
    sender, receiver = pair()
    assert receiver.accept(sender.next()) == 7
    receiver.forget(7)
    receiver.forget(7)
    assert receiver.accept(sender.next()) is None
