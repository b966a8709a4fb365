"""Strangers over real links: they send what ``Fuzz`` imagines to a relay and to a node."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Final

from tests.fuzzing import Fuzz

from bazaar_host.bridge import Libp2pTransport
from bazaar_host.links import NODE_PROTOCOL, RELAY_PROTOCOL, Link, Transport
from bazaar_protocol import frames
from bazaar_protocol.errors import LinkClosed, Unreachable
from bazaar_protocol.frames import decode_from_relay, encode_frame
from bazaar_protocol.framing import pack
from bazaar_protocol.identity import Keypair

RECORDS_PER_FRAME: Final = 100
REQUESTS_PER_LINK: Final = 10
FETCHES_PER_LINK: Final = 50
ANSWER_S: Final = 20.0
_PING: Final = pack(encode_frame(frames.Ping(7)))
_PONG: Final = encode_frame(frames.Pong(7))
_HELLO: Final = pack(encode_frame(frames.Hello(frames.VERSION, "stranger", ())))


@asynccontextmanager
async def stranger(name: str) -> AsyncGenerator[Transport]:
    """Open what dials under an identity that nobody knows."""
    keys = Keypair.from_name(name)
    protocols = [RELAY_PROTOCOL, NODE_PROTOCOL]
    async with Libp2pTransport.open(keys, [], protocols, lambda link: link.close()) as transport:
        yield transport


class Siege:
    """Attacks on a relay and on a node, and the count of what was sent."""

    def __init__(self, fuzz: Fuzz, relay: str, node: str) -> None:
        self.fuzz = fuzz
        self.sent: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        """How often each status of a record came back, by its prefix."""
        self._relay = relay
        self._node = node
        self._names = count()

    @property
    def inputs(self) -> int:
        """Return how much was sent of all that is to be answered or refused."""
        counted = ("records", "requests", "fetches", "broken frames")
        return sum(self.sent[what] for what in counted)

    async def send(self, *, records: int, links: int, fetches: int) -> None:
        """Send about so much of each; who is not answered in time fails."""
        await self._send_records(records)
        await self._send_requests(links)
        await self._send_fetches(fetches)

    async def _send_records(self, wanted: int) -> None:
        """Publish records on one link that survives all of them."""
        until = self.sent["records"] + wanted
        async with self._link(self._relay, RELAY_PROTOCOL) as link:
            await link.send(_HELLO)
            waiting = 0
            while self.sent["records"] < until or waiting:
                while self.sent["records"] < until and waiting < 4:
                    frame = self.fuzz.publish(RECORDS_PER_FRAME)
                    self.sent["records"] += len(frame.records)
                    await link.send(pack(encode_frame(frame)))
                    waiting += 1
                for answer in await _answers(link):
                    if isinstance(answer, frames.Published):
                        self._count(answer.statuses)
                        waiting -= 1

    async def _send_requests(self, links: int) -> None:
        """Ask for anything, then break the protocol: on each link once, since that ends it."""
        async with stranger(f"stranger {next(self._names)}") as transport:
            for number in range(links):
                try:
                    link = await transport.dial(None, [self._relay], RELAY_PROTOCOL)
                except Unreachable:  # it may have had enough of that connection
                    continue
                await self._ask(link, is_greeted=number % 8 > 0)

    async def _ask(self, link: Link, *, is_greeted: bool) -> None:
        requests = [encode_frame(self.fuzz.request()) for _ in range(REQUESTS_PER_LINK)]
        broken = self.fuzz.broken()
        greeting = _HELLO if is_greeted else b""
        self.sent["requests"] += len(requests) if is_greeted else 0
        self.sent["broken frames"] += 1
        await self._throw(link, greeting, map(pack, requests) if is_greeted else (), broken)

    async def _send_fetches(self, wanted: int) -> None:
        """Ask a node for anything, and break the protocol at the end of each link."""
        async with stranger(f"stranger {next(self._names)}") as transport:
            for _ in range(0, wanted, FETCHES_PER_LINK):
                link = await transport.dial(None, [self._node], NODE_PROTOCOL)
                fetches = [encode_frame(self.fuzz.fetch()) for _ in range(FETCHES_PER_LINK)]
                self.sent["fetches"] += len(fetches)
                self.sent["broken frames"] += 1
                await self._throw(link, _HELLO, map(pack, fetches), self.fuzz.broken())

    async def _throw(self, link: Link, first: bytes, then: Iterable[bytes], last: bytes) -> None:
        """Send what has to be answered, hear the answer to a last ping, and break the protocol."""
        with suppress(LinkClosed):
            if first:
                await link.send(b"".join((first, *then, _PING)))
                async with asyncio.timeout(ANSWER_S):
                    while not any(body == _PONG for body in await link.receive()):
                        pass
                self.sent["links answered"] += 1
            await link.send(last)
        link.close()
        await link.wait_closed()

    @asynccontextmanager
    async def _link(self, address: str, protocol: str) -> AsyncGenerator[Link]:
        async with stranger(f"stranger {next(self._names)}") as transport:
            link = await transport.dial(None, [address], protocol)
            try:
                yield link
            finally:
                link.close()

    def _count(self, statuses: tuple[str, ...]) -> None:
        self.statuses.update(status.partition(":")[0] for status in statuses)


async def _answers(link: Link) -> list[frames.FromRelay]:
    async with asyncio.timeout(ANSWER_S):
        return [decode_from_relay(body) for body in await link.receive()]
