"""Scores by example: who weighs what, what counts how much, and what is never seen."""

import pytest
from tests.scoring import NEWEST, Rating, agent, book_of, finding

from bazaar_reputation import claims
from bazaar_reputation.book import Book
from bazaar_reputation.scores import Scorer
from bazaar_reputation.strands import fold

EGO, FRIEND, FAR, SUBJECT, NEWCOMER, OTHER = range(6)
CAPABILITY = "pdf.extract"


def scorer_of(*said: Rating, vouches: tuple[tuple[int, int], ...] = ()) -> Scorer:
    return Scorer(book_of(said, vouches), agent(EGO))


def test_a_stranger_scores_what_nothing_is_known_of() -> None:
    score = scorer_of().score(agent(NEWCOMER))
    assert (score.mean, score.good, score.bad, score.prior) == (0.5, 0, 0, 0.5)
    assert score.lower == pytest.approx(0.5 - (0.25 / 3) ** 0.5)
    assert (score.admission, score.is_known, score.is_convicted) == ("bare", False, False)


def test_the_formula_for_a_few_jobs_of_ones_own() -> None:
    score = scorer_of(Rating(EGO, SUBJECT, good=6, bad=1)).score(agent(SUBJECT))
    assert score.mean == pytest.approx((6 + 1) / (6 + 2 + 2))
    assert score.lower == pytest.approx(0.7 - (0.7 * 0.3 / 11) ** 0.5)
    assert score.is_known


def test_ones_own_experience_is_not_saturated_and_that_of_others_is() -> None:
    own = scorer_of(Rating(EGO, SUBJECT, good=40)).score(agent(SUBJECT))
    scorer = scorer_of(Rating(EGO, FRIEND, good=3), Rating(FRIEND, SUBJECT, good=40))
    theirs = scorer.score(agent(SUBJECT))
    assert scorer.weight(agent(FRIEND)) == scorer.weight(agent(EGO)) == 1
    assert own.good == 40
    assert theirs.good == pytest.approx(40 / 11)


@pytest.mark.parametrize("side", ["good", "bad"])
def test_many_strands_of_one_rater_saturate_together(side: str) -> None:
    way = Rating(EGO, FRIEND, good=3)
    jobs = {"good": 0.0, "bad": 0.0, side: 6.0}
    said = [Rating(FRIEND, SUBJECT, jobs["good"], jobs["bad"], version=n) for n in range(1, 9)]
    score = scorer_of(way, *said).score(agent(SUBJECT))
    assert (score.good, score.bad)[side == "bad"] == pytest.approx(48 / 13)


def test_nobody_weighs_anything_that_ego_has_no_way_to() -> None:
    scorer = scorer_of(Rating(FAR, SUBJECT, good=30), Rating(FAR, EGO, good=30))
    assert scorer.weight(agent(FAR)) == 0
    assert not scorer.score(agent(SUBJECT)).is_known


def test_who_contradicts_ego_too_often_loses_its_weight() -> None:
    way = [Rating(EGO, FRIEND, good=9), Rating(FRIEND, FAR, good=9)]
    seen = [Rating(EGO, 10 + n, good=1) for n in range(3)]
    contrary = [Rating(FAR, 10 + n, bad=1) for n in range(3)]
    assert scorer_of(*way, *seen).weight(agent(FAR)) > 0
    assert scorer_of(*way, *seen, *contrary).weight(agent(FAR)) == 0


def test_bad_work_counts_twice_against_an_edge() -> None:
    assert scorer_of(Rating(EGO, FRIEND, good=2, bad=1)).weight(agent(FRIEND)) == 0
    assert scorer_of(Rating(EGO, FRIEND, good=2.1, bad=1)).weight(agent(FRIEND)) == 1


def test_a_seed_has_an_edge_before_there_is_any_work() -> None:
    book = book_of([Rating(FRIEND, SUBJECT, good=5)])
    assert Scorer(book, agent(EGO)).weight(agent(FRIEND)) == 0
    assert Scorer(book, agent(EGO), [agent(FRIEND)]).weight(agent(FRIEND)) == 1


def test_evidence_fades_with_the_log_of_its_rater() -> None:
    book = book_of([Rating(EGO, SUBJECT, good=10, bad=10)])
    scorer = Scorer(book, agent(EGO))
    book.head(agent(EGO), 2 * (NEWEST + 10))
    score = scorer.score(agent(SUBJECT))
    assert score.good == pytest.approx(10 * 0.98**10)
    assert score.bad == pytest.approx(10 * 0.99**10)


def test_what_the_subject_has_proven_itself_counts_whoever_asks_and_never_fades() -> None:
    book = book_of([Rating(None, SUBJECT, good=50, bad=1)])
    book.head(agent(SUBJECT), 10_000)
    score = Scorer(book, agent(EGO)).score(agent(SUBJECT))
    assert (score.good, score.bad) == (0, 1)


def test_whoever_praises_itself_says_nothing() -> None:
    way = Rating(EGO, FRIEND, good=3)
    alone = scorer_of(way).score(agent(FRIEND))
    assert scorer_of(way, Rating(FRIEND, FRIEND, good=50)).score(agent(FRIEND)) == alone


def test_other_capabilities_count_for_nothing_and_other_versions_for_half() -> None:
    scorer = scorer_of(
        Rating(EGO, SUBJECT, good=1, version=1, fingerprint=b"f"),
        Rating(EGO, SUBJECT, good=2, version=2, fingerprint=b"g"),
        Rating(EGO, SUBJECT, good=8, capability="other"),
    )
    subject = agent(SUBJECT)
    assert scorer.score(subject).good == 11
    assert scorer.score(subject, capability=CAPABILITY).good == 3
    assert scorer.score(subject, capability=CAPABILITY, version=2).good == 2.5
    assert scorer.score(subject, capability=CAPABILITY, version=1, fingerprint=b"f").good == 2
    assert scorer.score(subject, capability="none").good == 0


def test_roles_are_judged_apart() -> None:
    scorer = scorer_of(Rating(EGO, SUBJECT, good=5), Rating(EGO, SUBJECT, bad=2, role="poster"))
    assert scorer.score(agent(SUBJECT)).bad == 0
    assert scorer.score(agent(SUBJECT), "poster").bad == 2


def test_a_convict_scores_nothing_weighs_nothing_and_leads_nowhere() -> None:
    book = book_of([Rating(EGO, FRIEND, good=9), Rating(FRIEND, FAR, good=9)])
    scorer = Scorer(book, agent(EGO))
    assert scorer.weight(agent(FAR)) > 0
    book.convict(agent(FRIEND))
    assert scorer.weight(agent(FRIEND)) == scorer.weight(agent(FAR)) == 0
    score = scorer.score(agent(FRIEND))
    assert (score.mean, score.lower, score.is_convicted) == (0, 0, True)
    assert agent(FRIEND) not in dict(scorer.top(9))


def test_a_vouch_lifts_whom_a_weighty_voucher_answers_for() -> None:
    said = [Rating(EGO, FRIEND, good=3)]
    vouches = ((FRIEND, NEWCOMER), (FAR, OTHER))
    scorer = scorer_of(*said, vouches=vouches)
    assert scorer.score(agent(NEWCOMER)).admission == "vouched"
    assert scorer.score(agent(OTHER)).admission == "bare"


def test_only_the_first_three_outstanding_vouches_count() -> None:
    book = book_of([Rating(EGO, FRIEND, good=3)], [(FRIEND, 10 + n) for n in range(4)])
    scorer = Scorer(book, agent(EGO))
    assert scorer.score(agent(12)).admission == "vouched"
    assert scorer.score(agent(13)).admission == "bare"
    book.vouch(agent(FRIEND), 9, agent(10), is_withdrawn=True)
    assert scorer.score(agent(10)).admission == "bare"
    assert scorer.score(agent(13)).admission == "vouched"


def test_a_voucher_shares_a_quarter_of_what_the_vouched_do_badly() -> None:
    bad = Rating(EGO, NEWCOMER, bad=4)
    scorer = scorer_of(Rating(EGO, SUBJECT, good=3), bad, vouches=((SUBJECT, NEWCOMER),))
    assert scorer.score(agent(SUBJECT)).bad == 1
    [_, shared] = scorer.parts(agent(SUBJECT))
    assert (shared.strand.subject, shared.good, shared.bad) == (agent(NEWCOMER), 0, 1)


def test_a_voucher_does_not_share_in_what_it_says_itself() -> None:
    said = [Rating(EGO, SUBJECT, good=3), Rating(SUBJECT, NEWCOMER, bad=9)]
    assert scorer_of(*said, vouches=((SUBJECT, NEWCOMER),)).score(agent(SUBJECT)).bad == 0


def test_shared_failures_saturate_with_what_the_rater_says_of_the_voucher() -> None:
    said = [Rating(EGO, FRIEND, good=3), Rating(FRIEND, SUBJECT, bad=4)]
    said += [Rating(FRIEND, 10 + n, bad=8) for n in range(3)]
    vouches = tuple((SUBJECT, 10 + n) for n in range(3))
    assert scorer_of(*said, vouches=vouches).score(agent(SUBJECT)).bad == pytest.approx(10 / 3.5)


def test_what_the_vouched_have_proven_costs_their_voucher_no_more_than_a_job() -> None:
    scorer = scorer_of(Rating(None, NEWCOMER, bad=1e9), vouches=((SUBJECT, NEWCOMER),))
    assert scorer.score(agent(SUBJECT)).bad == pytest.approx(1)


def test_a_stamp_is_a_class_of_its_own() -> None:
    book = Book()
    scorer = Scorer(book, agent(EGO))
    assert scorer.score(agent(NEWCOMER)).admission == "bare"
    book.stamp(agent(NEWCOMER))
    assert scorer.score(agent(NEWCOMER)).admission == "stamped"


def test_first_meetings_make_the_prior_of_their_class_and_later_ones_do_not() -> None:
    book = Book()
    book.stamp(agent(99))
    scorer = Scorer(book, agent(EGO))
    for number in range(10, 14):
        book.meet(finding(Rating(EGO, number).key, at=number, is_good=False))
        book.meet(finding(Rating(EGO, number).key, at=number + 90, is_good=True))
    good, bad = 1.0, 1.0
    for _ in range(4):
        good, bad = max(good * 0.98, 0.5), max(bad * 0.98, 0.5) + 1
    assert scorer.score(agent(NEWCOMER)).prior == pytest.approx(good / (good + bad))
    assert scorer.score(agent(99)).prior == 0.5
    assert scorer.score(agent(NEWCOMER), "poster").prior == 0.5


def test_an_heir_carries_on_with_all_that_its_old_name_has_earned() -> None:
    old, new = agent(SUBJECT), agent(OTHER)
    book = book_of([Rating(EGO, SUBJECT, good=5), Rating(SUBJECT, FAR, good=9)])
    scorer = Scorer(book, agent(EGO))
    before = scorer.score(old)
    book.succeed(old, new, 2 * NEWEST)
    assert scorer.score(new) == scorer.score(old) == before
    assert scorer.weight(new) == scorer.weight(old) == 1
    assert [one for one, _ in scorer.top(9)] == [new, agent(FAR)]
    book.convict(old, 2 * NEWEST + 1)
    assert scorer.score(new) == before, "a thief has signed that"
    book.convict(old, 2 * NEWEST)
    assert scorer.score(new).is_convicted


def test_the_word_of_an_old_name_ages_with_the_log_of_its_heir() -> None:
    book = book_of([Rating(EGO, SUBJECT, good=5)])
    book.succeed(agent(EGO), agent(OTHER), 2 * NEWEST)
    book.head(agent(EGO), 9_000)
    book.head(agent(OTHER), 20)
    score = Scorer(book, agent(OTHER)).score(agent(SUBJECT))
    assert score.good == pytest.approx(5 * 0.98**10)


def test_of_two_heirs_and_two_ends_the_smallest_hold() -> None:
    book, other = (book_of([Rating(EGO, SUBJECT, good=5)]) for _ in range(2))
    heirs = sorted([agent(FAR), agent(OTHER)])
    for heir in heirs:
        book.succeed(agent(SUBJECT), heir, 7)
    for heir in reversed(heirs):
        other.succeed(agent(SUBJECT), heir, 7)
    for one in (book, other):
        assert Scorer(one, agent(EGO)).score(heirs[0]).good == 5
        assert Scorer(one, agent(EGO)).score(heirs[1]).good == 0


def test_heirs_in_a_circle_inherit_nothing() -> None:
    book = book_of([Rating(EGO, SUBJECT, good=5), Rating(EGO, OTHER, good=2)])
    book.succeed(agent(SUBJECT), agent(OTHER), 7)
    book.succeed(agent(OTHER), agent(SUBJECT), 7)
    scorer = Scorer(book, agent(EGO))
    assert [scorer.score(agent(one)).good for one in (SUBJECT, OTHER)] == [5, 2]


def test_the_best_are_those_one_may_rely_on_most() -> None:
    scorer = scorer_of(
        Rating(EGO, 10, good=9), Rating(EGO, 11, good=2), Rating(EGO, 12, good=9, capability="x"),
        Rating(10, 13, good=9), Rating(EGO, 14, bad=4),
    )  # fmt: skip
    assert [one for one, _ in scorer.top(2, CAPABILITY)] == [agent(10), agent(13)]
    assert {one for one, _ in scorer.top(9)} == {agent(one) for one in (10, 11, 12, 13)}


def test_parts_name_each_strand_with_what_it_adds() -> None:
    said = [Rating(EGO, FRIEND, good=5), Rating(FRIEND, SUBJECT, good=2),
            Rating(EGO, SUBJECT, good=1), Rating(FAR, SUBJECT, good=9),
            Rating(None, SUBJECT, bad=0.5)]  # fmt: skip
    parts = scorer_of(*said).parts(agent(SUBJECT))
    expected = [(said[1].key, 1, 2, 0), (said[2].key, 1, 1, 0), (said[4].key, 1, 0, 0.5)]
    assert [(one.strand, one.weight, one.good, one.bad) for one in parts] == expected


def test_a_dropped_strand_leaves_nothing_behind() -> None:
    one, other = Rating(EGO, SUBJECT, good=5), Rating(EGO, SUBJECT, good=3, version=2)
    book = book_of([one, other])
    scorer = Scorer(book, agent(EGO))
    assert scorer.score(agent(SUBJECT)).good == 8
    for rating, left in ((one, 3), (one, 3), (other, 0)):
        book.drop(rating.key)
        assert scorer.score(agent(SUBJECT)).good == left


def test_a_claim_is_believed_as_far_as_its_version_was_seen() -> None:
    key = Rating(EGO, SUBJECT).key
    book = Book()
    scorer = Scorer(book, agent(EGO))
    seen = [claims.status(scorer, agent(SUBJECT), CAPABILITY, version=1)]
    for jobs in (1, 4, 9):
        book.put(key, fold(finding(key, at=number) for number in range(jobs)))
        seen.append(claims.status(scorer, agent(SUBJECT), CAPABILITY, version=1))
    assert seen == ["claimed", "probed", "probed", "proven"]
    assert claims.status(scorer, agent(SUBJECT), CAPABILITY, version=2) == "claimed"
    assert claims.status(scorer, agent(SUBJECT), "other") == "claimed"
    book.convict(agent(SUBJECT))
    assert claims.status(scorer, agent(SUBJECT), CAPABILITY, version=1) == "claimed"


def test_a_book_that_changed_too_often_to_follow_is_read_again() -> None:
    book = book_of([Rating(EGO, FRIEND, good=5)])
    scorer = Scorer(book, agent(EGO))
    assert scorer.weight(agent(FRIEND)) == 1
    book.drop(Rating(EGO, FRIEND).key)
    for seq in range(70_000):
        book.head(agent(FAR), seq)
    assert scorer.weight(agent(FRIEND)) == 0
