"""Relays and nodes that gather evidence, in one event loop: real ones, over links in memory."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from tests.relay_client import Client
from tests.reputation_records import Party

from bazaar_host import clock
from bazaar_host.memory import MemoryNetwork
from bazaar_node import homes
from bazaar_node.daemon import open_node
from bazaar_node.desk import Desk
from bazaar_node.policy_settings import PolicySettings
from bazaar_node.settings import NodeSettings, OfferSettings
from bazaar_node.trust.archive import Archive
from bazaar_node.trust.records_kept import read
from bazaar_node.trust.reports import Conviction
from bazaar_protocol.frames import RELAY_PROTOCOL
from bazaar_protocol.identity import AgentId, Keypair, to_peer_id
from bazaar_protocol.records import Record, unseal
from bazaar_relay.serving.service import RelayService
from bazaar_relay.storage.memory_store import MemoryStore
from bazaar_relay.storage.store import Store

WAIT_S = 20.0

T = TypeVar("T")


class Site:
    """A network of relays in memory, and the nodes at them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = MemoryNetwork()
        self._nodes = itertools.count()

    def place(self, number: int = 1) -> str:
        return f"/ip4/127.0.0.1/tcp/{number}"

    def keys(self, number: int = 1) -> Keypair:
        return Keypair.from_name(f"relay {number}")

    def address(self, number: int = 1) -> str:
        return f"{self.place(number)}/p2p/{to_peer_id(self.keys(number).agent)}"

    @asynccontextmanager
    async def relay(
        self, number: int = 1, *, store: Store | None = None
    ) -> AsyncGenerator[RelayService]:
        keys = self.keys(number)
        kept = store or MemoryStore(number.to_bytes(32))
        async with (
            RelayService.open(keys, kept) as service,
            self.network.open(keys, [self.place(number)], [RELAY_PROTOCOL], service.on_link),
        ):
            service.addresses = [self.address(number)]
            yield service

    @asynccontextmanager
    async def client(self, keys: Keypair, number: int = 1) -> AsyncGenerator[Client]:
        """Dial a relay as somebody who is no node."""
        async with self.network.open(keys, [], [], lambda link: link.close()) as transport:
            link = await transport.dial(None, [self.address(number)], RELAY_PROTOCOL)
            client = Client(link)
            await client.hello()
            yield client

    async def publish(self, records: Sequence[Record], number: int = 1) -> list[str]:
        """Have a relay take records, whoever signed them."""
        async with self.client(Keypair.from_name("messenger"), number) as client:
            return [status for one in records for status in await client.publish(one)]

    @asynccontextmanager
    async def node(
        self,
        name: str,
        relays: Sequence[int] = (1,),
        *,
        offers: Sequence[OfferSettings] = (),
        policy: PolicySettings | None = None,
    ) -> AsyncGenerator[Desk]:
        home = self.folder / name
        if not home.exists():
            homes.create(home, name=name, relays=(), passphrase=None)
        settings = NodeSettings(
            relays=[self.address(number) for number in relays],
            listen=[self.place(1_000 + next(self._nodes))],
            home=home,
            offers=list(offers),
            policy=policy or PolicySettings(),
        )
        async with (
            asyncio.timeout(WAIT_S),
            open_node(settings, open_transport=self.network.open) as desk,
        ):
            await desk.ready()
            yield desk


def party(name: str) -> Party:
    """Return an agent whose records are of today, so that relays take them."""
    return Party(name, time_ms=clock.now_ms())


async def eventually(look: Callable[[], Awaitable[T]]) -> T:
    """Look until there is something: nothing tells when the background has got so far."""
    async with asyncio.timeout(WAIT_S):
        while True:
            found = await look()
            if found:
                return found
            await asyncio.sleep(0.02)


async def convicted(archive: Archive, agent: AgentId) -> Record:
    """Wait until a node knows a proof against an agent, and return it."""

    async def look() -> Conviction | None:
        return (await archive.history(agent)).conviction

    conviction = await eventually(look)
    assert conviction is not None
    record = await archive.evidence.read(lambda db: read(db, conviction.record))
    assert record is not None
    return unseal(record.raw)
