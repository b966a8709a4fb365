"""What a node holds of the tasks that strangers bring about: bounded, whatever they send."""

from pathlib import Path

import pytest
from tests import market as markets
from tests.market import Market
from tests.market_records import Trader

from bazaar_node.market import agent as agents, ledger
from bazaar_node.market.agent import Agent
from bazaar_node.market.drafts import draft_post
from bazaar_node.market.events import Arrived, Noted, Opened
from bazaar_node.market.sealed_bids import seal_bid
from bazaar_node.market.turn import Pen
from bazaar_node.service import PostRequest
from bazaar_node.storage.store import NodeStore
from bazaar_protocol import award, limits
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import BidTerms
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record, RecordId
from bazaar_protocol.task import State

CAPABILITY = "table.extract"
MAX = 20


@pytest.fixture
def market(monkeypatch: pytest.MonkeyPatch) -> Market:
    monkeypatch.setattr(limits, "TASKS_WORKED_MAX", MAX)
    market = Market()
    market.add("ada")
    market.add("bo", capability=CAPABILITY, price=40)
    return market


@pytest.fixture
def bo(market: Market) -> markets.Trader:
    return market.traders["bo"]


@pytest.fixture
def eve(market: Market) -> Trader:
    eve = Trader.named("eve", market.now_ms)
    eve.genesis()
    return eve


def hand_post(market: Market, eve: Trader, number: int) -> Record:
    request = PostRequest(capability=CAPABILITY, price=50, mode="claim", sequencer="self")
    body = draft_post(request, poster=eve.agent, relay=None, addresses=(), nonce=str(number))
    post = eve.say(body)
    market.tell("bo", Arrived(post))
    return post


def test_of_many_offered_tasks_the_newest_are_watched_and_old_ones_come_back(
    market: Market, bo: markets.Trader, eve: Trader
) -> None:
    posts = [hand_post(market, eve, number) for number in range(3 * MAX)]
    held = bo.agent._ledger
    assert len(list(held.live("worker"))) == MAX
    assert len(held._timers) <= 4 * MAX + 64
    oldest = posts[0]
    entry = bo.agent.entry(oldest.id)
    assert entry is not None
    bid = entry.task.bids[0].record
    given = award.draft(oldest, bo.keys.agent, epoch=1, price=50, bid=bid.id)
    market.tell("bo", Arrived(eve.say(given)))
    assert market.task("bo", oldest.id).state is State.RUNNING
    assert entry in held.live("worker")
    market.wait(3 * 24 * 3600)  # all of them expire, and the one that runs is abandoned
    assert not list(held.live("worker"))
    assert held.wake_ms() is None


async def test_a_task_that_is_over_does_not_begin_again_after_a_restart(
    market: Market, bo: markets.Trader, eve: Trader, tmp_path: Path
) -> None:
    post = hand_post(market, eve, 0)
    market.wait(3 * 24 * 3600)  # it expires
    async with NodeStore.open(tmp_path / "node.sqlite3") as store:
        await store.write(bo.changes)
        assert [row.what for row in await store.history(post.id)] == ["post", "bid", "expired"]
        pen = Pen(bo.keys, await store.head(), bytes)
        agent = Agent(pen, await store.live(), past=await store.past(), offers=bo.agent.offers)
        given = eve.say(award.draft(post, bo.keys.agent, epoch=1, price=50))
        for record in (post, given):  # as another relay, or one that lost its store, tells it
            turn = agent.handle(Arrived(record), market.now_ms)
            assert (turn.changes, turn.actions) == ([], [])


def test_a_task_that_was_forgotten_does_not_begin_again(
    market: Market, bo: markets.Trader, eve: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "FINISHED_TASKS_MAX", MAX)
    monkeypatch.setattr(agents, "SEEN_MAX", MAX)
    posts = [hand_post(market, eve, number) for number in range(3 * MAX)]
    assert bo.agent.entry(posts[0].id) is None
    assert market.tell("bo", Arrived(posts[0])).changes == []


def sealed_bid(eve: Trader, task: RecordId, to: AgentId, number: int) -> Record:
    pen = Pen(eve.keys, Head.empty(), lambda size: number.to_bytes(size, "big"))
    body = seal_bid(pen, to, task, BidTerms(10, 1, 1, 60_000))
    return eve.say(body, eve.now_ms + number)


def test_bids_that_replace_each_other_leave_one_behind(market: Market, eve: Trader) -> None:
    market.traders["bo"].is_cut_off = True
    task = market.post("ada", capability=CAPABILITY, price_max=50, bid_window_ms=60_000)
    ada = market.traders["ada"]
    for number in range(1, 500):
        market.tell("ada", Arrived(sealed_bid(eve, task, ada.keys.agent, number)))
    assert len(market.task("ada", task).bids) == 1
    assert len(ada.agent._ledger.opened) == 1
    assert len(ada.agent._ledger._timers) < 200


def test_bids_that_the_task_refuses_are_not_opened_and_soon_not_noted(
    market: Market, eve: Trader
) -> None:
    task = market.post("ada", capability=CAPABILITY, price_max=50, bidders_max=1)
    ada = market.traders["ada"]
    before = len(ada.changes)
    for number in range(1, 500):
        market.tell("ada", Arrived(sealed_bid(eve, task, ada.keys.agent, number)))
    new = ada.changes[before:]
    assert not [change for change in new if isinstance(change, Opened)]
    notes = [change for change in new if isinstance(change, Noted)]
    assert len(notes) == limits.REFUSALS_NOTED_PER_TASK_MAX
