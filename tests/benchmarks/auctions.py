"""From a post to its award: asked, bid, judged and signed, beside the same hops over plain TCP."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

from tests.benchmarks.asker import Asker
from tests.benchmarks.measuring import (
    Bench,
    Beside,
    Case,
    Row,
    Sample,
    at_most,
    interleave,
    percentile,
    row,
)
from tests.benchmarks.peer import TO_ALL, Plain, peer
from tests.benchmarks.publishing import new_author
from tests.benchmarks.relay_links import RelayPlace, relay_in_process, relay_over_libp2p
from tests.market_records import Trader

from bazaar_protocol import award
from bazaar_protocol.award import Offer
from bazaar_protocol.frames import Filter
from bazaar_protocol.kinds import Award, Bid, Post
from bazaar_protocol.records import Record, unseal

BIDDERS: Final = (10, 3)
HOPS: Final = "same hops and bytes, plain TCP, unsigned"
_MS: Final = 1_000
_NEUTRAL: Final = 5_000
_NOTE: Final = (
    "the bid window is 0: the poster awards as soon as all bids are in, so no wait is in it; from "
    "sending the post to the winner's having checked the award; all is signed, checked and "
    "durable at the relay. Agents without stores, in one process; libp2p: the relay in another"
)
Auction = Callable[[], Awaitable[float]]
"""Holds one auction and returns how long it took."""


async def run(bench: Bench) -> list[Row]:
    """Measure auctions of 10 and of 3 bidders over libp2p, in memory, and as bare hops."""
    rows: list[Row] = []
    async with (
        relay_over_libp2p(bench.folder / "libp2p") as network,
        relay_in_process(bench.folder) as memory,
    ):
        for bidders in BIDDERS:
            async with AsyncExitStack() as stack:
                rows += await _compare(bench, bidders, (network, memory), stack)
    return rows


async def _compare(
    bench: Bench, bidders: int, places: tuple[RelayPlace, RelayPlace], stack: AsyncExitStack
) -> list[Row]:
    network, memory = places
    port, _ = await stack.enter_async_context(peer("star"))
    hops = await _Hops.open(port, bidders, stack)
    far, near = _Auctions(network, bidders), _Auctions(memory, bidders)
    for auctions in (far, near):
        await auctions.open(stack)
    count = bench.count(100, 5)
    tails: dict[str, list[Sample]] = {"libp2p": [], "memory": [], "hops": []}

    def case(name: str, auction: Auction) -> Case:
        async def measure() -> Sample:
            delays = [await auction() * _MS for _ in range(count)]
            tails[name].append(Sample(percentile(delays, 0.99)))
            return Sample(percentile(delays, 0.5))

        return measure

    cases = {
        "libp2p": case("libp2p", far.hold),
        "memory": case("memory", near.hold),
        "hops": case("hops", hops.hold),
    }
    middles = await interleave(bench.rounds, cases)
    beside = Beside(HOPS, middles["hops"])
    rows: list[Row] = []
    for kind in ("libp2p", "memory"):
        name = f"post -> {bidders} bids -> award, {kind}"
        middle = Beside("its p50", middles[kind])
        rows.append(row(f"{name}: p50", "ms", middles[kind], beside=beside, goal=at_most(2.5),
                        note=_NOTE * (kind == "libp2p")))  # fmt: skip
        rows.append(row(f"{name}: p99", "ms", tails[kind], beside=middle, goal=at_most(5)))
    return rows


class _Auctions:
    """A poster and its bidders at a relay."""

    def __init__(self, place: RelayPlace, bidders: int) -> None:
        self._place = place
        self._capability = f"bench.bid{bidders}"
        self._poster = new_author()
        self._bidders = [new_author() for _ in range(bidders)]
        self._asker: Asker
        self._won: asyncio.Queue[Record] = asyncio.Queue()

    async def open(self, stack: AsyncExitStack) -> None:
        """Let everybody come, and the bidders say what they offer."""
        self._asker = await self._join(self._poster, stack)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        for number, bidder in enumerate(self._bidders):
            asker = await self._join(bidder, stack)
            await asker.publish(bidder.advert(self._capability))
            bidding = tasks.create_task(self._bid(bidder, asker, 50 + number))
            stack.callback(bidding.cancel)

    async def hold(self) -> float:
        """Hold one auction and return how long it took."""
        key = os.urandom(8).hex()
        bidders = len(self._bidders)
        post = self._poster.post(
            capability=self._capability, bid_window_ms=0, bidders_max=bidders, idempotency_key=key
        )
        began = time.perf_counter()
        publishing = [asyncio.ensure_future(self._asker.publish(post))]
        bids: list[Record] = []
        while len(bids) < len(self._bidders):
            record = unseal((await self._asker.events.get()).record)
            if isinstance(record.body, Bid):
                bids.append(record)
        granted = self._award(post, bids)
        publishing.append(asyncio.ensure_future(self._asker.publish(granted)))
        won = await self._won.get()
        took_s = time.perf_counter() - began
        await asyncio.gather(*publishing)
        assert won.id == granted.id
        return took_s

    def _award(self, post: Record, bids: list[Record]) -> Record:
        terms = post.body
        assert isinstance(terms, Post)
        offers: list[Offer] = []
        for bid in bids:
            assert isinstance(bid.body, Bid)
            assert bid.body.terms is not None
            offers.append(Offer(bid.id, bid.author, bid.body.terms, _NEUTRAL))
        best = award.choose(terms.rule, terms.price, offers)
        assert best is not None
        return self._poster.say(
            award.draft(
                post, best.worker, epoch=1, price=best.terms.price, bid=best.bid, considered=offers
            )
        )

    async def _join(self, trader: Trader, stack: AsyncExitStack) -> Asker:
        client = await self._place.client(trader.keys)
        asker = await stack.enter_async_context(Asker.over(client.link))
        await asker.publish(trader.genesis())
        await asker.subscribe(Filter(to=(trader.agent,)))
        return asker

    async def _bid(self, bidder: Trader, asker: Asker, price: int) -> None:
        while True:
            record = unseal((await asker.events.get()).record)
            if isinstance(record.body, Post):
                await asker.publish(bidder.bid(record, price))
            elif isinstance(record.body, Award):
                self._won.put_nowait(record)


class _Hops:
    """The same hops with the same number of bytes, and nothing else."""

    def __init__(self, links: list[Plain]) -> None:
        self._poster, *self._bidders = links
        self._won = asyncio.Event()

    @classmethod
    async def open(cls, port: str, bidders: int, stack: AsyncExitStack) -> "_Hops":
        """Connect the poster as link 0, and the bidders behind it."""
        links = []
        for _ in range(bidders + 1):
            link = await Plain.dial(port)
            stack.callback(link.close)
            link.send(TO_ALL, b"")  # its number is the order in which they come
            links.append(link)
        hops = cls(links)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        for link in hops._bidders:
            stack.callback(tasks.create_task(hops._bid(link)).cancel)
        return hops

    async def hold(self) -> float:
        """Pass on a post, the bids and the award."""
        self._won.clear()
        began = time.perf_counter()
        for number in range(1, len(self._bidders) + 1):
            self._poster.send(number, _POST)
        bids = 0
        while bids < len(self._bidders):
            bids += sum(len(body) == len(_BID) for _, body in await self._poster.receive())
        self._poster.send(1, _AWARD)
        await self._won.wait()
        return time.perf_counter() - began

    async def _bid(self, link: Plain) -> None:
        while True:
            for _, body in await link.receive():
                if len(body) == len(_POST):
                    link.send(0, _BID)
                elif len(body) == len(_AWARD):
                    self._won.set()


_POST: Final = bytes(520)
_BID: Final = bytes(230)
_AWARD: Final = bytes(560)
