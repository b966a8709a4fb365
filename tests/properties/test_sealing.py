"""Letters: one reader, one writer, no other."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, strategies as st
from nacl.bindings import crypto_sign_ed25519_pk_to_curve25519
from tests.strategies import ADA, BO, CY, all_letters, array

from bazaar_protocol import codec, letters, limits
from bazaar_protocol.errors import BadSignature, MalformedRecord, RemoteError, TooLarge
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import BidTerms
from bazaar_protocol.sealing import open_sealed, seal_to

ENTROPY = bytes(range(32))
LETTER = seal_to(BO.agent, ADA, b"for bo alone", entropy=ENTROPY)


@given(st.binary(max_size=2_000), st.binary(min_size=32, max_size=32))
def test_only_the_recipient_opens_it(content: bytes, entropy: bytes) -> None:
    sealed = seal_to(BO.agent, ADA, content, entropy=entropy)
    assert open_sealed(BO, sealed) == (ADA.agent, content)
    for keys in (ADA, CY):
        with pytest.raises(MalformedRecord):
            open_sealed(keys, sealed)
    assert len(content) < 16 or content not in sealed


def test_no_flipped_bit_passes() -> None:
    raw = bytearray(LETTER)
    for bit in range(len(raw) * 8):
        raw[bit // 8] ^= 1 << bit % 8
        with pytest.raises((MalformedRecord, BadSignature)):
            open_sealed(BO, bytes(raw))
        raw[bit // 8] ^= 1 << bit % 8


@given(st.integers(0, len(LETTER) - 1), st.binary(max_size=5))
def test_no_cut_and_nothing_added_passes(length: int, tail: bytes) -> None:
    with pytest.raises(MalformedRecord):
        open_sealed(BO, LETTER[:length])
    if tail:
        with pytest.raises(MalformedRecord):
            open_sealed(BO, LETTER + tail)


def test_what_a_letter_says_does_not_fit_into_a_letter_to_another() -> None:
    """Bo opens ada's letter and seals her signed words to cy: her signature names bo."""
    signature = ADA.sign(b"bazaar/letter/1\x00", BO.agent + b"hello")
    words = array(*(codec.encode(item) for item in (ADA.agent, b"hello", signature)))
    assert open_sealed(BO, encrypt(BO.agent, words)) == (ADA.agent, b"hello")
    with pytest.raises(BadSignature):
        open_sealed(CY, encrypt(CY.agent, words))


def test_nobody_writes_in_the_name_of_another() -> None:
    signature = CY.sign(b"bazaar/letter/1\x00", BO.agent + b"hello")
    words = array(*(codec.encode(item) for item in (ADA.agent, b"hello", signature)))
    with pytest.raises(BadSignature):
        open_sealed(BO, encrypt(BO.agent, words))


def encrypt(recipient: AgentId, plain: bytes) -> bytes:
    """The construction of protocol.md once more, by another library, for any plain bytes."""
    ephemeral = X25519PrivateKey.from_private_bytes(ENTROPY)
    public = ephemeral.public_key().public_bytes_raw()
    montgomery = crypto_sign_ed25519_pk_to_curve25519(recipient)
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(montgomery))
    info = b"bazaar/seal/1\x00"
    key = HKDF(SHA256(), 32, salt=public + recipient, info=info).derive(shared)
    return public + ChaCha20Poly1305(key).encrypt(bytes(12), plain, info)


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31), b"\x02" + bytes(31), b"\xff" * 32])
def test_nothing_is_sealed_to_a_key_without_a_secret(key: bytes) -> None:
    with pytest.raises(MalformedRecord):
        seal_to(AgentId(key), ADA, b"x", entropy=ENTROPY)


@pytest.mark.parametrize("ephemeral", [bytes(32), b"\x01" + bytes(31), b"\xff" * 32])
def test_an_ephemeral_key_of_small_order_opens_nothing(ephemeral: bytes) -> None:
    with pytest.raises(MalformedRecord):
        open_sealed(BO, ephemeral + LETTER[32:])


def test_a_letter_of_the_greatest_size_travels_and_a_greater_one_is_not_made() -> None:
    content = bytes(limits.LETTER_CONTENT_BYTES_MAX)
    sealed = seal_to(BO.agent, ADA, content, entropy=ENTROPY)
    assert len(sealed) <= limits.LETTER_BYTES_MAX
    assert open_sealed(BO, sealed) == (ADA.agent, content)
    with pytest.raises(TooLarge):
        seal_to(BO.agent, ADA, content + b"x", entropy=ENTROPY)
    with pytest.raises(TooLarge):
        open_sealed(BO, bytes(limits.LETTER_BYTES_MAX + 1))


@given(st.binary(max_size=200))
def test_garbage_raises_only_errors_that_blame_the_sender(sealed: bytes) -> None:
    with pytest.raises(RemoteError):
        open_sealed(BO, sealed)
    with pytest.raises(RemoteError):
        letters.decode_letter(sealed)


@given(all_letters())
def test_letters_read_back(letter: Any) -> None:
    assert letters.decode_letter(letters.encode_letter(letter)) == letter


def test_the_greatest_result_that_is_mailed_fits_into_a_letter() -> None:
    data = bytes(limits.MAILED_BYTES_MAX)
    for letter in (
        letters.TaskResult(bytes(32), 2**53 - 1, data),
        letters.TaskInput(bytes(32), data),
    ):
        content = letters.encode_letter(letter)
        sealed = seal_to(BO.agent, ADA, content, entropy=ENTROPY)
        assert letters.decode_letter(open_sealed(BO, sealed)[1]) == letter


def test_sealed_terms_of_the_greatest_size_fit_into_a_bid() -> None:
    terms = BidTerms(2**53 - 1, 2**53 - 1, 10_000, limits.TASK_LIFETIME_MS_MAX)
    content = letters.encode_letter(letters.SealedTerms(bytes(32), bytes(32), terms))
    assert len(seal_to(BO.agent, ADA, content, entropy=ENTROPY)) <= limits.SEALED_BYTES_MAX
