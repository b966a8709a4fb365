"""The population scores as the product does: the same books, read by both."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from tests.scoring import Rating, agent, book_of, finding
from tests.simulations.rated_towns import SEEDS, SIZE, random_town, scorers_of

from bazaar_reputation.book import Book
from bazaar_reputation.findings import Role
from bazaar_reputation.scores import Scorer
from bazaar_simulations.population.evidence import Evidence
from bazaar_simulations.population.meetings import Meetings
from bazaar_simulations.population.standing import Formulas


def evidence_of(ratings: list[Rating]) -> Evidence:
    evidence = Evidence(SIZE)
    for one in ratings:
        assert one.rater is not None
        evidence.good[one.role][one.rater, one.subject] = one.good
        evidence.bad[one.role][one.rater, one.subject] = one.bad
    return evidence


@pytest.mark.parametrize("seed", range(6))
def test_scores_are_those_of_the_product(seed: int) -> None:
    ratings, vouches = random_town(seed)
    formulas, egos = Formulas(), np.arange(SIZE)
    evidence = evidence_of(ratings)
    weights = formulas.weights(evidence, egos, SEEDS)
    is_vouched = formulas.is_vouched(weights, vouches)
    book = book_of(ratings, [(int(one), int(other)) for one, other in np.argwhere(vouches)])
    scorers = scorers_of(book)
    for role in get_args(Role):
        heard = formulas.heard(evidence, (weights, egos), vouches, role)
        lower = formulas.lower(heard, np.full((SIZE, SIZE), 0.5))
        for ego, scorer in enumerate(scorers):
            for subject in set(range(SIZE)) - {ego}:
                true = scorer.score(agent(subject), role)
                assert heard.good[ego, subject] == pytest.approx(true.good, abs=1e-5)
                assert heard.bad[ego, subject] == pytest.approx(true.bad, abs=1e-5)
                assert lower[ego, subject] == pytest.approx(true.lower, abs=1e-5)
                assert heard.is_known[ego, subject] == true.is_known
                assert is_vouched[ego, subject] == (true.admission == "vouched")
                assert weights[ego, subject] == pytest.approx(
                    scorer.weight(agent(subject)), abs=1e-5
                )


def test_the_products_own_exactness_makes_little_difference() -> None:
    ratings, vouches = random_town(7)
    formulas, egos = Formulas(), np.arange(SIZE)
    weights = formulas.weights(evidence_of(ratings), egos, SEEDS)
    book = book_of(ratings, [(int(one), int(other)) for one, other in np.argwhere(vouches)])
    for ego in egos:
        scorer = Scorer(book, agent(ego), [agent(number) for number in SEEDS])
        for other in egos:
            assert weights[ego, other] == pytest.approx(scorer.weight(agent(other)), abs=0.03)


def test_meetings_with_strangers_make_the_priors_of_the_product() -> None:
    rng = np.random.default_rng(3)
    book, met = Book(), Meetings(1, SIZE)
    vouched = np.zeros((1, SIZE), bool)
    vouched[0, [4, 5, 6]] = True
    way = [Rating(0, 1, good=3.0)]
    book = book_of(way, [(1, 4), (1, 5), (1, 6)])
    for step in range(40):
        subject, is_good = int(rng.integers(2, SIZE)), bool(rng.random() < 0.6)
        key = Rating(0, subject).key
        book.meet(finding(key, at=step, number=step, is_good=is_good, weight=700))
        met.note(np.array([0]), np.array([subject]), np.array([0.7 if is_good else -0.7]))
        bare, with_voucher = met.rates(vouched)[0]
        scorer = Scorer(book, agent(0))
        assert bare == pytest.approx(scorer.score(agent(SIZE)).prior)
        assert with_voucher == pytest.approx(scorer.score(agent(4)).prior)


def test_a_stranger_who_finds_a_voucher_is_counted_anew() -> None:
    met = Meetings(1, 3)
    met.note(np.array([0]), np.array([1]), np.array([1.0]))
    nobody, somebody = np.zeros((1, 3), bool), np.array([[False, True, False]])
    assert met.rates(nobody)[0] == pytest.approx([1.98 / 2.96, 0.5])
    assert met.rates(somebody)[0] == pytest.approx([0.5, 1.98 / 2.96])
    assert met.rates(nobody)[0] == pytest.approx([1.98 / 2.96, 0.5])


def test_evidence_fades_with_the_log_of_its_rater() -> None:
    said = Rating(0, 2, good=4.0, bad=2.0), Rating(1, 2, good=4.0, bad=2.0)
    evidence = evidence_of(list(said))
    evidence.write(np.array([0, 0]), 9)
    evidence.pass_round()
    true = Scorer(book_of([replace(said[0], age=9)]), agent(0)).score(agent(2))
    assert evidence.good["worker"][0, 2] == pytest.approx(true.good)
    assert evidence.bad["worker"][0, 2] == pytest.approx(true.bad)
    assert evidence.good["worker"][1, 2] == 4
