"""Noise messages after the handshake: a length of two bytes, then that much ciphertext. Pure.

Each direction has a key of its own and counts its messages, so one that is lost, repeated, moved or
changed cannot be decrypted.
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from bazaar_host.yamux.breaches import Breach
from bazaar_protocol.errors import BrokenSession

LENGTH_BYTES: Final = 2
TAG_BYTES: Final = 16
PLAINTEXT_BYTES_MAX: Final = 2 ** (8 * LENGTH_BYTES) - 1 - TAG_BYTES


class _Cipher:
    """A key and the number of the next message."""

    def __init__(self, key: bytes) -> None:
        self.aead = ChaCha20Poly1305(key)
        self._count = 0

    def next_nonce(self) -> bytes:
        nonce = self._count.to_bytes(8, "little")
        self._count += 1
        assert self._count < 2**64
        return b"\0\0\0\0" + nonce


class Sealer:
    """Makes messages out of what we send."""

    def __init__(self, key: bytes) -> None:
        self._cipher = _Cipher(key)

    def seal(self, plaintext: bytes) -> bytes:
        """Return ``plaintext``, at most ``PLAINTEXT_BYTES_MAX`` bytes, as the next message."""
        assert len(plaintext) <= PLAINTEXT_BYTES_MAX
        sealed = self._cipher.aead.encrypt(self._cipher.next_nonce(), plaintext, None)
        return len(sealed).to_bytes(LENGTH_BYTES) + sealed


class Opener:
    """Reads messages out of what arrives, in pieces of any size.

    It holds at most one unfinished message. Once it has raised it must not be fed again.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = _Cipher(key)
        self._rest = bytearray()

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes, and return the plaintext of all messages that they completed.

        Raises:
            BrokenSession: A message is not the next one that the peer has encrypted.

        """
        self._rest += data
        plaintexts: list[bytes] = []
        start, end = 0, len(self._rest)
        with memoryview(self._rest) as view:
            while end - start >= LENGTH_BYTES:
                after = start + LENGTH_BYTES + int.from_bytes(view[start : start + LENGTH_BYTES])
                if after > end:
                    break
                plaintexts.append(self._open(view[start + LENGTH_BYTES : after]))
                start = after
        del self._rest[:start]
        return b"".join(plaintexts)

    def _open(self, sealed: memoryview) -> bytes:
        try:
            return self._cipher.aead.decrypt(self._cipher.next_nonce(), sealed, None)
        except InvalidTag as error:
            raise BrokenSession(Breach.FORGED, "a message cannot be decrypted") from error
