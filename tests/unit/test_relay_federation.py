"""What the relay's machine makes of records that a peer has."""

from tests.market_records import NOW_MS, Trader
from tests.relay_driver import RELAY, Driver

from bazaar_protocol import frames
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import Keypair
from bazaar_protocol.kinds import Award, Post
from bazaar_protocol.limits import HOUR_MS
from bazaar_protocol.log import Head
from bazaar_protocol.peering_frames import Here
from bazaar_protocol.records import Record, unseal
from bazaar_relay.machine.admission import Policy
from bazaar_relay.machine.difficulty import WorkPolicy
from bazaar_relay.machine.events import ConnectionId, Pulled

PEER = Keypair.from_name("peer")
NUMBER = ConnectionId(-1)


async def follower(**changes: object) -> Driver:
    """Return a relay that has a peer."""
    policy = Policy(peers=frozenset({PEER.agent}), **changes)  # type: ignore[arg-type]
    driver = await Driver(policy=policy).start()
    driver.links[PEER.agent] = NUMBER  # so that what it is answered is written down
    return driver


async def pull(driver: Driver, *given: Record, is_old: bool = False) -> list[str]:
    raws = tuple(record.raw for record in given)
    await driver.handle(Pulled(NUMBER, PEER.agent, raws, is_old=is_old))
    answer = next(one for _, one in reversed(driver.said) if isinstance(one, frames.Published))
    return [status.partition(":")[0] for status in answer.statuses]


async def own_kinds(driver: Driver) -> list[str]:
    found, _ = await driver.store.scan([Filter(authors=(RELAY.agent,))], after=0, limit=100)
    return [unseal(stored.raw).kind for stored in found]


async def test_a_peers_receipt_alone_is_given_no_receipt() -> None:
    """Else two relays would sign for each other's signatures for ever."""
    driver, other = await follower(), Trader(PEER)
    assert await pull(driver, other.genesis()) == ["accepted"]
    await driver.tick(HOUR_MS)
    assert (await own_kinds(driver)).count("intake") == 1
    for number in range(3):
        assert await pull(driver, other.intake(number)) == ["accepted"]
        await driver.tick(HOUR_MS)
    assert (await own_kinds(driver)).count("intake") == 1
    ada = Trader.named("ada")
    assert await pull(driver, ada.genesis()) == ["accepted"]
    await driver.tick(HOUR_MS)
    assert (await own_kinds(driver)).count("intake") == 2  # for all five


async def test_what_a_peer_has_is_judged_like_anything() -> None:
    driver, ada = await follower(), Trader.named("ada")
    genesis, one, two = ada.genesis(), ada.intake(1), ada.intake(2)
    assert await pull(driver, two) == ["gap"]
    assert await pull(driver, genesis, one, one) == ["accepted", "accepted", "duplicate"]
    fork = Trader(ada.keys, ada.now_ms, Head(1, genesis.id)).intake(9)
    assert await pull(driver, fork) == ["fork"]
    assert await driver.store.against([ada.agent]) != {ada.agent: []}
    assert await pull(driver, ada.post()) == ["blocked"]


async def test_nobody_pays_twice_and_no_newcomer_waits() -> None:
    driver = await follower(
        work=WorkPolicy(bits=20, free_per_minute=0), records_per_s=1, bytes_per_day=64
    )
    ada = Trader.named("ada")
    assert await pull(driver, ada.genesis(), *map(ada.intake, range(50))) == ["accepted"] * 51


async def test_an_old_post_ends_when_it_would_have_ended() -> None:
    driver, ada = await follower(), Trader.named("ada", NOW_MS - HOUR_MS)
    soon = ada.post(capability="pdf", expires_in_ms=HOUR_MS // 2)
    later = ada.post(capability="pdf", expires_in_ms=2 * HOUR_MS)
    assert await pull(driver, soon, later, is_old=True) == ["accepted"] * 2
    assert driver.machine.sizes["open_posts"] == 1
    await driver.tick(HOUR_MS + HOUR_MS // 2)
    assert driver.machine.sizes["open_posts"] == 0


async def test_a_peer_cannot_have_more_posts_held_open_than_anyone() -> None:
    driver, ada = await follower(open_posts=2), Trader.named("ada")
    posts = [ada.post(capability="pdf") for _ in range(4)]
    assert await pull(driver, *posts) == ["accepted", "accepted", "blocked", "blocked"]
    old = [ada.post(capability="pdf") for _ in range(2)]
    assert await pull(driver, *old, is_old=True) == ["accepted"] * 2  # kept, and not held open
    assert driver.machine.sizes["open_posts"] == 2


def open_claim(poster: Trader) -> Record:
    return poster.claim_post(RELAY.agent, capability="pdf")


async def award_of_task(driver: Driver, post: Record) -> list[Award]:
    found = [unseal(one.raw) for one in await driver.store.task(post.id, after=0, limit=99)]
    return [one.body for one in found if isinstance(one.body, Award)]


async def test_an_agent_without_a_link_claims_by_a_bid_that_a_peer_passes_on() -> None:
    driver, ada, bob, eve = await follower(), *map(Trader.named, ("ada", "bob", "eve"))
    await driver.join(ada)
    post = open_claim(ada)
    assert await driver.publish(ada, post) == "accepted"
    first, second = bob.bid(post, price=post_price(post)), eve.bid(post, price=post_price(post))
    assert await pull(driver, bob.genesis(), first) == ["accepted"] * 2
    assert await pull(driver, eve.genesis(), second) == ["accepted"] * 2
    (award,) = await award_of_task(driver, post)
    assert (award.worker, award.bid, award.epoch) == (bob.agent, first.id, 1)
    heard = [record.kind for record in driver.heard(ada)]
    assert heard.count("award") == 1


async def test_the_next_bidder_is_awarded_what_the_first_gives_back_or_lets_go() -> None:
    driver, ada, bob, eve = await follower(), *map(Trader.named, ("ada", "bob", "eve"))
    await driver.join(ada)
    await driver.publish(ada, post := open_claim(ada))
    price = post_price(post)
    await pull(driver, bob.genesis(), bob.bid(post, price=price))
    await pull(driver, eve.genesis(), eve.bid(post, price=price))
    await pull(driver, bob.decline(post, epoch=1))
    assert [award.worker for award in await award_of_task(driver, post)] == [bob.agent, eve.agent]
    zoe = Trader.named("zoe")
    await pull(driver, zoe.genesis(), zoe.bid(post, price=price))
    assert len(await award_of_task(driver, post)) == 2
    await driver.tick(HOUR_MS)  # eve does not accept it
    workers = [award.worker for award in await award_of_task(driver, post)]
    assert workers[:3] == [bob.agent, eve.agent, zoe.agent]


async def test_who_listens_here_is_here_whatever_a_peer_says() -> None:
    driver, bob, eve = await follower(), Trader.named("bob"), Trader.named("eve")
    await driver.join(bob, Trader(PEER))
    await driver.send(Trader(PEER), Here((bob.agent, eve.agent)))
    whereabouts = driver.machine.federation.whereabouts
    assert whereabouts.is_here(bob.agent)
    assert whereabouts.peer_of(eve.agent) == PEER.agent
    assert not whereabouts.is_here(PEER.agent)  # nobody writes to relays


def post_price(post: Record) -> int:
    assert isinstance(post.body, Post)
    return post.body.price
