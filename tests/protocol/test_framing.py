"""Frames: any cut of the stream gives the same ones, and nothing bad gets past a header."""

from __future__ import annotations

import itertools
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrkernel.errors import LocalProtocolError, RemoteProtocolError
from mrkernel.protocol import framing
from mrkernel.protocol.framing import (
    CONTROL,
    FRAME_LIMIT,
    HANDSHAKE_LIMIT,
    HEADER_SIZE,
    MORE,
    RAW,
    FrameDecoder,
    pack_control,
    pack_frame,
)

kinds = st.sampled_from([CONTROL, RAW])


def header(
    magic: bytes = b"mr", version: int = 1, kind: int = CONTROL, length: int = 0, crc: int = 0
) -> bytes:
    return struct.pack("!2sBBII", magic, version, kind, length, crc)


def opened() -> FrameDecoder:
    decoder = FrameDecoder()
    decoder.open()
    return decoder


def feed_in_cuts(decoder: FrameDecoder, stream: bytes, cuts: list[int]) -> list[tuple[int, bytes]]:
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    out = []
    for start, stop in itertools.pairwise(edges):
        out += list(decoder.feed(stream[start:stop]))
    return out


@given(
    st.lists(st.tuples(kinds, st.binary(max_size=40)), max_size=6),
    st.lists(st.integers(0, 10_000), max_size=12),
)
def test_any_cut_gives_the_same_frames(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    stream = b"".join(pack_frame(payload, kind) for kind, payload in frames)
    assert feed_in_cuts(FrameDecoder(), stream, cuts) == frames


@given(
    st.lists(st.binary(max_size=60), max_size=5),
    st.integers(1, 20),
    st.lists(st.integers(0, 10_000), max_size=12),
)
def test_a_long_payload_comes_in_several_frames(
    payloads: list[bytes], limit: int, cuts: list[int]
) -> None:
    stream = b"".join(pack_control(payload, limit) for payload in payloads)
    got = feed_in_cuts(FrameDecoder(limit, message_limit=60), stream, cuts)
    assert got == [(CONTROL, payload) for payload in payloads]


def test_a_short_payload_is_one_frame() -> None:
    assert pack_control(b"abc") == pack_frame(b"abc")
    assert len(pack_control(b"abcd", 2)) == 4 + 2 * HEADER_SIZE


@pytest.mark.fault(60)
@given(st.binary(min_size=1, max_size=30), st.integers(0, 8 * (HEADER_SIZE + 30) - 1))
def test_no_flipped_bit_changes_a_payload(payload: bytes, bit: int) -> None:
    frame = bytearray(pack_frame(payload))
    bit %= 8 * len(frame)
    frame[bit // 8] ^= 1 << bit % 8
    try:
        came = list(FrameDecoder().feed(bytes(frame)))
    except RemoteProtocolError:
        return
    # A longer one is waited for; another kind is not what the reader waits for.
    assert came == [] or (came == [(RAW, payload)] and bit // 8 == 3)


@pytest.mark.fault(55)
@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (header(magic=b"GE"), "does not speak mrkernel's protocol"),
        (header(version=2), "speaks protocol version 2, this is 1: install the same mrkernel"),
        (header(length=HANDSHAKE_LIMIT + 1), "announced a frame of 4097 bytes; the limit is 4096"),
        (header(length=2**32 - 1), "announced a frame of 4294967295 bytes"),
        (header(kind=7), "a frame of kind 7"),
        (header(kind=MORE), "a frame of kind 2, which has no place here"),
        (header(length=1, crc=5) + b"x", "fails its checksum"),
    ],
)
def test_a_bad_header_is_refused_before_its_payload(frame: bytes, said: str) -> None:
    with pytest.raises(RemoteProtocolError, match=said):
        list(FrameDecoder().feed(frame))


@pytest.mark.fault(55)
def test_nothing_is_allocated_by_a_declared_length() -> None:
    decoder = opened()
    tracemalloc.start()
    try:
        assert list(decoder.feed(header(length=FRAME_LIMIT))) == []
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()
    with pytest.raises(RemoteProtocolError, match="announced"):
        list(opened().feed(header(length=FRAME_LIMIT + 1)))


def test_the_frames_of_one_payload_have_a_limit_together() -> None:
    decoder = FrameDecoder(10, message_limit=25)
    for _ in range(2):
        assert list(decoder.feed(pack_frame(b"0123456789", MORE))) == []
    with pytest.raises(RemoteProtocolError, match="messages of 26 bytes; the limit is 25"):
        list(decoder.feed(header(kind=CONTROL, length=6)))


def test_nothing_comes_between_the_frames_of_one_payload() -> None:
    decoder = opened()
    assert list(decoder.feed(pack_frame(b"begun", MORE))) == []
    with pytest.raises(RemoteProtocolError, match="has no place here"):
        list(decoder.feed(pack_frame(b"raw", RAW)))


def test_what_no_peer_would_take_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "FRAME_LIMIT", 10)
    monkeypatch.setattr(framing, "MESSAGE_LIMIT", 20)
    with pytest.raises(LocalProtocolError, match="11 bytes is over the limit of 10: split it up"):
        pack_frame(b"x" * 11)
    with pytest.raises(LocalProtocolError, match="21 bytes are over the limit of 20"):
        pack_control(b"x" * 21, 10)


def test_the_header_is_as_the_page_says() -> None:
    payload = b"hello"
    assert (
        pack_frame(payload, RAW)
        == b"mr\x01\x01\x00\x00\x00\x05" + struct.pack("!I", zlib.crc32(payload)) + payload
    )


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_waited_for(garbage: bytes) -> None:
    try:
        for _, payload in FrameDecoder().feed(garbage):
            assert pack_frame(payload)[HEADER_SIZE:] == payload
    except RemoteProtocolError:
        return
    assert len(garbage) < HEADER_SIZE or garbage[:2] == b"mr"
