"""What strangers, crashes and full disks try on the relay's machine, and what it does about it."""

from tests.market_records import NOW_MS, Trader
from tests.relay_driver import RELAY, Driver

from bazaar_protocol import evidence_kinds, frames, kinds, limits
from bazaar_protocol.frames import Filter
from bazaar_protocol.records import Record
from bazaar_relay.machine.admission import Policy
from bazaar_relay.machine.events import ConnectionId, Deliver, Drop, Read
from bazaar_relay.serving import reading


async def test_a_cancellation_that_is_not_kept_forgets_no_offer(
    driver: Driver, ada: Trader, cy: Trader
) -> None:
    await driver.join(ada, cy)
    await driver.publish(cy, cy.advert("pdf.extract"))
    post = ada.post(bidders_max=1)
    await driver.publish(ada, post)
    assert driver.heard(cy) == [post]
    driver.fails = "the disk is full"
    await driver.publish(ada, ada.say(kinds.Withdraw(post.id, None, 0, "changed my mind")))
    driver.fails = ""
    dee = Trader.named("dee")
    await driver.join(dee)
    await driver.publish(dee, dee.advert("pdf.extract"))
    assert driver.heard(dee) == []


async def test_a_post_that_is_offered_again_hides_no_news(
    driver: Driver, ada: Trader, cy: Trader
) -> None:
    await driver.join(ada, cy)
    post = ada.post()
    await driver.publish(ada, post)
    await driver.publish(cy, cy.advert("pdf.extract"))
    assert driver.heard(cy) == [post]
    # As after a crash in which the offer was made durable and the relay forgot that it was.
    driver.machine._state.router._posts[post.id].offered.clear()
    news = ada.post(mode="direct", worker=cy.agent, bid_window_ms=0)
    driver.effects.clear()
    await driver.publish(ada, news, cy.advert("pdf.extract", version=2))
    delivered = [one for one in driver.effects if isinstance(one, Deliver)]
    assert [[event.raw for event in one.events] for one in delivered] == [[news.raw]]


async def test_a_restart_forgets_no_offer(driver: Driver, ada: Trader, bo: Trader) -> None:
    await driver.join(ada, bo)
    await driver.publish(bo, bo.advert("pdf.extract"))
    auction, claim = ada.post(bidders_max=1), ada.claim_post(RELAY.agent)
    await driver.publish(ada, auction, claim)
    assert driver.heard(bo) == [auction, claim]
    assert await driver.publish(bo, bo.bid(auction)) == "accepted"
    cy, dee = Trader.named("cy"), Trader.named("dee")
    again = await Driver(store=driver.store, now_ms=driver.now_ms + 100).start()
    await again.join(ada, bo, cy, dee)
    await again.publish(cy, cy.advert("pdf.extract"))
    assert again.heard(cy) == []  # the auction has its bidder, and bo may claim for a moment yet
    await again.publish(dee, dee.advert("pdf.extract"))
    await again.tick(1_500)
    assert again.heard(bo) == []
    assert again.heard(cy) + again.heard(dee) == [claim]
    await again.tick(1_500)
    later = await Driver(store=driver.store, now_ms=again.now_ms).start()
    await later.join(bo, cy, dee)
    await later.tick(5_000)
    assert [later.heard(one) for one in (bo, cy, dee)] == [[], [], []]


async def test_a_first_commit_that_fails_forgets_no_lease(
    driver: Driver, ada: Trader, bo: Trader
) -> None:
    await driver.join(ada, bo)
    post = ada.claim_post(RELAY.agent)
    await driver.publish(ada, post)
    award = await driver.claim(bo, post)
    assert isinstance(award, Record)
    assert await driver.publish(bo, bo.accept(award)) == "accepted"
    again = await Driver(store=driver.store, now_ms=driver.now_ms + 100).start()
    await again.join(ada, bo)
    again.fails = "the disk is full"
    assert (await again.publish(ada, ada.intake())).startswith("storage:")
    again.fails = ""
    await again.tick(60_000)
    page, _ = await again.store.scan([Filter(kinds=("breach",))], after=0, limit=2)
    assert len(page) == 1  # bo has been silent for longer than its lease


async def test_a_batch_above_the_allowance_goes_through_and_costs_waiting(ada: Trader) -> None:
    driver = await Driver(policy=Policy(records_per_s=2)).start()
    await driver.join(ada)
    batch = [ada.intake(number) for number in range(10)]
    assert await driver.publish(ada, *batch) == "\n".join(["accepted"] * 10)
    late = ada.intake()
    await driver.tick(4_000)
    assert (await driver.publish(ada, late)).startswith("rate-limited: ")
    await driver.tick(1_500)
    assert await driver.publish(ada, late) == "accepted"


async def test_bytes_are_counted_as_well(ada: Trader, bo: Trader) -> None:
    driver = await Driver(policy=Policy(bytes_per_s=1_000)).start()
    await driver.join(ada, bo)
    await driver.send(ada, frames.Mail(1, bo.agent, bytes(5_000)))
    assert driver.said[-2][1] == frames.Mailed(1)
    await driver.send(ada, frames.Mail(2, bo.agent, b"x"))
    assert driver.said[-1][1] == frames.Error(2, "rate-limited", "at most 1000 bytes per second")
    await driver.send(bo, frames.Mail(3, ada.agent, b"x"))
    assert frames.Mailed(3) in [said for _, said in driver.said]


async def test_searches_cost_as_much_as_they_look_at(ada: Trader) -> None:
    driver = await Driver(policy=Policy(records_per_s=2)).start()
    await driver.join(ada)
    for number in range(64):
        trader = Trader.named(f"agent {number}")
        await driver.tick(500)
        await driver.publish(ada, trader.advert("pdf.extract"))
    await driver.tick(2_000)
    wide, narrow = frames.Query(1, "", "words", "", 9), frames.Query(2, "nothing", "", "", 9)
    for query in (narrow, narrow, wide, wide):
        await driver.send(ada, query)
    answers = [said for _, said in driver.said[-4:]]
    assert [type(one) for one in answers] == [frames.Adverts] * 3 + [frames.Error]


async def test_changing_subscriptions_without_end_ends_the_link(ada: Trader) -> None:
    driver = await Driver(policy=Policy(records_per_s=4)).start()
    await driver.join(ada)
    for _ in range(9):
        await driver.subscribe(ada, Filter())
    assert isinstance(driver.effects[-1], Drop)


def fork(trader: Trader) -> list[Record]:
    """Two entries for the next place of a log."""
    head = trader.head
    first = trader.intake(1)
    trader.head = head
    return [first, trader.intake(2)]


async def proofs(driver: Driver) -> int:
    found, _ = await driver.store.scan([Filter(kinds=("proof",))], after=0, limit=99)
    return len(found)


async def test_a_fork_is_proved_in_one_batch_after_a_failure_and_after_a_restart(
    driver: Driver, ada: Trader, bo: Trader
) -> None:
    await driver.join(ada, bo)
    driver.fails = "the disk is full"
    both = fork(ada)
    assert await driver.publish(ada, *both) == "\n".join(["storage: the disk is full"] * 2)
    driver.fails = ""
    statuses = (await driver.publish(ada, *both)).split("\n")
    assert [one.partition(":")[0] for one in statuses] == ["accepted", "fork"]
    assert await proofs(driver) == 1
    theirs = fork(bo)
    assert await driver.publish(bo, theirs[0]) == "accepted"
    again = await Driver(store=driver.store, now_ms=driver.now_ms).start()
    await again.join(ada, bo)
    for pair in (both, theirs, both):
        assert (await again.publish(ada, pair[1])).startswith("fork: ")
    assert await proofs(again) == 2


async def test_proofs_of_what_is_proved_are_not_kept_a_thousand_times(
    driver: Driver, ada: Trader, bo: Trader
) -> None:
    await driver.join(ada)
    bo.genesis()
    claim = evidence_kinds.Proof("equivocation", tuple(record.raw for record in fork(bo)))
    first, *more = [ada.say(claim, NOW_MS + number) for number in range(4)]
    false = ada.say(evidence_kinds.Proof("equivocation", (first.raw, first.raw)))
    assert (await driver.publish(ada, false)).startswith("malformed: ")
    assert await driver.publish(ada, first) == "accepted"
    assert (await driver.publish(ada, more[0])).startswith("stale: ")
    again = await Driver(store=driver.store, now_ms=driver.now_ms).start()
    await again.join(ada)
    assert (await again.publish(ada, more[1])).startswith("stale: ")
    assert await proofs(again) == 1


async def test_who_never_accepts_holds_few_tasks_and_none_again_and_again(
    driver: Driver, ada: Trader, bo: Trader, cy: Trader
) -> None:
    await driver.join(ada, bo, cy)
    post = ada.claim_post(RELAY.agent)
    await driver.publish(ada, post)
    first = await driver.claim(bo, post)
    # Saying no is as good as saying nothing, by which somebody else comes in.
    assert await driver.publish(bo, bo.decline(post, 1)) == "accepted"
    for epoch in range(2, 2 * limits.AWARDS_LET_GO_MAX, 2):
        award = await driver.claim(bo, post)
        assert isinstance(award, Record)
        assert award != first
        assert isinstance(await driver.claim(cy, post), frames.Error)
        await driver.tick(2_001)
        assert await driver.claim(bo, post) == award
        assert isinstance(await driver.claim(cy, post), Record)
        assert await driver.publish(cy, cy.decline(post, epoch + 1)) == "accepted"
    again = await Driver(store=driver.store, now_ms=driver.now_ms).start()
    await again.join(bo)
    for relay in (driver, again):
        refused = await relay.claim(bo, post)
        assert isinstance(refused, frames.Error)
        assert (refused.code, "let 3 awards" in refused.reason) == ("refused", True)
    assert isinstance(await driver.claim(cy, post), Record)

    posts = [ada.claim_post(RELAY.agent) for _ in range(limits.AWARDS_UNACCEPTED_MAX + 1)]
    await driver.publish(ada, *posts)
    driver.fails = "the disk is full"
    assert isinstance(await driver.claim(bo, posts[0]), frames.Error)
    driver.fails = ""
    awards = [await driver.claim(bo, one) for one in posts]
    assert [isinstance(one, Record) for one in awards] == [True] * (len(posts) - 1) + [False]
    assert isinstance(awards[0], Record)
    await driver.publish(bo, bo.accept(awards[0]))
    assert isinstance(await driver.claim(bo, posts[-1]), Record)


async def test_bids_of_strangers_do_not_keep_a_claim_from_its_workers(
    driver: Driver, ada: Trader, bo: Trader, cy: Trader
) -> None:
    await driver.join(ada, bo, cy)
    await driver.publish(bo, bo.advert("pdf.extract"))
    await driver.publish(cy, cy.advert("pdf.extract"))
    post = ada.post(mode="claim", bid_window_ms=0)
    await driver.publish(ada, post)
    first, second = (bo, cy) if driver.heard(bo) else (cy, bo)
    for _ in range(4):
        await driver.tick(600)
        stranger = Trader.named("stranger", driver.now_ms)
        await driver.publish(ada, stranger.bid(post), first.bid(post))
    assert driver.heard(second) == [post]


async def test_heartbeats_are_taken_as_often_as_a_lease_needs(
    driver: Driver, ada: Trader, bo: Trader
) -> None:
    await driver.join(ada, bo)
    post = ada.claim_post(RELAY.agent)
    await driver.publish(ada, post)
    award = await driver.claim(bo, post)
    assert isinstance(award, Record)
    await driver.publish(bo, bo.accept(award))
    beats = [bo.heartbeat(award, driver.now_ms + number) for number in range(20)]
    statuses = (await driver.publish(bo, *beats)).split("\n")
    assert [one.partition(":")[0] for one in statuses] == ["accepted"] + ["stale"] * 19
    await driver.tick(1_000)
    assert await driver.publish(bo, bo.heartbeat(award, driver.now_ms)) == "accepted"
    await driver.tick(1_000)
    assert (await driver.publish(bo, beats[5])).startswith("stale: ")
    old = bo.heartbeat(award, driver.now_ms - limits.HEARTBEAT_AGE_MS_MAX - 1)
    assert (await driver.publish(bo, old)).startswith("expired: ")


async def mails(driver: Driver, sender: Trader, to: Trader, count: int) -> int:
    """Return how many of ``count`` letters are taken."""
    said = len(driver.said)
    for number in range(count):
        await driver.send(sender, frames.Mail(number, to.agent, b"x"))
    return sum(isinstance(answer, frames.Mailed) for _, answer in driver.said[said:])


async def test_strangers_leave_room_for_the_letters_of_who_trades(
    driver: Driver, ada: Trader, bo: Trader
) -> None:
    await driver.join(bo)
    driver.links[ada.agent] = ConnectionId(99)  # she is away, and collects nothing
    strangers = [Trader.named(f"stranger {number}") for number in range(6)]
    await driver.join(*strangers)
    post = ada.post(mode="direct", worker=bo.agent, bid_window_ms=0)
    await driver.publish(bo, ada.genesis(), post)
    award = ada.award(post, bo.agent)
    await driver.publish(bo, award, bo.accept(award))
    taken = [await mails(driver, one, ada, 50) for one in strangers]
    assert taken == [limits.LETTERS_PER_STRANGER_MAX] * 4 + [0, 0]
    again = await Driver(store=driver.store, now_ms=driver.now_ms).start()
    await again.join(bo, strangers[5])
    assert await mails(again, strangers[5], ada, 1) == 0
    assert await mails(again, bo, ada, 99) == limits.LETTERS_PER_SENDER_MAX


async def test_a_start_reads_only_tasks_that_it_may_have_to_act_for(
    driver: Driver, ada: Trader
) -> None:
    await driver.join(ada)
    over, sequenced = ada.post(), ada.claim_post(RELAY.agent)
    await driver.publish(ada, over, sequenced)
    later_ms = driver.now_ms + 60_001
    recent = Trader.named("bo", driver.now_ms + 60_000).post()
    await driver.publish(ada, recent)
    started = await reading.start(driver.store, RELAY.agent, later_ms)
    assert [one.records[0] for one in started.tasks] == [sequenced, recent]


async def test_one_agent_cannot_bury_a_task_in_bids(
    driver: Driver, ada: Trader, bo: Trader, cy: Trader
) -> None:
    await driver.join(ada, bo, cy)
    post = ada.post()
    await driver.publish(ada, post)
    driver.fails = "the disk is full"
    await driver.publish(bo, *(bo.bid(post, 10 + number) for number in range(40)))
    driver.fails = ""
    many = [bo.bid(post, 10 + number) for number in range(30)]
    many += [bo.decline(post) for _ in range(10)]
    statuses = (await driver.publish(bo, *many)).split("\n")
    words = [one.partition(":")[0] for one in statuses]
    assert words == ["accepted"] * limits.LOOSE_PER_TASK_MAX + ["blocked"] * 8
    assert len(driver.heard(ada)) == limits.LOOSE_PER_TASK_MAX
    assert await driver.publish(cy, cy.bid(post)) == "accepted"


async def test_old_entries_cost_few_reads(driver: Driver, ada: Trader) -> None:
    await driver.join(ada)
    entries = [ada.intake(number) for number in range(100)]
    await driver.publish(ada, *entries)
    again = await Driver(store=driver.store, now_ms=driver.now_ms).start()
    await again.join(ada)
    assert await again.publish(ada, *entries[:60], *entries[70:]) == "\n".join(["duplicate"] * 90)
    reads = [effect for effect in again.effects if isinstance(effect, Read)]
    assert [len(one.entries) for one in reads] == [0, 89]  # the head is known by its id
