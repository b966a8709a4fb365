"""Links of many agents to one relay, in a process of its own or in this one."""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from tests.benchmarks.relay_process import COMMITS, relay_up
from tests.relay_client import Client

from bazaar_host import clock
from bazaar_host.bridge import Libp2pTransport
from bazaar_host.links import RELAY_PROTOCOL, Link, Transport
from bazaar_host.memory import MemoryNetwork
from bazaar_protocol import frames, limits
from bazaar_protocol.evidence import find_stamp
from bazaar_protocol.identity import Keypair, parse_agent
from bazaar_protocol.records import seal
from bazaar_relay.machine.admission import Policy
from bazaar_relay.serving.service import Options, RelayService
from bazaar_relay.storage.sqlite_store import SqliteStore

RELAY = Keypair.from_name("relay")
WORK_BITS = 8
"""Little, so that it is soon done; what the relay has to check is the same for any number."""
ALL_LIMITS = f"""
pow_bits = {WORK_BITS}
pow_bits_max = {WORK_BITS}
newcomer_percent = 50
grown_entries = 100000
bytes_per_s = 1000000000
bytes_per_day = 1000000000000
open_posts = 256
"""
_LINKS_PER_CONNECTION = 8
_UNBOUNDED = 1_000_000


@dataclass
class RelayPlace:
    """A relay, and how to reach it."""

    address: str
    process: psutil.Process
    """Whose CPU time is counted."""
    commits: Callable[[], Awaitable[float]]
    """Returns how many groups the relay has made durable so far."""
    _stack: AsyncExitStack
    _network: MemoryNetwork | None = None

    async def transport(self, keys: Keypair) -> Transport:
        """Return a new transport, which lasts as long as the place."""
        if self._network is not None:
            opened = self._network.open(keys, [], [], lambda link: link.close())
            return await self._stack.enter_async_context(opened)
        dialing = Libp2pTransport.open(keys, [], [], lambda link: link.close())
        return await self._stack.enter_async_context(dialing)

    async def link(self, transport: Transport) -> Link:
        """Return a new link on ``transport``; a relay does not serve it before hello."""
        return await transport.dial(None, [self.address], RELAY_PROTOCOL)

    async def clients(self, count: int, *, asks_for_work: bool = False) -> list[Client]:
        """Return clients that have said hello, some of which share a connection."""
        clients: list[Client] = []
        transport: Transport | None = None
        keys = Keypair(os.urandom(32))
        for number in range(count):
            is_new = transport is None or number % _LINKS_PER_CONNECTION == 0
            if transport is None or is_new:
                keys = Keypair(os.urandom(32))
                transport = await self.transport(keys)
            client = Client(await self.link(transport))
            await client.hello()
            if asks_for_work and is_new:
                await introduce(client, keys, self.address)
            clients.append(client)
        return clients

    async def client(self, keys: Keypair) -> Client:
        """Return a client with an identity of its own that has said hello."""
        client = Client(await self.link(await self.transport(keys)))
        await client.hello()
        return client


@asynccontextmanager
async def relay_in_process(folder: Path) -> AsyncGenerator[RelayPlace]:
    """Run a relay with a real store in this process, behind links in memory."""
    network = MemoryNetwork()
    policy = Policy(records_per_s=_UNBOUNDED)
    async with (
        SqliteStore.open(folder / "relay.sqlite3", name=bytes(32)) as store,
        RelayService.open(RELAY, store, Options(policy=policy)) as service,
        network.open(RELAY, ["/memory/relay"], [RELAY_PROTOCOL], service.on_link) as transport,
        AsyncExitStack() as stack,
    ):

        async def commits() -> float:
            return service.counters.registry.get_sample_value(COMMITS) or 0.0

        yield RelayPlace(transport.addresses[0], psutil.Process(), commits, stack, network)


@asynccontextmanager
async def relay_over_libp2p(folder: Path, settings: str = "") -> AsyncGenerator[RelayPlace]:
    """Run a relay as a process, behind libp2p on the loopback network."""
    async with relay_up(folder, settings) as relay, AsyncExitStack() as stack:
        yield RelayPlace(relay.address, relay.process, relay.commits, stack)


def public_relay(folder: Path) -> AbstractAsyncContextManager[RelayPlace]:
    """Run one with all limits on: strangers show work, and everything of everyone is counted."""
    return relay_over_libp2p(folder, ALL_LIMITS)


async def introduce(client: Client, keys: Keypair, relay: str) -> None:
    """Show the work that a public relay asks of ``keys``, on a link of its own or of another."""
    found = find_stamp(
        keys.agent,
        day=clock.now_ms() // limits.DAY_MS,
        bits=WORK_BITS,
        relay=parse_agent(relay.rpartition("/")[2]),
        numbers=range(2**24),
    )
    assert found is not None
    raw = seal(keys, found, time_ms=clock.now_ms()).raw
    answer = await client.ask(frames.Publish, (raw,))
    assert answer.statuses == ("accepted",), answer.statuses
