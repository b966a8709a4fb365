"""Relayed links in the relay's machine: who may say what on them, and how much."""

from dataclasses import replace
from typing import Any

from tests.market_records import Trader
from tests.relay_driver import Driver

from bazaar_protocol import frames, limits
from bazaar_relay.machine.admission import Policy
from bazaar_relay.machine.carrying import LinkPolicy
from bazaar_relay.machine.difficulty import WorkPolicy
from bazaar_relay.machine.events import Connected, ConnectionId, Disconnected, Drop, PolicyChanged

PIECE = bytes(60 * limits.KIB)
COST = len(PIECE) + limits.RELAYED_FRAME_BYTES
FAST = LinkPolicy(bytes_per_s=1024 * limits.MIB, bytes_per_s_all=1024 * limits.MIB)

ADA, BO, CY = (Trader.named(name) for name in ("ada", "bo", "cy"))


async def a_relay(carrying: LinkPolicy = FAST, **others: Any) -> Driver:
    driver = await Driver(policy=Policy(carrying=carrying, **others)).start()
    for trader in (ADA, BO, CY):
        await join(driver, trader)
    return driver


async def join(driver: Driver, trader: Trader, *features: str) -> None:
    connection = driver.links[trader.agent] = ConnectionId(len(driver.links) + 1)
    await driver.handle(Connected(connection, trader.agent, "192.0.2.1"))
    await driver.send(trader, frames.Hello(frames.VERSION, "", features or ("link",)))


def told(driver: Driver, trader: Trader) -> list[Any]:
    """Return what a node was sent about links, and forget it."""
    mine = [one for one in driver.said if one[0] == trader.agent]
    driver.said = [one for one in driver.said if one not in mine]
    return [frame for _, frame in mine]


async def opened(driver: Driver, opener: Trader = ADA, accepter: Trader = BO) -> int:
    await driver.send(opener, frames.OpenLink(9, accepter.agent))
    (offered,) = told(driver, accepter)
    assert offered == frames.LinkOffered(offered.link, opener.agent)
    await driver.send(accepter, frames.AcceptLink(offered.link))
    assert told(driver, opener) == [frames.LinkOpened(9, offered.link)]
    return int(offered.link)


def dropped(driver: Driver) -> list[ConnectionId]:
    return [effect.connection for effect in driver.effects if isinstance(effect, Drop)]


async def test_what_one_says_the_other_hears_and_nobody_else() -> None:
    driver = await a_relay()
    link = await opened(driver)
    await driver.send(ADA, frames.LinkData(link, b"one"))
    await driver.send(BO, frames.LinkData(link, b"two"))
    assert told(driver, BO) == [frames.LinkData(link, b"one")]
    assert told(driver, ADA) == [frames.LinkData(link, b"two")]
    await driver.send(ADA, frames.CloseLink(link, "done"))
    assert told(driver, BO) == [frames.CloseLink(link, "done")]
    assert told(driver, CY) == told(driver, ADA) == []
    assert len(driver.machine.relayed) == 0


async def test_a_third_party_can_say_nothing_on_a_link() -> None:
    driver = await a_relay()
    link = await opened(driver)
    for frame in (
        frames.LinkData(link, b"mine"), frames.LinkCredit(link, 1), frames.AcceptLink(link),
        frames.CloseLink(link, "over"),
    ):  # fmt: skip
        await driver.send(CY, frame)
    assert driver.said == []
    await driver.send(ADA, frames.LinkData(link, b"still here"))
    assert told(driver, BO) == [frames.LinkData(link, b"still here")]


async def test_the_opener_cannot_accept_for_the_other() -> None:
    driver = await a_relay()
    await driver.send(ADA, frames.OpenLink(9, BO.agent))
    (offered,) = told(driver, BO)
    await driver.send(ADA, frames.AcceptLink(offered.link))
    assert dropped(driver) == [driver.links[ADA.agent]]


async def test_nothing_goes_through_before_the_link_is_accepted() -> None:
    driver = await a_relay()
    await driver.send(ADA, frames.OpenLink(9, BO.agent))
    (offered,) = told(driver, BO)
    await driver.send(ADA, frames.LinkData(offered.link, b"early"))
    assert told(driver, BO) == []
    assert dropped(driver) == [driver.links[ADA.agent]]


async def test_a_node_that_says_no_or_nothing_is_said_to_have_refused() -> None:
    driver = await a_relay()
    await driver.send(ADA, frames.OpenLink(1, BO.agent))
    (offered,) = told(driver, BO)
    await driver.send(BO, frames.CloseLink(offered.link, "no dealings"))
    assert told(driver, ADA) == [frames.Error(1, "refused", "no dealings")]
    await driver.send(ADA, frames.OpenLink(2, BO.agent))
    (offered,) = told(driver, BO)
    await driver.tick(limits.RELAYED_OFFER_MS)
    assert told(driver, ADA) == [frames.Error(2, "refused", "it did not answer")]
    assert told(driver, BO) == [frames.CloseLink(offered.link, "")]
    assert len(driver.machine.relayed) == 0


async def test_who_is_away_or_takes_no_links_is_not_found() -> None:
    driver = await a_relay()
    dee = Trader.named("dee")
    for number in (1, 2):
        await driver.send(ADA, frames.OpenLink(number, dee.agent))
        (error,) = told(driver, ADA)
        assert (error.request, error.code) == (number, "not-found")
        if number == 1:
            await join(driver, dee, "another feature")


async def test_a_link_to_oneself_is_refused() -> None:
    driver = await a_relay()
    await driver.send(ADA, frames.OpenLink(1, ADA.agent))
    (error,) = told(driver, ADA)
    assert error.code == "refused"


async def test_the_end_of_a_connection_ends_its_links() -> None:
    driver = await a_relay()
    link = await opened(driver)
    await driver.send(CY, frames.OpenLink(3, ADA.agent))
    told(driver, ADA)
    await driver.handle(Disconnected(driver.links[ADA.agent]))
    assert told(driver, BO) == [frames.CloseLink(link, "relay: the other side has left")]
    (error,) = told(driver, CY)
    assert (error.request, error.code) == (3, "refused")
    assert len(driver.machine.relayed) == 0


async def test_a_sender_beyond_its_credit_is_sent_away() -> None:
    driver = await a_relay()
    link = await opened(driver)
    for _ in range(limits.RELAYED_WINDOW_BYTES // COST):
        await driver.send(ADA, frames.LinkData(link, PIECE))
    assert dropped(driver) == []
    await driver.send(ADA, frames.LinkData(link, PIECE))
    assert dropped(driver) == [driver.links[ADA.agent]]
    assert len(told(driver, BO)) == limits.RELAYED_WINDOW_BYTES // COST


async def test_small_frames_cost_as_if_they_were_larger() -> None:
    driver = await a_relay()
    link = await opened(driver)
    for _ in range(limits.RELAYED_WINDOW_BYTES // (limits.RELAYED_FRAME_BYTES + 1) + 1):
        await driver.send(ADA, frames.LinkData(link, b"x"))
    assert dropped(driver) == [driver.links[ADA.agent]]


async def test_credit_comes_back_and_never_more_than_was_sent() -> None:
    driver = await a_relay()
    link = await opened(driver)
    for _ in range(20):
        driver.now_ms += 1
        await driver.send(ADA, frames.LinkData(link, PIECE))
        await driver.send(BO, frames.LinkCredit(link, COST))
        assert told(driver, ADA) == [frames.LinkCredit(link, COST)]
    assert dropped(driver) == []
    await driver.send(BO, frames.LinkCredit(link, 1))
    assert dropped(driver) == [driver.links[BO.agent]]


async def test_a_receiver_cannot_make_the_relay_say_a_lot_by_little_credit() -> None:
    driver = await a_relay()
    link = await opened(driver)
    await driver.send(ADA, frames.LinkData(link, PIECE))
    for _ in range(1000):
        await driver.send(BO, frames.LinkCredit(link, 1))
    assert told(driver, ADA) == []
    await driver.send(BO, frames.LinkCredit(link, COST - 1000))
    assert told(driver, ADA) == [frames.LinkCredit(link, COST)]


async def test_credit_waits_until_what_was_carried_is_paid_for() -> None:
    slow = LinkPolicy(bytes_per_s=64 * limits.KIB)
    driver = await a_relay(slow)
    link = await opened(driver)
    for _ in range(4):
        await driver.send(ADA, frames.LinkData(link, PIECE))
        await driver.send(BO, frames.LinkCredit(link, COST))
    assert told(driver, ADA) == []
    await driver.tick(1000 * 4 * COST // slow.bytes_per_s - 10)
    assert told(driver, ADA) == []
    await driver.tick(20)
    assert told(driver, ADA) == [frames.LinkCredit(link, 4 * COST)]


async def test_the_links_of_one_agent_share_its_pace() -> None:
    slow = LinkPolicy(bytes_per_s=64 * limits.KIB)
    driver = await a_relay(slow)
    first, second = await opened(driver, ADA, BO), await opened(driver, ADA, CY)
    await driver.send(ADA, frames.LinkData(first, PIECE))
    await driver.send(CY, frames.LinkData(second, PIECE))  # who opened it pays for the answers
    await driver.send(ADA, frames.LinkCredit(second, COST))
    await driver.tick(1000 * 2 * COST // slow.bytes_per_s - 10)
    assert frames.LinkCredit(second, COST) not in told(driver, CY)
    await driver.tick(20)
    assert told(driver, CY) == [frames.LinkCredit(second, COST)]


async def test_all_together_go_no_faster_than_the_operator_allows() -> None:
    slow = replace(FAST, bytes_per_s_all=64 * limits.KIB)
    driver = await a_relay(slow)
    first, second = await opened(driver, ADA, BO), await opened(driver, CY, BO)
    await driver.send(CY, frames.LinkData(second, PIECE))
    await driver.send(ADA, frames.LinkData(first, PIECE))
    await driver.send(BO, frames.LinkCredit(first, COST))
    assert told(driver, ADA) == []
    await driver.tick(1000 * 2 * COST // slow.bytes_per_s_all + 10)
    assert told(driver, ADA) == [frames.LinkCredit(first, COST)]


async def test_a_days_bytes_end_a_link_and_say_so() -> None:
    driver = await a_relay(replace(FAST, bytes_per_day=2 * COST))
    link = await opened(driver)
    for _ in range(3):
        await driver.send(BO, frames.LinkData(link, PIECE))
    (*data, end) = told(driver, ADA)
    assert len(data) == 2
    assert "a day" in end.reason
    assert told(driver, BO) == [end]


async def test_a_link_on_which_nothing_is_sent_ends() -> None:
    driver = await a_relay()
    link = await opened(driver)
    await driver.tick(limits.RELAYED_IDLE_MS - 1_000)
    await driver.send(ADA, frames.LinkData(link, b"here"))
    await driver.tick(limits.RELAYED_IDLE_MS - 1_000)
    assert len(driver.machine.relayed) == 1
    await driver.tick(1_000)
    assert len(driver.machine.relayed) == 0
    assert told(driver, ADA)[-1].reason == "relay: nothing was sent for too long"


async def test_a_link_does_not_last_for_ever() -> None:
    driver = await a_relay(replace(FAST, minutes=2))
    link = await opened(driver)
    for _ in range(4):
        await driver.tick(limits.MINUTE_MS // 2)
        await driver.send(ADA, frames.LinkData(link, b"here"))
    assert len(driver.machine.relayed) == 0
    assert told(driver, BO)[-1] == frames.CloseLink(link, "relay: a link ends after 2 min")


async def test_an_agent_has_so_many_links_and_no_more() -> None:
    driver = await a_relay(replace(FAST, links=4))
    for number in range(5):
        dee = Trader.named(f"dee {number}")
        await join(driver, dee)
        await driver.send(ADA, frames.OpenLink(number, dee.agent))
    (error,) = told(driver, ADA)
    assert (error.request, error.code) == (4, "rate-limited")


async def test_strangers_keep_nobody_from_being_reached_by_its_partners() -> None:
    driver = await a_relay(replace(FAST, links=4))
    poster, worker = Trader.named("poster"), Trader.named("worker")
    for trader in (poster, worker):
        await join(driver, trader)
        assert await driver.publish(trader, trader.genesis()) == "accepted"
    post = poster.post(mode="direct", worker=worker.agent)
    award = poster.award(post, worker.agent)
    for author, record in ((poster, post), (poster, award), (worker, worker.accept(award))):
        assert await driver.publish(author, record) == "accepted"
    for number in range(40):  # many names, each of which would have a share
        mallory = Trader.named(f"mallory {number}")
        await join(driver, mallory)
        await driver.send(mallory, frames.OpenLink(number, worker.agent))
    offers = [one for one in told(driver, worker) if isinstance(one, frames.LinkOffered)]
    assert len(offers) == 2
    told(driver, poster)
    assert await opened(driver, poster, worker)


async def test_links_are_opened_and_offered_so_often_a_minute() -> None:
    driver = await a_relay()
    codes = []
    for number in range(limits.RELAYED_OPENS_PER_MINUTE_MAX + 1):
        await driver.send(ADA, frames.OpenLink(number, BO.agent))
        for offered in told(driver, BO):
            await driver.send(BO, frames.CloseLink(offered.link, "no"))
        codes += [error.code for error in told(driver, ADA)]
    assert codes == ["refused"] * limits.RELAYED_OPENS_PER_MINUTE_MAX + ["rate-limited"]
    refused = limits.RELAYED_OPENS_PER_MINUTE_MAX
    for number in range(limits.RELAYED_OFFERS_PER_MINUTE_MAX):
        mallory = Trader.named(f"mallory {number}")
        await join(driver, mallory)
        await driver.send(mallory, frames.OpenLink(number, BO.agent))
        for offered in told(driver, BO):
            await driver.send(BO, frames.CloseLink(offered.link, "no"))
            refused += 1
    assert refused == limits.RELAYED_OFFERS_PER_MINUTE_MAX


async def test_a_relay_may_carry_no_links_or_so_many() -> None:
    driver = await a_relay(replace(FAST, links_all=1))
    await opened(driver)
    await driver.send(CY, frames.OpenLink(1, BO.agent))
    assert told(driver, CY)[0].code == "rate-limited"
    await driver.handle(PolicyChanged(Policy(carrying=LinkPolicy(links=0))))
    await driver.send(CY, frames.OpenLink(2, BO.agent))
    assert told(driver, CY)[0].code == "unsupported"


async def test_a_stranger_is_asked_for_work_first() -> None:
    driver = await a_relay(work=WorkPolicy(bits=20))
    await driver.send(ADA, frames.OpenLink(1, BO.agent))
    (error,) = told(driver, ADA)
    assert error.code == "pow"
    assert "20 bits" in error.reason


async def test_what_is_said_on_links_that_are_over_counts_as_any_flood() -> None:
    driver = await a_relay(bytes_per_s=limits.KIB)
    link = await opened(driver)
    await driver.send(BO, frames.CloseLink(link, "done"))
    await driver.send(ADA, frames.LinkData(link, PIECE))  # it was under way
    assert dropped(driver) == []
    await driver.send(ADA, frames.LinkData(link, PIECE))
    assert dropped(driver) == [driver.links[ADA.agent]]


async def test_nobody_puts_words_into_the_relays_mouth() -> None:
    driver = await a_relay()
    link = await opened(driver)
    await driver.send(ADA, frames.CloseLink(link, "relay: your credit is used up"))
    assert told(driver, BO) == [frames.CloseLink(link, " your credit is used up")]


async def test_nothing_is_left_of_links_that_are_over() -> None:
    driver = await a_relay()
    for _ in range(300):
        link = await opened(driver)
        await driver.send(ADA, frames.LinkData(link, b"x"))
        await driver.send(BO, frames.CloseLink(link, ""))
        told(driver, ADA)
        told(driver, BO)
        driver.now_ms += limits.SECOND_MS
    await driver.tick(limits.HOUR_MS)
    relayed = driver.machine.relayed
    assert (relayed._links, relayed._of_agents, relayed._of_connections) == ({}, {}, {})
    assert driver.machine.wake_ms() is None
