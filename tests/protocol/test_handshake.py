"""Both sides prove that they know the token; nothing recorded, reflected or made up will do."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrkernel.errors import RemoteProtocolError, SecurityError
from mrkernel.protocol.framing import HANDSHAKE_LIMIT
from mrkernel.protocol.handshake import (
    NONCE_SIZE,
    Acceptor,
    Challenge,
    Connector,
    Hello,
    Proof,
    Role,
)

TOKEN = b"t" * 32
OTHER = b"o" * 32


def nonce(letter: str) -> bytes:
    return letter.encode() * NONCE_SIZE


def connector(token: bytes = TOKEN, role: Role = "client", letter: str = "c") -> Connector:
    return Connector(token, role, nonce(letter))


def acceptor(token: bytes = TOKEN, letter: str = "a") -> Acceptor:
    return Acceptor(token, nonce(letter))


@pytest.mark.parametrize("role", get_args(Role))
def test_two_who_know_the_token_agree(role: Role) -> None:
    one, other = connector(role=role), acceptor()
    other.verify(one.prove(other.challenge(one.hello())))
    assert other.role == role


def test_no_word_of_it_carries_the_token() -> None:
    one, other = connector(), acceptor()
    hello = one.hello()
    challenge = other.challenge(hello)
    proof = one.prove(challenge)
    for payload in (hello, challenge, proof):
        assert TOKEN not in payload
        assert TOKEN.hex().encode() not in payload
        assert len(payload) < HANDSHAKE_LIMIT


def test_an_acceptor_with_another_token_is_found_out() -> None:
    one, other = connector(), acceptor(OTHER)
    with pytest.raises(SecurityError, match="connection file of another manager"):
        one.prove(other.challenge(one.hello()))


def test_a_connector_with_another_token_is_found_out() -> None:
    one, other, real = connector(OTHER), acceptor(), acceptor(OTHER)
    other.challenge(one.hello())
    with pytest.raises(SecurityError, match="wrong proof"):
        other.verify(one.prove(real.challenge(one.hello())))


@pytest.mark.fault(58)
def test_a_recorded_handshake_cannot_be_played_again() -> None:
    one, other = connector(), acceptor()
    hello = one.hello()
    proof = one.prove(other.challenge(hello))
    again = acceptor(letter="b")  # every acceptor has a nonce of its own
    again.challenge(hello)
    with pytest.raises(SecurityError):
        again.verify(proof)


def test_a_recorded_challenge_cannot_be_played_again() -> None:
    recorded = acceptor().challenge(connector(letter="c").hello())
    with pytest.raises(SecurityError):
        connector(letter="d").prove(recorded)


@pytest.mark.fault(58)
def test_a_challenge_cannot_be_reflected_as_a_proof() -> None:
    """Who knows nothing lets the acceptor prove itself, and offers that as his own proof."""
    other = acceptor()
    challenge = msgspec.msgpack.decode(other.challenge(connector(OTHER).hello()), type=Challenge)
    with pytest.raises(SecurityError):
        other.verify(msgspec.msgpack.encode(Proof(challenge.proof)))


def test_a_hello_cannot_be_reflected_as_a_challenge() -> None:
    """An acceptor that knows nothing asks a second, real one, with the nonce it was given."""
    one, real = connector(), acceptor()
    hello = msgspec.msgpack.decode(one.hello(), type=Hello)
    with pytest.raises(SecurityError):
        one.prove(msgspec.msgpack.encode(Challenge(hello.nonce, b"\0" * 32)))
    # Another role than the connector's own is another proof.
    as_worker = Hello("worker", hello.nonce)
    with pytest.raises(SecurityError):
        one.prove(real.challenge(msgspec.msgpack.encode(as_worker)))


@pytest.mark.parametrize(
    "hello",
    [
        {"type": "hello", "role": "client", "nonce": b"short"},
        {"type": "hello", "role": "client", "nonce": b"x" * (NONCE_SIZE + 1)},
        {"type": "hello", "role": "king", "nonce": nonce("c")},
        {"type": "hello", "role": "client"},
        {"type": "proof", "proof": b"x"},
        {"role": "client", "nonce": "not bytes"},
        [],
        None,
    ],
)
def test_a_malformed_hello_is_refused(hello: object) -> None:
    with pytest.raises(RemoteProtocolError, match="a malformed hello"):
        acceptor().challenge(msgspec.msgpack.encode(hello))


def nested(depth: int) -> bytes:
    """A hello with a field of no meaning, nested without bottom."""
    return b"\x82\xa4type\xa5hello\xa1x" + b"\x91" * depth + b"\xc0"


@pytest.mark.parametrize("payload", [nested(3900), b"\x81\xa4type\xa2\xff\xff", b"", b"\xc1"])
def test_bytes_that_break_decoders_are_only_malformed(payload: bytes) -> None:
    """Before anybody is authenticated, no traceback and no recursion can be had of us."""
    with pytest.raises(RemoteProtocolError, match="a malformed hello"):
        acceptor().challenge(payload)
    with pytest.raises(RemoteProtocolError, match="a malformed challenge"):
        connector().prove(payload)
    other = acceptor()
    other.challenge(connector().hello())
    with pytest.raises(RemoteProtocolError, match="a malformed proof"):
        other.verify(payload)


@given(st.binary(max_size=120))
def test_garbage_never_passes(garbage: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        acceptor().challenge(garbage)
    with pytest.raises((RemoteProtocolError, SecurityError)):
        connector().prove(garbage)
    other = acceptor()
    other.challenge(connector().hello())
    with pytest.raises((RemoteProtocolError, SecurityError)):
        other.verify(garbage)


@pytest.mark.fault(57)
@given(st.binary(min_size=32, max_size=32))
def test_a_guessed_proof_never_passes(guess: bytes) -> None:
    other = acceptor()
    other.challenge(connector().hello())
    with pytest.raises(SecurityError):
        other.verify(msgspec.msgpack.encode(Proof(guess)))


def test_both_sides_have_one_key_of_their_own() -> None:
    """It signs their heartbeats: another handshake of the same two gives another one."""
    keys = set()
    for letter in "abc":
        one, other = connector(letter=letter), acceptor(letter=letter.upper())
        assert one.session_key == other.session_key == b""
        other.verify(one.prove(other.challenge(one.hello())))
        assert one.session_key == other.session_key
        assert len(one.session_key) == 32
        keys.add(one.session_key)
    assert len(keys) == 3
    assert TOKEN not in keys


def test_who_does_not_know_the_token_gets_no_key() -> None:
    one, other, real = connector(OTHER), acceptor(), acceptor(OTHER)
    other.challenge(one.hello())
    with pytest.raises(SecurityError):
        other.verify(one.prove(real.challenge(one.hello())))
    assert other.session_key == b""
