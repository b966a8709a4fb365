"""One libp2p connection: TCP, then noise, then yamux, then our protocols on its streams.

It is made of libp2p's session layers without libp2p's host, swarm and resource manager. So there
is nothing else that a peer could reach: it is noise or nothing, and the only protocols are ours.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio
from libp2p.crypto.ed25519 import Ed25519PrivateKey
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import IOException
from libp2p.peer.id import ID
from libp2p.protocol_muxer.multiselect import Multiselect
from libp2p.protocol_muxer.multiselect_client import MultiselectClient
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE, Transport as Noise
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable, MuxedStreamError
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX, YamuxStream
from libp2p.transport.upgrader import TransportUpgrader

from bazaar_host.hardening import Muxer, Socket
from bazaar_protocol import limits
from bazaar_protocol.errors import Unreachable
from bazaar_protocol.identity import AgentId, Keypair, parse_agent, to_peer_id

LOG: Final = logging.getLogger("bazaar.libp2p")

Serve = Callable[["Connection", YamuxStream, str], Awaitable[None]]
"""Handles one stream, on which a protocol has been agreed, until it ends."""


class Upgrader:
    """Makes connections out of TCP streams, under one identity.

    Args:
        keys: Who we are.
        protocols: What peers may speak with us.
        streams_max: How many streams a peer may have open on one connection.

    """

    def __init__(self, keys: Keypair, protocols: Sequence[str], *, streams_max: int) -> None:
        secret = Ed25519PrivateKey.from_bytes(keys.seed)
        pair = KeyPair(secret, secret.get_public_key())
        noise = Noise(pair, noise_privkey=create_new_key_pair().private_key)
        # Only noise. By default libp2p also takes plaintext, where everyone is who they say.
        self._upgrader = TransportUpgrader({NOISE: noise}, {})
        self._protocols = protocols
        self._streams_max = streams_max

    async def inbound(self, stream: trio.SocketStream) -> "Connection":
        """Do the handshakes with a peer that dialed us. It may raise anything: a stranger talks."""
        socket = Socket(stream, is_initiator=False)
        secured = await self._upgrader.upgrade_security(socket, is_initiator=False)
        await _agree(secured, [YAMUX])
        return self._made(socket, Muxer(secured, secured.get_remote_peer(), socket))

    async def outbound(self, stream: trio.SocketStream, peer: AgentId) -> "Connection":
        """Do the handshakes with ``peer``, which we dialed. It may raise anything, as above."""
        socket = Socket(stream, is_initiator=True)
        peer_id = ID.from_string(to_peer_id(peer))
        secured = await self._upgrader.upgrade_security(socket, is_initiator=True, peer_id=peer_id)
        await _ask(secured, YAMUX)
        return self._made(socket, Muxer(secured, peer_id, socket))

    def _made(self, socket: Socket, muxer: Muxer) -> "Connection":
        socket.is_trusted = True
        return Connection(socket, muxer, self._protocols, streams_max=self._streams_max)


class Connection:
    """An authenticated connection to one peer, shared by all links to it."""

    def __init__(
        self, socket: Socket, muxer: Muxer, protocols: Sequence[str], *, streams_max: int
    ) -> None:
        # From the peer id: get_remote_public_key() is the key of the noise session.
        self.peer = parse_agent(str(muxer.peer_id))
        self.address = socket.get_remote_address()[0]
        self.is_suspect = False
        """True once it did not answer in time: no further link is opened on it."""
        self.is_settled = trio.Event()
        """Set once links can be opened, or the connection has ended instead."""
        self._socket = socket
        self._muxer = muxer
        self._protocols = protocols
        self._streams_max = streams_max
        self._streams_inbound = 0
        self._streams = 0
        self._last_used = trio.current_time()
        self._nursery: trio.Nursery | None = None

    @property
    def is_usable(self) -> bool:
        """Whether a new link may be opened on it."""
        return not (self.is_suspect or self._muxer.event_shutting_down.is_set())

    async def run(self, serve: Serve) -> None:
        """Serve the peer's streams until the connection ends, for whatever reason."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._muxer.start)
                nursery.start_soon(self._end_when_idle, nursery.cancel_scope)
                self._nursery = nursery
                await self._muxer.event_started.wait()
                self.is_settled.set()
                await self._accept(nursery, serve)
                nursery.cancel_scope.cancel()
        except* Exception as errors:  # noqa: BLE001 - a stranger's bytes end its connection only
            LOG.debug("connection to %s: %r", self.address, errors.exceptions)
        finally:
            self._nursery = None
            self.abort()
            self.is_settled.set()

    async def open(self, protocol: str) -> YamuxStream:
        """Open a stream and agree on ``protocol``. It may raise anything."""
        self._last_used = trio.current_time()
        stream = await self._muxer.open_stream()
        try:
            await _ask(_StreamAdapter(stream), protocol)
        except BaseException:
            await self.finish(stream, is_agreed=False)
            raise
        return stream

    def start_soon(self, serve: Callable[[], Awaitable[None]]) -> None:
        """Run a task that ends with the connection.

        Raises:
            Unreachable: It has ended already.

        """
        if self._nursery is None:
            raise Unreachable("the connection has ended")
        self._nursery.start_soon(serve)

    async def finish(self, stream: YamuxStream, *, is_agreed: bool) -> None:
        """End our half of a stream if the peer has ended its own, else both halves at once."""
        with trio.move_on_after(limits.LINK_CLOSE_TIMEOUT_S) as scope:
            scope.shield = True
            try:
                await (stream.close() if is_agreed else stream.reset())
            except (MuxedStreamError, IOException) as error:
                LOG.debug("end of a stream: %r", error)

    def abort(self) -> None:
        """End the connection now."""
        self._muxer.event_shutting_down.set()
        self._socket.abort()

    def hold(self, change: int) -> None:
        """Count streams in use: a connection without any is closed after a while."""
        self._streams += change
        self._last_used = trio.current_time()

    async def _accept(self, nursery: trio.Nursery, serve: Serve) -> None:
        while True:
            try:
                stream = await self._muxer.accept_stream()
            except MuxedConnUnavailable:
                return
            if self._streams_inbound >= self._streams_max:
                await self.finish(stream, is_agreed=False)
            else:
                self._streams_inbound += 1
                nursery.start_soon(self._serve, stream, serve)

    async def _serve(self, stream: YamuxStream, serve: Serve) -> None:
        try:
            protocol = await _agree(_StreamAdapter(stream), self._protocols)
            await serve(self, stream, protocol)
        except Exception as error:  # noqa: BLE001 - a stranger's bytes end its stream only
            LOG.debug("stream from %s: %r", self.address, error)
            await self.finish(stream, is_agreed=False)
        finally:
            self._streams_inbound -= 1

    async def _end_when_idle(self, scope: trio.CancelScope) -> None:
        while True:
            await trio.sleep(limits.CONNECTION_IDLE_S_MAX)
            if not self._streams and self._idle_s() >= limits.CONNECTION_IDLE_S_MAX:
                scope.cancel()
                return

    def _idle_s(self) -> float:
        return trio.current_time() - self._last_used


class _StreamAdapter(ReadWriteCloser):
    """A yamux stream as multistream-select wants it, with a bound on what it reads."""

    def __init__(self, stream: YamuxStream) -> None:
        self._stream = stream
        self._bytes_left = limits.NEGOTIATION_BYTES_MAX

    async def read(self, n: int | None = None) -> bytes:
        data = await self._stream.read(n)
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise IOException("too much negotiation")
        return data

    async def write(self, data: bytes) -> None:
        await self._stream.write(data)

    async def close(self) -> None:
        await self._stream.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        return self._stream.get_remote_address()


async def _agree(socket_or_stream: ReadWriteCloser, offered: Sequence[str]) -> str:
    """Let the peer choose one of the ``offered`` protocols."""
    choice = Multiselect({TProtocol(protocol): None for protocol in offered})
    with trio.fail_after(limits.NEGOTIATION_TIMEOUT_S):
        protocol, _ = await choice.negotiate(MultiselectCommunicator(socket_or_stream))
    assert protocol is not None  # None is not among the offered
    return str(protocol)


async def _ask(socket_or_stream: ReadWriteCloser, protocol: str) -> None:
    """Ask the peer to speak ``protocol``."""
    communicator = MultiselectCommunicator(socket_or_stream)
    await MultiselectClient().select_one_of([TProtocol(protocol)], communicator)


def explain(error: BaseException) -> str:
    """Say in one line what went wrong, causes included."""
    causes = [str(error) or type(error).__name__]
    while (cause := error.__cause__) is not None:
        error = cause
        while isinstance(error, BaseExceptionGroup):  # says nothing that its members do not
            error = error.exceptions[0]
        causes.append(str(error) or type(error).__name__)
    return ": ".join(causes)
