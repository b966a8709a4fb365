"""Transports for tests, over memory or over libp2p, behind one door."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

from bazaar_host.admission import ConnectionLimits
from bazaar_host.bridge import Libp2pTransport
from bazaar_host.links import RELAY_PROTOCOL, Link, Transport
from bazaar_host.memory import MemoryNetwork
from bazaar_protocol.errors import LinkClosed
from bazaar_protocol.framing import pack
from bazaar_protocol.identity import Keypair


class Program:
    """A transport, and the links that its peers opened."""

    def __init__(self, transport: Transport, keys: Keypair, inbound: asyncio.Queue[Link]) -> None:
        self.transport = transport
        self.keys = keys
        self.agent = keys.agent
        self.inbound = inbound

    async def link_to(self, other: "Program") -> Link:
        return await self.transport.dial(other.agent, other.transport.addresses, RELAY_PROTOCOL)

    async def pair(self, other: "Program") -> tuple[Link, Link]:
        """Return both ends of a new link to ``other``."""
        ours = await self.link_to(other)
        return ours, await asyncio.wait_for(other.inbound.get(), 5)


class MemoryPlace:
    """Where programs meet without a network."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self.numbers = itertools.count()
        self.nobody = "/memory/nobody"

    @asynccontextmanager
    async def open(self, name: str, listen: Sequence[str] | None = None) -> AsyncGenerator[Program]:
        inbound: asyncio.Queue[Link] = asyncio.Queue()
        keys = Keypair.from_name(name)
        places = [f"/memory/{next(self.numbers)}"] if listen is None else listen
        async with self.network.open(keys, places, [RELAY_PROTOCOL], inbound.put_nowait) as found:
            yield Program(found, keys, inbound)


class Libp2pPlace:
    """Where programs meet on the loopback network."""

    nobody = "/ip4/127.0.0.1/tcp/1"
    listen = "/ip4/127.0.0.1/tcp/0"

    @asynccontextmanager
    async def open(self, name: str, listen: Sequence[str] | None = None) -> AsyncGenerator[Program]:
        inbound: asyncio.Queue[Link] = asyncio.Queue()
        keys = Keypair.from_name(name)
        places = [self.listen] if listen is None else listen
        async with Libp2pTransport.open(
            keys, places, [RELAY_PROTOCOL], inbound.put_nowait
        ) as transport:
            yield Program(transport, keys, inbound)


class WebSocketPlace(Libp2pPlace):
    """Where programs meet inside WebSockets."""

    nobody = "/ip4/127.0.0.1/tcp/1/ws"
    listen = "/ip4/127.0.0.1/tcp/0/ws"


Place = MemoryPlace | Libp2pPlace


async def receive(link: Link, count: int) -> list[bytes]:
    """Receive ``count`` frames."""
    bodies: list[bytes] = []
    async with asyncio.timeout(20):
        while len(bodies) < count:
            bodies += await link.receive()
    return bodies


@asynccontextmanager
async def echoing(streams_max: int) -> AsyncGenerator[str]:
    """Open a host that sends every frame back; where it listens."""
    tasks: set[asyncio.Task[None]] = set()

    async def echo(link: Link) -> None:
        with suppress(LinkClosed):
            while True:
                await link.send(b"".join(map(pack, await link.receive())))

    async with Libp2pTransport.open(
        Keypair.from_name("echo"),
        ["/ip4/127.0.0.1/tcp/0"],
        [RELAY_PROTOCOL],
        lambda link: tasks.add(asyncio.create_task(echo(link))),
        bounds=ConnectionLimits(streams_max=streams_max),
    ) as transport:
        yield transport.addresses[0]
    await asyncio.gather(*tasks)


async def check_echoes(link: Link, bodies: Sequence[bytes]) -> None:
    """Send ``bodies`` while what an echo sends back is received, and check that it is the same."""

    async def send() -> None:
        for body in bodies:
            await link.send(pack(body))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(send())
        assert await receive(link, len(bodies)) == list(bodies)


async def check_echo(ours: Link, theirs: Link, body: bytes = b"still here") -> None:
    """Check that a link carries frames both ways."""
    await ours.send(pack(body))
    assert await receive(theirs, 1) == [body]
    await theirs.send(pack(body))
    assert await receive(ours, 1) == [body]
