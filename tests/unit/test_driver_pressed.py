"""A driver under pressure: a flood of events, and an agent that fails in the middle of a turn."""

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tests.market_records import Trader

from bazaar_host.clock import SteadyClock
from bazaar_node.driver import Driver
from bazaar_node.market.agent import Agent
from bazaar_node.market.drafts import draft_offer, draft_post
from bazaar_node.market.events import Action, AgentEvent, Arrived, Asked, Logged, WorkFailed
from bazaar_node.market.turn import Pen, Turn
from bazaar_node.service import OfferRequest, PostRequest
from bazaar_node.storage.store import NodeStore, Parcel
from bazaar_protocol import award, kinds
from bazaar_protocol.errors import MalformedRecord
from bazaar_protocol.log import check_segment
from bazaar_protocol.records import Record, unseal

OFFER = draft_offer(OfferRequest(capability="a.b"))


class Sent:
    def __init__(self) -> None:
        self.records: asyncio.Queue[Record] = asyncio.Queue()

    def act(self, action: Action) -> None:
        del action

    def dispatch(self, parcels: list[Parcel]) -> None:
        for parcel in parcels:
            if parcel.to is None:
                self.records.put_nowait(unseal(parcel.raw))


class Hasty(Agent):
    """An agent with a fault: it signs, and then fails."""

    def handle(self, event: AgentEvent, now_ms: int) -> Turn:
        turn = super().handle(event, now_ms)
        if isinstance(event, Asked) and event.command == "fail":
            self.is_spoiled = bool(turn.changes)
            raise MalformedRecord("too late")
        return turn


class Scene:
    def __init__(self, driver: Driver, store: NodeStore, sent: Sent, bo: Trader) -> None:
        self.driver = driver
        self.store = store
        self.sent = sent
        self.bo = bo


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncGenerator[Scene]:
    bo = Trader.named("bo")
    async with NodeStore.open(tmp_path / "node.sqlite3") as store:

        async def build() -> Agent:
            pen = Pen(bo.keys, await store.head(), os.urandom)
            return Hasty(pen, await store.live(), offers={OFFER.capability: OFFER}, slots=9)

        await store.write([Logged(bo.genesis())])
        driver, sent = Driver(store, build, SteadyClock()), Sent()
        await driver.load(sent)
        driver.begin_ticking()
        running = asyncio.create_task(driver.run())
        try:
            async with asyncio.timeout(20):
                yield Scene(driver, store, sent, bo)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def asked(scene: Scene, nonce: str, worker: Trader, command: str = "") -> Asked:
    request = PostRequest(capability="a.b", worker=worker.agent.hex(), price=9)
    me = scene.bo.agent
    return Asked(draft_post(request, poster=me, relay=None, addresses=(), nonce=nonce), command)


async def test_what_was_signed_in_a_turn_that_failed_leaves_no_hole(scene: Scene) -> None:
    eve = Trader.named("eve")
    events = [asked(scene, str(number), eve, "fail" if number == 1 else "") for number in range(4)]
    answers = [await scene.driver.tell(event) for event in events]
    await asyncio.wait(answers)
    assert [answer.exception() is None for answer in answers] == [True, False, True, True]
    log = check_segment(await scene.store.log(1, 99))
    assert [record.kind for record in log] == ["genesis", "award", "award", "award"]


async def test_a_flood_of_events_does_not_keep_heartbeats_from_being_sent(scene: Scene) -> None:
    eve = Trader.named("eve", scene.driver.clock.now_ms())
    eve.genesis()
    request = PostRequest(
        capability="a.b", worker=scene.bo.agent.hex(), price=9, heartbeat_timeout_ms=600
    )
    post = eve.say(draft_post(request, poster=eve.agent, relay=None, addresses=(), nonce="1"))
    given = eve.say(award.draft(post, scene.bo.agent, epoch=1, price=0))
    for record in (post, given):
        await scene.driver.ask(Arrived(record))

    async def flood() -> None:
        while True:  # so that there is always something in the queue
            scene.driver.hint(WorkFailed(post.id, 9, "x"))
            await asyncio.sleep(0)

    flooding = asyncio.create_task(flood())
    try:
        while (await scene.sent.records.get()).kind != kinds.KIND_OF_BODY[kinds.Heartbeat].name:
            pass
    finally:
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
