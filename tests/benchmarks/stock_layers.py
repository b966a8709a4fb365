"""libp2p's own layers below our links, from the socket up: what ours are measured against.

Yamux is mended just so far that it can carry links at all: writes are whole, windows stay as they
are and a shut one is waited for.
"""

import math
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

import trio
from libp2p.abc import ISecureConn
from libp2p.crypto.ed25519 import Ed25519PrivateKey
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE, Transport as Noise
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable, MuxedStreamEOF
from libp2p.stream_muxer.yamux.yamux import (
    DEFAULT_WINDOW_SIZE,
    PROTOCOL_ID as YAMUX,
    Yamux,
    YamuxStream,
)
from libp2p.transport.upgrader import TransportUpgrader

from bazaar_host import connection, libp2p_core
from bazaar_host.connection import Connection, Upgrader
from bazaar_host.hardening import Socket
from bazaar_host.muxer import MuxedStream, Muxer
from bazaar_host.websocket import ByteStream
from bazaar_protocol.identity import AgentId, Keypair, parse_agent, to_peer_id

_WRITE_BYTES_MAX: Final = 65_507
_POLL_S_MIN, _POLL_S_MAX = 0.001, 0.05


@contextmanager
def stock_layers(*, are_stock: bool = True) -> Iterator[None]:
    """Give transports that are opened inside this block libp2p's layers, if ``are_stock``."""
    layers = cast("Any", libp2p_core)
    layers.Upgrader = StockUpgrader if are_stock else Upgrader
    try:
        yield
    finally:
        layers.Upgrader = Upgrader


class StockUpgrader(Upgrader):
    """Makes connections of libp2p's layers."""

    def __init__(self, keys: Keypair, protocols: Sequence[str], *, streams_max: int) -> None:
        super().__init__(keys, protocols, streams_max=streams_max)
        secret = Ed25519PrivateKey.from_bytes(keys.seed)
        pair = KeyPair(secret, secret.get_public_key())
        noise = Noise(pair, noise_privkey=create_new_key_pair().private_key)
        self._security = TransportUpgrader({NOISE: noise}, {})

    async def inbound(self, stream: ByteStream, address: str) -> Connection:
        raw = RawConnection(TrioTCPStream(cast("trio.SocketStream", stream)), initiator=False)
        secured = await self._security.upgrade_security(raw, is_initiator=False)
        await connection._agree(secured, [YAMUX])
        muxer = StockMuxer(secured, secured.get_remote_peer(), is_initiator=False)
        return self._stock(stream, muxer)

    async def outbound(self, stream: ByteStream, peer: AgentId) -> Connection:
        raw = RawConnection(TrioTCPStream(cast("trio.SocketStream", stream)), initiator=True)
        peer_id = ID.from_string(to_peer_id(peer))
        secured = await self._security.upgrade_security(raw, is_initiator=True, peer_id=peer_id)
        await connection._ask(secured, YAMUX)
        return self._stock(stream, StockMuxer(secured, peer_id, is_initiator=True))

    def _stock(self, stream: ByteStream, muxer: "StockMuxer") -> Connection:
        socket = Socket(stream, is_initiator=muxer.is_initiator)  # nothing goes through it
        peer = parse_agent(str(muxer.peer_id))
        return Connection(peer, socket, cast("Muxer", muxer), self._protocols)


class StockMuxer(Yamux):
    """libp2p's yamux behind the door of ours."""

    breach = None

    def __init__(self, secured: ISecureConn, peer_id: ID, *, is_initiator: bool) -> None:
        super().__init__(secured, peer_id, is_initiator=is_initiator)
        self.tasks: trio.Nursery

    @property
    def is_ended(self) -> bool:
        return self.event_shutting_down.is_set()

    def end(self) -> None:
        self.event_shutting_down.set()

    async def run(self, on_stream: Callable[[MuxedStream], None]) -> None:
        async with trio.open_nursery() as self.tasks:
            self.tasks.start_soon(self.start)
            while True:
                try:
                    stream = await super().accept_stream()
                except MuxedConnUnavailable:
                    break
                on_stream(cast("MuxedStream", StockStream(self, cast("YamuxStream", stream))))
            self.tasks.cancel_scope.cancel()

    def open_stream(self) -> MuxedStream:  # type: ignore[override]
        return cast("MuxedStream", StockStream(self, None))

    async def open_yamux_stream(self) -> YamuxStream:
        return await super().open_stream()

    async def _write_frame(self, data: bytes) -> None:
        async with self._write_lock:
            with trio.move_on_at(math.inf) as scope:
                scope.shield = True
                await self.secured_conn.write(data)


class StockStream:
    """One of libp2p's streams behind the door of ours."""

    def __init__(self, muxer: StockMuxer, stream: YamuxStream | None) -> None:
        self.on_sent: Callable[[int], object] = lambda _: None
        self._on_change: Callable[[], object] = lambda: None
        self._muxer = muxer
        self._stream: YamuxStream
        self._is_open = trio.Event()
        self._arrived: bytes | None = b""
        self._taken = trio.Event()
        self._queue: deque[bytes] = deque()
        self._wake_writer = trio.Event()
        self._is_finishing = False
        muxer.tasks.start_soon(self._write, stream)

    def take(self) -> bytes | None:
        if self._arrived is None:
            return None
        data, self._arrived = self._arrived, b""
        self._taken.set()
        return data

    @property
    def on_change(self) -> Callable[[], object]:
        return self._on_change

    @on_change.setter
    def on_change(self, on_change: Callable[[], object]) -> None:
        self._on_change = on_change
        self._muxer.tasks.start_soon(self._read_on)

    async def _read_on(self) -> None:
        while self._arrived is not None:
            self._arrived = (await self.read()) or None
            self._taken = trio.Event()
            self._on_change()
            await self._taken.wait()

    async def read(self, n: int | None = None) -> bytes:
        await self._is_open.wait()
        try:
            return await self._stream.read(n)
        except MuxedStreamEOF:
            return b""

    def push(self, data: bytes) -> None:
        self._queue.append(data)
        self._wake_writer.set()

    def finish(self) -> None:
        self._is_finishing = True
        self._wake_writer.set()

    def close(self) -> None:
        self.on_sent = lambda _: None
        self.finish()

    def reset(self) -> None:
        self.close()

    async def _write(self, stream: YamuxStream | None) -> None:
        self._stream = _fix_window(stream or await self._muxer.open_yamux_stream())
        self._is_open.set()
        while True:
            while self._queue:
                data = self._next_piece()
                await self._send(data)
                self.on_sent(len(data))
            if self._is_finishing:
                await self._stream.close()
                return
            self._wake_writer = trio.Event()
            await self._wake_writer.wait()

    def _next_piece(self) -> bytes:
        parts = [self._queue.popleft()]
        size = len(parts[0])
        while self._queue and size + len(self._queue[0]) <= _WRITE_BYTES_MAX:
            parts.append(self._queue.popleft())
            size += len(parts[-1])
        return b"".join(parts)

    async def _send(self, data: bytes) -> None:
        start = 0
        while start < len(data):
            size = min(_WRITE_BYTES_MAX, await _room(self._stream))
            await self._stream.write(data[start : start + size])
            start += size


async def _room(stream: YamuxStream) -> int:
    delay_s = _POLL_S_MIN
    # Yamux wakes nobody when a window opens; its own writer polls as well.
    while stream.send_window <= 0 and not (stream.closed or stream.send_closed):
        await trio.sleep(delay_s)
        delay_s = min(2 * delay_s, _POLL_S_MAX)
    return max(stream.send_window, 1)


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
    stream._auto_tune_and_send_window_update = replacement  # type: ignore[method-assign]
    return stream
