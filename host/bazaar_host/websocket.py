"""A byte stream inside a WebSocket (RFC 6455), so that a relay can stand behind a reverse proxy.

``wsproto`` speaks the protocol; here are only the socket and the bounds. What libp2p sends over TCP
travels in binary messages, whose borders mean nothing. Noise inside proves who is at the other end,
so neither the proxy nor its certificate has to be trusted with more than passing bytes on.

No extension is ever agreed on: what is compressed could unfold to any size.
"""

import ipaddress
import ssl
from typing import Final, NoReturn, Protocol

import trio
from wsproto import WSConnection
from wsproto.connection import ConnectionType
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    Request,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from bazaar_protocol import limits

_READ_BYTES: Final = 64 * limits.KIB
_FORWARDED: Final = b"x-forwarded-for"


class ByteStream(Protocol):
    """What carries a connection: a ``trio.SocketStream``, or the likes of it."""

    @property
    def socket(self) -> trio.socket.SocketType:
        """The socket below; closing it ends everything at once."""
        ...

    async def send_all(self, data: bytes) -> None:
        """Send all of ``data``."""
        ...

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Return what has arrived, at least one byte; none at the end."""
        ...


class WebSocketStream:
    """A ``ByteStream`` inside a WebSocket. ``accept`` and ``dial`` make them."""

    def __init__(self, below: ByteStream, kind: ConnectionType) -> None:
        self.socket = below.socket
        self._below = below
        self._protocol = WSConnection(kind)
        self._arrived = bytearray()
        self._is_over = False
        # The answer to a ping must not come between the halves of a message.
        self._sending = trio.Lock()

    async def send_all(self, data: bytes) -> None:
        """Send all of ``data``, as one message."""
        await self._send(BytesMessage(data=bytes(data)))

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return what has arrived, at least one byte; none at the end."""
        while not self._arrived and not self._is_over:
            for event in await self._next_events():
                await self._take(event)
        data = bytes(self._arrived[:max_bytes])
        del self._arrived[: len(data)]
        return data

    async def request(self) -> dict[bytes, bytes]:
        """Wait for a request for a WebSocket and agree to it; return its headers, the last ones.

        Raises:
            trio.BrokenResourceError: Something else was asked for.

        """
        try:
            while not self._is_over:
                for event in await self._next_events():
                    if isinstance(event, Request):
                        await self._send(AcceptConnection())
                        return {name.lower(): value for name, value in event.extra_headers}
            _break("left")
        except _Refused as error:
            await self._send(RejectConnection(status_code=error.status))
            raise trio.BrokenResourceError(str(error)) from error

    async def ask(self, host: str) -> None:
        """Ask for a WebSocket.

        Raises:
            trio.BrokenResourceError: The other side does not agree.

        """
        await self._send(Request(host=host, target="/"))
        while not self._is_over:
            match await self._next_events():
                case []:
                    continue
                case [AcceptConnection(), *more]:
                    for event in more:
                        await self._take(event)
                    return
                case [RejectConnection(status_code=status), *_]:
                    _break(f"answered with the HTTP status {status}")
                case _:
                    _break("does not speak as a WebSocket")
        _break("left")

    async def _next_events(self) -> list[Event]:
        data = await self._below.receive_some(_READ_BYTES)
        if not data:
            self._is_over = True
            return []
        try:
            self._protocol.receive_data(bytes(data))
            return list(self._protocol.events())
        except RemoteProtocolError as error:
            if isinstance(error.event_hint, RejectConnection):
                raise _Refused(str(error), error.event_hint.status_code or 400) from error
            _break(f"broke the rules of WebSockets: {error}", error)

    async def _take(self, event: Event) -> None:
        match event:
            case BytesMessage(data=data):
                self._arrived += data
            case Ping():
                await self._send(event.response())
            case Pong():
                pass
            case CloseConnection():
                self._is_over = True
            case _:
                _break("only bytes travel here")

    async def _send(self, event: Event) -> None:
        async with self._sending:
            try:
                data = self._protocol.send(event)
            except LocalProtocolError as error:  # the other side has closed it
                raise trio.BrokenResourceError("the WebSocket is closed") from error
            await self._below.send_all(data)


class _Refused(Exception):
    """What was asked for is no WebSocket; ``status`` says so over HTTP."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status


async def accept(below: ByteStream) -> tuple[WebSocketStream, str]:
    """Serve a request for a WebSocket; return it, and for whom a proxy says that it asks.

    That is the last address of the last ``X-Forwarded-For``, which the proxy next to us has
    written; empty if there is none. Only who trusts that proxy may believe it.
    """
    stream = WebSocketStream(below, ConnectionType.SERVER)
    headers = await stream.request()
    return stream, _address(headers.get(_FORWARDED, b"").rpartition(b",")[2])


async def dial(below: trio.SocketStream, host: str, *, is_secure: bool) -> WebSocketStream:
    """Ask for a WebSocket at ``host``, inside TLS if it has to be secure."""
    lower: ByteStream = below
    if is_secure:
        lower = SecureStream(below, host)
    stream = WebSocketStream(lower, ConnectionType.CLIENT)
    await stream.ask(f"[{host}]" if ":" in host else host)
    return stream


class SecureStream:
    """A ``ByteStream`` inside TLS, whose certificate has to be one for ``host``."""

    def __init__(self, below: trio.SocketStream, host: str) -> None:
        self.socket = below.socket
        context = ssl.create_default_context()
        self._tls = trio.SSLStream(below, context, server_hostname=host, https_compatible=True)

    async def send_all(self, data: bytes) -> None:
        """Send all of ``data``."""
        await self._tls.send_all(data)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Return what has arrived, at least one byte; none at the end."""
        return await self._tls.receive_some(max_bytes)


def _break(reason: str, cause: BaseException | None = None) -> NoReturn:
    raise trio.BrokenResourceError(reason) from cause


def _address(raw: bytes) -> str:
    try:
        return str(ipaddress.ip_address(raw.strip().decode("ascii")))
    except ValueError:
        return ""
