"""The noise handshake of libp2p: ``Noise_XX_25519_ChaChaPoly_SHA256``, and who signed its keys.

Three messages: the dialer's, the listener's, the dialer's again. Each side's last one carries its
identity, an Ed25519 key, and a signature of it by which the key of the handshake belongs to it.

libp2p's own handshake takes every type of identity. It then tests the numbers of a stranger's RSA
key for primality, for as long as that takes, and everyone else waits. Here an identity is a key of
ours or nothing, before anything is computed with it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from google.protobuf.message import DecodeError
from libp2p.security.noise.pb.noise_pb2 import NoiseHandshakePayload
from noise import exceptions as noise_errors
from noise.connection import Keypair as Which, NoiseConnection

from bazaar_host.noise_messages import Opener, Sealer
from bazaar_host.yamux.breaches import Breach
from bazaar_protocol import identity
from bazaar_protocol.errors import BadSignature, BrokenSession
from bazaar_protocol.identity import AGENT_ID_BYTES, AgentId, Keypair

_NAME: Final = b"Noise_XX_25519_ChaChaPoly_SHA256"
_DOMAIN: Final = b"noise-libp2p-static-key:"
_ED25519: Final = bytes.fromhex("08011220")
"""What stands before the 32 bytes of a key, as libp2p writes an Ed25519 key and no other."""

_WRONG: Final = (
    InvalidTag,
    ValueError,
    noise_errors.NoiseInvalidMessage,
    noise_errors.NoiseValueError,
)


class NoiseKey:
    """The key of our handshakes, with our signature. It lives as long as the process.

    Args:
        keys: Who we are.

    """

    def __init__(self, keys: Keypair) -> None:
        secret = X25519PrivateKey.generate()
        public = secret.public_key().public_bytes_raw()
        self.secret = secret.private_bytes_raw()
        self.payload = NoiseHandshakePayload(
            identity_key=_ED25519 + keys.agent, identity_sig=keys.sign(_DOMAIN, public)
        ).SerializeToString()


class Handshake:
    """One side of one handshake. ``write`` and ``read`` have to be called in turn.

    Args:
        key: Ours.
        is_initiator: True for the side that dialed: it writes first.

    """

    def __init__(self, key: NoiseKey, *, is_initiator: bool) -> None:
        self.peer: AgentId | None = None
        """Who is at the other end; proven once ``is_done``."""
        self._payload = key.payload
        self._noise: Any = NoiseConnection.from_name(_NAME)
        self._noise.set_keypair_from_private_bytes(Which.STATIC, key.secret)
        if is_initiator:
            self._noise.set_as_initiator()
        else:
            self._noise.set_as_responder()
        self._noise.start_handshake()
        self._state: Any = self._noise.noise_protocol.handshake_state  # it drops this at the end
        self._is_first = True
        """Of the dialer's first message, which has no key that could be signed."""

    @property
    def is_done(self) -> bool:
        """Whether both sides have said everything."""
        return bool(self._noise.handshake_finished)

    def write(self) -> bytes:
        """Return the next message for the peer.

        Raises:
            BrokenSession: The peer's key is one with which no secret can be shared.

        """
        payload = b"" if self._is_first else self._payload
        self._is_first = False
        with _blaming_the_peer():
            return bytes(self._noise.write_message(payload))

    def read(self, message: bytes) -> None:
        """Take in the next message of the peer.

        Raises:
            BrokenSession: It is not what the handshake needs now, or proves nothing.

        """
        with _blaming_the_peer():
            payload = bytes(self._noise.read_message(message))
        if not self._is_first:
            self.peer = _identify(payload, self._state.rs.public_bytes)
        self._is_first = False

    def ciphers(self) -> tuple[Sealer, Opener]:
        """Return what encrypts and decrypts from here on; only once ``is_done``."""
        assert self.is_done
        protocol = self._noise.noise_protocol
        return Sealer(protocol.cipher_state_encrypt.k), Opener(protocol.cipher_state_decrypt.k)


@contextmanager
def _blaming_the_peer() -> Iterator[None]:
    try:
        yield
    except _WRONG as error:
        raise BrokenSession(Breach.FORGED, "a handshake that is none") from error


def _identify(payload: bytes, noise_key: bytes) -> AgentId:
    try:
        claim = NoiseHandshakePayload.FromString(payload)
    except DecodeError as error:
        raise BrokenSession(Breach.FORGED, "a handshake without an identity") from error
    key = claim.identity_key
    if not key.startswith(_ED25519) or len(key) != len(_ED25519) + AGENT_ID_BYTES:
        raise BrokenSession(Breach.FORGED, "an identity that is no Ed25519 key")
    agent = AgentId(key.removeprefix(_ED25519))
    try:
        identity.verify(agent, _DOMAIN, noise_key, claim.identity_sig)
    except BadSignature as error:
        raise BrokenSession(Breach.FORGED, "an identity that did not sign") from error
    return agent
