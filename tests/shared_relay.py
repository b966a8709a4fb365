"""Several relays with one key in one event loop, over memory, that share a PostgreSQL database."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.market_records import NOW_MS, Trader
from tests.postgres import Server
from tests.relay_client import Client
from tests.town import until

from bazaar_host.links import RELAY_PROTOCOL
from bazaar_host.memory import MemoryNetwork
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.log import check_segment
from bazaar_protocol.records import Record, unseal
from bazaar_relay.machine.events import Tick
from bazaar_relay.serving.service import Options, RelayService
from bazaar_relay.storage.postgres_store import PostgresStore

RELAY = Keypair.from_name("relay")
NAME = bytes(range(32))
_LOG_MAX = 100_000


@dataclass
class SharedRelay:
    """The database, and how to open more processes on it."""

    server: Server
    address: str
    stack: AsyncExitStack
    now_ms: int = NOW_MS
    network: MemoryNetwork = field(default_factory=MemoryNetwork)

    @asynccontextmanager
    async def another(self) -> AsyncGenerator["SharedRelay"]:
        """Open processes that end with this block."""
        async with AsyncExitStack() as stack:
            yield SharedRelay(self.server, self.address, stack, self.now_ms, self.network)

    async def process(
        self, name: str, open_store: Callable[..., Any] = PostgresStore.open
    ) -> "Process":
        """Start one more."""
        store = await self.stack.enter_async_context(
            open_store(self.address, name=NAME, relay=RELAY.agent)
        )
        options = Options(clock=lambda: self.now_ms)
        service = await self.stack.enter_async_context(RelayService.open(RELAY, store, options))
        listening = self.network.open(RELAY, [f"/memory/{name}"], [RELAY_PROTOCOL], service.on_link)
        transport = await self.stack.enter_async_context(listening)
        return Process(self, service, store, transport.addresses)


@dataclass
class Process:
    """One of them."""

    relay: SharedRelay
    service: RelayService
    store: PostgresStore
    addresses: list[str]

    def tick(self) -> None:
        """Have it look at its clock."""
        self.service._run(Tick())

    async def has_heard_all(self) -> None:
        """Wait until it knows all that was committed."""
        cursor = await self.store.cursor()
        await until(lambda: self.service.machine.cursor, lambda heard: heard == cursor)

    async def knows_that_listens(self, agent: AgentId) -> None:
        """Wait until it knows of a listener at another process."""
        adverts = self.service.machine._state.adverts
        await until(lambda: agent in adverts._listening, bool)

    async def join(self, trader: Trader) -> Client:
        """Connect an agent that has said hello."""
        opened = self.relay.network.open(trader.keys, [], [RELAY_PROTOCOL], lambda _: None)
        transport = await self.relay.stack.enter_async_context(opened)
        client = Client(await transport.dial(RELAY.agent, self.addresses, RELAY_PROTOCOL))
        await client.hello()
        return client

    async def is_covered(self) -> None:
        """Wait until each record of others is under a receipt."""

        async def is_so() -> bool:
            others = [one for one in await self.records() if one.author != RELAY.agent]
            receipts = [await self.store.receipt(one.id) for one in others]
            return None not in receipts

        async with asyncio.timeout(10):
            while True:
                if await is_so():
                    return
                await asyncio.sleep(0)

    async def log(self) -> list[Record]:
        """Return the relay's own log, which has to be one chain."""
        raws = await self.store.log(RELAY.agent, first=1, last=_LOG_MAX, limit=_LOG_MAX)
        return list(check_segment(raws, author=RELAY.agent))

    async def records(self) -> list[Record]:
        """Return all that is kept, in order."""
        found: list[Record] = []
        after = 0
        while after < await self.store.cursor():
            page, after = await self.store.scan([Filter()], after=after, limit=1000)
            found += [unseal(stored.raw) for stored in page]
        return found


@asynccontextmanager
async def shared_relay(server: Server) -> AsyncGenerator[SharedRelay]:
    """Make the database; all that is opened on it is closed at the end."""
    async with AsyncExitStack() as stack:
        yield SharedRelay(server, await server.new_database(), stack)
