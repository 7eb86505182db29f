"""Who are you: version, then a proof of the token both ways, before anything else. Pure.

::

    connector ── Hello(version, role, nonce) ──────────▶ acceptor
    connector ◀─ Challenge(nonce, proof of acceptor) ── acceptor
    connector ── Proof(proof of connector) ────────────▶ acceptor

Each proof is an HMAC-SHA256 with the cluster's token over a label, the role and both nonces, so
that a recorded handshake cannot be replayed and a challenge cannot be reflected. The token never
crosses the wire. Whatever is wrong, the acceptor just closes: same behaviour for every failure.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Literal

import msgspec

from mrkernel.errors import RemoteProtocolError, SecurityError
from mrkernel.protocol.framing import MALFORMED

Role = Literal["client", "worker", "reader"]
NONCE_SIZE = 32
DEADLINE_S = 5.0  #: seconds an acceptor gives a peer to finish the handshake


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """First word of whoever connects."""

    role: Role
    nonce: bytes


class Challenge(msgspec.Struct, frozen=True, tag="challenge"):
    """The acceptor's nonce, and its proof that it knows the token."""

    nonce: bytes
    proof: bytes


class Proof(msgspec.Struct, frozen=True, tag="proof"):
    """The connector's proof."""

    proof: bytes


_encoder = msgspec.msgpack.Encoder()
_hello = msgspec.msgpack.Decoder(Hello)
_challenge = msgspec.msgpack.Decoder(Challenge)
_proof = msgspec.msgpack.Decoder(Proof)


def _mac(token: bytes, label: bytes, role: str, hello_nonce: bytes, nonce: bytes) -> bytes:
    message = b"|".join((b"mrkernel-1", label, role.encode(), hello_nonce.hex().encode(), nonce))
    return hmac.new(token, message, hashlib.sha256).digest()


def _session_key(token: bytes, hello_nonce: bytes, nonce: bytes) -> bytes:
    """Both sides know it after a handshake, and nobody else: it signs their datagrams."""
    return _mac(token, b"session", "", hello_nonce, nonce)


class Connector:
    """The side that connects.

    Args:
        token: the cluster's secret, 32 bytes.
        nonce: fresh random bytes; handed in, because this file makes no chance of its own.
    """

    def __init__(self, token: bytes, role: Role, nonce: bytes) -> None:
        self._token = token
        self._role: Role = role
        self._nonce = nonce
        self.session_key = b""  #: after ``prove``

    def hello(self) -> bytes:
        """Return the first payload to send."""
        return _encoder.encode(Hello(self._role, self._nonce))

    def prove(self, payload: bytes) -> bytes:
        """Check the acceptor's proof; return the last payload to send.

        Raises:
            SecurityError: the acceptor does not know our token.
        """
        try:
            challenge = _challenge.decode(payload)
        except MALFORMED as error:
            raise RemoteProtocolError(f"a malformed challenge: {error}") from error
        expected = _mac(self._token, b"acceptor", self._role, self._nonce, challenge.nonce)
        if not hmac.compare_digest(expected, challenge.proof):
            raise SecurityError(
                "the other side does not know this cluster's token: "
                "is the connection file of another manager?"
            )
        proof = _mac(self._token, b"connector", self._role, self._nonce, challenge.nonce)
        self.session_key = _session_key(self._token, self._nonce, challenge.nonce)
        return _encoder.encode(Proof(proof))


class Acceptor:
    """The side that listens; see ``Connector`` for the arguments.

    Attributes:
        role: what the peer says it is; to be trusted only after ``verify``.
        session_key: shared with this peer alone; after ``verify``.
    """

    def __init__(self, token: bytes, nonce: bytes) -> None:
        self._token = token
        self._nonce = nonce
        self._hello: Hello | None = None
        self.session_key = b""

    @property
    def role(self) -> Role:
        assert self._hello is not None
        return self._hello.role

    def challenge(self, payload: bytes) -> bytes:
        """Read the hello; return the challenge to send.

        Raises:
            RemoteProtocolError: not a hello.
        """
        try:
            self._hello = _hello.decode(payload)
        except MALFORMED as error:
            raise RemoteProtocolError(f"a malformed hello: {error}") from error
        if len(self._hello.nonce) != NONCE_SIZE:
            raise RemoteProtocolError("a malformed hello: the nonce has a wrong length")
        proof = _mac(self._token, b"acceptor", self.role, self._hello.nonce, self._nonce)
        return _encoder.encode(Challenge(self._nonce, proof))

    def verify(self, payload: bytes) -> None:
        """Check the connector's proof.

        Raises:
            SecurityError: it does not know the token.
        """
        assert self._hello is not None
        try:
            proof = _proof.decode(payload).proof
        except MALFORMED as error:
            raise RemoteProtocolError(f"a malformed proof: {error}") from error
        expected = _mac(self._token, b"connector", self.role, self._hello.nonce, self._nonce)
        if not hmac.compare_digest(expected, proof):
            raise SecurityError("a peer offered a wrong proof")
        self.session_key = _session_key(self._token, self._hello.nonce, self._nonce)
