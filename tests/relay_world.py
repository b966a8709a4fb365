"""A relay for tests, over memory or over libp2p and SQLite, and the agents that dial it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.market_records import Trader
from tests.relay_client import Client

from bazaar_host.bridge import Libp2pTransport
from bazaar_host.links import RELAY_PROTOCOL, Link, Transport
from bazaar_host.memory import MemoryNetwork
from bazaar_protocol.identity import Keypair
from bazaar_relay.serving.service import Options, RelayService
from bazaar_relay.storage.memory_store import MemoryStore
from bazaar_relay.storage.sqlite_store import SqliteStore
from bazaar_relay.storage.store import Store

RELAY = Keypair.from_name("relay")
NAME = bytes(range(32))


class World:
    """A relay and the agents that dial it; the relay can be stopped and started again."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.network = MemoryNetwork()
        self.memory = MemoryStore(NAME)
        self.path = folder / "relay.db"
        self.stack = AsyncExitStack()
        self.addresses: Sequence[str] = ()
        self.transports: dict[str, Transport] = {}

    @asynccontextmanager
    async def store(self) -> AsyncGenerator[Store]:
        if self.kind == "memory":
            yield self.memory
            return
        async with SqliteStore.open(self.path, name=NAME) as store:
            yield store

    @asynccontextmanager
    async def transport(
        self, keys: Keypair, *, service: RelayService | None = None
    ) -> AsyncGenerator[Transport]:
        def on_link(link: Link) -> None:
            assert service is not None
            service.on_link(link)

        if self.kind == "memory":
            listen = [] if service is None else ["/memory/relay"]
            async with self.network.open(keys, listen, [RELAY_PROTOCOL], on_link) as memory:
                yield memory
            return
        listen = [] if service is None else ["/ip4/127.0.0.1/tcp/0"]
        async with Libp2pTransport.open(keys, listen, [RELAY_PROTOCOL], on_link) as libp2p:
            yield libp2p

    @asynccontextmanager
    async def relay(self, options: Options | None = None) -> AsyncGenerator[RelayService]:
        async with (
            self.store() as store,
            RelayService.open(RELAY, store, options) as service,
            self.transport(RELAY, service=service) as transport,
        ):
            self.addresses = service.addresses = transport.addresses
            yield service

    async def dial(self, trader: Trader) -> Client:
        """Connect an agent, without a word."""
        name = trader.agent.hex()
        if name not in self.transports:
            opened = self.transport(trader.keys)
            self.transports[name] = await self.stack.enter_async_context(opened)
        transport = self.transports[name]
        return Client(await transport.dial(RELAY.agent, self.addresses, RELAY_PROTOCOL))

    async def join(self, trader: Trader) -> Client:
        """Connect an agent that has said hello."""
        client = await self.dial(trader)
        await client.hello()
        return client
