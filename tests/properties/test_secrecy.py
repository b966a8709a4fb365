"""The handshake and the session of relayed links: what both ends agree on, and nobody else can."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, strategies as st
from noise.connection import Keypair as NoiseKeys, NoiseConnection

from bazaar_node.network.relayed.secrecy import PLAIN_BYTES_MAX, Handshake, Session
from bazaar_protocol import limits
from bazaar_protocol.errors import BadSignature, MalformedRecord, RemoteError
from bazaar_protocol.identity import AgentId, Keypair, verify

ADA, BO, MALLORY = (Keypair.from_name(name) for name in ("ada", "bo", "mallory"))


def begin(keys: Keypair, peer: AgentId, *, is_opener: bool) -> Handshake:
    return Handshake(keys, peer, is_opener=is_opener, entropy=os.urandom)


def shake_hands(
    ours: Keypair = ADA, theirs: Keypair = BO, wanted: AgentId = BO.agent
) -> tuple[Session, Session]:
    opener = begin(ours, wanted, is_opener=True)
    accepter = begin(theirs, ADA.agent, is_opener=False)
    accepter.read(opener.write())
    opener.read(accepter.write())
    accepter.read(opener.write())
    return opener.session(), accepter.session()


def test_two_that_want_each_other_have_a_session() -> None:
    ours, theirs = shake_hands()
    for number in range(3):
        text = bytes(number * 1000)
        assert theirs.decrypt(ours.encrypt(text)) == text
        assert ours.decrypt(theirs.encrypt(text)) == text


def test_the_largest_message_fits_into_a_frame() -> None:
    ours, _ = shake_hands()
    assert len(ours.encrypt(bytes(PLAIN_BYTES_MAX))) == limits.RELAYED_DATA_BYTES_MAX


def test_nothing_readable_travels() -> None:
    ours, _ = shake_hands()
    text = b"the result, which is nobody else's business"
    assert text not in ours.encrypt(text)


def test_somebody_else_cannot_take_the_accepters_place() -> None:
    # With the prologue that the opener expects, and so with everything but the key.
    opener, accepter = begin(ADA, BO.agent, is_opener=True), Impostor(BO.agent, ADA.agent)
    accepter.read(opener.write())
    with pytest.raises(BadSignature):
        opener.read(accepter.write())


def test_somebody_else_cannot_take_the_openers_place() -> None:
    opener = Impostor(ADA.agent, BO.agent, is_opener=True)
    accepter = begin(BO, ADA.agent, is_opener=False)
    accepter.read(opener.write())
    opener.read(accepter.write())
    with pytest.raises(BadSignature):
        accepter.read(opener.write())


class Impostor(Handshake):
    """Says that it is ``claimed``, and signs with its own key."""

    def __init__(self, claimed: AgentId, peer: AgentId, *, is_opener: bool = False) -> None:
        keys = Keypair(MALLORY.seed)
        keys.agent = claimed
        super().__init__(keys, peer, is_opener=is_opener, entropy=os.urandom)


def test_a_handshake_meant_for_another_pair_comes_to_nothing() -> None:
    with pytest.raises(RemoteError):
        shake_hands(wanted=MALLORY.agent)
    with pytest.raises(RemoteError):
        shake_hands(ours=MALLORY)


def test_a_handshake_cannot_be_replayed() -> None:
    opener = begin(ADA, BO.agent, is_opener=True)
    accepter = begin(BO, ADA.agent, is_opener=False)
    accepter.read(first := opener.write())
    opener.read(accepter.write())
    third = opener.write()
    again = begin(BO, ADA.agent, is_opener=False)
    again.read(first)
    again.write()
    with pytest.raises(MalformedRecord):
        again.read(third)


@given(st.integers(0, 2), st.data())
def test_no_changed_bit_of_a_handshake_goes_unnoticed(turn: int, data: st.DataObject) -> None:
    def flip(message: bytes) -> bytes:
        bit = data.draw(st.integers(0, 8 * len(message) - 1))
        # The top bit of a Curve25519 key is ignored by its rules; the hash still has it.
        flipped = bytearray(message)
        flipped[bit // 8] ^= 1 << bit % 8
        return bytes(flipped)

    with pytest.raises(RemoteError):
        interfere(turn, flip)


def interfere(turn: int, change: Callable[[bytes], bytes]) -> None:
    """Shake hands with one message changed on its way."""
    writer, reader = begin(ADA, BO.agent, is_opener=True), begin(BO, ADA.agent, is_opener=False)
    for number in range(3):
        message = writer.write()
        reader.read(change(message) if number == turn else message)
        writer, reader = reader, writer


@given(st.integers(0, 2), st.binary(max_size=200))
def test_garbage_instead_of_a_handshake_raises_only_remote_errors(turn: int, raw: bytes) -> None:
    with pytest.raises(RemoteError):
        interfere(turn, lambda _: raw)


@pytest.mark.parametrize("turn", [0, 1, 2])
def test_a_key_of_low_order_is_refused(turn: int) -> None:
    with pytest.raises(RemoteError):
        interfere(turn, lambda message: bytes(32) + message[32:])


@given(st.lists(st.binary(max_size=50), min_size=2, max_size=8), st.data())
def test_what_is_moved_left_out_or_repeated_is_noticed(
    texts: list[bytes], data: st.DataObject
) -> None:
    ours, theirs = shake_hands()
    sent = [ours.encrypt(text) for text in texts]
    arrived = data.draw(st.lists(st.sampled_from(range(len(sent))), min_size=1, max_size=8))
    good = 0
    try:
        for place, number in enumerate(arrived):
            assert theirs.decrypt(sent[number]) == texts[place]
            good += 1
    except MalformedRecord:
        pass
    in_order = [place == number for place, number in enumerate(arrived)]
    assert good == ([*in_order, False].index(False))


@given(st.binary(max_size=100), st.data())
def test_no_changed_bit_of_a_message_goes_unnoticed(text: bytes, data: st.DataObject) -> None:
    ours, theirs = shake_hands()
    message = bytearray(ours.encrypt(text))
    bit = data.draw(st.integers(0, 8 * len(message) - 1))
    message[bit // 8] ^= 1 << bit % 8
    with pytest.raises(MalformedRecord):
        theirs.decrypt(bytes(message))


@given(st.binary(max_size=100))
def test_garbage_in_a_session_raises_only_remote_errors(raw: bytes) -> None:
    _, theirs = shake_hands()
    with pytest.raises(RemoteError):
        theirs.decrypt(raw)
    with pytest.raises(RemoteError):
        theirs.decrypt(bytes(limits.FRAME_BYTES_MAX))


def test_what_one_side_said_cannot_be_sent_back_to_it() -> None:
    ours, theirs = shake_hands()
    with pytest.raises(MalformedRecord):
        ours.decrypt(ours.encrypt(b"hello"))
    other, _ = shake_hands()
    with pytest.raises(MalformedRecord):
        theirs.decrypt(other.encrypt(b"hello"))


def test_the_handshake_is_the_one_that_is_documented() -> None:
    # As docs/protocol.md has it, by hand: a node in another language does no more.
    noise = NoiseConnection.from_name(b"Noise_XX_25519_ChaChaPoly_SHA256")
    noise.set_as_initiator()
    noise.set_prologue(b"bazaar/link/1\x00" + ADA.agent + BO.agent)
    noise.set_keypair_from_private_bytes(NoiseKeys.STATIC, secret := os.urandom(32))
    noise.start_handshake()
    protocol: Any = noise.noise_protocol  # which the library says may be None
    state = protocol.handshake_state
    accepter = begin(BO, ADA.agent, is_opener=False)
    accepter.read(bytes(noise.write_message(b"")))
    signed = bytes(noise.read_message(accepter.write()))
    domain, parties = b"bazaar/linkkey/1\x00", ADA.agent + BO.agent
    verify(BO.agent, domain, parties + state.rs.public_bytes, signed)
    ours = X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    accepter.read(bytes(noise.write_message(ADA.sign(domain, parties + ours))))
    assert accepter.session().decrypt(noise.encrypt(b"hello")) == b"hello"
