"""Whatever a relay has ever seen may be said to it again: nothing changes."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from tests.market_records import Trader
from tests.relay_driver import RELAY, Driver

from bazaar_protocol import frames, limits
from bazaar_protocol.frames import Filter
from bazaar_protocol.records import Record
from bazaar_relay.storage.store import Stored

_TAKEN = "accepted"
_KNOWN = ("duplicate", "stale:", "expired:", "blocked:", "fork:", "malformed:")


@dataclass(frozen=True)
class Seen:
    """What a store holds, in order, and what the relay knows of each task."""

    records: list[Stored]
    heads: Sequence[tuple[bytes, int]]
    letters: Sequence[tuple[bytes, int]]


async def _seen(driver: Driver, traders: list[Trader]) -> Seen:
    records, _ = await driver.store.scan([Filter()], after=0, limit=10_000)
    agents = [*(one.agent for one in traders), RELAY.agent]
    heads = await driver.store.heads(agents)
    letters = [(agent, len(await driver.store.senders(agent))) for agent in agents]
    return Seen(records, [(agent, heads[agent].seq) for agent in agents if agent in heads], letters)


async def _trade(driver: Driver, ada: Trader, bo: Trader, cy: Trader) -> list[Record]:
    """Bring a claim and an auction to their ends, with all that nodes say on the way."""
    said: list[Record] = []

    async def publish(by: Trader, *records: Record) -> None:
        said.extend(records)
        statuses = await driver.publish(by, *records)
        assert set(statuses.split("\n")) == {_TAKEN}, statuses

    await publish(bo, bo.advert("pdf.extract"), bo.advert("pdf.extract", version=2))
    await publish(cy, cy.advert("pdf.extract"))
    claimed = ada.claim_post(RELAY.agent)
    await publish(ada, claimed)
    granted = await driver.claim(bo, claimed)
    assert isinstance(granted, Record)
    said.append(granted)
    await publish(bo, bo.accept(granted), bo.heartbeat(granted, driver.now_ms))
    delivered = bo.deliver(granted)
    await publish(bo, delivered)
    await publish(ada, ada.verdict(delivered))
    auction = ada.post()
    await publish(ada, auction)
    await publish(bo, bo.bid(auction))
    await publish(cy, cy.decline(auction))
    award = ada.award(auction, bo.agent)
    await publish(ada, award)
    await publish(bo, bo.accept(award))
    again = bo.deliver(award)
    await publish(bo, again)
    await publish(ada, ada.verdict(again))
    return said


@pytest.mark.parametrize("later_ms", [0, 60_000, limits.DAY_MS])
@pytest.mark.parametrize("is_restarted", [False, True])
async def test_all_that_was_seen_changes_nothing_when_it_is_said_again(
    *, later_ms: int, is_restarted: bool
) -> None:
    driver = await Driver().start()
    traders = ada, bo, cy = [Trader.named(name) for name in ("ada", "bo", "cy")]
    await driver.join(*traders)
    await _trade(driver, ada, bo, cy)
    await driver.tick(later_ms + limits.INTAKE_AFTER_MS)  # so that all of it is under a receipt
    if is_restarted:
        await driver.start()
        await driver.join(*traders)
    before = await _seen(driver, traders)
    driver.said.clear()
    everything = [one.raw for one in before.records]
    assert len(everything) > 20
    chance = random.Random(7)
    for sayer in traders:
        for _ in range(3):
            chance.shuffle(everything)
            for start in range(0, len(everything), 7):
                await driver.send(sayer, frames.Publish(9, tuple(everything[start : start + 7])))
    answers = [said for _, said in driver.said]
    assert all(isinstance(one, frames.Published) for one in answers), "nobody is told of anything"
    statuses = {one for answer in answers for one in answer.statuses}
    # What a restart has forgotten is looked up at the commit, which then has nothing to keep.
    known = (*_KNOWN, _TAKEN) if is_restarted else _KNOWN
    assert all(one.startswith(known) for one in statuses), statuses
    assert await _seen(driver, traders) == before


async def test_a_claim_that_was_granted_is_the_same_when_it_is_claimed_again() -> None:
    driver = await Driver().start()
    ada, bo = Trader.named("ada"), Trader.named("bo")
    await driver.join(ada, bo)
    post = ada.claim_post(RELAY.agent)
    await driver.publish(ada, post)
    first = await driver.claim(bo, post)
    assert isinstance(first, Record)
    again = await driver.claim(bo, post)
    assert not isinstance(again, Record) or again.id == first.id
