"""What a score is made of, receipt by receipt: together they are its evidence, and nothing more."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, strategies as st
from tests.reputation_books import book_of_deals, findings_of
from tests.reputation_records import Deal, Outcome, Party, deal

from bazaar_protocol import evidence_kinds
from bazaar_reputation.book import Book
from bazaar_reputation.findings import Finding, StrandKey
from bazaar_reputation.reasons import Reason, reasons
from bazaar_reputation.scores import Score, Scorer

OUTCOMES: tuple[Outcome, ...] = (
    "accepted", "accepted", "accepted", "rejected", "disputed", "breached", "delivered",
)  # fmt: skip


class Town:
    """Ego knows a friend; both may have had work from the subject."""

    def __init__(self) -> None:
        names = ("ego", "friend", "subject", "stranger")
        self.ego, self.friend, self.subject, self.stranger = map(Party, names)
        self.parties = [self.ego, self.friend, self.subject, self.stranger]
        self.deals = [deal(self.ego, self.friend, "accepted") for _ in range(3)]

    def book(self) -> Book:
        return book_of_deals(self.deals, self.parties, self.ego)

    def why(self, book: Book, about: Party) -> tuple[Score, list[Reason]]:
        scorer = Scorer(book, self.ego.agent)
        findings: dict[StrandKey, list[Finding]] = {}
        for one in findings_of(self.deals, self.parties):
            findings.setdefault(one.strand, []).append(one)
        parts = scorer.parts(about.agent)
        return scorer.score(about.agent), reasons(book, self.ego.agent, parts, findings)


def evidence_of(found: Sequence[Reason]) -> tuple[float, float]:
    return (
        math.fsum(one.adds for one in found if one.finding.is_good),
        math.fsum(one.adds for one in found if not one.finding.is_good),
    )


@given(
    st.lists(st.tuples(st.sampled_from(["ego", "friend", "stranger"]), st.sampled_from(OUTCOMES)),
             max_size=12)
)  # fmt: skip
def test_the_reasons_add_up_to_the_evidence(dealt: list[tuple[str, Outcome]]) -> None:
    town = Town()
    town.deals += [
        deal(getattr(town, who), town.subject, outcome, Deal(is_hashed=n % 5 == 4))
        for n, (who, outcome) in enumerate(dealt)
    ]
    score, found = town.why(town.book(), town.subject)
    assert evidence_of(found) == pytest.approx((score.good, score.bad))
    assert all(one.adds > 0 for one in found)
    assert not any(one.finding.strand.rater == town.stranger.agent for one in found)


def test_one_raters_word_is_worth_less_the_more_it_says() -> None:
    town = Town()
    town.deals += [deal(town.friend, town.subject, "accepted") for _ in range(4)]
    town.deals += [deal(town.ego, town.subject, "accepted")]
    _, found = town.why(town.book(), town.subject)
    mine, *theirs = found
    assert (mine.finding.strand.rater, mine.adds, mine.age) == (town.ego.agent, 1.0, 0)
    assert [one.finding.strand.rater for one in theirs] == [town.friend.agent] * 4
    assert sorted(one.age for one in theirs) == [0, 1, 2, 3]
    fresh = sum(0.98**age for age in range(4))
    assert sum(one.adds for one in theirs) == pytest.approx(fresh / (1 + fresh / 4))


def test_what_the_subject_proved_itself_has_no_rater_and_full_weight() -> None:
    town = Town()
    wrong = Deal(is_hashed=True, result=bytes(32))
    town.deals.append(deal(town.stranger, town.subject, "delivered", wrong))
    _, (found,) = town.why(town.book(), town.subject)
    assert (found.finding.why, found.finding.strand.rater) == ("wrong hash", None)
    assert (found.weight, found.adds) == (1.0, 1.0)


def test_a_voucher_sees_whose_failures_it_answers_for() -> None:
    town = Town()
    town.deals.append(deal(town.ego, town.stranger, "rejected"))
    book = town.book()
    vouch = town.subject.say(evidence_kinds.Vouch(town.stranger.agent, is_withdrawn=False))
    book.vouch(town.subject.agent, vouch.seq, town.stranger.agent, is_withdrawn=False)
    score, (found,) = town.why(book, town.subject)
    assert found.finding.strand.subject == town.stranger.agent
    assert found.adds == pytest.approx(score.bad)


def test_what_has_faded_for_good_is_no_reason() -> None:
    town = Town()
    town.deals.append(deal(town.ego, town.subject, "accepted"))
    book = town.book()
    book.head(town.ego.agent, 2 * 2_000)
    assert town.why(book, town.subject)[1] == []


def test_what_newer_findings_outlived_is_no_reason() -> None:
    town = Town()
    town.deals.append(deal(town.ego, town.subject, "accepted"))
    town.ego.go_on(2 * 1_024)
    town.deals.append(deal(town.ego, town.subject, "accepted"))
    score, found = town.why(town.book(), town.subject)
    assert [(one.age, one.adds) for one in found] == [(0, 1.0)]
    assert score.good == 1.0
