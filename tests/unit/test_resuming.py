"""What an agent takes up after a start: it is as durable as all else, and only what is its own."""

import asyncio
import os
from pathlib import Path

from tests.market import Market
from tests.market_records import Trader

from bazaar_host.clock import SteadyClock
from bazaar_node.driver import Driver
from bazaar_node.market.agent import Agent
from bazaar_node.market.drafts import draft_offer, draft_post
from bazaar_node.market.events import Action, Arrived, Began, Change, Logged, Observed, Resumed
from bazaar_node.market.turn import Pen
from bazaar_node.service import OfferRequest, PostRequest
from bazaar_node.storage.store import NodeStore, Parcel
from bazaar_protocol import award
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Post
from bazaar_protocol.log import check_segment
from bazaar_protocol.records import Record, unseal

CAPABILITY = "table.extract"
OFFER = draft_offer(OfferRequest(capability=CAPABILITY, price=40))


class Dispatched:
    """A reactor that tells when something was dispatched."""

    def __init__(self) -> None:
        self.parcels: asyncio.Queue[Parcel] = asyncio.Queue()

    def act(self, action: Action) -> None:
        del action

    def dispatch(self, parcels: list[Parcel]) -> None:
        for parcel in parcels:
            self.parcels.put_nowait(parcel)


def direct_post(poster: Trader, worker: AgentId) -> Record:
    request = PostRequest(capability=CAPABILITY, worker=worker.hex(), price=50)
    return poster.say(draft_post(request, poster=poster.agent, relay=None, addresses=(), nonce="1"))


def award_to(poster: Trader, post: Record, worker: AgentId) -> Record:
    assert isinstance(post.body, Post)
    return poster.say(award.draft(post, worker, epoch=1, price=post.body.price))


async def test_an_award_that_a_crash_left_unanswered_is_accepted_durably(tmp_path: Path) -> None:
    ada, bo = Trader.named("ada"), Trader.named("bo")
    ada.genesis()
    post = direct_post(ada, bo.agent)
    given = award_to(ada, post, bo.agent)
    async with NodeStore.open(tmp_path / "node.sqlite3") as store:
        clock = SteadyClock()
        now_ms = clock.now_ms()
        begun: list[Change] = [
            Logged(bo.genesis()),
            Began(post, "worker", now_ms, ""),
            Observed(post.id, now_ms, given, "awarded", False, ""),
        ]
        await store.write(begun)

        async def build() -> Agent:
            pen = Pen(bo.keys, await store.head(), os.urandom)
            return Agent(pen, await store.live(), offers={OFFER.capability: OFFER})

        driver, reactor = Driver(store, build, clock), Dispatched()
        await driver.load(reactor)
        driver.begin_ticking()
        running = asyncio.create_task(driver.run())
        try:
            async with asyncio.timeout(5):
                parcel = await reactor.parcels.get()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert unseal(parcel.raw).kind == "accept"
        kinds = [record.kind for record in check_segment(await store.log(1, 9))]
        assert kinds == ["genesis", "accept"]
        assert (await store.head()) == driver.agent.pen.head


def test_an_award_to_another_is_not_answered_after_a_start() -> None:
    market = Market()
    bo = market.add("bo", capability=CAPABILITY, price=40)
    ada, cy = Trader.named("ada"), Trader.named("cy")
    ada.genesis()
    request = PostRequest(capability=CAPABILITY, price=50)
    body = draft_post(request, poster=ada.agent, relay=None, addresses=(), nonce="1")
    post = ada.say(body)
    market.tell("bo", Arrived(post))
    market.tell("bo", Arrived(award_to(ada, post, cy.agent)))  # a relay passed it on to us as well
    assert market.task("bo", post.id).worker == cy.agent
    market.tell("bo", Resumed())
    assert [record.kind for record in bo.log] == ["genesis"]
