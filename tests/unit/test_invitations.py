"""Invitations: the good are asked by name, and whoever is asked looks at the task."""

from tests.market import Market
from tests.told_opinions import CONVICT, ToldOpinions, known

from bazaar_node.market.events import LearnPost, LetterArrived
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
