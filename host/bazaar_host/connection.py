"""One libp2p connection: TCP, then noise, then yamux, then our protocols on its streams.

Negotiation is libp2p's; the handshake and the session layers above are our own, and its host, swarm
and resource manager are not there. So there is nothing else that a peer could reach: it
is noise or nothing, and the only protocols are ours.
"""

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio
from libp2p.custom_types import TProtocol
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import IOException
from libp2p.protocol_muxer.multiselect import Multiselect
from libp2p.protocol_muxer.multiselect_client import MultiselectClient
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX

from bazaar_host.handshake import NoiseKey
from bazaar_host.hardening import Socket
from bazaar_host.muxer import MuxedStream, Muxer
from bazaar_host.secured import Secured, secure
from bazaar_host.websocket import ByteStream
from bazaar_host.yamux.breaches import Breach
from bazaar_protocol import limits
from bazaar_protocol.errors import Unreachable
from bazaar_protocol.identity import AgentId, Keypair, to_peer_id

LOG: Final = logging.getLogger("bazaar.libp2p")

Serve = Callable[["Connection", MuxedStream, str], Awaitable[None]]
"""Handles one stream, on which a protocol has been agreed, until it ends, and ends it."""


class Upgrader:
    """Makes connections out of TCP streams, under one identity.

    Args:
        keys: Who we are.
        protocols: What peers may speak with us.
        streams_max: How many streams a peer may have open on one connection.

    """

    def __init__(self, keys: Keypair, protocols: Sequence[str], *, streams_max: int) -> None:
        self._key = NoiseKey(keys)
        self._protocols = protocols
        self._streams_max = streams_max

    async def inbound(self, stream: ByteStream, address: str) -> "Connection":
        """Do the handshakes with a peer that dialed us. It may raise anything: a stranger talks."""
        socket = Socket(stream, is_initiator=False, address=address)
        # Only noise. By default libp2p also takes plaintext, where everyone is who they say.
        await _agree(socket, [NOISE])
        secured = await secure(socket, self._key)
        await _agree(secured, [YAMUX])
        return self._made(socket, secured)

    async def outbound(self, stream: ByteStream, peer: AgentId) -> "Connection":
        """Do the handshakes with ``peer``, which we dialed. It may raise anything, as above."""
        socket = Socket(stream, is_initiator=True)
        await _ask(socket, NOISE)
        secured = await secure(socket, self._key)
        if secured.peer != peer:
            raise Unreachable(f"{to_peer_id(secured.peer)} answered")
        await _ask(secured, YAMUX)
        return self._made(socket, secured)

    def _made(self, socket: Socket, secured: Secured) -> "Connection":
        socket.is_trusted = True
        muxer = Muxer(secured, is_initiator=socket.is_initiator, streams_max=self._streams_max)
        return Connection(secured.peer, socket, muxer, self._protocols)


class Connection:
    """An authenticated connection to one peer, shared by all links to it."""

    def __init__(
        self, peer: AgentId, socket: Socket, muxer: Muxer, protocols: Sequence[str]
    ) -> None:
        self.peer = peer
        self.address = socket.get_remote_address()[0]
        self.is_suspect = False
        """True once it did not answer in time: no further link is opened on it."""
        self.is_settled = trio.Event()
        """Set once links can be opened, or the connection has ended instead."""
        self._socket = socket
        self._muxer = muxer
        self._protocols = protocols
        self._streams = 0
        self._last_used = trio.current_time()
        self._nursery: trio.Nursery | None = None
        self._idle_scope = trio.move_on_at(math.inf)

    @property
    def is_usable(self) -> bool:
        """Whether a new link may be opened on it."""
        return not (self.is_suspect or self._muxer.is_ended)

    @property
    def breach(self) -> Breach | None:
        """What the peer did wrong, if that is why the connection ended."""
        return self._muxer.breach

    async def run(self, serve: Serve) -> None:
        """Serve the peer's streams until the connection ends, for whatever reason."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._end_when_idle)
                self.is_settled.set()
                await self._muxer.run(lambda stream: nursery.start_soon(self._serve, stream, serve))
                self._idle_scope.cancel()
                # What has arrived is still handed on, to who takes it.
                nursery.cancel_scope.deadline = trio.current_time() + limits.LINK_CLOSE_TIMEOUT_S
        except* Exception as errors:  # noqa: BLE001 - a stranger's bytes end its connection only
            LOG.debug("connection to %s: %r", self.address, errors.exceptions)
        finally:
            self._nursery = None
            self.abort()
            self.is_settled.set()

    async def open(self, protocol: str) -> MuxedStream:
        """Open a stream and agree on ``protocol``. It may raise anything."""
        self._last_used = trio.current_time()
        stream = self._muxer.open_stream()
        try:
            await _ask(_StreamAdapter(stream, self._socket), protocol)
        except BaseException:
            stream.reset()
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

    def abort(self) -> None:
        """End the connection now."""
        self._muxer.end()
        self._socket.abort()

    def hold(self, change: int) -> None:
        """Count streams in use: a connection without any is closed after a while."""
        self._streams += change
        self._last_used = trio.current_time()

    async def _serve(self, stream: MuxedStream, serve: Serve) -> None:
        try:
            protocol = await _agree(_StreamAdapter(stream, self._socket), self._protocols)
            await serve(self, stream, protocol)
        except Exception as error:  # noqa: BLE001 - a stranger's bytes end its stream only
            LOG.debug("stream from %s: %r", self.address, error)
        finally:
            stream.close()

    async def _end_when_idle(self) -> None:
        with self._idle_scope:
            while True:
                await trio.sleep(limits.CONNECTION_IDLE_S_MAX)
                if not self._streams and self._idle_s() >= limits.CONNECTION_IDLE_S_MAX:
                    self._muxer.end()

    def _idle_s(self) -> float:
        return trio.current_time() - self._last_used


class _StreamAdapter(ReadWriteCloser):
    """A stream as multistream-select wants it, with a bound on what is read and answered."""

    def __init__(self, stream: MuxedStream, socket: Socket) -> None:
        self._stream = stream
        self._socket = socket
        self._bytes_left = limits.NEGOTIATION_STREAM_BYTES_MAX

    async def read(self, n: int | None = None) -> bytes:
        data = await self._stream.read(n)
        self._count(data)
        return data

    async def write(self, data: bytes) -> None:
        self._count(data)
        self._stream.push(data)

    async def close(self) -> None:
        self._stream.reset()

    def get_remote_address(self) -> tuple[str, int]:
        return self._socket.get_remote_address()

    def _count(self, data: bytes) -> None:
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise IOException("too much negotiation")


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
