"""What makes a relayed link nobody else's: a Noise handshake between two identities, and a session.

The pattern is libp2p's (docs/adr/0094): ``Noise_XX_25519_ChaChaPoly_SHA256``, in which each side
signs its static key, made for this link alone, with its identity. The prologue holds both
identities, so each side knows beforehand whom it wants, and gets that one or nobody.
"""

from collections.abc import Callable
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from noise.connection import Keypair as NoiseKeys, NoiseConnection
from noise.exceptions import (
    NoiseHandshakeError,
    NoiseInvalidMessage,
    NoiseMaxNonceError,
    NoiseValueError,
)

from bazaar_protocol import limits
from bazaar_protocol.errors import BadSignature, MalformedRecord
from bazaar_protocol.identity import AgentId, Keypair, verify

PLAIN_BYTES_MAX: Final = limits.RELAYED_DATA_BYTES_MAX - 16
"""What fits into one message of the session, beside its authentication."""

_NAME: Final = b"Noise_XX_25519_ChaChaPoly_SHA256"
_LINK_DOMAIN: Final = b"bazaar/link/1\x00"
_KEY_DOMAIN: Final = b"bazaar/linkkey/1\x00"
_KEY_BYTES: Final = 32
_TROUBLE: Final = (
    InvalidTag,
    NoiseHandshakeError,
    NoiseInvalidMessage,
    NoiseMaxNonceError,
    NoiseValueError,
    ValueError,
)
"""What the libraries raise for a stranger's bytes: also for keys of low order, or none."""


class Handshake:
    """One side of a handshake of three messages; the opener's ``write`` comes first.

    Args:
        keys: Who we are.
        peer: Who has to be at the other end.
        is_opener: Whether we opened the link.
        entropy: Draws the static key of this link.

    """

    def __init__(
        self, keys: Keypair, peer: AgentId, *, is_opener: bool, entropy: Callable[[int], bytes]
    ) -> None:
        opener, accepter = (keys.agent, peer) if is_opener else (peer, keys.agent)
        self._keys = keys
        self._peer = peer
        self._parties = opener + accepter
        self._is_first = True
        """Whether the next message is the first, which proves nothing yet."""
        self._noise: Any = NoiseConnection.from_name(_NAME)
        if is_opener:
            self._noise.set_as_initiator()
        else:
            self._noise.set_as_responder()
        self._noise.set_prologue(_LINK_DOMAIN + self._parties)
        self._noise.set_keypair_from_private_bytes(NoiseKeys.STATIC, entropy(_KEY_BYTES))
        self._noise.start_handshake()
        # The connection lets go of it with the last message, whose sender is still to be checked.
        self._state = self._noise.noise_protocol.handshake_state

    def write(self) -> bytes:
        """Return the next message, which it is our turn to send.

        Raises:
            MalformedRecord: The peer's message before it held no key that can be used.

        """
        payload = b""
        if not self._is_first:
            ours = self._state.s.public_bytes
            payload = self._keys.sign(_KEY_DOMAIN, self._parties + ours)
        self._is_first = False
        try:
            return bytes(self._noise.write_message(payload))
        except _TROUBLE as error:
            raise MalformedRecord(f"no key for a handshake: {error}") from error

    def read(self, message: bytes) -> None:
        """Take the peer's next message.

        Raises:
            MalformedRecord: It is none.
            BadSignature: It does not come from whom we want.

        """
        try:
            payload = bytes(self._noise.read_message(message))
        except _TROUBLE as error:
            raise MalformedRecord(f"no message of a handshake: {error}") from error
        if self._is_first:
            if payload:
                raise MalformedRecord("the first message of a handshake says nothing")
        else:
            try:
                theirs = self._parties + self._state.rs.public_bytes
                verify(self._peer, _KEY_DOMAIN, theirs, payload)
            except BadSignature as error:
                raise BadSignature("somebody else is at the other end of the link") from error
        self._is_first = False

    def session(self) -> "Session":
        """Return what is said from now on is encrypted by; the handshake has to be over."""
        assert self._noise.handshake_finished
        return Session(self._noise)


class Session:
    """Encrypts and decrypts, in order: each message has its place, and fits in no other."""

    def __init__(self, noise: NoiseConnection) -> None:
        self._noise = noise

    def encrypt(self, plain: bytes) -> bytes:
        """Return the next message to send, with ``plain`` in it (``PLAIN_BYTES_MAX`` at most)."""
        assert len(plain) <= PLAIN_BYTES_MAX
        return bytes(self._noise.encrypt(plain))

    def decrypt(self, message: bytes) -> bytes:
        """Return what the peer's next message says.

        Raises:
            MalformedRecord: It is another one, or was changed.

        """
        try:
            return bytes(self._noise.decrypt(message))
        except _TROUBLE as error:
            raise MalformedRecord("a message was changed, left out, repeated or moved") from error
