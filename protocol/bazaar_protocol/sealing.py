"""Messages that only one agent can read: sealed bids and the letters that a relay carries.

An ephemeral X25519 key is agreed with the recipient's Ed25519 key in its Montgomery form (RFC
7748), HKDF-SHA256 (RFC 5869) makes the key, ChaCha20-Poly1305 (RFC 8439) encrypts. The sender's
signature travels inside, so a relay learns neither what was said nor can it say anything itself.
"""

from typing import Annotated, Final

import msgspec
import nacl.bindings as sodium
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta
from nacl.exceptions import CryptoError, RuntimeError as SodiumRuntimeError

from bazaar_protocol import codec, identity, limits
from bazaar_protocol.errors import MalformedRecord, TooLarge
from bazaar_protocol.fields import Key
from bazaar_protocol.identity import AgentId, Keypair

_SEAL_DOMAIN: Final = b"bazaar/seal/1\x00"
_SIGNATURE_DOMAIN: Final = b"bazaar/letter/1\x00"
_NONCE: Final = bytes(12)  # each key encrypts one message only


class _Signed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    sender: Key
    content: Annotated[bytes, Meta(max_length=limits.LETTER_CONTENT_BYTES_MAX)]
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)]


def seal_to(recipient: AgentId, sender: Keypair, content: bytes, *, entropy: bytes) -> bytes:
    """Encrypt ``content`` to ``recipient``, signed by ``sender``.

    Args:
        recipient: Who can open it.
        sender: Who says it.
        content: At most ``LETTER_CONTENT_BYTES_MAX`` bytes.
        entropy: 32 fresh random bytes, never used twice.

    Raises:
        TooLarge: There is more content than a letter holds.
        MalformedRecord: ``recipient`` is no point on the curve, so nobody can read it.

    """
    if len(content) > limits.LETTER_CONTENT_BYTES_MAX:
        raise TooLarge(
            f"a letter holds {limits.LETTER_CONTENT_BYTES_MAX} bytes, not {len(content)}"
        )
    signature = sender.sign(_SIGNATURE_DOMAIN, recipient + content)
    signed = codec.encode(_Signed(sender.agent, content, signature))
    ephemeral = sodium.crypto_scalarmult_base(entropy)
    try:
        montgomery = sodium.crypto_sign_ed25519_pk_to_curve25519(recipient)
        shared = sodium.crypto_scalarmult(entropy, montgomery)
    except (CryptoError, SodiumRuntimeError) as error:
        raise MalformedRecord("the recipient's key cannot be encrypted to") from error
    cipher = ChaCha20Poly1305(_derive(shared, ephemeral, recipient))
    return ephemeral + cipher.encrypt(_NONCE, signed, _SEAL_DOMAIN)


def open_sealed(recipient: Keypair, sealed: bytes) -> tuple[AgentId, bytes]:
    """Decrypt what was sealed to ``recipient``; return who signed it and what it says.

    Raises:
        TooLarge: No letter is so long.
        MalformedRecord: It is damaged, or sealed to somebody else.
        BadSignature: It does not come from whom it names.

    """
    if len(sealed) > limits.LETTER_BYTES_MAX:
        raise TooLarge(f"a sealed letter has {limits.LETTER_BYTES_MAX} bytes, not {len(sealed)}")
    ephemeral, ciphertext = sealed[:32], sealed[32:]
    _, secret = sodium.crypto_sign_seed_keypair(recipient.seed)
    try:
        shared = sodium.crypto_scalarmult(
            sodium.crypto_sign_ed25519_sk_to_curve25519(secret), ephemeral
        )
        cipher = ChaCha20Poly1305(_derive(shared, ephemeral, recipient.agent))
        plain = cipher.decrypt(_NONCE, ciphertext, _SEAL_DOMAIN)
    except (CryptoError, SodiumRuntimeError, InvalidTag, ValueError, TypeError) as error:
        raise MalformedRecord("damaged, or sealed to somebody else") from error
    signed = codec.decode(plain, _SIGNED, bytes_max=limits.LETTER_BYTES_MAX)
    sender = AgentId(signed.sender)
    identity.verify(sender, _SIGNATURE_DOMAIN, recipient.agent + signed.content, signed.signature)
    return sender, signed.content


def _derive(shared: bytes, ephemeral: bytes, recipient: AgentId) -> bytes:
    return HKDF(SHA256(), 32, salt=ephemeral + recipient, info=_SEAL_DOMAIN).derive(shared)


_SIGNED: Final = msgspec.msgpack.Decoder(_Signed)
