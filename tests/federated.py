"""Relays that are each other's peers, over links in memory, and what crosses those links."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from tests.market_records import Trader
from tests.relay_client import Client

from bazaar_host import clock
from bazaar_host.links import RELAY_PROTOCOL, Link
from bazaar_host.memory import MemoryNetwork
from bazaar_protocol import frames
from bazaar_protocol.framing import Splitter
from bazaar_protocol.identity import Keypair, to_peer_id
from bazaar_protocol.records import Record, record_id
from bazaar_relay.machine.admission import Policy
from bazaar_relay.peering.marks import Marks
from bazaar_relay.peering.peer_session import Patience
from bazaar_relay.peering.peer_state import PeerState
from bazaar_relay.serving.service import Options, RelayService
from bazaar_relay.storage.memory_store import MemoryStore

HASTY = Patience(backoff_first_s=0.01, backoff_s_max=0.05, shunned_s=600, compare_every_s=600)
WAIT_S = 20.0


class Tapped:
    """A relay's end of a link, and which records it sent there as events."""

    def __init__(self, link: Link, told: Counter[bytes]) -> None:
        self._link = link
        self._told = told
        self._splitter = Splitter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)

    def offer(self, packed: bytes) -> bool:
        is_taken = self._link.offer(packed)
        if is_taken:
            self._count(packed)
        return is_taken

    async def send(self, packed: bytes) -> None:
        await self._link.send(packed)
        self._count(packed)

    def _count(self, packed: bytes) -> None:
        for body in self._splitter.feed(packed):
            frame = frames.decode_from_relay(body)
            if isinstance(frame, frames.Event):
                self._told[record_id(frame.record)] += 1


@dataclass
class Relays:
    """Some relays by name, each with a store that outlives it."""

    names: Sequence[str] = ("a", "b", "c")
    policy: dict[str, Any] = field(default_factory=dict)
    patience: Patience = HASTY
    network: MemoryNetwork = field(default_factory=MemoryNetwork)
    up: dict[str, RelayService] = field(default_factory=dict)
    told: dict[tuple[str, str], Counter[bytes]] = field(default_factory=dict)
    """What each relay told another one as events, by both names."""

    def __post_init__(self) -> None:
        self.keys = {name: Keypair.from_name(f"relay {name}") for name in self.names}
        self.stores = {name: MemoryStore(keys.agent) for name, keys in self.keys.items()}
        self.marks = {name: Marks() for name in self.names}
        self._stacks: dict[str, AsyncExitStack] = {}
        self._clients = AsyncExitStack()

    def address(self, name: str) -> str:
        return f"/memory/{name}/p2p/{to_peer_id(self.keys[name].agent)}"

    def others(self, name: str) -> list[str]:
        return [one for one in self.names if one != name]

    async def start(self, name: str, peers: Sequence[str] | None = None) -> RelayService:
        """Run a relay that follows ``peers``, by default all others."""
        followed = self.others(name) if peers is None else peers
        agents = frozenset(self.keys[one].agent for one in self.keys if one != name)
        options = Options(policy=Policy(peers=agents, **self.policy))
        stack = self._stacks[name] = AsyncExitStack()
        opened = RelayService.open(self.keys[name], self.stores[name], options)
        service = await stack.enter_async_context(opened)

        def on_link(link: Link) -> None:
            other = next((one for one in self.names if self.keys[one].agent == link.peer), "")
            told = self.told.setdefault((name, other), Counter())
            service.on_link(cast("Link", Tapped(link, told)))

        listening = self.network.open(
            self.keys[name], [f"/memory/{name}"], [RELAY_PROTOCOL], on_link
        )
        transport = await stack.enter_async_context(listening)
        await service.peers.open(transport, self.marks[name], self.patience)
        service.peers.follow([self.address(one) for one in followed])
        self.up[name] = service
        return service

    async def stop(self, name: str) -> None:
        self.up.pop(name).peers.stop()
        await self._stacks.pop(name).aclose()

    def forget(self, name: str) -> None:
        """Let a relay that is down lose all that it had."""
        self.stores[name] = MemoryStore(name.encode().ljust(32))
        self.marks[name] = Marks()

    async def stop_all(self) -> None:
        await self._clients.aclose()
        for name in list(self.up):
            await self.stop(name)

    async def join(self, trader: Trader, name: str) -> Client:
        """Connect an agent to a relay."""
        opened = self.network.open(trader.keys, [], [RELAY_PROTOCOL], lambda link: link.close())
        transport = await self._clients.enter_async_context(opened)
        client = Client(await transport.dial(None, [self.address(name)], RELAY_PROTOCOL))
        await client.hello()
        return client

    def state(self, name: str, peer: str) -> PeerState:
        states = self.up[name].peers.states
        return next(one for one in states if one.address == self.address(peer))

    async def are_live(self) -> None:
        """Wait until every relay hears all of its peers that are up."""
        live = {self.address(name) for name in self.up}
        await until(
            lambda: all(
                state.stage == "live"
                for service in self.up.values()
                for state in service.peers.states
                if state.address in live
            )
        )

    async def have(self, *records: Record) -> None:
        """Wait until every relay that is up has all of some records."""
        for name in self.up:
            await until(partial(self._has_all, name, records))

    async def _has_all(self, name: str, records: Sequence[Record]) -> bool:
        return all([await self.stores[name].get(record.id) for record in records])

    async def publish(self, name: str, author: Trader, *records: Record) -> None:
        """Have a relay take records."""
        client = await self.join(author, name)
        for first in range(0, len(records), 100):
            statuses = await client.publish(*records[first : first + 100])
            assert set(statuses) <= {"accepted", "duplicate"}, statuses

    async def agree(self) -> None:
        """Wait until all relays that are up have the same logs."""
        await until(lambda: len({self._sum(one) for one in self.up}) == 1)

    def _sum(self, name: str) -> tuple[int, int]:
        found = self.up[name].machine.federation.logs.sum(b"")
        return found.count, found.total


def trader(name: str) -> Trader:
    """Make an agent whose records are of today."""
    return Trader(Keypair.from_name(name), clock.now_ms())


async def until(is_so: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait until something is so, and fail if it is not in time."""
    async with asyncio.timeout(WAIT_S):
        while True:
            found = is_so()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.005)
