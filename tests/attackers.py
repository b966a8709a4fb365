"""Programs that mean no good, made of libp2p's stock layers and of plain sockets.

The trio ones run in a thread of their own, as ``await attack(coroutine_function, ...)``.
"""

import asyncio
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final, Self

import trio
from libp2p.abc import ISecureConn, ISecureTransport
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_pair
from libp2p.custom_types import TProtocol
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.security.insecure.transport import PLAINTEXT_PROTOCOL_ID, InsecureTransport
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE, Transport as Noise
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX, Yamux
from libp2p.transport.tcp.tcp import TCP
from libp2p.transport.upgrader import TransportUpgrader
from multiaddr import Multiaddr

from bazaar_host.addresses import Address
from bazaar_protocol.identity import to_peer_id

MULTISTREAM: Final = b"\x13/multistream/1.0.0\n"
YAMUX_HEADER: Final = struct.Struct("!BBHII")
DATA, WINDOW_UPDATE = 0, 1
SYN = 1


async def attack(what: Callable[..., Awaitable[None]], *args: object) -> None:
    """Run ``what`` under trio in a thread of its own."""
    await asyncio.to_thread(partial(trio.run, what, *args))


async def secure(address: str, *, plaintext: bool = False) -> ISecureConn:
    """Dial as stock libp2p does, under a new identity, by noise or by plaintext."""
    pair = create_new_key_pair()
    transport: ISecureTransport = (
        InsecureTransport(pair)
        if plaintext
        else Noise(pair, noise_privkey=create_noise_pair().private_key)
    )
    protocol = TProtocol(PLAINTEXT_PROTOCOL_ID) if plaintext else NOISE
    place = Address.parse(address)
    assert place.peer is not None
    raw = await TCP().dial(Multiaddr(address))
    assert isinstance(raw, RawConnection)
    try:
        return await TransportUpgrader({protocol: transport}, {}).upgrade_security(
            raw, True, ID.from_string(to_peer_id(place.peer))
        )
    except BaseException:
        await raw.close()
        raise


async def connect(address: str) -> ISecureConn:
    """Dial and agree on yamux, but run none: whoever called writes frames as it likes."""
    secured = await secure(address)
    muxers = TransportUpgrader({}, {TProtocol(YAMUX): Yamux}).muxer_multistream
    await muxers.select_transport(secured)
    return secured


def yamux_stream(payload: bytes, number: int = 1) -> bytes:
    """Return the frames that open a stream and send ``payload`` on it."""
    return (
        YAMUX_HEADER.pack(0, WINDOW_UPDATE, SYN, number, 0)
        + YAMUX_HEADER.pack(0, DATA, 0, number, len(payload))
        + payload
    )


async def wait_for_end(connection: ISecureConn) -> None:
    """Read until the other side hangs up."""
    with trio.fail_after(10):
        try:
            while await connection.read(1):
                pass
        except Exception as error:  # noqa: BLE001 - each layer has its own error for the end
            assert not isinstance(error, trio.TooSlowError)  # noqa: PT017
        finally:
            await connection.close()


class Caller:
    """A plain TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, address: str) -> Self:
        place = Address.parse(address)
        return cls(*await asyncio.open_connection(place.host, place.port))

    async def is_admitted(self) -> bool:
        """Whether the other side starts to negotiate, rather than to hang up."""
        try:
            return bool(await asyncio.wait_for(self.reader.read(len(MULTISTREAM)), 5))
        except ConnectionResetError:
            return False

    async def end(self) -> None:
        """Read until the other side hangs up."""
        try:
            while await asyncio.wait_for(self.reader.read(4096), 5):
                pass
        except ConnectionResetError:
            pass
        await self.close()

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionResetError, BrokenPipeError):
            await self.writer.wait_closed()


async def hang_up(writers: Sequence[asyncio.StreamWriter]) -> None:
    """End connections at once, whatever waits on them, and see that nothing of them is left."""
    for writer in writers:
        writer.transport.abort()
    await asyncio.gather(*(one.wait_closed() for one in writers), return_exceptions=True)


class Proxy:
    """Forwards TCP until it is frozen; then everything stays open and nothing moves."""

    def __init__(self, target: str) -> None:
        self.target = Address.parse(target)
        self.address = ""
        self.is_flowing = asyncio.Event()
        self.is_flowing.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, target: str) -> AsyncGenerator[Self]:
        proxy = cls(target)
        server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        proxy.address = str(Address("127.0.0.1", port, proxy.target.peer))
        try:
            yield proxy
        finally:
            server.close()
            for task in proxy._tasks:
                task.cancel()
            await asyncio.gather(*proxy._tasks, return_exceptions=True)
            await hang_up(proxy._writers)

    def freeze(self) -> None:
        self.is_flowing.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        there = await asyncio.open_connection(self.target.host, self.target.port)
        self._writers.append(there[1])
        self._start(self._copy(reader, there[1]))
        self._start(self._copy(there[0], writer))

    def _start(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                await self.is_flowing.wait()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()
