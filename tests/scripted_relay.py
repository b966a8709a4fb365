"""A relay that does what a test says, and a session that talks to it over links in memory."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from bazaar_host.links import Link
from bazaar_host.memory import MemoryNetwork
from bazaar_node.network.relay_link import Timing
from bazaar_node.network.relay_session import RelaySession
from bazaar_protocol import frames
from bazaar_protocol.framing import pack
from bazaar_protocol.identity import Keypair, to_peer_id

RELAY = Keypair.from_name("relay")
NODE = Keypair.from_name("node")
ADDRESS = f"/memory/relay/p2p/{to_peer_id(RELAY.agent)}"
STORE = bytes(32)
HASTY = Timing(backoff_first_s=0.001, backoff_s_max=0.01)
F = TypeVar("F", bound=frames.Frame)


class Wire:
    """The relay's end of one link."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self._bodies: list[bytes] = []

    async def take(self, kind: type[F]) -> F:
        if not self._bodies:
            self._bodies = await self.link.receive()
        frame = frames.decode_to_relay(self._bodies.pop(0))
        assert isinstance(frame, kind)
        return frame

    async def say(self, *answers: frames.Frame) -> None:
        await self.link.send(b"".join(pack(frames.encode_frame(answer)) for answer in answers))

    async def greet(self) -> None:
        await self.take(frames.Hello)
        await self.say(frames.Welcome(frames.VERSION, "test", (), STORE, 7, b"{}"))


class Relay:
    """Listens, and hands out the links that come."""

    def __init__(self) -> None:
        self._links: asyncio.Queue[Link] = asyncio.Queue()

    def on_link(self, link: Link) -> None:
        self._links.put_nowait(link)

    async def next(self) -> Wire:
        return Wire(await self._links.get())

    async def greeted(self) -> Wire:
        wire = await self.next()
        await wire.greet()
        return wire


class Listener:
    """Writes down what it hears; ``said`` has one entry for each call."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[tuple[object, ...]] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None

    async def on_connected(self, session: RelaySession, welcome: frames.Welcome) -> None:
        self.said.put_nowait(("connected", welcome.cursor))

    async def on_event(self, session: RelaySession, cursor: int, raw: bytes) -> None:
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.said.put_nowait(("event", cursor, raw))

    async def on_caught_up(self, session: RelaySession, cursor: int) -> None:
        self.said.put_nowait(("caught up", cursor))

    async def on_letter(self, session: RelaySession, number: int, sealed: bytes) -> None:
        self.said.put_nowait(("letter", number, sealed))

    async def on_lagged(self, session: RelaySession, cursor: int) -> None:
        self.said.put_nowait(("lagged", cursor))

    async def on_disconnected(self, session: RelaySession, reason: str) -> None:
        self.said.put_nowait(("disconnected", reason))

    async def heard(self, what: str) -> tuple[object, ...]:
        said = await self.said.get()
        assert said[0] == what
        return said


class Scene:
    """A relay, a session that runs, and its listener."""

    def __init__(self, relay: Relay, session: RelaySession, listener: Listener) -> None:
        self.relay = relay
        self.session = session
        self.listener = listener
        self.running = asyncio.create_task(session.run())

    async def connected(self) -> Wire:
        wire = await self.relay.greeted()
        await self.listener.heard("connected")
        return wire


@asynccontextmanager
async def opened(timing: Timing = HASTY, listener: Listener | None = None) -> AsyncIterator[Scene]:
    network, relay, ear = MemoryNetwork(), Relay(), listener or Listener()
    async with (
        asyncio.timeout(20),
        network.open(RELAY, ["/memory/relay"], [frames.RELAY_PROTOCOL], relay.on_link),
        network.open(NODE, [], [], lambda link: link.close()) as transport,
    ):
        session = RelaySession(transport, ADDRESS, ear, rng=random.Random(1), timing=timing)
        scene = Scene(relay, session, ear)
        yield scene
        scene.running.cancel()
        await asyncio.gather(scene.running, return_exceptions=True)
