"""Nodes that can only dial out, and the relay between them, which may be a bad one."""

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from bazaar_host.links import Link
from bazaar_host.memory import MemoryNetwork
from bazaar_node.network.relay_link import Timing
from bazaar_node.network.relay_session import RelaySession
from bazaar_node.network.relayed.exchange import LinkExchange
from bazaar_protocol import frames
from bazaar_protocol.framing import Splitter, pack
from bazaar_protocol.identity import AgentId, Keypair, to_peer_id
from bazaar_relay.machine.admission import Policy
from bazaar_relay.serving.service import Options, RelayService
from bazaar_relay.storage.memory_store import MemoryStore

RELAY = Keypair.from_name("relay")
PLACE = "/memory/relay"
ADDRESS = f"{PLACE}/p2p/{to_peer_id(RELAY.agent)}"
HASTY = Timing(backoff_first_s=0.001, backoff_s_max=0.01)

Change = Callable[[AgentId, frames.FromRelay], Sequence[frames.FromRelay]]
"""What the relay says instead of a frame, to whom."""


def honest(to: AgentId, frame: frames.FromRelay) -> Sequence[frames.FromRelay]:
    del to
    return (frame,)


class ChangedLink:
    """The relay's end of a link, on which it says what ``change`` makes of what it would say."""

    def __init__(self, link: Link, change: Change) -> None:
        self.peer, self.address = link.peer, link.address
        self.protocol, self.inbound = link.protocol, link.inbound
        self.receive, self.close, self.wait_closed = link.receive, link.close, link.wait_closed
        self._link = link
        self._change = change

    async def send(self, frames: bytes) -> None:
        await self._link.send(self._changed(frames))

    def offer(self, frames: bytes) -> bool:
        return self._link.offer(self._changed(frames))

    def _changed(self, packed: bytes) -> bytes:
        said = [frames.decode_from_relay(body) for body in Splitter().feed(packed)]
        changed = [new for frame in said for new in self._change(self.peer, frame)]
        return b"".join(pack(frames.encode_frame(frame)) for frame in changed)


@dataclass
class RelayPlace:
    """A relay in memory."""

    change: Change = honest
    policy: Policy = field(default_factory=Policy)
    network: MemoryNetwork = field(default_factory=MemoryNetwork)

    def _change(self, to: AgentId, frame: frames.FromRelay) -> Sequence[frames.FromRelay]:
        return self.change(to, frame)  # a test may set another one meanwhile

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[RelayService]:
        store = MemoryStore(os.urandom(32))
        options = Options(policy=self.policy, verifies_in_threads=False)
        async with RelayService.open(RELAY, store, options) as service:

            def on_link(link: Link) -> None:
                service.on_link(ChangedLink(link, self._change))

            async with self.network.open(RELAY, [PLACE], [frames.RELAY_PROTOCOL], on_link):
                yield service

    @asynccontextmanager
    async def node(self, name: str) -> AsyncGenerator["Dialer"]:
        """Run what is needed of a node, connected to the relay."""
        keys = Keypair.from_name(name)
        async with self.network.open(keys, [], [], Link.close) as transport:
            dialer = Dialer(keys)
            session = RelaySession(transport, ADDRESS, dialer, rng=random.Random(1), timing=HASTY)
            dialer.session = session
            dialer.links = session.links = LinkExchange(session, keys, entropy=os.urandom)
            dialer.links.on_link = dialer.inbound.put_nowait
            dialer.links.has_dealings = lambda peer: peer not in dialer.unwanted
            running = asyncio.create_task(session.run())
            try:
                await asyncio.wait_for(dialer.connected.wait(), 5)
                yield dialer
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)


class Dialer:
    """A node that can only dial out: a session with the relay, and the links through it."""

    session: RelaySession
    links: LinkExchange

    def __init__(self, keys: Keypair) -> None:
        self.agent = keys.agent
        self.inbound: asyncio.Queue[Link] = asyncio.Queue()
        self.unwanted: set[AgentId] = set()
        self.connected = asyncio.Event()
        self.disconnected = asyncio.Event()

    async def pair(self, other: "Dialer") -> tuple[Link, Link]:
        """Return both ends of a new link to ``other``."""
        ours = await asyncio.wait_for(self.links.open(other.agent), 5)
        return ours, await asyncio.wait_for(other.inbound.get(), 5)

    async def on_connected(self, session: RelaySession, welcome: frames.Welcome) -> None:
        del session, welcome
        self.connected.set()

    async def on_event(self, session: RelaySession, cursor: int, raw: bytes) -> None:
        raise AssertionError("nothing was subscribed to")

    async def on_caught_up(self, session: RelaySession, cursor: int) -> None:
        raise AssertionError("nothing was subscribed to")

    async def on_letter(self, session: RelaySession, number: int, sealed: bytes) -> None:
        raise AssertionError("nothing was subscribed to")

    async def on_lagged(self, session: RelaySession, cursor: int) -> None:
        raise AssertionError("nothing was subscribed to")

    async def on_disconnected(self, session: RelaySession, reason: str) -> None:
        del session, reason
        self.disconnected.set()


@asynccontextmanager
async def two_dialers(place: RelayPlace) -> AsyncGenerator[tuple[Dialer, Dialer]]:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(place.open())
        ada = await stack.enter_async_context(place.node("ada"))
        bo = await stack.enter_async_context(place.node("bo"))
        yield ada, bo
