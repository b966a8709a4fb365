"""Parts of libp2p 0.8.1, mended from outside: the socket below noise, and the yamux above it.

Each of these ended a host or a link in our tests of the original:

- A write that is cancelled half-way leaves half a message behind and ruins the connection for all
  its streams. Here a write that has begun is finished, or the connection ends.
- A writer whose peer does not read for 5 s loses its stream (``YamuxStream.write`` gives up when
  the window stays shut). Here ``room`` is waited for before ``write`` is called, as long as need
  be, so an application may pause its reading.
- The receive window grows to 16 MiB for each stream, by one extra frame for each read. Here it
  stays at 256 KiB and is given back in halves.
- Negotiation believes any announced length. Here a connection that has not negotiated yet may
  send no more than ``NEGOTIATION_BYTES_MAX``.

What yamux itself does with a hostile peer (windows are not enforced, streams are cheap to open)
stays as it is; the limits on connections bound the damage.
"""

import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

import trio
from libp2p.abc import IRawConnection, ISecureConn
from libp2p.connection_types import ConnectionType
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.peer.id import ID
from libp2p.stream_muxer.yamux.yamux import DEFAULT_WINDOW_SIZE, Yamux, YamuxStream
from multiaddr import Multiaddr

from bazaar_protocol import limits

WRITE_BYTES_MAX: Final = 65_507
"""What fits into one yamux frame in one noise message."""

_READ_BYTES: Final = 64 * limits.KIB
_POLL_S_MIN: Final = 0.001
_POLL_S_MAX: Final = 0.05


class Socket(IRawConnection):
    """A TCP connection as noise wants it: one system call for many small reads."""

    def __init__(self, stream: trio.SocketStream, *, is_initiator: bool) -> None:
        self.is_initiator = is_initiator
        self.is_trusted = False
        """Set when the negotiation is over, and with it the bound on what may be read."""
        self._stream = stream
        self._remote = stream.socket.getpeername()[:2]
        self._buffer = bytearray()
        self._received_bytes = 0

    async def read(self, n: int | None = None) -> bytes:
        """Return up to ``n`` bytes; none at the end of the stream."""
        if not self._buffer:
            self._buffer += await self._receive()
        if n is None or n >= len(self._buffer):
            data = bytes(self._buffer)
            self._buffer.clear()
        else:
            data = bytes(self._buffer[:n])
            del self._buffer[:n]
        return data

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


class Muxer(Yamux):
    """Yamux whose writes are whole and whose windows are fixed.

    Args:
        secured: What noise made of ``socket``.
        peer_id: Who it is.
        socket: Closed when a write gets stuck, which nothing else can undo.

    """

    def __init__(self, secured: ISecureConn, peer_id: ID, socket: Socket) -> None:
        super().__init__(secured, peer_id, is_initiator=socket.is_initiator)
        self._socket = socket

    async def open_stream(self) -> YamuxStream:
        """Open a stream to the peer."""
        return _fix_window(await super().open_stream())

    async def accept_stream(self) -> YamuxStream:
        """Wait for a stream from the peer."""
        stream = await super().accept_stream()
        assert isinstance(stream, YamuxStream)
        return _fix_window(stream)

    async def _write_frame(self, data: bytes) -> None:
        async with self._write_lock:  # up to here nothing was encrypted: cancelling is harmless
            with trio.move_on_after(limits.LINK_WRITE_TIMEOUT_S) as scope:
                scope.shield = True
                await self.secured_conn.write(data)
            if scope.cancelled_caught:
                self._socket.abort()
                raise ConnectionClosedError("the peer does not read", transport="tcp")
        # Whoever has written must not be told that it was cancelled: a stream that the peer
        # heard of would be forgotten here.
        await trio.lowlevel.cancel_shielded_checkpoint()


async def room(stream: YamuxStream) -> int:
    """Wait until the peer takes more on ``stream``, and return how many bytes."""
    delay_s = _POLL_S_MIN
    # Yamux wakes nobody when a window opens; its own writer polls as well.
    while stream.send_window <= 0 and not (stream.closed or stream.send_closed):
        await trio.sleep(delay_s)
        delay_s = min(2 * delay_s, _POLL_S_MAX)
    return max(stream.send_window, 1)


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


def _fix_window(stream: YamuxStream) -> YamuxStream:
    taken_bytes = 0

    async def give_back(*, bytes_read: int = 0) -> None:
        nonlocal taken_bytes
        taken_bytes += bytes_read
        if taken_bytes >= DEFAULT_WINDOW_SIZE // 2:
            increment, taken_bytes = taken_bytes, 0
            stream.recv_window += increment
            await stream.send_window_update(increment)

    replacement: Callable[..., Coroutine[Any, Any, None]] = give_back
    stream._auto_tune_and_send_window_update = replacement  # type: ignore[method-assign]  # noqa: SLF001
    return stream
