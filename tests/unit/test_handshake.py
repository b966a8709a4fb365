"""The handshake of noise: who proves an identity of ours gets through, and nobody else."""

import math
import random
import time
from collections.abc import Callable

import pytest
from libp2p.crypto.pb.crypto_pb2 import KeyType, PublicKey
from libp2p.security.noise.pb.noise_pb2 import NoiseHandshakePayload

from bazaar_host.handshake import Handshake, NoiseKey
from bazaar_host.yamux.breaches import Breach
from bazaar_protocol import limits
from bazaar_protocol.errors import BrokenSession
from bazaar_protocol.identity import Keypair

ADA, BO = Keypair.from_name("ada"), Keypair.from_name("bo")


def pair(dialer: NoiseKey, listener: NoiseKey) -> tuple[Handshake, Handshake]:
    return Handshake(dialer, is_initiator=True), Handshake(listener, is_initiator=False)


def shake(
    dialer: Handshake, listener: Handshake, meddle: Callable[[int, bytes], bytes] = lambda _, m: m
) -> None:
    """Exchange the three messages, each as ``meddle`` leaves it."""
    sides = [dialer, listener]
    for number in range(3):
        message = sides[number % 2].write()
        assert len(message) < limits.HANDSHAKE_MESSAGE_BYTES_MAX
        sides[1 - number % 2].read(meddle(number, message))


def test_both_sides_learn_who_the_other_is_and_share_keys() -> None:
    dialer, listener = pair(NoiseKey(ADA), NoiseKey(BO))
    shake(dialer, listener)
    assert dialer.is_done
    assert listener.is_done
    assert (dialer.peer, listener.peer) == (BO.agent, ADA.agent)
    (seal, open_), (seal_back, open_back) = dialer.ciphers(), listener.ciphers()
    assert open_back.feed(seal.seal(b"there")) == b"there"
    assert open_.feed(seal_back.seal(b"and back")) == b"and back"


def test_two_handshakes_share_nothing() -> None:
    ada, bo = NoiseKey(ADA), NoiseKey(BO)
    one, other = pair(ada, bo), pair(ada, bo)
    shake(*one)
    shake(*other)
    with pytest.raises(BrokenSession):
        other[1].ciphers()[1].feed(one[0].ciphers()[0].seal(b"from the other connection"))


def meddlings() -> list[Callable[[int, bytes], bytes]]:
    """Each bit of some, each cut of others, and nonsense."""
    rng = random.Random(1)

    def flip(at: int) -> Callable[[int, bytes], bytes]:
        def flipped(number: int, message: bytes) -> bytes:
            raw = bytearray(message)
            if number == at:
                raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            return bytes(raw)

        return flipped

    def cut(at: int) -> Callable[[int, bytes], bytes]:
        return lambda number, message: (
            message[: rng.randrange(len(message))] if number == at else message
        )

    def replace(at: int) -> Callable[[int, bytes], bytes]:
        return lambda number, message: (
            rng.randbytes(rng.randrange(300)) if number == at else message
        )

    return [kind(at) for kind in (flip, cut, replace) for at in (0, 1, 2) for _ in range(40)]


def test_no_meddling_goes_unnoticed() -> None:
    ada, bo = NoiseKey(ADA), NoiseKey(BO)
    for meddle in meddlings():
        dialer, listener = pair(ada, bo)
        with pytest.raises(BrokenSession) as caught:
            shake(dialer, listener, meddle)
        assert caught.value.breach == Breach.FORGED
        assert not (dialer.is_done and listener.is_done)


def test_low_order_points_are_refused() -> None:
    dialer, listener = pair(NoiseKey(ADA), NoiseKey(BO))
    with pytest.raises(BrokenSession):
        shake(dialer, listener, lambda number, message: bytes(32) if number == 0 else message)


def claim(kind: KeyType.ValueType, data: bytes, signature: bytes) -> bytes:
    key = PublicKey(key_type=kind, data=data).SerializeToString()
    return NoiseHandshakePayload(identity_key=key, identity_sig=signature).SerializeToString()


def stolen() -> bytes:
    """A payload of another handshake: its signature is of another key."""
    return NoiseKey(ADA).payload


PAYLOADS: dict[str, Callable[[], bytes]] = {
    "none": lambda: b"",
    "no protobuf": lambda: b"\xff" * 100,
    "another's": stolen,
    "no signature": lambda: claim(KeyType.Ed25519, ADA.agent, b""),
    "wrong signature": lambda: claim(KeyType.Ed25519, ADA.agent, bytes(64)),
    "no key": lambda: claim(KeyType.Ed25519, b"", bytes(64)),
    "long key": lambda: claim(KeyType.Ed25519, bytes(33), bytes(64)),
    "small order": lambda: claim(KeyType.Ed25519, bytes([1]) + bytes(31), bytes(64)),
    "another type": lambda: claim(KeyType.Secp256k1, b"\2" + bytes(31) + b"\1", bytes(64)),
}


@pytest.mark.parametrize("name", PAYLOADS)
@pytest.mark.parametrize("liar", ["dialer", "listener"])
def test_identity_has_to_be_proven(name: str, liar: str) -> None:
    lying = NoiseKey(ADA)
    lying.payload = PAYLOADS[name]()
    dialer, listener = pair(lying, NoiseKey(BO)) if liar == "dialer" else pair(NoiseKey(BO), lying)
    with pytest.raises(BrokenSession):
        shake(dialer, listener)


def rsa_key_that_takes_a_primality_test(bits: int) -> bytes:
    """An RSA key in DER whose first prime has no small factor, so that finding out takes long."""
    rng = random.Random(1)
    small = [number for number in range(3, 20_000, 2) if is_prime(number)]
    prime = rng.getrandbits(bits) | 1 | 1 << (bits - 1)
    while not all(prime % factor for factor in small):
        prime += 2
    other = 2**61 - 1
    numbers = (0, prime * other, 65_537, 65_537, prime, other, 1, 1, 1)
    body = b"".join(_der(2, _signed(number)) for number in numbers)
    return _der(0x30, body)


def is_prime(number: int) -> bool:
    return all(number % factor for factor in range(3, math.isqrt(number) + 1, 2))


def _signed(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1)


def _der(tag: int, body: bytes) -> bytes:
    size = len(body)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2)
    return bytes([tag]) + length + body


def test_strangers_rsa_key_is_not_even_looked_at() -> None:
    lying = NoiseKey(ADA)
    lying.payload = claim(KeyType.RSA, rsa_key_that_takes_a_primality_test(8192), bytes(64))
    dialer, listener = pair(lying, NoiseKey(BO))
    began = time.process_time()
    with pytest.raises(BrokenSession, match="no Ed25519 key"):
        shake(dialer, listener)
    assert time.process_time() - began < 0.1
