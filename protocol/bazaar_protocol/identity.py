"""Who said it: Ed25519 identities, their names in text, and signatures for one purpose.

The public key *is* the identity. In text it is a ``did:key`` (W3C did:key method); the same key
as a libp2p peer id is ``12D3KooW…`` (libp2p peer-ids specification, identity multihash), so an
authenticated libp2p connection is an authenticated agent.
"""

from functools import lru_cache
from typing import Final, NewType, Self

import base58
import nacl.bindings as sodium
from nacl.exceptions import BadSignatureError

from bazaar_protocol.errors import BadSignature, ConfigError

AgentId = NewType("AgentId", bytes)
"""The 32 raw bytes of an agent's Ed25519 public key."""

AGENT_ID_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
_MULTICODEC_ED25519: Final = b"\xed\x01"
_PEER_ID_PREFIX: Final = bytes.fromhex("002408011220")
_DID_PREFIX: Final = "did:key:z"
_TEXT_CHARS_MAX: Final = 128
_NAMES_KEPT: Final = 4_096  # base58 is slow, and the same few agents are shown again and again


class Keypair:
    """The secret half of an identity. It signs; it never leaves the process.

    Args:
        seed: The 32 bytes of entropy that the key is made of (RFC 8032).

    """

    __slots__ = ("_secret", "agent", "seed")

    def __init__(self, seed: bytes) -> None:
        assert len(seed) == sodium.crypto_sign_SEEDBYTES
        public, self._secret = sodium.crypto_sign_seed_keypair(seed)
        self.agent = AgentId(public)
        self.seed = seed

    @classmethod
    def from_name(cls, name: str) -> Self:
        """Return the key that anyone can derive from ``name``: for tests and simulations only."""
        return cls(sodium.crypto_hash_sha256(name.encode()))

    def sign(self, domain: bytes, message: bytes) -> bytes:
        """Sign ``message`` for the one purpose that ``domain`` names; 64 bytes."""
        return sodium.crypto_sign(domain + message, self._secret)[:SIGNATURE_BYTES]

    def __repr__(self) -> str:
        return f"Keypair({to_did(self.agent)})"


def verify(author: bytes, domain: bytes, message: bytes, signature: bytes) -> None:
    """Check that ``author`` signed ``message`` for the purpose ``domain``.

    Everyone uses this one verifier (libsodium's cofactorless check, which refuses small-order
    keys), because a proof has to mean the same to all.

    Raises:
        BadSignature: The author did not sign it.

    """
    if len(signature) != SIGNATURE_BYTES:  # else part of the message would count as signature
        raise BadSignature(f"a signature has {SIGNATURE_BYTES} bytes, not {len(signature)}")
    if len(author) != AGENT_ID_BYTES:  # libsodium would read on behind a shorter one
        raise BadSignature(f"a public key has {AGENT_ID_BYTES} bytes, not {len(author)}")
    try:
        sodium.crypto_sign_open(signature + domain + message, author)
    except (BadSignatureError, ValueError) as error:
        raise BadSignature(f"not signed by {author.hex()[:12]}") from error


@lru_cache(_NAMES_KEPT)
def to_did(agent: AgentId) -> str:
    """Return the ``did:key`` of ``agent``."""
    return _DID_PREFIX + base58.b58encode(_MULTICODEC_ED25519 + agent).decode("ascii")


def to_peer_id(agent: AgentId) -> str:
    """Return the libp2p peer id of ``agent``."""
    return base58.b58encode(_PEER_ID_PREFIX + agent).decode("ascii")


def parse_agent(text: str) -> AgentId:
    """Read an agent's identity from its did:key, its libp2p peer id, or 64 hex digits.

    Raises:
        ConfigError: It is none of these.

    """
    try:
        agent = _read_agent(text)
    except ValueError as error:
        raise ConfigError(f"not an agent's identity: {text[:80]!r} ({error})") from error
    # Each identity has one spelling in each form: base58 and hex allow spaces here and there.
    if text not in {to_did(agent), to_peer_id(agent)} and text.lower() != agent.hex():
        raise ConfigError(f"not an agent's identity as it is written: {text[:80]!r}")
    return agent


def _read_agent(text: str) -> AgentId:
    if len(text) > _TEXT_CHARS_MAX:  # base58 takes time by the square of its length
        raise ValueError(f"{len(text)} characters are too many")
    if text.startswith(_DID_PREFIX):
        return _strip(base58.b58decode(text.removeprefix(_DID_PREFIX)), _MULTICODEC_ED25519)
    if len(text) == 2 * AGENT_ID_BYTES:
        return _strip(bytes.fromhex(text), b"")
    return _strip(base58.b58decode(text), _PEER_ID_PREFIX)


def _strip(raw: bytes, prefix: bytes) -> AgentId:
    if not raw.startswith(prefix) or len(raw) != len(prefix) + AGENT_ID_BYTES:
        raise ValueError("not an Ed25519 public key")
    return AgentId(raw.removeprefix(prefix))
