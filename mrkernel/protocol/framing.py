"""Bytes to frames to messages, and back. Pure: no socket here.

A frame is a 12-byte header and a payload: magic ``mr``, version, kind, payload length, crc32 of
the payload (big-endian). A control frame's payload is a msgpack array of messages, so everything
one loop turn has to say to one peer costs one frame; a raw frame's payload is bytes as they are.

Nothing is allocated by a declared length: the decoder refuses a length past its limit before it
waits for the payload. Before a peer is authenticated the limit is ``HANDSHAKE_LIMIT``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from mrkernel.errors import LocalProtocolError, RemoteProtocolError

MAGIC = b"mr"
VERSION = 1
CONTROL = 0
RAW = 1

HANDSHAKE_LIMIT = 4 << 10  #: bytes of a frame before authentication
FRAME_LIMIT = 64 << 20  #: bytes of a frame after it; larger things travel as several frames
BLOB_PIECE = 4 << 20  #: bytes of a blob per message

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


class FrameDecoder:
    """Cuts a stream of bytes into frames.

    Attributes:
        limit: payload bytes accepted at most; raise it once the peer is authenticated.
    """

    def __init__(self, limit: int = HANDSHAKE_LIMIT) -> None:
        self.limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Take bytes as they arrived; yield every frame that is whole now as (kind, payload).

        Raises:
            RemoteProtocolError: not our magic or version, too long, or a wrong checksum.
        """
        self._buffer += data
        while len(self._buffer) >= HEADER_SIZE:
            magic, version, kind, length, crc = _HEADER.unpack_from(self._buffer)
            if magic != MAGIC:
                raise RemoteProtocolError("the peer does not speak mrkernel's protocol")
            if version != VERSION:
                raise RemoteProtocolError(
                    f"the peer speaks protocol version {version}, this is {VERSION}: "
                    "install the same mrkernel on both sides"
                )
            if length > self.limit:
                raise RemoteProtocolError(
                    f"the peer announced a frame of {length} bytes; the limit is {self.limit}"
                )
            end = HEADER_SIZE + length
            if len(self._buffer) < end:
                return
            payload = bytes(memoryview(self._buffer)[HEADER_SIZE:end])
            del self._buffer[:end]
            if zlib.crc32(payload) != crc:
                raise RemoteProtocolError("a frame fails its checksum")
            yield kind, payload
