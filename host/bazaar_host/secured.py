"""A connection that noise has secured: whoever is at its other end is who the handshake proved.

The handshake is libp2p's (``Noise_XX_25519_ChaChaPoly_SHA256``, with its signed payload). From its
last message on the keys are ours: libp2p's own session makes two reads and four objects of each
message, and a write for each; here a read takes all that has arrived, and a write carries many.
"""

from collections.abc import Sequence
from typing import Any, Self, cast

from libp2p.abc import ISecureConn
from libp2p.io.abc import ReadWriteCloser
from libp2p.peer.id import ID
from libp2p.security.noise.io import NoiseTransportReadWriter
from libp2p.security.secure_session import SecureSession

from bazaar_host.hardening import Socket
from bazaar_host.noise_messages import PLAINTEXT_BYTES_MAX, Opener, Sealer


class Secured(ReadWriteCloser):
    """An encrypted connection on a socket. One task may read from it, and one may write.

    Args:
        socket: What carries the messages.
        peer_id: Who the handshake proved.
        sealer: Encrypts what we send.
        opener: Decrypts what arrives.

    """

    def __init__(self, socket: Socket, peer_id: ID, sealer: Sealer, opener: Opener) -> None:
        self.peer_id = peer_id
        self._socket = socket
        self._sealer = sealer
        self._opener = opener
        self._unread = bytearray()

    @classmethod
    def take_over(cls, handshaken: ISecureConn, socket: Socket) -> Self:
        """Go on from where the handshake on ``socket`` has ended."""
        assert isinstance(handshaken, SecureSession)
        state: Any = cast("NoiseTransportReadWriter", handshaken.conn).noise_state
        # The peer id, which was proven: get_remote_public_key() is the key of this session only.
        return cls(
            socket,
            handshaken.get_remote_peer(),
            Sealer(state.noise_protocol.cipher_state_encrypt.k),
            Opener(state.noise_protocol.cipher_state_decrypt.k),
        )

    async def receive(self) -> bytes:
        """Wait for bytes and return all that have arrived; none at the end of the connection.

        Raises:
            BrokenSession: They are not what the peer encrypted.
            ConnectionClosedError: The connection broke.

        """
        if self._unread:
            return await self.read()
        while sealed := await self._socket.receive():
            if plaintext := self._opener.feed(sealed):
                return plaintext
        return b""

    async def send(self, plaintexts: Sequence[bytes]) -> None:
        """Send each of ``plaintexts`` as a message, all by one write.

        A ``send`` that was cancelled has ruined the connection: part of a message may be out.

        Raises:
            ConnectionClosedError: The connection broke.

        """
        await self._socket.write(b"".join(map(self._sealer.seal, plaintexts)))

    # While a muxer is agreed on; libp2p's negotiation reads byte by byte.

    async def read(self, n: int | None = None) -> bytes:
        """Return up to ``n`` bytes; none at the end."""
        if not self._unread:
            self._unread += await self.receive()
        data = bytes(self._unread[:n])
        del self._unread[:n]
        return data

    async def write(self, data: bytes) -> None:
        """Send all of ``data``."""
        starts = range(0, len(data), PLAINTEXT_BYTES_MAX)
        await self.send([data[start : start + PLAINTEXT_BYTES_MAX] for start in starts])

    async def close(self) -> None:
        """End the connection."""
        self._socket.abort()

    def get_remote_address(self) -> tuple[str, int]:
        """Return the host and the port of the peer."""
        return self._socket.get_remote_address()
