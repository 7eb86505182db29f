"""Bytes to frames to messages, and back. Pure: no socket here.

A frame is a 12-byte header and a payload: magic ``mr``, version, kind, payload length, crc32 of
the payload (big-endian). A control frame's payload is a msgpack array of messages, so everything
one loop turn has to say to one peer costs one frame; what is longer than a frame may be comes as
``MORE`` frames and a last ``CONTROL`` one. A raw frame's payload is bytes as they are.

Nothing is allocated by a declared length: the decoder refuses a length past its limit before it
waits for the payload. Before a peer is authenticated the limit is ``HANDSHAKE_LIMIT``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import msgspec

from mrkernel.errors import LocalProtocolError, RemoteProtocolError

MAGIC = b"mr"
VERSION = 1
CONTROL = 0
RAW = 1
MORE = 2  #: the beginning of a control payload that goes on in the next frame

HANDSHAKE_LIMIT = 4 << 10  #: bytes of a frame before authentication
FRAME_LIMIT = 64 << 20  #: bytes of a frame after it; larger things travel as several frames
MESSAGE_LIMIT = 1 << 30  #: bytes of a control payload, all its frames together
BLOB_PIECE = 4 << 20  #: bytes of a blob per message

#: What msgspec raises for bytes that are no message: broken text and bottomless nesting included.
MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_HEADER = struct.Struct("!2sBBII")
HEADER_SIZE = _HEADER.size


def pack_frame(payload: bytes, kind: int = CONTROL) -> bytes:
    """Put the header before one payload.

    Raises:
        LocalProtocolError: the payload is larger than any peer accepts.
    """
    if len(payload) > FRAME_LIMIT:
        raise LocalProtocolError(
            f"a frame of {len(payload)} bytes is over the limit of {FRAME_LIMIT}: split it up"
        )
    return _HEADER.pack(MAGIC, VERSION, kind, len(payload), zlib.crc32(payload)) + payload


def pack_control(payload: bytes, limit: int = FRAME_LIMIT) -> bytes:
    """Put a control payload into one frame, or into as many as ``limit`` demands.

    Raises:
        LocalProtocolError: the payload is larger than any peer accepts.
    """
    if len(payload) <= limit:
        return pack_frame(payload)
    if len(payload) > MESSAGE_LIMIT:
        raise LocalProtocolError(
            f"messages of {len(payload)} bytes are over the limit of {MESSAGE_LIMIT}: "
            "make fewer or larger tasks"
        )
    cuts = range(0, len(payload), limit)
    frames = [pack_frame(payload[at : at + limit], MORE) for at in cuts[:-1]]
    return b"".join([*frames, pack_frame(payload[cuts[-1] :])])


def payload_size(header: bytes | bytearray) -> int:
    """Return how many bytes follow a header."""
    length: int = _HEADER.unpack_from(header)[3]
    return length


class FrameDecoder:
    """Cuts a stream of bytes into frames.

    Attributes:
        limit: bytes of one frame's payload accepted at most.
        message_limit: bytes of a payload in several frames accepted at most; 0: no such thing.
    """

    def __init__(self, limit: int = HANDSHAKE_LIMIT, message_limit: int = 0) -> None:
        self.limit = limit
        self.message_limit = message_limit
        self._buffer = bytearray()
        self._begun = bytearray()

    def open(self) -> None:
        """Raise the limits: the peer is authenticated."""
        self.limit, self.message_limit = FRAME_LIMIT, MESSAGE_LIMIT

    def feed(self, data: bytes | bytearray) -> Iterator[tuple[int, bytes]]:
        """Take bytes as they arrived; yield every payload that is whole now as (kind, payload).

        Raises:
            RemoteProtocolError: not our magic or version, too long, or a wrong checksum.
        """
        self._buffer += data
        while len(self._buffer) >= HEADER_SIZE:
            magic, version, kind, length, crc = _HEADER.unpack_from(self._buffer)
            self._check(magic, version, kind, length)
            end = HEADER_SIZE + length
            if len(self._buffer) < end:
                return
            payload = bytes(memoryview(self._buffer)[HEADER_SIZE:end])
            del self._buffer[:end]
            if zlib.crc32(payload) != crc:
                raise RemoteProtocolError("a frame fails its checksum")
            if kind == MORE:
                self._begun += payload
                continue
            if self._begun:
                payload = bytes(self._begun) + payload
                self._begun = bytearray()
            yield kind, payload

    def _check(self, magic: bytes, version: int, kind: int, length: int) -> None:
        """Judge a header, before anything of its payload is waited for."""
        if magic != MAGIC:
            raise RemoteProtocolError("the peer does not speak mrkernel's protocol")
        if version != VERSION:
            raise RemoteProtocolError(
                f"the peer speaks protocol version {version}, this is {VERSION}: "
                "install the same mrkernel on both sides"
            )
        fits = {CONTROL: True, RAW: not self._begun, MORE: self.message_limit > 0}
        if not fits.get(kind, False):
            raise RemoteProtocolError(
                f"the peer sent a frame of kind {kind}, which has no place here"
            )
        if length > self.limit:
            raise RemoteProtocolError(
                f"the peer announced a frame of {length} bytes; the limit is {self.limit}"
            )
        whole = len(self._begun) + length
        if (kind == MORE or self._begun) and whole > self.message_limit:
            raise RemoteProtocolError(
                f"the peer sends messages of {whole} bytes; the limit is {self.message_limit}"
            )
