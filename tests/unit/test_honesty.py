"""What a worker does for its good name: whom it works for, what it signs, what it contradicts."""

from hashlib import sha256

import pytest
from tests.market import Market, Trader
from tests.told_opinions import CONVICT, ToldOpinions, known

from bazaar_node.market.events import Contested
from bazaar_node.market.grievances import CANARY_HASH, EXPECTED_HASH
from bazaar_node.market.opinions import Standing
from bazaar_node.market.policy import All, Allow, MaxUnjudged, Policies
from bazaar_node.market.trust import Trust
from bazaar_protocol.errors import IllegalTransition
from bazaar_protocol.evidence import canary
from bazaar_protocol.evidence_kinds import Dispute, Reveal
from bazaar_protocol.identity import Keypair
from bazaar_protocol.records import Record, RecordId, seal
from bazaar_protocol.task import State, link_to

CAPABILITY = "table.extract"
ADA, BO = Keypair.from_name("ada"), Keypair.from_name("bo")
RIGHT, WRONG = b'{"rows":2}', b'{"rows":3}'
DIGEST = sha256(RIGHT).hexdigest()


def opened(**trust: object) -> Market:
    """A market in which bo goes by ``trust``."""
    market = Market()
    market.add("ada")
    market.add("bo", slots=4, trust=Trust(**trust), capability=CAPABILITY, price=40)  # type: ignore[arg-type]
    return market


def said(trader: Trader, kind: str) -> list[Record]:
    return [record for record in trader.log if record.kind == kind]


def declined(market: Market) -> list[str]:
    return [note for what, note in market.traders["ada"].notes if what == "decline"]


@pytest.mark.parametrize(
    ("poster", "answer"),
    [
        (CONVICT, ["untrusted_poster"]),
        (known(2_999, bad=0.5), ["untrusted_poster"]),
        (known(3_000, bad=0.5), []),
        (known(2_999), []),
        (Standing(0, is_known=False), []),
    ],
)
def test_a_worker_judges_posters_too(poster: Standing, answer: list[str]) -> None:
    market = opened(opinions=ToldOpinions(posters={ADA.agent: poster}))
    market.post("ada", capability=CAPABILITY, price_max=100)
    assert declined(market) == answer


def test_what_a_policy_forbids_beside_distrust_is_declined_as_policy() -> None:
    market = opened(policies=Policies(posters=All(Allow([BO.agent]))))
    market.post("ada", capability=CAPABILITY, price=100)
    assert declined(market) == ["policy"]


def test_a_direct_task_of_a_poster_that_is_not_trusted_is_declined_too() -> None:
    market = opened(opinions=ToldOpinions(posters={ADA.agent: CONVICT}))
    task = market.post("ada", capability=CAPABILITY, worker=BO.agent.hex(), price=100)
    assert market.task("ada", task).state is State.FAILED
    assert "untrusted_poster" in market.task("ada", task).why


def test_a_poster_that_owes_verdicts_gets_no_more_until_it_has_given_some() -> None:
    market = opened(policies=Policies(posters=All(MaxUnjudged(2))))
    tasks = [market.post("ada", capability=CAPABILITY, price=100) for _ in range(2)]
    for task in tasks:
        market.finish("bo", task)
    market.post("ada", capability=CAPABILITY, price=100)
    assert declined(market) == ["untrusted_poster"]
    market.judge("ada", tasks[0])
    fourth = market.post("ada", capability=CAPABILITY, price=100)
    assert market.task("ada", fourth).state is State.RUNNING


def test_a_result_with_another_hash_than_expected_is_never_signed() -> None:
    market = opened()
    task = market.post("ada", capability=CAPABILITY, price=100, expected_sha256=DIGEST)
    market.finish("bo", task, WRONG)
    assert not said(market.traders["bo"], "deliver")
    (withdraw,) = said(market.traders["bo"], "withdraw")
    assert "hash" in withdraw.body.reason  # type: ignore[union-attr]
    market.wait(6)
    market.finish("bo", task, RIGHT)
    assert market.task("ada", task).state is State.DELIVERED


def test_a_rejection_of_the_very_result_that_was_expected_is_disputed_at_once() -> None:
    market = opened()
    task = market.post("ada", capability=CAPABILITY, price=100, expected_sha256=DIGEST)
    market.finish("bo", task, RIGHT)
    market.judge("ada", task, accepted=False)
    (dispute,) = said(market.traders["bo"], "dispute")
    body, verdict = dispute.body, market.task("ada", task).verdict
    assert isinstance(body, Dispute)
    assert verdict is not None
    assert (body.task, body.verdict, body.reason) == (task, link_to(verdict), EXPECTED_HASH)
    assert ("dispute", EXPECTED_HASH) in market.traders["ada"].notes, "its owner is told"


def test_a_rejection_that_may_be_just_is_left_to_the_owner() -> None:
    market = opened()
    task = market.post("ada", capability=CAPABILITY, price=100)
    market.finish("bo", task)
    with pytest.raises(IllegalTransition):
        market.tell("bo", Contested(market.task("bo", task), "too early"))
    market.judge("ada", task, accepted=False)
    assert not said(market.traders["bo"], "dispute")
    market.tell("bo", Contested(market.task("bo", task), "all rows are there"))
    market.settle()
    assert len(said(market.traders["bo"], "dispute")) == 1
    assert ("dispute", "all rows are there") in market.traders["ada"].notes
    with pytest.raises(IllegalTransition, match="already"):
        market.tell("bo", Contested(market.task("bo", task), "again"))


def test_nobody_disputes_what_was_accepted_or_is_another_workers() -> None:
    market = opened()
    task = market.post("ada", capability=CAPABILITY, price=100)
    market.finish("bo", task)
    market.judge("ada", task)
    with pytest.raises(IllegalTransition):
        market.tell("bo", Contested(market.task("bo", task), "but"))
    rejected = market.post("ada", capability=CAPABILITY, price=100)
    market.finish("bo", rejected)
    market.judge("ada", rejected, accepted=False)
    with pytest.raises(IllegalTransition):
        market.tell("ada", Contested(market.task("ada", rejected), "I regret it"))


def rejected_with_a_canary(market: Market, digest: bytes) -> tuple[RecordId, Reveal]:
    """Have ada commit to ``digest``, and reject bo's right result."""
    salt = bytes(range(32))
    task = market.post("ada", capability=CAPABILITY, price=100, canary=canary(salt, digest))
    market.finish("bo", task, RIGHT)
    market.judge("ada", task, accepted=False)
    deliver = market.task("ada", task).deliver
    assert deliver is not None
    return task, Reveal(task, link_to(deliver), salt, digest)


def reveal(market: Market, body: Reveal, by: Keypair = ADA) -> None:
    pen = market.traders["ada"].agent.pen
    record = seal(by, body, time_ms=market.now_ms, seq=pen.head.seq + 1, prev=pen.head.id)
    market.hear("bo", record)


def test_an_opened_canary_that_names_our_result_shows_that_it_was_right() -> None:
    market = opened()
    _, body = rejected_with_a_canary(market, sha256(RIGHT).digest())
    assert not said(market.traders["bo"], "dispute")
    reveal(market, body)
    (dispute,) = said(market.traders["bo"], "dispute")
    assert getattr(dispute.body, "reason") == CANARY_HASH  # noqa: B009
    market.now_ms += 1
    reveal(market, body)
    assert len(said(market.traders["bo"], "dispute")) == 1, "to say it once is enough"


def test_an_opened_canary_that_shows_nothing_is_not_disputed() -> None:
    market = opened()
    _, honest = rejected_with_a_canary(market, sha256(WRONG).digest())
    reveal(market, honest)
    _, body = rejected_with_a_canary(market, sha256(RIGHT).digest())
    reveal(market, body, by=Keypair.from_name("mal"))
    reveal(market, Reveal(body.task, body.deliver, bytes(32), body.digest))
    assert not said(market.traders["bo"], "dispute")
