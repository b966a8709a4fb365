"""Who may write how much at a relay: strangers and their work, newcomers, addresses, lists."""

import pytest
from tests.market_records import Trader
from tests.relay_driver import RELAY, Driver

from bazaar_protocol import frames, limits
from bazaar_protocol.evidence import find_stamp, stamp_bits
from bazaar_protocol.evidence_kinds import Proof, Stamp
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import Record
from bazaar_protocol.work_wanted import read_work_wanted
from bazaar_relay.machine.admission import Admission, Caller, Policy, network_of
from bazaar_relay.machine.difficulty import WINDOW_MS, WorkPolicy
from bazaar_relay.machine.events import Connected, ConnectionId, Drop, PolicyChanged, Verify

BITS = 8
WORK = Policy(work=WorkPolicy(bits=BITS, bits_max=BITS + 2, days=3), grown_entries=10)


@pytest.fixture
def ada() -> Trader:
    return Trader.named("ada")


@pytest.fixture
def bo() -> Trader:
    return Trader.named("bo")


def stamp(
    trader: Trader, driver: Driver, *, relay: bytes = RELAY.agent, day: int = 0, bits: int = BITS
) -> Record:
    """Return a stamp with exactly so many bits, ``day`` days from today."""
    today = driver.now_ms // limits.DAY_MS
    for start in range(0, 2**24, 2**8):
        numbers = range(start, start + 2**8)
        found = find_stamp(trader.agent, day=today + day, bits=bits, relay=relay, numbers=numbers)
        if found is not None and stamp_bits(trader.agent, found) == bits:
            return trader.say(found)
    raise AssertionError("there is always one")


async def connect(driver: Driver, *traders: Trader, address: str = "") -> None:
    """Have agents say hello, and nothing else."""
    for trader in traders:
        connection = driver.links[trader.agent] = ConnectionId(len(driver.links) + 1)
        await driver.handle(Connected(connection, trader.agent, address))
        await driver.send(trader, frames.Hello(frames.VERSION, "", ()))


def wanted(driver: Driver, bits: int = BITS) -> str:
    day = driver.now_ms // limits.DAY_MS
    return f"pow: {bits} bits wanted for day {day}: publish a stamp for this relay"


async def test_a_stranger_writes_once_a_minute_and_freely_after_a_stamp(ada: Trader) -> None:
    driver = await Driver(policy=WORK).start()
    await connect(driver, ada)
    entries = [ada.genesis(), ada.intake(1), ada.intake(2)]
    refused = wanted(driver)
    assert await driver.publish(ada, *entries) == "\n".join(["accepted", refused, refused])
    assert await driver.publish(ada, *entries[1:]) == "\n".join([refused] * 2)
    await driver.tick(limits.MINUTE_MS)
    assert await driver.publish(ada, *entries[1:]) == f"accepted\n{wanted(driver)}"
    assert await driver.publish(ada, stamp(ada, driver)) == "accepted"
    assert await driver.publish(ada, entries[2], ada.post(), ada.advert("a")) == "\n".join(
        ["accepted"] * 3
    )


async def test_the_status_is_one_that_a_program_can_act_on(ada: Trader) -> None:
    driver = await Driver(policy=WORK).start()
    await connect(driver, ada)
    assert read_work_wanted(wanted(driver)) == (BITS, driver.now_ms // limits.DAY_MS)
    assert read_work_wanted(wanted(driver).removeprefix("pow: ")) is not None
    assert read_work_wanted("rate-limited: 3 bits wanted for day 9") is None


async def test_only_good_stamps_are_let_through_and_nothing_else_is_verified(
    ada: Trader, bo: Trader
) -> None:
    driver = await Driver(policy=WORK).start()
    await connect(driver, ada)
    await driver.publish(ada, ada.genesis())
    driver.effects.clear()
    for bad in (
        stamp(ada, driver, bits=BITS - 1),
        stamp(ada, driver, day=-3),
        stamp(ada, driver, day=2),
        stamp(ada, driver, relay=b""),
        stamp(ada, driver, relay=bo.agent),
        ada.say(Stamp(RELAY.agent, driver.now_ms // limits.DAY_MS, bytes(32))),
        ada.post(),
    ):
        assert await driver.publish(ada, bad) == wanted(driver)
    assert not any(isinstance(effect, Verify) for effect in driver.effects)
    assert await driver.publish(ada, stamp(ada, driver, day=-2)) == "accepted"


async def test_a_stamp_is_its_authors_alone(ada: Trader, bo: Trader) -> None:
    driver = await Driver(policy=WORK).start()
    await connect(driver, ada, bo)
    for one in (ada, bo):
        await driver.publish(one, one.genesis())
    assert await driver.publish(ada, stamp(bo, driver)) == wanted(driver)
    assert await driver.publish(ada, stamp(ada, driver)) == "accepted"
    assert await driver.publish(ada, stamp(bo, driver)) == "accepted"  # anyone known may
    assert await driver.publish(bo, bo.intake()) == "accepted"
    cy = Trader.named("cy")  # one stamped peer does not speak for all whom it makes up
    assert await driver.publish(bo, cy.genesis(), cy.post()) == f"accepted\n{wanted(driver)}"
    assert await driver.publish(bo, stamp(cy, driver), cy.post()) == "accepted\naccepted"


async def test_a_stamp_outlasts_a_restart_and_then_its_days(ada: Trader) -> None:
    driver = await Driver(policy=WORK).start()
    await connect(driver, ada)
    assert await driver.publish(ada, stamp(ada, driver)) == "accepted"
    assert await driver.publish(ada, ada.genesis(), ada.intake()) == "accepted\naccepted"
    again = await Driver(store=driver.store, policy=WORK, now_ms=driver.now_ms).start()
    await connect(again, ada)
    assert await again.publish(ada, ada.intake()) == "accepted"
    ada.now_ms = again.now_ms = driver.now_ms + 3 * limits.DAY_MS
    assert await again.publish(ada, ada.post(), ada.post()) == f"accepted\n{wanted(again)}"


async def test_a_commit_that_fails_lets_nobody_in(ada: Trader) -> None:
    driver = await Driver(policy=WORK).start()
    await connect(driver, ada)
    await driver.publish(ada, ada.genesis())
    driver.fails = "the disk is full"
    shown = stamp(ada, driver)
    assert (await driver.publish(ada, shown)).startswith("storage: ")
    driver.fails = ""
    assert await driver.publish(ada, ada.intake()) == wanted(driver)
    assert await driver.publish(ada, shown) == "accepted"


async def test_a_long_log_needs_no_work_even_after_a_restart(ada: Trader) -> None:
    driver = await Driver().start()
    await driver.join(ada)
    await driver.publish(ada, *(ada.intake(number) for number in range(9)))
    again = await Driver(store=driver.store, policy=WORK, now_ms=driver.now_ms).start()
    await connect(again, ada)
    batch = [ada.intake(number) for number in range(50)]
    assert set((await again.publish(ada, *batch)).split("\n")) == {"accepted"}


async def test_strangers_together_have_little_that_is_free() -> None:
    driver = await Driver(policy=WORK).start()
    strangers = [Trader.named(f"stranger {number}") for number in range(50)]
    await connect(driver, *strangers)
    statuses = [await driver.publish(one, one.genesis()) for one in strangers]
    assert statuses.count("accepted") == 2 * WORK.work.free_per_s


async def test_a_flood_of_strangers_raises_what_is_asked_for(ada: Trader, bo: Trader) -> None:
    driver = await Driver(policy=WORK).start()
    await connect(driver, ada, bo)
    begun = stamp(bo, driver)
    posts = [ada.post() for _ in range(120)]
    for _ in range(3):
        await driver.publish(ada, *posts)
        await driver.tick(WINDOW_MS)
    assert driver.machine.work_bits(driver.now_ms) == BITS + 2
    refused = wanted(driver, BITS + 2)
    assert (await driver.publish(ada, posts[1], posts[2])).endswith(refused)
    assert await driver.publish(bo, begun) == "accepted"  # it was begun when less was asked


async def test_claims_and_letters_of_strangers_need_work(ada: Trader, bo: Trader) -> None:
    driver = await Driver(policy=WORK).start()
    await connect(driver, ada, bo)
    post = ada.claim_post(RELAY.agent)
    assert await driver.publish(ada, stamp(ada, driver)) == "accepted"
    assert await driver.publish(ada, post) == "accepted"
    reason = wanted(driver).removeprefix("pow: ")
    assert await driver.claim(bo, post) == frames.Error(2, "pow", reason)
    await driver.send(bo, frames.Mail(7, ada.agent, b"x"))
    assert driver.said[-1][1] == frames.Error(7, "pow", reason)
    assert await driver.publish(bo, stamp(bo, driver)) == "accepted"
    assert isinstance(await driver.claim(bo, post), Record)
    await driver.send(bo, frames.Mail(8, ada.agent, b"x"))
    assert frames.Mailed(8) in [said for _, said in driver.said]


async def test_a_fraud_may_be_shown_by_anyone(ada: Trader, bo: Trader) -> None:
    driver = await Driver(policy=WORK).start()
    await connect(driver, ada)
    assert await driver.publish(ada, stamp(ada, driver)) == "accepted"
    first, other = Trader.named("bo").genesis(), Trader.named("bo", ada.now_ms + 5_000).genesis()
    pair = first.raw, other.raw
    proof = Trader.named("cy").say(Proof("equivocation", pair))
    again = Trader.named("dee").say(Proof("equivocation", pair))
    statuses = await driver.publish(ada, proof, again)
    assert statuses.startswith("accepted\nstale: ")


async def test_the_allowed_need_no_work_and_the_blocked_are_sent_away(
    ada: Trader, bo: Trader
) -> None:
    driver = await Driver(policy=WORK).start()
    await connect(driver, ada, bo)
    lists = Policy(work=WORK.work, allowed=frozenset({ada.agent}), blocked=frozenset({bo.agent}))
    await driver.handle(PolicyChanged(lists))
    dropped = [effect for effect in driver.effects if isinstance(effect, Drop)]
    assert dropped == [Drop(driver.links[bo.agent], "blocked", "this relay does not serve you")]
    entries = [ada.genesis(), *(ada.intake(number) for number in range(20))]
    assert set((await driver.publish(ada, *entries)).split("\n")) == {"accepted"}
    begin = bo.genesis()
    assert (await driver.publish(ada, begin)).startswith("blocked: ")
    await driver.handle(PolicyChanged(Policy(allowed=frozenset({bo.agent}), only_allowed=True)))
    assert (await driver.publish(bo, ada.intake())).startswith("blocked: ")
    assert await driver.publish(bo, begin) == "accepted"


async def test_allowances_grow_with_what_is_known_of_a_log(ada: Trader) -> None:
    policy = Policy(records_per_s=100, newcomer_percent=10, grown_entries=100)
    driver = await Driver(policy=policy).start()
    await driver.join(ada)
    await driver.publish(ada, *(ada.intake(number) for number in range(50)))
    assert await driver.publish(ada, ada.intake()) == "rate-limited: at most 55 records per second"
    await driver.tick(5_000)
    ada.head = ada.head.empty()
    assert policy.percent(ada.agent, 100) == 100
    assert Policy(newcomer_percent=10, allowed=frozenset({ada.agent})).percent(ada.agent, 0) == 100


async def test_what_is_kept_of_an_author_in_a_day_is_bounded(ada: Trader, bo: Trader) -> None:
    driver = await Driver(policy=Policy(bytes_per_day=2_000)).start()
    await driver.join(ada, bo)
    statuses = [await driver.publish(bo, ada.intake(number)) for number in range(40)]
    assert statuses[0] == "accepted"
    assert statuses[-1] == "rate-limited: at most 2000 bytes per day are kept of one author"
    assert await driver.publish(bo, bo.intake()) == "accepted"
    await driver.tick(limits.DAY_MS)
    ada.now_ms = driver.now_ms
    assert await driver.publish(bo, ada.advert("a")) == "accepted"


async def test_an_author_has_so_many_open_posts(ada: Trader) -> None:
    driver = await Driver(policy=Policy(open_posts=2)).start()
    await driver.join(ada)
    statuses = await driver.publish(ada, *(ada.post() for _ in range(3)))
    assert statuses.startswith("accepted\naccepted\nblocked: ")


async def test_newcomers_leave_places_for_those_with_a_history(ada: Trader, bo: Trader) -> None:
    policy = Policy(newcomer_percent=10, grown_entries=3, posts=20, adverts=20)
    driver = await Driver(policy=policy).start()
    await driver.join(ada, bo)
    await driver.publish(ada, ada.intake(), ada.intake())
    made_up = [Trader.named(f"made up {number}") for number in range(12)]
    posts, adverts = [one.post() for one in made_up], [one.advert("a") for one in made_up]
    for records in (posts, adverts):
        statuses = (await driver.publish(bo, *records)).split("\n")
        assert statuses[:11] == ["accepted"] * 11
        assert statuses[11].startswith("blocked: this relay holds as many ")
    more = [ada.post() for _ in range(10)]
    assert (await driver.publish(ada, *more)).split("\n")[:9] == ["accepted"] * 9
    assert await driver.publish(ada, ada.advert("a")) == "accepted"


async def test_strangers_leave_half_of_the_places(ada: Trader) -> None:
    admission = Admission(Policy(posts=100, newcomer_percent=50))
    assert admission.posts(Caller(ada.agent, is_strange=True)) == 50
    assert admission.posts(Caller(ada.agent)) == 75
    assert admission.posts(Caller(ada.agent, entries=1000)) == 100


async def test_an_identity_has_so_many_links_and_subscriptions(ada: Trader) -> None:
    driver = await Driver(policy=Policy(links=3, subscriptions=1)).start()
    links = [ConnectionId(number) for number in range(1, 5)]
    for number in links:
        driver.links[ada.agent] = number
        await driver.handle(Connected(number, ada.agent))
        await driver.send(ada, frames.Hello(frames.VERSION, "", ()))
    assert Drop(links[0], "rate-limited", "you have opened newer links") in driver.effects
    driver.effects.clear()
    for number in links[1:3]:
        driver.links[ada.agent] = number
        await driver.subscribe(ada, Filter())
        await driver.subscribe(ada, Filter())  # it replaces the link's own
    drops = [effect for effect in driver.effects if isinstance(effect, Drop)]
    assert {drop.connection for drop in drops} == {links[2]}
    assert drops[0].code == "blocked"


async def test_an_address_is_counted_whoever_comes_from_it(ada: Trader, bo: Trader) -> None:
    driver = await Driver(policy=Policy(address_records_per_s=2)).start()
    await connect(driver, ada, bo, address="2001:db8::1")
    cy = Trader.named("cy")
    await connect(driver, cy, address="2001:db8:0:1::1")
    assert await driver.publish(ada, ada.genesis(), *(ada.intake() for _ in range(4)))
    refused = await driver.publish(bo, bo.genesis())
    assert refused == "rate-limited: at most 2 records per second from one address"
    assert await driver.publish(cy, cy.genesis()) == "accepted"


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("127.0.0.1", ""),
        ("::1", ""),
        ("::ffff:127.0.0.1", ""),
        ("memory", ""),
    ],
)
def test_what_counts_as_one_address(address: str, network: str) -> None:
    assert network_of(address) == network


async def test_without_work_asked_for_nothing_is_read_or_refused(ada: Trader) -> None:
    driver = await Driver().start()
    await connect(driver, ada)
    weak = ada.say(Stamp(RELAY.agent, 1, bytes(32)))
    assert await driver.publish(ada, ada.genesis(), weak) == "accepted\naccepted"
    assert not driver.machine.is_strange(AgentId(bytes(32)), driver.now_ms)
    assert driver.machine.work_bits(driver.now_ms) == 0


async def test_strangers_are_heard_so_often_even_to_be_refused(ada: Trader) -> None:
    driver = await Driver(policy=WORK).start()
    await connect(driver, ada)
    post = ada.post()
    statuses = [await driver.publish(ada, post) for _ in range(50)]
    often = 2 * limits.STRANGER_WRITES_PER_S_MAX
    assert not any(status.startswith("rate-limited") for status in statuses[:often])
    assert statuses[often] == "rate-limited: at most 20 frames per second without a stamp"
    await driver.tick(500)
    assert await driver.publish(ada, stamp(ada, driver)) == "accepted"
    assert await driver.publish(ada, *(ada.post() for _ in range(100))) == "\n".join(
        ["accepted"] * 100
    )
