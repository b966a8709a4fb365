"""Who is told of a task after the first: when an award waits in vain, or nobody bids."""

from tests.market_records import NOW_MS, Trader
from tests.relay_driver import RELAY, Driver
from tests.strategies import BO, CY
from tests.trades import Scribe

from bazaar_protocol import award, frames, kinds, limits
from bazaar_protocol.records import Record
from bazaar_protocol.task import link_to, open_task, step
from bazaar_relay.machine.audience import audience_of


async def test_an_award_is_good_until_the_next_or_until_the_post_expires(
    driver: Driver,
) -> None:
    ada, bo, cy = (Trader.named(name) for name in ("ada", "bo", "cy"))
    await driver.join(ada, bo, cy)
    lease = kinds.Lease(2_000, 30_000, 6_000, 3)
    late, never = (
        ada.claim_post(RELAY.agent, lease=lease, expires_in_ms=ms) for ms in (60_000, 10_000)
    )
    await driver.publish(ada, late, never)
    first = await driver.claim(bo, late)
    assert isinstance(first, Record)
    lost = await driver.claim(bo, never)
    assert isinstance(lost, Record)
    await driver.tick(20_000)
    assert await driver.publish(bo, bo.accept(first)) == "accepted"
    assert refusal(await driver.claim(cy, late)) == "taken"
    assert refusal(await driver.claim(cy, never)) == "expired"
    assert (await driver.publish(bo, bo.accept(lost))).startswith("stale: ")


async def test_an_auction_that_gets_no_bid_is_told_to_others_one_at_a_time(
    driver: Driver,
) -> None:
    ada, bo, cy, dee = (Trader.named(name) for name in ("ada", "bo", "cy", "dee"))
    await driver.join(ada, bo, cy, dee)
    for worker in (bo, cy, dee):
        await driver.publish(worker, worker.advert("pdf.extract"))
    post = ada.post(bidders_max=1, bid_window_ms=1_000)
    await driver.publish(ada, post)
    told = [bool(driver.heard(one)) for one in (bo, cy, dee)]
    assert told == [True, False, False]
    await driver.tick(1_000 + limits.WAKE_MS - 1)
    assert [driver.heard(one) for one in (cy, dee)] == [[], []]
    await driver.tick(1)
    assert [driver.heard(one) for one in (cy, dee)] == [[post], []]
    bid = cy.bid(post)
    assert await driver.publish(cy, bid) == "accepted"
    await driver.tick(10 * limits.WAKE_MS)
    assert driver.heard(dee) == []
    granted = ada.say(award.draft(post, cy.agent, epoch=1, price=50, bid=bid.id))
    assert await driver.publish(ada, granted) == "accepted"
    assert await driver.publish(cy, cy.decline(post, 1)) == "accepted"
    await driver.tick(limits.WAKE_MS)
    assert driver.heard(dee) == [post]


async def test_a_claim_that_nobody_accepts_goes_on_to_the_next_worker(driver: Driver) -> None:
    ada, bo, cy = (Trader.named(name) for name in ("ada", "bo", "cy"))
    await driver.join(ada, bo, cy)
    for worker in (bo, cy):
        await driver.publish(worker, worker.advert("pdf.extract"))
    post = ada.claim_post(RELAY.agent, lease=kinds.Lease(2_000, 30_000, 6_000, 3))
    await driver.publish(ada, post)
    assert driver.heard(bo) == [post]
    await driver.claim(bo, post)
    await driver.tick(2_000 + limits.WAKE_MS - 1)
    assert driver.heard(cy) == []
    await driver.tick(1)
    assert driver.heard(cy) == [post]
    second = await driver.claim(cy, post)
    assert isinstance(second, Record)
    assert await driver.publish(cy, cy.accept(second)) == "accepted"


def test_a_verdict_reaches_who_delivered_whatever_the_relay_has_heard() -> None:
    scribe = Scribe()
    task = open_task(scribe.post(), NOW_MS)
    task = step(task, scribe.bid(task, BO), NOW_MS)
    task = step(task, scribe.award(task, BO), NOW_MS)
    result = scribe.deliver(task, CY)  # under an award that did not come this way
    verdict = scribe.verdict(task, deliver=link_to(result), epoch=2)
    assert set(audience_of(verdict, task, RELAY.agent)) == {BO.agent, CY.agent}


def refusal(answer: Record | frames.Error) -> str:
    assert isinstance(answer, frames.Error)
    return answer.code
