"""Parts of libp2p 0.8.1, mended from outside: the socket below noise, and its loggers.

- Negotiation believes any announced length. Here a connection that has not negotiated yet may
  send no more than ``NEGOTIATION_BYTES_MAX``.
- Reading byte by byte, as negotiation does, is a system call for each byte. Here it is one.
"""

import logging
from typing import Final

import trio
from libp2p.abc import IRawConnection
from libp2p.connection_types import ConnectionType
from libp2p.io.exceptions import ConnectionClosedError
from multiaddr import Multiaddr

from bazaar_host.websocket import ByteStream
from bazaar_protocol import limits

_READ_BYTES: Final = 64 * limits.KIB


class Socket(IRawConnection):
    """A TCP connection as noise wants it: one system call for many small reads.

    Args:
        stream: The connection, or what it carries inside a WebSocket.
        is_initiator: Whether we dialed.
        address: Where the peer is, if not at the other end of ``stream``.

    """

    def __init__(self, stream: ByteStream, *, is_initiator: bool, address: str = "") -> None:
        self.is_initiator = is_initiator
        self.is_trusted = False
        """Set when the negotiation is over, and with it the bound on what may be read."""
        self._stream = stream
        host, port = stream.socket.getpeername()[:2]
        self._remote = (address or host, port)
        self._unread = bytearray()
        self._received_bytes = 0

    async def read(self, n: int | None = None) -> bytes:
        """Return up to ``n`` bytes; none at the end of the stream."""
        if not self._unread:
            self._unread += await self._receive()
        data = bytes(self._unread[:n])
        del self._unread[:n]
        return data

    async def receive(self) -> bytes:
        """Return all bytes that have arrived, at least one; none at the end of the stream."""
        return await (self.read() if self._unread else self._receive())

    async def write(self, data: bytes) -> None:
        """Send all of ``data``."""
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionClosedError(str(error), transport="tcp") from error

    async def close(self) -> None:
        """End the connection."""
        self.abort()

    def abort(self) -> None:
        """End the connection now; whoever reads or writes is woken up."""
        self._stream.socket.close()

    def get_remote_address(self) -> tuple[str, int]:
        """Return the host and the port of the peer."""
        host, port = self._remote
        return str(host), int(port)

    def get_transport_addresses(self) -> list[Multiaddr]:
        """Return nothing: we keep addresses as text."""
        return []

    def get_connection_type(self) -> ConnectionType:
        """Return that there is nobody between us and the peer."""
        return ConnectionType.DIRECT

    async def _receive(self) -> bytes:
        try:
            data = await self._stream.receive_some(_READ_BYTES)
        except trio.BrokenResourceError as error:
            raise ConnectionClosedError(str(error), transport="tcp") from error
        except trio.ClosedResourceError:
            return b""
        self._received_bytes += len(data)
        if not self.is_trusted and self._received_bytes > limits.NEGOTIATION_BYTES_MAX:
            raise ConnectionClosedError("too much negotiation", transport="tcp")
        return bytes(data)


def silence_libp2p() -> None:
    """Send what libp2p logs as a warning or worse to ``bazaar.libp2p``, as a detail.

    Strangers cause nearly all of it, and it tells them apart from nobody.
    """
    theirs = logging.getLogger("libp2p")
    if not any(isinstance(handler, _Forward) for handler in theirs.handlers):
        theirs.addHandler(_Forward())
    theirs.setLevel(logging.WARNING)
    theirs.propagate = False


class _Forward(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger("bazaar.libp2p").debug("%s: %s", record.name, record.getMessage())
