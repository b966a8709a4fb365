"""Invitations: the good are asked by name, and whoever is asked looks at the task."""

import pytest
from tests.market import Market, Trader
from tests.told_opinions import CONVICT, ToldOpinions, known, seasoned

from bazaar_node.market.events import LearnPost, LetterArrived, Outgoing
from bazaar_node.market.invitations import INVITED_MAX, TOP, Doorman, guests
from bazaar_node.market.opinions import Standing
from bazaar_node.market.trust import Trust
from bazaar_protocol import limits
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.letters import Invitation
from bazaar_protocol.task import State

CAPABILITY = "table.extract"
ADA, BO, CY = (Keypair.from_name(name).agent for name in ("ada", "bo", "cy"))
NOW = 1_000_000


def agents(count: int) -> list[AgentId]:
    return [AgentId(number.to_bytes(32)) for number in range(1, count + 1)]


def zeros(size: int) -> bytes:
    return bytes(size)


def invited(trader: Trader) -> list[AgentId]:
    """Return to whom it has written: here nothing but invitations."""
    sent = [change.to for change in trader.changes if isinstance(change, Outgoing)]
    return [to for to in sent if to is not None]


def test_some_of_the_best_are_asked_and_none_that_is_not_good() -> None:
    opinions = ToldOpinions({agent: known(9_000) for agent in agents(20)})
    first = guests(opinions, CAPABILITY, zeros)
    assert first == opinions.best(INVITED_MAX, CAPABILITY)
    last = guests(opinions, CAPABILITY, lambda size: b"\xff" * size)
    assert set(last) <= set(opinions.best(TOP, CAPABILITY))
    assert set(last) != set(first)
    poor = ToldOpinions({BO: known(4_000), CY: CONVICT})
    assert guests(poor, CAPABILITY, zeros) == []
    assert guests(ToldOpinions({BO: known(4_001)}), CAPABILITY, zeros) == [BO]


def test_whom_the_relay_did_not_find_gets_the_task_by_invitation() -> None:
    market = Market()
    market.add("ada", trust=Trust(ToldOpinions({BO: known(9_000)})))
    market.add("bo", capability=CAPABILITY, price=40)
    market.add("cy", capability=CAPABILITY, price=35)
    market.unrouted = {"bo", "cy"}
    task = market.post("ada", capability=CAPABILITY, price_max=100)
    market.wait(1.1)
    assert market.task("ada", task).worker == BO
    assert market.task("bo", task).state is State.RUNNING
    assert len(market.task("ada", task).bids) == 1


def test_where_too_few_are_known_to_be_good_those_are_asked_for_whom_somebody_answers() -> None:
    opinions = ToldOpinions({BO: known(9_000)}, answered_for=agents(9))
    invited = guests(opinions, CAPABILITY, zeros)
    assert invited == [BO, *agents(INVITED_MAX - 1)]
    assert guests(opinions, CAPABILITY, zeros, asked={BO, *agents(6)}) == agents(9)[6:]
    enough = ToldOpinions({agent: known(9_000) for agent in agents(20)}, answered_for=[BO])
    assert BO not in guests(enough, CAPABILITY, zeros)


@pytest.mark.parametrize("is_bid", [True, False], ids=["a stranger bids", "nobody bids"])
def test_each_extension_asks_more_of_all_that_are_good_and_each_of_them_once(
    is_bid: bool,
) -> None:
    workers = [Keypair.from_name(f"worker {number}").agent for number in range(18)]
    good = {agent: known(9_000 - place) for place, agent in enumerate(workers)}
    market = Market()
    opinions = ToldOpinions(good, strangers=Standing(2_000))
    ada = market.add("ada", trust=Trust(opinions, experience=seasoned(ceiling=1)))
    if is_bid:
        market.add("cy", capability=CAPABILITY, price=35)
    market.post("ada", capability=CAPABILITY, price_max=100, bid_window_ms=1_000)
    best = set(workers[:TOP])
    first = invited(ada)
    assert len(first) == INVITED_MAX
    assert set(first) <= best
    market.wait(1.1)
    assert len(invited(ada)) == 2 * INVITED_MAX
    market.wait(1.0)
    everybody = invited(ada)
    assert len(everybody) == len(set(everybody)) == 3 * INVITED_MAX
    assert not set(everybody) <= best
    market.wait(30)
    assert invited(ada) == everybody, "after the last extension nobody else is asked"


def test_a_claim_and_a_direct_task_invite_nobody() -> None:
    market = Market()
    market.add("ada", trust=Trust(ToldOpinions({BO: known(9_000)})))
    market.add("bo", capability=CAPABILITY, price=40)
    market.unrouted = {"bo"}
    market.post("ada", capability=CAPABILITY, price=100)
    assert not any(isinstance(action, LearnPost) for action in market.traders["bo"].actions)


def test_a_stranger_can_make_a_worker_look_only_so_often() -> None:
    market = Market()
    bo = market.add("bo", trust=Trust(ToldOpinions(posters={ADA: Standing(9_000, is_known=True)})))
    for sender in (*agents(3), ADA):
        for number in range(limits.INVITATIONS_PER_MINUTE_MAX):
            letter = Invitation(sender[-1:] * 31 + bytes([number]))
            market.tell("bo", LetterArrived(sender, letter))
    asked = [action.poster for action in bo.actions if isinstance(action, LearnPost)]
    assert asked.count(ADA) == limits.INVITATIONS_PER_MINUTE_MAX
    assert len(asked) == 2 * limits.INVITATIONS_PER_MINUTE_MAX, "all strangers share one allowance"


def test_the_allowance_is_for_a_minute() -> None:
    doorman = Doorman()
    for _ in range(limits.INVITATIONS_PER_MINUTE_MAX):
        assert doorman.admits(ADA, NOW, is_known=True)
    assert not doorman.admits(ADA, NOW + limits.MINUTE_MS - 1, is_known=True)
    assert doorman.admits(BO, NOW, is_known=True)
    assert doorman.admits(ADA, NOW + limits.MINUTE_MS, is_known=True)
    assert doorman.admits(ADA, 0, is_known=True), "nor does a clock that is set back stop it"


def test_who_knows_the_task_already_does_not_look_again() -> None:
    market = Market()
    market.add("ada")
    bo = market.add("bo", capability=CAPABILITY, price=40)
    task = market.post("ada", capability=CAPABILITY, price_max=100)
    market.tell("bo", LetterArrived(ADA, Invitation(task)))
    assert not any(isinstance(action, LearnPost) for action in bo.actions)
