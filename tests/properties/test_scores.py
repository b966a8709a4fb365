"""Scores and walks beside an independent computation."""

import math
from dataclasses import replace

import numpy as np
from hypothesis import given, strategies as st
from tests.scoring import (
    NEWEST,
    Asked,
    Rating,
    Reference,
    Vector,
    agent,
    book_of,
    ends_of,
    merged,
)

from bazaar_reputation.scores import Scorer
from bazaar_reputation.walk import push

EGO = 0
AGENTS = range(6)
agents = st.sampled_from(AGENTS)
jobs = st.sampled_from((0.1, 0.3, 1.0, 2.7, 10.0, 33.3))
ratings = st.builds(
    Rating, rater=st.one_of(agents, agents, agents, st.none()), subject=agents,
    good=jobs, bad=jobs, capability=st.sampled_from(("a", "b")),
    version=st.integers(1, 2), fingerprint=st.sampled_from((b"", b"f")),
    age=st.integers(0, NEWEST), role=st.sampled_from(("worker", "worker", "worker", "poster")),
)  # fmt: skip
questions = st.builds(
    Asked, st.sampled_from((None, "a", "b")), st.integers(0, 2), st.sampled_from((b"", b"f"))
)


@st.composite
def books(draw: st.DrawFn) -> list[Rating]:
    """Draw what raters say who mostly see alike, so that there is a way from one to the other."""
    poor = draw(st.sets(agents, max_size=3))
    said: list[Rating] = []
    for one in draw(st.lists(ratings, min_size=4, max_size=40)):
        is_bad = (one.subject in poor) != (draw(st.integers(0, 7)) == 0)
        said.append(replace(one, good=0.0) if is_bad else replace(one, bad=0.0))
    return merged(said)


@given(books(), st.lists(agents, max_size=2), st.lists(agents, max_size=2), st.data())
def test_scores_equal_those_of_an_independent_reference(
    said: list[Rating], seeds: list[int], convicted: list[int], data: st.DataObject
) -> None:
    vouched = data.draw(st.dictionaries(agents, st.sets(agents, max_size=3)))
    vouches = [(voucher, one) for voucher, many in vouched.items() for one in sorted(many)]
    book = book_of(said, vouches)
    for one in convicted:
        book.convict(agent(one))
    room = Rating(EGO, AGENTS[-1])
    reference = Reference([*said, room], EGO, seeds=seeds, convicted=convicted)
    ranks = reference.page_rank()
    assert np.allclose(ranks, ends_of(reference.steps(), EGO), atol=1e-10)
    weights = reference.weights(ranks)
    scorer = Scorer(book, agent(EGO), map(agent, seeds), epsilon=1e-13)
    asked = data.draw(questions)
    for subject in AGENTS:
        assert math.isclose(scorer.weight(agent(subject)), weights[subject], abs_tol=1e-8)
        score = scorer.score(
            agent(subject), capability=asked.capability,
            version=asked.version, fingerprint=asked.fingerprint,
        )  # fmt: skip
        others = sorted(vouched.get(subject, set()) - {subject})
        good, bad = reference.evidence(subject, weights, others, asked)
        assert math.isclose(score.good, good, rel_tol=1e-7, abs_tol=1e-7)
        assert math.isclose(score.bad, bad, rel_tol=1e-7, abs_tol=1e-7)
        assert score.is_convicted == (subject in convicted)
        if not score.is_convicted:
            mean = (good + 2 * score.prior) / (good + 2 * bad + 2)
            lower = max(0, mean - (mean * (1 - mean) / (good + 2 * bad + 3)) ** 0.5)
            assert math.isclose(score.mean, mean, abs_tol=1e-7)
            assert math.isclose(score.lower, lower, abs_tol=1e-7)
        else:
            assert score.mean == score.lower == 0


graphs = st.lists(
    st.tuples(agents, agents, st.floats(0.01, 5)).filter(lambda edge: edge[0] != edge[1]),
    max_size=40,
)


@given(graphs, st.sampled_from((1e-6, 1e-4, 1e-2)))
def test_the_walk_errs_by_no_more_than_what_it_left_on_its_way(
    edges: list[tuple[int, int, float]], epsilon: float
) -> None:
    matrix = np.zeros((len(AGENTS), len(AGENTS)))
    for rater, subject, weight in edges:
        matrix[rater, subject] = weight
    sums = matrix.sum(axis=1, keepdims=True)
    steps = matrix / np.where(sums > 0, sums, 1)
    rows = [[(int(to), float(row[to])) for to in np.flatnonzero(row)] for row in steps]
    ends = push(EGO, rows.__getitem__, lambda one: len(rows[one]), epsilon=epsilon)
    waiting = _vector(ends.unsettled)
    for one in AGENTS:
        assert waiting[one] <= epsilon * max(1, len(rows[one])) + 1e-15
    short = ends_of(steps, EGO) - _vector(ends.shares)
    left = sum(waiting[one] * ends_of(steps, one) for one in AGENTS)
    assert (short >= -1e-12).all()
    assert (short <= left + 1e-12).all()


def _vector(shares: dict[int, float]) -> Vector:
    return np.array([shares.get(one, 0.0) for one in AGENTS])
