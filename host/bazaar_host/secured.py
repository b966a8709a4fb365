"""A connection that noise has secured: whoever is at its other end is who the handshake proved.

libp2p's own session makes two reads and four objects of each message, and a write for each; here a
read takes all that has arrived, and a write carries many.
"""

from collections.abc import Sequence

from libp2p.io.abc import ReadWriteCloser

from bazaar_host.handshake import Handshake, NoiseKey
from bazaar_host.hardening import Socket
from bazaar_host.noise_messages import LENGTH_BYTES, PLAINTEXT_BYTES_MAX, Opener, Sealer
from bazaar_host.yamux.breaches import Breach
from bazaar_protocol import limits
from bazaar_protocol.errors import BrokenSession
from bazaar_protocol.identity import AgentId


async def secure(socket: Socket, key: NoiseKey) -> "Secured":
    """Do the handshake on ``socket``, on which noise was agreed. The caller has a deadline.

    Raises:
        BrokenSession: The peer did not prove an identity.
        ConnectionClosedError: The connection broke.

    """
    handshake = Handshake(key, is_initiator=socket.is_initiator)
    if socket.is_initiator:
        await _write(socket, handshake.write())
    while not handshake.is_done:
        handshake.read(await _read(socket))
        if not handshake.is_done:
            await _write(socket, handshake.write())
    assert handshake.peer is not None
    sealer, opener = handshake.ciphers()
    return Secured(socket, handshake.peer, sealer, opener)


async def _write(socket: Socket, message: bytes) -> None:
    await socket.write(len(message).to_bytes(LENGTH_BYTES) + message)


async def _read(socket: Socket) -> bytes:
    length = int.from_bytes(await _read_exactly(socket, LENGTH_BYTES))
    if length > limits.HANDSHAKE_MESSAGE_BYTES_MAX:
        raise BrokenSession(Breach.FORGED, f"a handshake message of {length} bytes")
    return await _read_exactly(socket, length)


async def _read_exactly(socket: Socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = await socket.read(size - len(data))
        if not part:
            raise BrokenSession(Breach.FORGED, "the peer hung up during the handshake")
        data += part
    return data


class Secured(ReadWriteCloser):
    """An encrypted connection on a socket. One task may read from it, and one may write.

    Args:
        socket: What carries the messages.
        peer: Who the handshake proved.
        sealer: Encrypts what we send.
        opener: Decrypts what arrives.

    """

    def __init__(self, socket: Socket, peer: AgentId, sealer: Sealer, opener: Opener) -> None:
        self.peer = peer
        self._socket = socket
        self._sealer = sealer
        self._opener = opener
        self._unread = bytearray()

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
