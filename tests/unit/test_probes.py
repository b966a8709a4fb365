"""Probes: tasks like any other, given to strangers, whose answers are known beforehand."""

from collections.abc import Sequence
from hashlib import sha256

from tests.market import Market
from tests.strategies import make_post
from tests.told_opinions import CONVICT, ToldOpinions, known, outcome

from bazaar_node.market.events import Concluded, Probed
from bazaar_node.market.experience import Experience
from bazaar_node.market.probes import BUDGET, RATE, Canary, Draft, Probes, Stranger
from bazaar_node.market.trust import Trust
from bazaar_protocol.award import check_post
from bazaar_protocol.evidence import check_reveal
from bazaar_protocol.evidence_kinds import Reveal
from bazaar_protocol.identity import Keypair
from bazaar_protocol.kinds import Acceptance, Post
from bazaar_protocol.records import RecordId
from bazaar_protocol.task import State

CAPABILITY = "table.extract"
ADA, BO, CY, DEE = (Keypair.from_name(name).agent for name in ("ada", "bo", "cy", "dee"))
RIGHT = b'{"rows":2}'
DIGEST = sha256(RIGHT).digest()
CANARY = Canary(1, CAPABILITY, 0, b'{"table":1}', "application/json", DIGEST)
LIKE = make_post(capability=CAPABILITY, sequencer=ADA)


class Draws:
    """Entropy that begins with the numbers given, and goes on with zeros."""

    def __init__(self, *numbers: int) -> None:
        self.left = list(numbers)

    def __call__(self, size: int) -> bytes:
        return (self.left.pop(0) if self.left else 0).to_bytes(size)


def draft(
    probes: Probes,
    *strangers: Stranger,
    like: Post = LIKE,
    value: int = 10_000,
    draws: Sequence[int] = (),
) -> Draft | None:
    return probes.draft(like, strangers, value=value, entropy=Draws(*draws))


def stranger(agent: bytes = BO, price: int = 40, admission: str = "bare") -> Stranger:
    return Stranger(agent, price, admission)  # type: ignore[arg-type]


def test_a_probe_looks_like_the_tasks_of_its_poster() -> None:
    human = Acceptance("human", b"", None, 60_000)
    like = make_post(capability=CAPABILITY, sequencer=ADA, acceptance=human)
    made = draft(Probes([CANARY]), stranger(), like=like)
    assert made is not None
    check_post(made.post, ADA)
    assert (made.post.mode, made.post.worker, made.post.price) == ("direct", BO, 40)
    assert made.post.input.data == CANARY.input
    for same in ("title", "lease", "tags", "output_schema", "acceptance", "expires_in_ms"):
        assert getattr(made.post, same) == getattr(like, same)
    assert len(made.post.canary) == 32
    assert made.post.idempotency_key != like.idempotency_key


def test_the_answer_is_not_told_by_the_way_it_is_judged() -> None:
    by_hash = make_post(sequencer=ADA, capability=CAPABILITY,
                        acceptance=Acceptance("hash", DIGEST, None, 60_000))  # fmt: skip
    made = draft(Probes([CANARY]), stranger(), like=by_hash)
    assert made is not None
    assert made.post.acceptance == Acceptance("schema", b"", None, 60_000)


def test_one_task_in_ten_brings_a_probe_along() -> None:
    assert draft(Probes([CANARY]), stranger(), draws=[RATE - 1]) is not None
    assert draft(Probes([CANARY]), stranger(), draws=[RATE]) is None


def test_probes_cost_no_more_than_their_share() -> None:
    price = 10_000 * BUDGET // 1000
    assert draft(Probes([CANARY]), stranger(price=price)) is not None
    assert draft(Probes([CANARY]), stranger(price=price + 1)) is None
    assert draft(Probes([CANARY], spent=1), stranger(price=price)) is None


def test_who_is_vouched_for_comes_first_and_others_by_chance() -> None:
    strangers = stranger(BO), stranger(CY, 40, "stamped"), stranger(DEE, 40, "vouched")
    chosen = draft(Probes([CANARY]), *strangers, draws=[0, 5])
    assert chosen is not None
    assert chosen.worker == DEE
    among: set[bytes] = set()
    for number in range(2):
        made = draft(Probes([CANARY]), stranger(BO), stranger(CY), draws=[0, number])
        assert made is not None
        among.add(made.worker)
    assert among == {BO, CY}


def test_nobody_gets_the_same_canary_twice_and_only_for_what_it_is_about() -> None:
    probes = Probes([CANARY])
    made = draft(probes, stranger())
    assert made is not None
    probes.add(made.of(RecordId(bytes(32))))
    assert draft(probes, stranger()) is None
    assert draft(probes, stranger(CY)) is not None
    assert draft(Probes([CANARY]), stranger(), like=make_post(sequencer=ADA)) is None


def test_only_so_many_versions_share_an_answer() -> None:
    second = Canary(2, CAPABILITY, 2, b"", "", DIGEST)
    for version, fits in ((2, True), (1, False), (0, False)):
        like = make_post(capability=CAPABILITY, sequencer=ADA, capability_version=version)
        assert (draft(Probes([second]), stranger(), like=like) is not None) == fits


def probed(opinions: ToldOpinions | None = None) -> tuple[Market, RecordId]:
    """A market in which ada has tasks done by cy until bo, who bids too, is given a probe."""
    market = Market()
    past = Experience(outcome(number) for number in range(9, 100))
    trust = Trust(opinions or ToldOpinions({CY: known(9_000)}), experience=past)
    trust.probes.canaries[1] = CANARY
    market.add("ada", trust=trust)
    market.add("bo", slots=2, capability=CAPABILITY, price=40)
    market.add("cy", slots=2, capability=CAPABILITY, price=35)
    for _ in range(60):
        task = market.post("ada", capability=CAPABILITY, price_max=100)
        market.wait(1.1)
        market.finish("cy", task)
        market.judge("ada", task)
        changes = market.traders["ada"].changes
        for change in changes:
            if isinstance(change, Probed):
                return market, change.probe.task
    return market, RecordId(b"")


def test_a_stranger_that_answers_right_is_accepted_and_the_commitment_opened() -> None:
    market, task = probed()
    assert market.task("bo", task).state is State.RUNNING
    market.finish("bo", task, RIGHT)
    check_verdict(market, task, State.ACCEPTED)


def test_a_stranger_that_answers_wrong_is_rejected_and_cannot_deny_it() -> None:
    market, task = probed()
    market.finish("bo", task, b"{}")
    check_verdict(market, task, State.REJECTED)
    assert not any(record.kind == "dispute" for record in market.traders["bo"].log)


def check_verdict(market: Market, task: RecordId, state: State) -> None:
    assert market.task("ada", task).state is market.task("bo", task).state is state
    verdict, reveal = market.traders["ada"].log[-2:]
    assert verdict.kind == "verdict"
    assert isinstance(reveal.body, Reveal)
    check_reveal(market.task("bo", task).post, reveal.body)
    assert reveal.body.digest == DIGEST
    assert ("reveal", "") in market.traders["bo"].notes
    came = [one.outcome for one in market.traders["ada"].changes if isinstance(one, Concluded)]
    assert [(one.worker, one.is_good) for one in came if one.is_probe] == [
        (BO, state is State.ACCEPTED)
    ]


def test_what_was_a_probe_is_known_after_a_restart() -> None:
    market, task = probed()
    market.restart("ada")
    market.finish("bo", task, b"{}")
    check_verdict(market, task, State.REJECTED)


def test_nobody_is_probed_of_whom_something_is_known() -> None:
    for standing in (known(9_000), CONVICT):
        market, task = probed(ToldOpinions({CY: known(9_500), BO: standing}))
        assert task == b""
        assert sum(record.kind == "verdict" for record in market.traders["ada"].log) == 60


def test_without_a_canary_nothing_is_drawn() -> None:
    entropy = Draws(7)
    assert Probes().draft(LIKE, [stranger()], value=10_000, entropy=entropy) is None
    assert entropy.left == [7]
