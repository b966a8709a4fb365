"""Relays in memory that know the logs and tasks which a test gives them, and answer by them."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from tests.scripted_relay import Wire

from bazaar_host.links import Link, Transport
from bazaar_host.memory import MemoryNetwork
from bazaar_protocol import fields, frames, kinds, limits, records
from bazaar_protocol.errors import LinkClosed
from bazaar_protocol.evidence_kinds import Reset
from bazaar_protocol.identity import Keypair, to_peer_id
from bazaar_protocol.log import Head, recovery_hash
from bazaar_protocol.records import Record, RecordId


def genesis(keys: Keypair, recovery: Keypair, time_ms: int = 1) -> Record:
    body = kinds.Genesis(recovery_hash(recovery.agent))
    return records.seal(keys, body, time_ms=time_ms, seq=1, prev=records.NO_RECORD)


def extend(keys: Keypair, log: list[Record], count: int, text: str = "") -> list[Record]:
    """Return ``log`` with ``count`` more entries, which say ``text``."""
    longer = list(log)
    for _ in range(count):
        link = fields.Link(Keypair.from_name("cy").agent, 3, bytes(32))
        body = kinds.Verdict(bytes(32), link, 1, True, text, ())
        longer.append(follow(keys, longer, body))
    return longer


def reset(keys: Keypair, log: list[Record]) -> list[Record]:
    """Return ``log`` with a reset."""
    return [*log, follow(keys, log, Reset("an old backup"))]


def follow(keys: Keypair, log: list[Record], body: kinds.Body) -> Record:
    head = Head.of(log[-1])
    return records.seal(keys, body, time_ms=5, seq=head.seq + 1, prev=head.id)


@dataclass
class LogRelay:
    """A relay that is asked, and takes everything it is given."""

    address: str
    keys: Keypair
    log: list[Record] = field(default_factory=list)
    tasks: dict[RecordId, list[Record]] = field(default_factory=dict)
    taken: list[Record] = field(default_factory=list)
    status: str = "accepted"
    page: int = limits.RECORDS_PER_FRAME_MAX
    """How many entries it gives at once."""
    hangs_up: int = 0
    """How often it ends the link instead of telling a task."""
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    def on_link(self, link: Link) -> None:
        task = asyncio.create_task(self._serve(Wire(link)))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, wire: Wire) -> None:
        try:
            await wire.greet()
            while True:
                for body in await wire.link.receive():
                    await wire.say(self._answer(frames.decode_to_relay(body)))
        except LinkClosed:
            wire.link.close()

    def _answer(self, frame: frames.ToRelay) -> frames.Frame:
        match frame:
            case frames.GetHead(request, author):
                return frames.Segment(request, self._entries(author)[-1:], 0, False)
            case frames.GetLog(request, author, first, last):
                found = self._entries(author)[max(first, 1) - 1 : last]
                return frames.Segment(request, found[: self.page], 0, len(found) > self.page)
            case frames.GetTask() if self.hangs_up:
                self.hangs_up -= 1
                raise LinkClosed("it hangs up")
            case frames.GetTask(request, task):
                found = tuple(record.raw for record in self.tasks.get(RecordId(task), ()))
                return frames.Segment(request, found, 0, False)
            case frames.Publish(request, raws):
                self.taken += map(records.unseal, raws)
                return frames.Published(request, (self.status,) * len(raws))
            case _:
                raise AssertionError(f"nobody here asks for that: {frame}")

    def _entries(self, author: bytes) -> tuple[bytes, ...]:
        return tuple(record.raw for record in self.log if record.author == author)


class Relays:
    """Some relays on a network in memory."""

    def __init__(self, network: MemoryNetwork, known: Iterable[LogRelay]) -> None:
        self._network = network
        self.known = list(known)

    @property
    def addresses(self) -> list[str]:
        return [relay.address for relay in self.known]

    def open(self, keys: Keypair) -> AbstractAsyncContextManager[Transport]:
        """Open what dials them."""
        return self._network.open(keys, [], [], lambda link: link.close())


@asynccontextmanager
async def log_relays(*logs: list[Record]) -> AsyncGenerator[Relays]:
    """Run a relay for each of these logs."""
    network = MemoryNetwork()
    known: list[LogRelay] = []
    async with AsyncExitStack() as stack:
        for number, log in enumerate(logs):
            keys = Keypair.from_name(f"relay {number}")
            address = f"/ip4/127.0.0.1/tcp/{1 + number}"
            relay = LogRelay(f"{address}/p2p/{to_peer_id(keys.agent)}", keys, log)
            await stack.enter_async_context(
                network.open(keys, [address], [frames.RELAY_PROTOCOL], relay.on_link)
            )
            known.append(relay)
        yield Relays(network, known)
