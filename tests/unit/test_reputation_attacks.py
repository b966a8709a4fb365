"""Attacks on reputation that have fooled others, with true contracts that all have signed."""

import pytest
from tests.reputation_books import book_of_deals, findings_of
from tests.reputation_records import Deal, Outcome, Party, deal

from bazaar_protocol.records import Record
from bazaar_reputation.scores import Score, Scorer


def deals(poster: Party, worker: Party, *outcomes: Outcome) -> list[list[Record]]:
    return [deal(poster, worker, outcome) for outcome in outcomes]


def parties(prefix: str, count: int) -> list[Party]:
    return [Party(f"{prefix} {number}") for number in range(count)]


def pumped(worker: Party, raters: list[Party], jobs: int) -> list[list[Record]]:
    """Return jobs that ``raters`` accept, in turns."""
    return [deal(raters[number % len(raters)], worker, "accepted") for number in range(jobs)]


class Town:
    """Ego has had good work from a neighbour, who knows others well."""

    def __init__(self) -> None:
        self.ego, self.neighbour, self.honest = Party("ego"), Party("neighbour"), Party("honest")
        self.parties = [self.ego, self.neighbour, self.honest]
        self.deals = [
            *(deal(self.ego, self.neighbour, "accepted") for _ in range(4)),
            *(deal(self.neighbour, self.honest, "accepted") for _ in range(3)),
        ]

    def scorer(self, *others: Party, said: list[list[Record]]) -> Scorer:
        everybody = [*self.parties, *others]
        book = book_of_deals([*self.deals, *said], everybody, self.ego)
        return Scorer(book, self.ego.agent)


@pytest.mark.parametrize("victim", ["ego", "neighbour"])
def test_a_failed_job_and_forty_of_sybils_do_not_lift_a_stranger_above_a_newcomer(
    victim: str,
) -> None:
    town = Town()
    stranger, newcomer, sybils = Party("stranger"), Party("newcomer"), parties("sybil", 8)
    failed = deals(getattr(town, victim), stranger, "rejected")
    before = town.scorer(stranger, said=failed).score(stranger.agent)
    said = [*failed, *pumped(stranger, sybils, 40)]
    scorer = town.scorer(stranger, *sybils, said=said)
    after = scorer.score(stranger.agent)
    # Its log goes on without a word on the rejection, so that one even weighs more now.
    assert after.good == before.good
    assert after.lower < before.lower
    assert after.lower < scorer.score(newcomer.agent).lower
    assert not any(scorer.weight(sybil.agent) for sybil in sybils)


def test_sybils_that_are_praised_by_each_other_and_praise_the_trusted_weigh_nothing() -> None:
    town = Town()
    stranger, sybils = Party("stranger"), parties("sybil", 5)
    failed = deals(town.neighbour, stranger, "rejected")
    before = town.scorer(stranger, said=failed).score(stranger.agent)
    said = [*failed, *pumped(stranger, sybils, 40)]
    for number, sybil in enumerate(sybils):
        said += deals(sybil, sybils[number - 1], "accepted")
        said += deals(sybil, town.honest, "accepted")
        said += deals(sybil, town.neighbour, "accepted")
    scorer = town.scorer(stranger, *sybils, said=said)
    after = scorer.score(stranger.agent)
    assert (after.good, after.lower < before.lower) == (before.good, True)
    assert not any(scorer.weight(sybil.agent) for sybil in sybils)


@pytest.mark.parametrize("outcome", ["awarded", "breached", "rejected"])
def test_twentyunsolicited_claims_do_not_move_an_honest_agent(outcome: Outcome) -> None:
    town = Town()
    before = town.scorer(said=[]).score(town.honest.agent)
    slanderer = Party("slanderer")
    claims = [unsolicited(slanderer, town.honest, outcome) for _ in range(20)]
    assert findings_of(claims, [slanderer, town.honest]) == []
    scorer = town.scorer(slanderer, said=claims)
    assert scorer.score(town.honest.agent) == before
    assert scorer.parts(town.honest.agent) == town.scorer(said=[]).parts(town.honest.agent)


def test_twentyunsolicited_claims_of_a_trusted_neighbour_do_not_either() -> None:
    town = Town()
    before = town.scorer(said=[]).score(town.honest.agent)
    claims = [unsolicited(town.neighbour, town.honest, "rejected") for _ in range(20)]
    after = town.scorer(said=claims).score(town.honest.agent)
    assert after.bad == before.bad == 0
    # Its word ages with its log, as if it had worked on. Nothing else changes.
    assert after.lower <= before.lower
    assert after.mean > 0.5


def test_a_ring_that_rejects_good_work_changes_nothing() -> None:
    town = Town()
    before = town.scorer(said=[]).score(town.honest.agent)
    ring = parties("ring", 6)
    said = [deal(one, town.honest, "rejected") for one in ring for _ in range(3)]
    assert town.scorer(*ring, said=said).score(town.honest.agent) == before


def test_one_of_the_ring_that_ego_trusts_hurts_no_more_than_its_weight_allows() -> None:
    town = Town()
    ring = parties("ring", 6)
    said = [deal(one, town.honest, "rejected") for one in ring for _ in range(8)]
    said += deals(town.ego, ring[0], "accepted", "accepted")
    scorer = town.scorer(*ring, said=said)
    score = scorer.score(town.honest.agent)
    assert 0 < score.bad < 4 * scorer.weight(ring[0].agent) <= 4


def test_who_comes_back_under_a_new_name_meets_what_the_old_names_have_earned() -> None:
    town = Town()
    friend = Party("friend")
    said: list[list[Record]] = []
    expected: list[Score] = []
    for number, name in enumerate(parties("name", 6)):
        scorer = town.scorer(*parties("name", number), said=said)
        expected.append(scorer.score(name.agent))
        said += deals(town.ego, name, "rejected")
    lowest = [score.lower for score in expected]
    assert lowest == sorted(lowest, reverse=True)
    assert lowest[-1] < 0.1 < lowest[0]
    assert not expected[-1].is_known
    scorer = town.scorer(*parties("name", 6), said=said)
    # Nobody has met the vouched ones yet: for them the bare ones' misdeeds mean nothing.
    book = book_of_deals([*town.deals, *said], town.parties, town.ego)
    book.vouch(town.neighbour.agent, 1, friend.agent, is_withdrawn=False)
    assert Scorer(book, town.ego.agent).score(friend.agent).prior == 0.5
    assert scorer.score(friend.agent).prior < 0.3


def test_many_capabilities_and_versions_of_one_rater_still_are_one_rater() -> None:
    town = Town()
    stranger = Party("stranger")
    kinds = [Deal(capability=f"a.b{number}", version=number) for number in range(1, 13)]
    said = [deal(town.neighbour, stranger, "accepted", terms) for terms in kinds]
    scorer = town.scorer(stranger, said=said)
    assert 2 < scorer.score(stranger.agent).good < 4 * scorer.weight(town.neighbour.agent)


def unsolicited(author: Party, victim: Party, outcome: Outcome) -> list[Record]:
    """Return a contract of which the worker has signed nothing at all."""
    impostor = Party("impostor")
    post = author.post()
    granted = author.award(post, victim.agent)
    signed = [post, granted]
    accepted = impostor.accept(granted)
    if outcome == "breached":
        signed += [accepted, author.breach(accepted)]
    if outcome == "rejected":
        delivered = impostor.deliver(granted)
        signed += [accepted, delivered, author.verdict(delivered, accepted=False)]
    return signed
