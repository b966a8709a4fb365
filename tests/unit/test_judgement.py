"""What a post adds to its contract, canaries and hashes; and what a poster answers for."""

import pytest
from tests.rated_town import ACCEPTED, DISPUTED, Row, Town, early, found
from tests.reputation_records import RIGHT, WRONG, Deal, Party, deal

from bazaar_protocol import kinds
from bazaar_reputation.contracts import (
    begin,
    with_post,
)

CANARY = Deal(has_canary=True, result=WRONG)
"""The worker misses what the poster knew before."""


@pytest.fixture
def town() -> Town:
    return Town()


def test_a_canary_that_was_missed_stands_against_a_dispute(town: Town) -> None:
    records = deal(town.poster, town.worker, "revealed", CANARY)
    row = ("worker", "poster", -1000, "rejected, canary")
    assert town.rows(records) == town.rows(records, early) == [row]
    disputed = [*records, town.worker.dispute(records[4])]
    # The worker's word weighs what the worker weighs, and the canary does not silence it.
    assert town.rows(disputed) == [row, DISPUTED[1]]
    assert town.rows(disputed[1:]) == DISPUTED  # without the post a canary is no canary


def test_a_canary_needs_no_verdict_and_yields_to_one(town: Town) -> None:
    records = deal(town.poster, town.worker, "revealed", CANARY)
    without = [*records[:4], records[5]]
    assert town.rows(without) == [("worker", "poster", -1000, "rejected, canary")]
    accepted = town.poster.verdict(records[3], accepted=True)
    assert town.rows([*without, accepted]) == ACCEPTED


def test_only_the_poster_opens_a_canary_and_only_that_of_its_post(town: Town) -> None:
    records = deal(town.poster, town.worker, "disputed", CANARY)
    delivered = records[3]
    for reveal in (
        town.mallory.reveal(delivered),
        town.poster.reveal(delivered, salt=WRONG),
        town.poster.reveal(delivered, digest=WRONG),
    ):
        assert town.rows([*records, reveal]) == DISPUTED
    assert town.rows([*records, town.poster.reveal(delivered)]) != DISPUTED
    plain = deal(town.poster, town.worker, "disputed", Deal(result=WRONG))
    assert town.rows([*plain, town.poster.reveal(plain[3])]) == DISPUTED


def test_a_canary_adds_the_posters_word_to_that_of_another_judge(town: Town) -> None:
    """Neither signature makes the other's rater say more or less."""
    terms = Deal(has_canary=True, result=WRONG, judge=town.judge)
    records = deal(town.poster, town.worker, "revealed", terms)
    disputed = [*records, town.worker.dispute(records[4])]
    assert town.rows(disputed)[:2] == [
        ("worker", "judge", -300, "rejected, disputed"),
        ("worker", "poster", -700, "rejected, canary"),
    ]
    assert town.rows(records) == [("worker", "judge", -1000, "rejected")]


def test_a_poster_cannot_take_back_the_word_of_another_judge(town: Town) -> None:
    """A Sybil poster would let its Sybil worker try for an evaluator's word without a risk."""
    terms = Deal(has_canary=True, result=RIGHT, judge=town.judge)
    records = deal(town.poster, town.worker, "revealed", terms)
    assert town.rows(records) == [("worker", "judge", -1000, "rejected")]


def test_a_judge_that_rejects_its_own_answer_was_unjust(town: Town) -> None:
    unjust = [("poster", "worker", -1000, "unjust rejection")]
    assert town.deal("revealed", Deal(has_canary=True)) == unjust
    assert town.deal("rejected", Deal(is_hashed=True)) == unjust
    assert town.deal("disputed", Deal(is_hashed=True)) == unjust


def test_a_wrong_hash_counts_whoever_the_rater_and_whatever_the_verdict(town: Town) -> None:
    terms = Deal(is_hashed=True, result=WRONG)
    row = ("worker", None, -1000, "wrong hash")
    for outcome in ("delivered", "accepted", "rejected"):
        assert town.deal(outcome, terms)[0] == row
    records = deal(town.poster, town.worker, "rejected", terms)
    assert town.rows(records[1:]) == [("worker", "poster", -1000, "rejected")]
    assert town.rows([*records[:2], records[3]]) == []  # it has not accepted
    (finding,) = found(records)
    assert (finding.record, finding.round) == (records[3].id, records[3].seq // 2)


def test_a_hash_binds_nobody_where_results_are_judged_otherwise(town: Town) -> None:
    post = town.poster.post(acceptance=kinds.Acceptance("human", RIGHT, None, 1_000))
    granted = town.poster.award(post, town.worker.agent)
    signed = [post, granted, town.worker.accept(granted), town.worker.deliver(granted, WRONG)]
    assert town.rows([*signed, town.poster.verdict(signed[-1])]) == ACCEPTED


def test_a_right_hash_beside_a_wrong_one_does_not_hide_it(town: Town) -> None:
    records = deal(town.poster, town.worker, "accepted", Deal(is_hashed=True))
    second = town.worker.deliver(records[1], WRONG)
    assert town.rows([*records, second])[0][3] == "wrong hash"


def test_the_post_has_to_be_that_of_the_award(town: Town) -> None:
    records = deal(town.poster, town.worker, "delivered", Deal(is_hashed=True, result=WRONG))
    contract = begin(records[1])
    other = town.poster.post()
    assert with_post(contract, other) is contract
    assert with_post(contract, records[2]) is contract
    posted = with_post(contract, records[0])
    assert posted.post == records[0]
    assert with_post(posted, records[0]) is posted
    # Somebody else's post with the name of the poster in the award.
    post = town.mallory.post(acceptance=kinds.Acceptance("hash", RIGHT, None, 1_000))
    granted = town.mallory.award(post, town.worker.agent, poster=town.poster.agent)
    assert with_post(begin(granted), post) == begin(granted)


def test_a_poster_answers_for_what_it_signed_itself(town: Town) -> None:
    """By its award, its verdict, or its post; a sequencer's word alone binds it to nothing."""
    relayed = Deal(sequencer=town.sequencer, judge=town.judge)
    records = deal(town.poster, town.worker, "disputed", relayed)
    row: Row = ("worker", "judge", -300, "rejected, disputed")
    assert town.rows(records[1:]) == [row]
    assert town.rows(records) == [row, DISPUTED[1]]
    judged = deal(town.poster, town.worker, "disputed", Deal(sequencer=town.sequencer))
    assert town.rows(judged[1:]) == DISPUTED
    awarded = deal(town.poster, town.worker, "disputed", Deal(judge=town.judge))
    assert town.rows(awarded[1:]) == [row, DISPUTED[1]]


def test_a_poster_that_opens_its_canary_has_signed(town: Town) -> None:
    terms = Deal(sequencer=town.sequencer, judge=town.judge, has_canary=True, result=WRONG)
    post, _, *_ = deal(town.poster, town.worker, "awarded", terms)
    # An award that the post did not ask for: it is the poster's own word that binds it.
    granted = town.mallory.award(post, town.worker.agent)
    delivered = town.worker.deliver(granted, WRONG)
    verdict = town.judge.verdict(delivered, accepted=False)
    signed = [post, granted, town.worker.accept(granted), delivered, verdict]
    signed.append(town.worker.dispute(verdict))
    assert [row for row in town.rows(signed) if row[0] == "poster"] == []
    revealed = [*signed, town.poster.reveal(delivered)]
    assert [row for row in town.rows(revealed) if row[0] == "poster"] == [DISPUTED[1]]


@pytest.mark.parametrize(
    "changes",
    [{"judge": Party("judge").agent}, {"capability": "another.one"}, {"price": 101}],
    ids=lambda changes: next(iter(changes)),
)
def test_an_award_that_departs_from_the_post_does_not_bind_its_poster(
    town: Town, changes: dict[str, object]
) -> None:
    post = town.poster.post(sequencer=town.sequencer.agent)
    granted = town.sequencer.award(post, town.worker.agent, **changes)
    delivered = town.worker.deliver(granted)
    signed = [post, granted, town.worker.accept(granted), delivered]
    judge = town.judge if "judge" in changes else town.poster
    verdict = judge.verdict(delivered, accepted=False)
    rows = town.rows([*signed, verdict, town.worker.dispute(verdict)])
    of_poster = [row for row in rows if row[0] == "poster"]
    assert of_poster == ([] if judge is town.judge else DISPUTED[1:])


def test_nor_does_the_award_of_one_whom_the_post_does_not_name(town: Town) -> None:
    post = town.poster.post(acceptance=kinds.Acceptance("evaluator", b"", town.judge.agent, 1_000))
    granted = town.mallory.award(post, town.worker.agent)
    delivered = town.worker.deliver(granted)
    verdict = town.judge.verdict(delivered, accepted=False)
    signed = [post, granted, town.worker.accept(granted), delivered, verdict]
    rows = town.rows([*signed, town.worker.dispute(verdict)])
    assert [row for row in rows if row[0] == "poster"] == []


def test_no_verdict_is_owed_after_the_lease_was_over(town: Town) -> None:
    """Else a worker could sign a result long after, and complain of it."""
    records = deal(town.poster, town.worker, "delivered")
    owed = [("poster", "worker", -500, "no verdict")]
    assert town.rows(records) == owed
    assert town.rows([*records, town.worker.withdraw(records[1])]) == []
    assert [row[0] for row in town.rows([*records, town.poster.breach(records[2])])] == ["worker"]


def test_where_a_relay_awards_nothing_says_how_long_the_poster_was_silent(town: Town) -> None:
    assert town.deal("delivered", Deal(sequencer=town.sequencer)) == []
