"""Work on credit: new posters get some, those who never pay get no more, and nobody is shut out."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.market import Market
from tests.told_opinions import ToldOpinions, known

from bazaar_node.market import deferred as deferred_posts
from bazaar_node.market.credit import FORGOTTEN_MS, SHARE, Credit, Unpaid
from bazaar_node.market.deferred import Deferred
from bazaar_node.market.events import Change
from bazaar_node.market.policy import MAX_ON_CREDIT, All, MaxOnCredit, Policies
from bazaar_node.market.trust import Trust
from bazaar_node.storage.market_memory import load_credit
from bazaar_node.storage.store import NodeStore
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.records import RecordId
from bazaar_protocol.task import State

CAPABILITY = "table.extract"
ADA, BO, CY = (Keypair.from_name(name).agent for name in ("ada", "bo", "cy"))
STRICT = Policies(posters=All(MaxOnCredit(1)))
HOUR_MS = 3_600_000


def opened(policies: Policies = STRICT, **trust: object) -> Market:
    """A market in which bo works for ada and cy."""
    market = Market()
    market.add("ada")
    market.add("cy")
    trust = {"policies": policies} | trust
    market.add("bo", slots=4, trust=Trust(**trust), capability=CAPABILITY, price=40)  # type: ignore[arg-type]
    return market


def post(market: Market, poster: str) -> RecordId:
    return market.post(poster, capability=CAPABILITY, price=100, expires_in_ms=20 * HOUR_MS)


def is_taken(market: Market, poster: str, task: RecordId) -> bool:
    return market.task(poster, task).worker == BO


def credit(market: Market) -> Credit:
    return market.traders["bo"].agent.trust.credit


def declines(market: Market) -> int:
    return market.traders["ada"].notes.count(("decline", "busy"))


def test_a_stranger_gets_a_second_job_done_when_the_first_was_accepted() -> None:
    market = opened()
    first, second = post(market, "ada"), post(market, "ada")
    assert [is_taken(market, "ada", task) for task in (first, second)] == [True, False]
    market.finish("bo", first)
    market.wait(60)
    assert not is_taken(market, "ada", second), "it holds a result"
    assert declines(market) == 1, "to say so once is enough"
    market.judge("ada", first)
    assert is_taken(market, "ada", second), "as soon as the first was accepted"
    third = post(market, "ada")
    assert is_taken(market, "ada", third), "who was fair once needs no credit"


def test_what_strangers_hold_counts_together_whatever_they_are_called() -> None:
    market = opened()
    held = post(market, "ada")
    assert not is_taken(market, "cy", other := post(market, "cy"))
    market.finish("bo", held)
    market.judge("ada", held)
    assert is_taken(market, "cy", other)


@pytest.mark.parametrize("ending", ["rejected", "lapsed"])
def test_work_for_nothing_stays_on_the_bill_until_it_is_forgiven(ending: str) -> None:
    market = opened()
    task = market.post("ada", capability=CAPABILITY, price=100, verdict_within_ms=HOUR_MS)
    market.finish("bo", task)
    if ending == "rejected":
        market.judge("ada", task, accepted=False)
    market.wait(3_601)
    assert market.task("bo", task).state == ending
    assert not is_taken(market, "cy", post(market, "cy"))
    market.wait(FORGOTTEN_MS / 1_000)
    assert is_taken(market, "cy", post(market, "cy"))


def test_a_verdict_that_comes_late_is_one() -> None:
    market = opened()
    task = market.post("ada", capability=CAPABILITY, price=100, verdict_within_ms=HOUR_MS)
    market.finish("bo", task)
    market.wait(3_601)
    assert (market.task("bo", task).state, credit(market).held) == (State.LAPSED, 1)
    late = replace(market.task("bo", task), state=State.ACCEPTED)
    credit(market).note(late, market.now_ms, is_ours=True)
    assert credit(market).held == 0
    assert credit(market).is_fair(ADA)


def test_what_is_lost_or_given_back_was_never_handed_over() -> None:
    market = opened()
    task = post(market, "ada")
    assert credit(market).held == 1
    market.traders["bo"].is_cut_off = True
    market.wait(HOUR_MS / 1_000)
    assert credit(market).held == 0
    assert market.task("ada", task).worker is None


def test_of_whom_others_say_that_it_accepts_work_no_credit_is_needed() -> None:
    fair = ToldOpinions(posters={CY: known(5_000, good=0.25), ADA: known(5_000, good=0.24)})
    market = opened(opinions=fair)
    assert is_taken(market, "ada", post(market, "ada"))
    assert not is_taken(market, "ada", post(market, "ada"))
    assert is_taken(market, "cy", post(market, "cy"))


def test_credit_grows_with_what_others_accept() -> None:
    others = Credit([CY], accepted=2 * SHARE)
    assert (others.earned, Credit([CY], accepted=2 * SHARE - 1).earned) == (2, 1)
    market = opened(credit=others)
    tasks = [post(market, "ada") for _ in range(4)]
    assert [is_taken(market, "ada", task) for task in tasks] == [True, True, True, False]


def test_without_a_word_four_are_given() -> None:
    market = opened(Policies())
    market.traders.pop("bo")
    market.add("bo", slots=9, trust=Trust(), capability=CAPABILITY, price=40)
    tasks = [post(market, "ada") for _ in range(6)]
    assert sum(is_taken(market, "ada", task) for task in tasks) == MAX_ON_CREDIT == 4


def test_strangers_fill_no_queue_in_which_others_wait() -> None:
    market = opened(opinions=ToldOpinions(posters={CY: known(5_000)}))
    *_, last = [post(market, "ada") for _ in range(5)]
    fair = [post(market, "cy") for _ in range(4)]
    assert [is_taken(market, "cy", task) for task in fair] == [True, True, True, False]
    market.finish("bo", fair[0])
    assert is_taken(market, "cy", fair[3]), "though ada's have waited longer"
    assert not is_taken(market, "ada", last)


def test_doubtful_posts_wait_for_credit_and_give_way_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deferred_posts, "DEFERRED_MAX", 3)
    market = opened()
    posts = [market.task("ada", post(market, "ada")).post for _ in range(4)]
    deferred = Deferred()
    deferred.add(posts[0], slack=-1)
    deferred.add(posts[1])
    deferred.add(posts[2], slack=-2)
    now = market.now_ms
    assert deferred.pop(now, slack=-1) == posts[1]
    assert deferred.pop(now, slack=-1) == posts[0]
    assert deferred.pop(now, slack=-2) is None
    assert deferred.due_ms(slack=-2) is None
    for one in (posts[0], posts[1], posts[3]):
        deferred.add(one)
    left = [deferred.pop(now, slack=9) for _ in range(4)]
    assert left == [posts[0], posts[1], posts[3], None], "the doubtful give way first"


async def test_what_posters_hold_is_known_after_a_restart(tmp_path: Path) -> None:
    market = opened(Policies())
    kept, fair = post(market, "ada"), post(market, "cy")
    lost = market.post("ada", capability=CAPABILITY, price=100, verdict_within_ms=HOUR_MS)
    for task in (kept, fair, lost):
        market.finish("bo", task)
    market.judge("cy", fair)
    market.judge("ada", kept, accepted=False)
    market.wait(3_601)
    changes: list[Change] = market.traders["bo"].changes
    async with NodeStore.open(tmp_path / "bo.sqlite3") as store:
        await store.claim_identity(BO)
        await store.write(changes)
        known_again = await load_credit(store)
    assert (known_again.held, known_again.accepted) == (2, 1) == (credit(market).held, 1)
    assert known_again.is_fair(CY)
    assert not known_again.is_fair(ADA)
    known_again.forgive(market.now_ms + FORGOTTEN_MS - 3_601_000 - 1)
    assert known_again.held == 2
    known_again.forgive(market.now_ms + FORGOTTEN_MS - 1_001)
    assert known_again.held == 1
    known_again.forgive(market.now_ms + FORGOTTEN_MS)
    assert known_again.held == 0


async def test_what_another_delivered_is_not_ours(tmp_path: Path) -> None:
    market = opened(Policies())
    task = post(market, "ada")
    market.finish("bo", task)
    market.judge("ada", task, accepted=False)
    for number, (name, agent) in enumerate((("ada", ADA), ("bo", CY), ("bo", BO))):
        async with NodeStore.open(tmp_path / f"{number}.sqlite3") as store:
            await store.claim_identity(agent)
            await store.write(market.traders[name].changes)
            assert (await load_credit(store)).held == (agent == BO)


def test_only_so_much_is_remembered() -> None:
    many = [Unpaid(RecordId(n.to_bytes(32)), AgentId(n.to_bytes(32)), n) for n in range(5_000)]
    assert Credit(unpaid=many).held == 4_096
