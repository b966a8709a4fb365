"""Links between programs in one event loop: for tests, simulations and message counts.

A ``MemoryNetwork`` stands for the network. Transports that it opens reach each other by addresses
of the form ``/memory/<name>/p2p/<peer id>``. The links keep the contract of ``links.py``, with
the bounds and the frame checks of real ones; only the handshake is taken on trust.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Self

from bazaar_host.flow import Inbox, Outbound
from bazaar_host.links import OnLink
from bazaar_protocol.errors import AddressInUse, ConfigError, TooLarge, Unreachable
from bazaar_protocol.framing import Splitter
from bazaar_protocol.identity import AgentId, Keypair, parse_agent, to_peer_id


class MemoryNetwork:
    """All transports that can reach one another, and a count of what they said."""

    def __init__(self) -> None:
        self.frames = 0
        """How many frames were delivered, on all links."""
        self.bytes = 0
        """How many bytes were delivered, lengths included, on all links."""
        self._listening: dict[str, MemoryTransport] = {}

    @asynccontextmanager
    async def open(
        self, keys: Keypair, listen: Sequence[str], protocols: Sequence[str], on_link: OnLink
    ) -> "AsyncGenerator[MemoryTransport]":
        """Open a transport that listens on ``listen``, for example ``["/memory/relay"]``.

        Raises:
            AddressInUse: Another transport listens there.

        """
        transport = self.make_transport(keys.agent, protocols, on_link)
        try:
            for address in listen:
                self.bind(address, transport)
            yield transport
        finally:
            await transport.close()

    def make_transport(
        self, agent: AgentId, protocols: Sequence[str], on_link: OnLink
    ) -> "MemoryTransport":
        """Make what ``open`` opens; a network with a weather makes its own."""
        return MemoryTransport(self, agent, protocols, on_link)

    def make_link(
        self, siblings: "dict[MemoryLink, None]", protocol: str, *, inbound: bool
    ) -> "MemoryLink":
        """Make one end of a link; a network with a weather makes its own."""
        return MemoryLink(self, siblings, protocol, inbound=inbound)

    def bind(self, address: str, transport: "MemoryTransport") -> None:
        """Let ``transport`` listen on ``address``."""
        if address in self._listening:
            raise AddressInUse(f"another transport listens on {address}")
        self._listening[address] = transport
        transport.addresses.append(f"{address}/p2p/{to_peer_id(transport.agent)}")

    def unbind(self, transport: "MemoryTransport") -> None:
        """Let ``transport`` listen nowhere any more."""
        for address in [key for key, value in self._listening.items() if value is transport]:
            del self._listening[address]

    def find(self, peer: AgentId | None, address: str, protocol: str) -> "MemoryTransport | str":
        """Return who listens at ``address``, or why it is of no use."""
        place, _, peer_id = address.partition("/p2p/")
        try:
            wanted = parse_agent(peer_id) if peer is None else peer
        except ConfigError as error:
            return str(error)
        found = self._listening.get(place)
        if found is None:
            return "nobody listens there"
        if found.agent != wanted:
            return f"{to_peer_id(found.agent)} answers there"
        if protocol not in found.protocols:
            return f"does not speak {protocol}"
        return found


class MemoryTransport:
    """A ``Transport`` within one event loop. ``MemoryNetwork.open`` makes them."""

    def __init__(
        self, network: MemoryNetwork, agent: AgentId, protocols: Sequence[str], on_link: OnLink
    ) -> None:
        self.agent = agent
        self.protocols = tuple(protocols)
        self.addresses: list[str] = []
        self._network = network
        self._on_link = on_link
        self._links: dict[MemoryLink, None] = {}  # in the order in which they were made
        self._is_closed = False

    async def dial(
        self, peer: AgentId | None, addresses: Sequence[str], protocol: str
    ) -> "MemoryLink":
        """Open a link to ``peer`` at the first of ``addresses`` that answers.

        Raises:
            Unreachable: No address answered as that peer; the text says which and why.

        """
        await asyncio.sleep(0)  # a real dial lets others run, so this one does too
        failures: list[str] = []
        for address in addresses:
            found = self._network.find(peer, address, protocol)
            if isinstance(found, MemoryTransport) and not self._is_closed:
                return self._connect(found, protocol)
            failures.append(f"{address}: {'we are closed' if self._is_closed else found}")
        raise Unreachable("; ".join(failures) or "no addresses were given")

    async def close(self) -> None:
        """End every link and stop listening."""
        self._is_closed = True
        self._network.unbind(self)
        for link in list(self._links):
            link.close()
        await asyncio.sleep(0)

    def _connect(self, other: "MemoryTransport", protocol: str) -> "MemoryLink":
        ours = self._network.make_link(self._links, protocol, inbound=False)
        theirs = other.accept(protocol)
        ours.join(theirs, other.agent)
        theirs.join(ours, self.agent)
        return ours

    def accept(self, protocol: str) -> "MemoryLink":
        """Make our end of a link that another transport dials."""
        link = self._network.make_link(self._links, protocol, inbound=True)
        # Called later and not here, so that what goes wrong there does not reach the dialer.
        asyncio.get_running_loop().call_soon(self._on_link, link)
        return link


class MemoryLink(Outbound):
    """A ``Link`` whose two ends hand each other bytes."""

    peer: AgentId
    _other: Self

    def __init__(
        self,
        network: MemoryNetwork,
        siblings: "dict[MemoryLink, None]",
        protocol: str,
        *,
        inbound: bool,
    ) -> None:
        super().__init__()
        self.address = "memory"
        self.protocol = protocol
        self.inbound = inbound
        self.frames_received = 0
        self.bytes_received = 0
        self.inbox = Inbox(lambda _frames, _bytes: self._other.flow())
        self._network = network
        self._siblings = siblings
        self._queue: deque[bytes] = deque()
        self._splitter = Splitter()
        self._closed = asyncio.Event()

    def join(self, other: Self, peer: AgentId) -> None:
        """Make ``other`` the far end, which belongs to ``peer``."""
        self._other = other
        self.peer = peer
        self._siblings[self] = None

    async def receive(self) -> list[bytes]:
        """Wait for frames and return all that have arrived."""
        return await self.inbox.take()

    def close(self) -> None:
        """End the link at both ends, after what is queued."""
        while self._queue and not self._closed.is_set():
            self._other.arrive(self._queue.popleft())
        self.end(discard=True)
        self._other.end(discard=False)

    async def wait_closed(self) -> None:
        """Wait until the link has ended."""
        await self._closed.wait()

    # For the other end.

    def flow(self) -> None:
        """Hand over what is queued, as far as the other end has room."""
        while self._queue and self._other.inbox.has_room:
            frames = self._queue.popleft()
            self._gate.remove(len(frames))
            self._other.arrive(frames)

    def arrive(self, frames: bytes) -> None:
        """Take in what the other end hands over."""
        try:
            bodies = self._splitter.feed(frames)
        except TooLarge:  # a real link learns of it as of any other end: the peer hangs up
            self.end(discard=False)
            self._other.end(discard=False)
            return
        self.frames_received += len(bodies)
        self.bytes_received += len(frames)
        self._network.frames += len(bodies)
        self._network.bytes += len(frames)
        self.inbox.put(bodies)

    def end(self, *, discard: bool) -> None:
        """Note that the link is gone."""
        self._queue.clear()
        self._gate.end()
        self.inbox.end(discard=discard)
        self._siblings.pop(self, None)
        self._closed.set()

    def _enqueue(self, frames: bytes) -> None:
        self._queue.append(frames)
        self._gate.add(len(frames))
        self.flow()
