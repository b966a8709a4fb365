"""The trio side of the libp2p transport: it listens, dials, and keeps one connection per peer.

Everything here runs in the trio thread. The asyncio side posts calls to the methods of ``Core``
and hears of what happens through ``Events``; neither ever holds an object of the other's library.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from bazaar_host import websocket
from bazaar_host.addresses import Address, Way
from bazaar_host.admission import Admission, ConnectionLimits
from bazaar_host.channel import Channel
from bazaar_host.connection import LOG, Connection, Upgrader, explain
from bazaar_host.muxer import MuxedStream
from bazaar_host.websocket import ByteStream
from bazaar_protocol import limits
from bazaar_protocol.errors import AddressInUse, ConfigError, Unreachable
from bazaar_protocol.identity import AgentId, Keypair

_BACKLOG: Final = 128


@dataclass(frozen=True, slots=True)
class Opened:
    """A link that came up."""

    link: int
    peer: AgentId
    address: str
    protocol: str
    dial: int | None
    """The dial whose outcome it is; None if the peer dialed."""


@dataclass(frozen=True, slots=True)
class Events:
    """How the trio side reports; each may be called in its thread."""

    started: Callable[[list[str]], None]
    """We listen on these addresses."""
    opened: Callable[[Opened], None]
    """A link came up."""
    failed: Callable[[int, Unreachable], None]
    """A dial came to nothing."""
    frames: Callable[[int, list[bytes]], None]
    """Frames arrived on a link."""
    sent: Callable[[int, int], None]
    """So many bytes left the queue of a link."""
    closed: Callable[[int], None]
    """A link ended."""
    breached: Callable[[str], None]
    """A connection was ended since its peer broke the rules: one of ``Breach``."""


@dataclass(slots=True)
class _Visit:
    """An inbound connection, as far as it is counted."""

    address: str
    """For whom its slot is; behind a proxy of ours it turns out later."""


class Core:
    """Listener, dialer and registry of connections."""

    def __init__(
        self, keys: Keypair, protocols: Sequence[str], bounds: ConnectionLimits, events: Events
    ) -> None:
        self._agent = keys.agent
        self._events = events
        self._upgrader = Upgrader(keys, protocols, streams_max=bounds.streams_max)
        self._admission = Admission(bounds)
        self._connections: dict[AgentId, list[Connection]] = {}
        self._channels: dict[int, Channel] = {}
        self._link_ids = itertools.count(1)
        self._dials: dict[int, trio.CancelScope] = {}
        self._stop = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._none_open = trio.Event()

    async def run(self, listen: Sequence[Address]) -> None:
        """Listen and serve until ``stop`` is called.

        Raises:
            AddressInUse: One of the addresses cannot be listened on.

        """
        listeners: list[trio.SocketListener] = []
        try:
            for address in listen:
                listeners.append(await _bind(address))  # noqa: PERF401 - what is bound gets closed
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                names: list[str] = []
                for address, listener in zip(listen, listeners, strict=True):
                    serve = partial(self._serve_inbound, address.way)
                    nursery.start_soon(trio.serve_listeners, serve, [listener])
                    names.append(self._name(listener, address.way))
                self._events.started(names)
                await self._stop.wait()
                await self._close_channels()
                self._abort_connections()
                nursery.cancel_scope.cancel()
        finally:
            for listener in listeners:
                listener.socket.close()

    # Posted by the asyncio side.

    def stop(self) -> None:
        """End everything."""
        self._stop.set()

    def dial(
        self, dial: int, peer: AgentId | None, addresses: Sequence[str], protocol: str
    ) -> None:
        """Start dialing; ``Events`` tells the outcome."""
        if self._stop.is_set() or self._nursery is None:
            self._events.failed(dial, Unreachable("the transport is closed"))
            return
        self._dials[dial] = trio.move_on_at(math.inf)
        self._nursery.start_soon(self._dial, dial, peer, addresses, protocol)

    def cancel(self, dial: int) -> None:
        """Give up a dial, if it is still going on."""
        if dial in self._dials:
            self._dials[dial].cancel()

    def push(self, link: int, frames: bytes) -> None:
        """Send frames."""
        if link in self._channels:
            self._channels[link].push(frames)

    def give_back(self, link: int, frames: int, size: int) -> None:
        """Note that the application took frames."""
        if link in self._channels:
            self._channels[link].give_back(frames, size)

    def close(self, link: int) -> None:
        """End a link."""
        if link in self._channels:
            self._channels[link].close()

    # Connections.

    async def _serve_inbound(self, way: Way, stream: trio.SocketStream) -> None:
        try:
            address = str(stream.socket.getpeername()[0])
        except OSError:  # it has left already
            stream.socket.close()
            return
        if not self._admission.admit(address):
            stream.socket.close()
            return
        visit = _Visit(address)
        try:
            connection = await self._welcome(stream, way, visit)
            await self._run(connection)
        except Exception as error:  # noqa: BLE001 - a stranger's bytes end its connection only
            LOG.debug("inbound from %s: %r", visit.address, error)
        finally:
            self._admission.release(visit.address)
            stream.socket.close()

    async def _welcome(self, tcp: trio.SocketStream, way: Way, visit: "_Visit") -> Connection:
        try:
            with trio.fail_after(limits.NEGOTIATION_TIMEOUT_S):
                stream: ByteStream = tcp
                if way:
                    stream, origin = await websocket.accept(tcp)
                    if origin and self._admission.is_proxy(visit.address):
                        if not self._admission.forward(visit.address, origin):
                            raise Unreachable("too many connections from there")
                        visit.address = origin
                return await self._upgrader.inbound(stream, visit.address)
        finally:
            self._admission.settle()

    async def _run(self, connection: Connection) -> None:
        siblings = self._connections.setdefault(connection.peer, [])
        siblings.append(connection)
        try:
            await connection.run(self._serve_link)
        finally:
            siblings.remove(connection)
            if not siblings:
                del self._connections[connection.peer]
            if connection.breach is not None:
                self._events.breached(connection.breach)

    def _abort_connections(self) -> None:
        # Before anything is cancelled: a write that has begun ends with its socket only.
        for connection in itertools.chain.from_iterable(self._connections.values()):
            connection.abort()

    # Dialing. libp2p's own waits 250 ms, tries the first address, and a black hole for 120 s.

    async def _dial(
        self, dial: int, peer: AgentId | None, addresses: Sequence[str], protocol: str
    ) -> None:
        try:
            with self._dials[dial]:
                connection, stream = await self._reach(peer, addresses, protocol)
                connection.start_soon(partial(self._serve_link, connection, stream, protocol, dial))
        except Unreachable as error:
            self._events.failed(dial, error)
        finally:
            del self._dials[dial]

    async def _reach(
        self, peer: AgentId | None, addresses: Sequence[str], protocol: str
    ) -> tuple[Connection, MuxedStream]:
        """Open a stream to ``peer``, on a connection that exists or at one of ``addresses``."""
        if peer is not None and (reused := await self._reuse(peer, protocol)):
            return reused
        failures: list[str] = []
        for text in addresses:
            try:
                address = Address.parse(text)
                wanted = _wanted(peer, address)
                if peer is None and (reused := await self._reuse(wanted, protocol)):
                    return reused
                with trio.fail_after(limits.DIAL_TIMEOUT_S):
                    connection = await self._connect(wanted, address)
                    return connection, await connection.open(protocol)
            except trio.TooSlowError:
                failures.append(f"{text}: no answer within {limits.DIAL_TIMEOUT_S} s")
            except Exception as error:  # noqa: BLE001 - whatever a stranger's answer led to
                failures.append(f"{text}: {explain(error)}")
        raise Unreachable("; ".join(failures) or "no addresses were given")

    async def _reuse(self, peer: AgentId, protocol: str) -> tuple[Connection, MuxedStream] | None:
        for connection in reversed(self._connections.get(peer, [])):
            if not connection.is_usable:
                continue
            try:
                with trio.fail_after(limits.REUSE_TIMEOUT_S):
                    return connection, await connection.open(protocol)
            except trio.TooSlowError:  # half dead: the next dial must not wait for it again
                connection.is_suspect = True
            except Exception as error:  # noqa: BLE001 - whatever a stranger's answer led to
                LOG.debug("reuse of %s: %r", connection.address, error)
        return None

    async def _connect(self, peer: AgentId, address: Address) -> Connection:
        assert self._nursery is not None
        tcp = await trio.open_tcp_stream(address.host, address.port)
        try:
            stream: ByteStream = tcp
            if address.way:
                is_secure = address.way == "wss"
                stream = await websocket.dial(tcp, address.host, is_secure=is_secure)
            connection = await self._upgrader.outbound(stream, peer)
        except BaseException:
            tcp.socket.close()
            raise
        self._nursery.start_soon(self._run, connection)
        await connection.is_settled.wait()
        return connection

    # Links.

    async def _serve_link(
        self, connection: Connection, stream: MuxedStream, protocol: str, dial: int | None = None
    ) -> None:
        link = next(self._link_ids)
        channel = Channel(
            stream, partial(self._events.frames, link), partial(self._events.sent, link)
        )
        self._channels[link] = channel
        connection.hold(1)
        self._events.opened(Opened(link, connection.peer, connection.address, protocol, dial))
        try:
            await channel.run()
        except Exception as error:  # noqa: BLE001 - a stranger's bytes end its link only
            LOG.debug("link to %s: %r", connection.address, error)
        finally:
            del self._channels[link]
            self._events.closed(link)
            if not self._channels:
                self._none_open.set()
            connection.hold(-1)
            stream.close()

    async def _close_channels(self) -> None:
        for channel in self._channels.values():
            channel.close()
        with trio.move_on_after(2 * limits.LINK_CLOSE_TIMEOUT_S):
            while self._channels:
                self._none_open = trio.Event()
                await self._none_open.wait()

    def _name(self, listener: trio.SocketListener, way: Way) -> str:
        host, port = listener.socket.getsockname()[:2]
        return str(Address(str(host), int(port), self._agent, way))


def _wanted(peer: AgentId | None, address: Address) -> AgentId:
    wanted = address.peer if peer is None else peer
    if wanted is None:
        raise ConfigError("the address does not say who is there (/p2p/…)")
    if address.peer not in (None, wanted):
        raise ConfigError("the address is another peer's")
    return wanted


async def _bind(address: Address) -> trio.SocketListener:
    """Listen on ``address`` alone: libp2p's SO_REUSEPORT would let two programs share it."""
    is_v6 = ":" in address.host
    socket = trio.socket.socket(trio.socket.AF_INET6 if is_v6 else trio.socket.AF_INET)
    try:
        socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
        if is_v6:
            socket.setsockopt(trio.socket.IPPROTO_IPV6, trio.socket.IPV6_V6ONLY, 1)
        await socket.bind((address.host, address.port))
        socket.listen(_BACKLOG)
    except OSError as error:
        socket.close()
        raise AddressInUse(f"cannot listen on {address}: {error}") from error
    return trio.SocketListener(socket)
