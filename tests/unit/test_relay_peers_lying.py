"""What a peer shows that it cannot have checked, or cannot show at all, sends it away."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

import pytest
from tests.federated import Relays, trader, until
from tests.market_records import Trader

from bazaar_host.links import RELAY_PROTOCOL, Link
from bazaar_protocol import frames
from bazaar_protocol.errors import LinkClosed
from bazaar_protocol.framing import pack
from bazaar_protocol.identity import AgentId
from bazaar_protocol.limits import FRUITLESS_COMPARISONS_MAX
from bazaar_protocol.log import Head
from bazaar_protocol.peering_frames import (
    Compare,
    Compared,
    GetHeads,
    GetLogs,
    GetLoose,
    Listed,
    LogHead,
    RangeSum,
)
from bazaar_protocol.records import Record, parse
from bazaar_relay.machine.head_tree import HeadTree
from bazaar_relay.peering.peer_session import Patience

NAME = bytes(range(32))


@dataclass
class Liar:
    """A peer that has some logs, and may say anything about them."""

    entries: dict[AgentId, list[Record]] = field(default_factory=dict)
    loose: list[Record] = field(default_factory=list)
    live: list[Record] = field(default_factory=list)
    says: Callable[[frames.ToRelay, frames.FromRelay], frames.FromRelay] = lambda _, true: true
    asked: int = 0

    def has(self, *records: Record) -> None:
        for record in records:
            self.entries.setdefault(record.author, []).append(record)

    async def serve(self, link: Link) -> None:
        try:
            while True:
                for body in await link.receive():
                    frame = frames.decode_to_relay(body)
                    answers = self.answer(frame)
                    said = [pack(frames.encode_frame(one)) for one in answers]
                    if said:
                        await link.send(b"".join(said))
        except LinkClosed:
            return

    def answer(self, frame: frames.ToRelay) -> Sequence[frames.FromRelay]:
        match frame:
            case frames.Hello():
                return [frames.Welcome(frames.VERSION, "liar", (), NAME, 9, b"{}")]
            case frames.Subscribe(request=request):
                events = [frames.Event(9 + place, one.raw) for place, one in enumerate(self.live)]
                return [frames.CaughtUp(request, 9), *events]
            case Compare() | GetHeads() | GetLogs() | GetLoose():
                self.asked += 1
                return [self.says(frame, self.truth(frame))]
            case frames.Ping(request=request):
                return [frames.Pong(request)]
            case _:
                return []

    def truth(self, frame: Compare | GetHeads | GetLogs | GetLoose) -> frames.FromRelay:
        match frame:
            case Compare():
                tree = HeadTree()
                for author, log in self.entries.items():
                    tree.put(author, Head.of(log[-1]))
                return Compared(frame.request, tree.compare(frame.ranges))
            case GetHeads():
                heads = [LogHead(one, log[-1].seq, log[-1].id) for one, log in self.entries.items()]
                return Listed(frame.request, tuple(sorted(heads, key=_author)), more=False)
            case GetLogs(spans=spans):
                raws = tuple(
                    entry.raw
                    for span in spans
                    for entry in self.entries.get(AgentId(span.author), ())
                    if span.first <= entry.seq <= span.last
                )
                return frames.Segment(frame.request, raws, 0, more=False)
            case GetLoose():
                raws = tuple(one.raw for one in self.loose)
                return frames.Segment(frame.request, raws, 9, more=False)


def _author(head: LogHead) -> bytes:
    return head.author


@pytest.fixture
async def relays() -> AsyncGenerator[Relays]:
    world = Relays(names=("a", "liar"))
    yield world
    await world.stop_all()


@pytest.fixture
async def liar(relays: Relays) -> AsyncGenerator[Liar]:
    peer = Liar()
    tasks: list[asyncio.Task[None]] = []

    def on_link(link: Link) -> None:
        tasks.append(asyncio.create_task(peer.serve(link)))

    keys = relays.keys["liar"]
    async with relays.network.open(keys, ["/memory/liar"], [RELAY_PROTOCOL], on_link):
        yield peer
        for task in tasks:
            task.cancel()


async def shunned_for(relays: Relays) -> str:
    await relays.start("a", peers=["liar"])
    await until(lambda: relays.state("a", "liar").stage == "shunned")
    return relays.state("a", "liar").trouble.partition(":")[0]


async def holds(relays: Relays, *records: Record) -> list[bool]:
    return [await relays.stores["a"].get(record.id) is not None for record in records]


def tampered(record: Record) -> Record:
    """Return a record with another last byte of its signature."""
    raw = record.raw[:-1] + bytes([record.raw[-1] ^ 1])
    return parse(raw)[0]


async def test_an_honest_one_is_believed(relays: Relays, liar: Liar) -> None:
    ada = trader("ada")
    liar.has(ada.genesis(), ada.intake())
    liar.loose = [ada.advert("pdf")]
    liar.live = [ada.intake(7), ada.post()]
    await relays.start("a", peers=["liar"])
    await relays.have(*liar.entries[ada.agent], *liar.loose, *liar.live)
    assert relays.state("a", "liar").faults == 0


async def test_a_segment_whose_author_did_not_sign_it(relays: Relays, liar: Liar) -> None:
    ada = trader("ada")
    entries = [ada.genesis(), ada.intake(), tampered(ada.intake())]
    liar.has(*entries)
    assert await shunned_for(relays) == "signature"
    assert await holds(relays, *entries) == [False] * 3


async def test_a_segment_with_a_hole(relays: Relays, liar: Liar) -> None:
    ada = trader("ada")
    one, _, three, four = ada.genesis(), ada.intake(), ada.intake(), ada.intake()
    liar.has(one, three, four)
    liar.says = lambda asked, true: (
        frames.Segment(true.request, (one.raw, three.raw, four.raw, four.raw), 0, more=False)
        if isinstance(asked, GetLogs) and isinstance(true, frames.Segment)
        else true
    )
    assert await shunned_for(relays) == "gap"
    assert await holds(relays, one, three) == [False] * 2


async def test_logs_that_it_names_and_does_not_have(relays: Relays, liar: Liar) -> None:
    ada = trader("ada")
    liar.has(ada.genesis(), ada.intake())
    liar.says = lambda asked, true: (
        frames.Segment(true.request, (), 0, more=False)
        if isinstance(asked, GetLogs) and isinstance(true, frames.Segment)
        else true
    )
    assert await shunned_for(relays) == "withheld"


async def test_more_records_than_were_asked_for(relays: Relays, liar: Liar) -> None:
    ada = trader("ada")
    liar.has(ada.genesis())
    extra = ada.intake()
    liar.says = lambda asked, true: (
        frames.Segment(true.request, (*true.records, extra.raw), 0, more=False)
        if isinstance(asked, GetLogs) and isinstance(true, frames.Segment)
        else true
    )
    assert await shunned_for(relays) == "malformed"


async def test_another_end_than_the_one_it_had_named(relays: Relays, liar: Liar) -> None:
    ada = trader("ada")
    liar.has(ada.genesis(), ada.intake())
    liar.says = lambda asked, true: (
        Listed(true.request, (LogHead(ada.agent, 2, bytes(32)),), more=False)
        if isinstance(asked, GetHeads) and isinstance(true, Listed)
        else true
    )
    assert await shunned_for(relays) == "contradiction"


@pytest.mark.parametrize("live", [False, True])
async def test_a_record_that_nobody_signed(relays: Relays, liar: Liar, live: bool) -> None:
    ada = trader("ada")
    liar.has(ada.genesis())
    forged = tampered(ada.post())
    if live:
        liar.live = [forged]
    else:
        liar.loose = [forged]
    assert await shunned_for(relays) == "signature"
    assert await holds(relays, forged) == [False]
    counted = relays.up["a"].peers.states[0]
    assert counted.faults == 1


async def test_pages_without_an_end(relays: Relays, liar: Liar) -> None:
    liar.says = lambda asked, true: (
        frames.Segment(true.request, (), 0, more=True)
        if isinstance(asked, GetLoose) and isinstance(true, frames.Segment)
        else true
    )
    assert await shunned_for(relays) == "endless"


async def test_sums_that_never_fit_what_it_names(relays: Relays, liar: Liar) -> None:
    """It costs a few questions each time, and in the end it is sent away."""
    relays.patience = Patience(backoff_first_s=0.01, compare_every_s=0.001)
    liar.has(trader("ada").genesis())
    liar.says = lambda asked, true: (
        Compared(true.request, ((RangeSum(1, b"\7" * 32),) * 16,) * len(true.parts))
        if isinstance(asked, Compare) and isinstance(true, Compared)
        else true
    )
    liar.entries.clear()
    assert await shunned_for(relays) == "contradiction"
    assert liar.asked <= (FRUITLESS_COMPARISONS_MAX + 3) * 20


async def test_the_time_for_which_a_liar_is_shunned_doubles(relays: Relays, liar: Liar) -> None:
    relays.patience = Patience(backoff_first_s=0.001, backoff_s_max=0.001, shunned_s=0.001)
    ada = trader("ada")
    liar.has(ada.genesis(), tampered(ada.intake()))
    await relays.start("a", peers=["liar"])
    await until(lambda: relays.state("a", "liar").faults >= 4)


async def test_a_peer_that_is_away_is_dialed_again(relays: Relays) -> None:
    await relays.start("a", peers=["liar"])
    await until(lambda: relays.state("a", "liar").trouble != "")
    ada = trader("ada")
    await relays.start("liar", peers=[])
    await relays.publish("liar", ada, genesis := ada.genesis())
    await relays.have(genesis)
    await until(lambda: relays.state("a", "liar").trouble == "")


async def test_a_node_that_is_named_as_a_peer(relays: Relays) -> None:
    """It takes the link and never answers as a relay does."""
    eve = Trader(relays.keys["liar"], 0)
    links: list[Link] = []
    async with relays.network.open(eve.keys, ["/memory/liar"], [RELAY_PROTOCOL], links.append):
        await relays.start("a", peers=["liar"])
        await until(lambda: bool(links))
        await links[0].send(pack(frames.encode_frame(frames.Pong(1))))
        await until(lambda: relays.state("a", "liar").stage == "shunned")
        assert "welcome" in relays.state("a", "liar").trouble
