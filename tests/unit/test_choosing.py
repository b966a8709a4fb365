"""Whom a poster gives its tasks to: never a convict, and nobody that its policy refuses."""

from hashlib import sha256
from typing import Any

import pytest
from tests.market import Market
from tests.told_opinions import CONVICT, ToldOpinions, known, outcome, seasoned

from bazaar_node.market.events import WorkDone
from bazaar_node.market.experience import SCORED_AFTER_MS, SEASONED_FROM, Experience
from bazaar_node.market.opinions import Standing
from bazaar_node.market.policy import All, MaxExposure, NotConvicted, Policies
from bazaar_node.market.trust import Trust
from bazaar_protocol.errors import Refused
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.kinds import Award
from bazaar_protocol.records import RecordId
from bazaar_protocol.task import State

CAPABILITY = "table.extract"
BO, CY = Keypair.from_name("bo").agent, Keypair.from_name("cy").agent


def opened(opinions: ToldOpinions, **trust: object) -> Market:
    """A market in which ada has these opinions, bo asks for 40 and cy for 35."""
    market = Market()
    market.add("ada", trust=Trust(opinions, **trust))  # type: ignore[arg-type]
    market.add("bo", capability=CAPABILITY, price=40)
    market.add("cy", capability=CAPABILITY, price=35)
    return market


def auction(market: Market, **more: Any) -> RecordId:
    given: dict[str, Any] = {"price_max": 100, "bid_window_ms": 1000} | more
    return market.post("ada", capability=CAPABILITY, **given)


def holder(market: Market, task: RecordId) -> AgentId | None:
    return market.task("ada", task).worker


def held_back(market: Market) -> list[str]:
    return [note for what, note in market.traders["ada"].notes if what == "held_back"]


def test_trust_wins_over_a_lower_price_and_the_award_says_what_was_held() -> None:
    market = opened(ToldOpinions({BO: known(9_000), CY: known(5_000)}))
    task = auction(market)
    market.wait(1.1)
    assert holder(market, task) == BO
    body = next(record.body for record in market.traders["ada"].log if record.kind == "award")
    assert isinstance(body, Award)
    standings = sorted(one.standing for one in body.considered)
    assert standings == [5_000, 9_000]


def test_it_is_asked_for_the_capability_and_what_is_known_of_how_a_worker_does_it() -> None:
    opinions = ToldOpinions()
    last = outcome(worker=BO)
    market = opened(opinions, experience=Experience([last]))
    auction(market)
    market.wait(1.1)
    asked = {about.agent: about for about in opinions.asked if about.role == "worker"}
    assert (asked[BO].capability, asked[BO].version) == (CAPABILITY, last.version)
    assert asked[CY].version == 0


@pytest.mark.parametrize("mode", ["auction", "claim"])
def test_a_convict_gets_nothing(mode: str) -> None:
    market = opened(ToldOpinions({CY: CONVICT}))
    task = auction(market) if mode == "auction" else auction(market, price=100)
    market.wait(1.1)
    assert holder(market, task) == BO
    with pytest.raises(Refused, match="convicted"):
        auction(market, worker=CY.hex(), price=100)


def test_a_task_that_only_convicts_want_stays_open_and_the_owner_reads_why() -> None:
    market = opened(ToldOpinions({BO: CONVICT, CY: CONVICT}))
    task = auction(market, expires_in_ms=60_000)
    market.wait(30)
    assert market.task("ada", task).state is State.OPEN
    assert held_back(market) == [
        "none of 2 bidders gets it: it is convicted of contradicting itself"
    ]
    market.wait(31)
    assert market.task("ada", task).state is State.EXPIRED


def test_a_new_node_turns_down_nobody_for_a_low_score() -> None:
    low = ToldOpinions(strangers=Standing(100))
    market = opened(low, experience=seasoned(count=SEASONED_FROM - 1))
    task = auction(market)
    market.wait(1.1)
    assert holder(market, task) == CY


def test_receipts_count_when_the_scores_had_time_to_know_of_them() -> None:
    experience = seasoned(count=SEASONED_FROM - 1)
    experience.add(outcome(99), 1_000)
    assert not experience.is_seasoned(1_000 + SCORED_AFTER_MS - 1)
    assert experience.is_seasoned(1_000 + SCORED_AFTER_MS)


def test_a_seasoned_node_waits_for_others_and_gives_strangers_nothing_large() -> None:
    market = opened(ToldOpinions(strangers=Standing(3_999)), experience=seasoned(ceiling=99))
    task = auction(market, expires_in_ms=60_000)
    market.wait(2.9)
    assert "waiting for other bids" in held_back(market)[-1]
    market.wait(50)
    assert holder(market, task) is None
    assert held_back(market)[-1].endswith("its score of 0.40 is below 0.40")


def test_somebody_good_who_comes_while_it_waits_gets_it() -> None:
    market = opened(ToldOpinions(strangers=Standing(3_999)), experience=seasoned())
    task = auction(market)
    market.wait(1.5)
    dee = market.add("dee", capability=CAPABILITY, price=60)
    market.traders["ada"].agent.trust.opinions.workers[dee.keys.agent] = known(8_000)  # type: ignore[attr-defined]
    market.offer("dee", task)
    market.wait(0.6)
    assert holder(market, task) == dee.keys.agent


@pytest.mark.parametrize(
    ("stranger", "usual", "gets_it"),
    [
        (Standing(3_000, admission="vouched"), 100, True),
        (Standing(3_000, admission="vouched"), 99, False),
        (Standing(3_000, admission="stamped"), 100, True),
        (Standing(3_000, admission="bare"), 100, False),
        (Standing(3_000, is_known=True, admission="vouched"), 100, False),
    ],
)
def test_a_small_task_is_a_chance_for_a_stranger_that_somebody_vouches_for(
    stranger: Standing, usual: int, gets_it: bool
) -> None:
    opinions = ToldOpinions({CY: stranger}, strangers=Standing(3_000))
    market = opened(opinions, experience=seasoned(ceiling=usual))
    task = auction(market)
    market.wait(2.9)
    assert holder(market, task) is None, "others may still come"
    market.wait(0.2)
    assert holder(market, task) == (CY if gets_it else None)


def test_what_is_held_of_a_bidder_is_looked_at_again_later() -> None:
    opinions = ToldOpinions(strangers=Standing(1_000))
    market = opened(opinions, experience=seasoned())
    task = auction(market)
    market.wait(10)
    opinions.workers[BO] = known(9_000)
    market.wait(30)
    assert holder(market, task) == BO


def test_one_worker_holds_no_more_than_the_owner_allows() -> None:
    policies = Policies(workers=All(NotConvicted(), MaxExposure(150)))
    market = opened(ToldOpinions(), policies=policies)
    for trader in ("bo", "cy"):
        market.traders.pop(trader)
    market.add("bo", slots=4, capability=CAPABILITY, price=40)
    first, second = auction(market), auction(market)
    market.wait(1.1)
    assert (holder(market, first), holder(market, second)) == (BO, None)
    assert held_back(market) == [
        "none of 1 bidders gets it: it holds tasks worth 100 already, of 150"
    ]
    market.finish("bo", first)
    market.judge("ada", first)
    market.wait(40)
    assert holder(market, second) == BO


def test_a_bidder_whose_claims_came_true_is_believed_and_one_that_is_late_is_not() -> None:
    boasts = [outcome(n, worker=BO, confidence=9_500, eta_ms=1_000) for n in range(20)]
    late = [outcome(n, worker=CY, eta_ms=1_000, took_ms=1_250) for n in range(20, 40)]
    opinions = ToldOpinions({BO: known(6_000), CY: known(6_000)})
    market = opened(opinions, experience=Experience([*boasts, *late]))
    # Both promise to be done in the minute that there is; cy takes a quarter longer than it says.
    task = auction(market, start_to_close_ms=60_000)
    market.wait(1.1)
    body = next(record.body for record in market.traders["ada"].log if record.kind == "award")
    assert isinstance(body, Award)
    bids = market.task("ada", task).bids
    held = {bid.record.author: bid.record.id for bid in bids}
    standing = {one.bid: one.standing for one in body.considered}
    assert 6_000 < standing[held[BO]] < 9_500
    assert standing[held[CY]] == 4_800
    assert holder(market, task) == BO


def test_what_came_of_a_task_is_remembered_beside_what_was_promised() -> None:
    market = opened(ToldOpinions())
    experience = market.traders["ada"].agent.trust.experience
    task = auction(market)
    market.wait(1.1)
    market.wait(5)
    digest = sha256(b"{}").digest()
    market.tell("cy", WorkDone(task, 1, digest, 2, "", b"{}"))
    market.now_ms += 2_000  # on its way
    market.settle()
    market.judge("ada", task, accepted=False)
    (came,) = experience.of(CY)
    assert (came.is_good, came.confidence, came.eta_ms) == (False, 9_000, 60_000)
    assert came.took_ms == 7_100, "from the accept at 1,000 to the arrival, by the poster's clock"
    assert (experience.receipts, experience.value) == (1, 100)


def test_a_probe_is_a_receipt_but_no_task_of_the_owners() -> None:
    experience = Experience([outcome(1, ceiling=60), outcome(2, ceiling=5, is_probe=True)])
    assert (experience.receipts, experience.value, experience.usual_ceiling()) == (2, 60, 60)


def test_a_lost_lease_is_an_outcome_as_well() -> None:
    market = opened(ToldOpinions())
    task = auction(market, heartbeat_timeout_ms=6_000)
    market.wait(1.1)
    market.traders["cy"].is_cut_off = True
    market.wait(10)
    assert holder(market, task) == BO
    (came,) = market.traders["ada"].agent.trust.experience.of(CY)
    assert not came.is_good
    assert came.epoch == 1
