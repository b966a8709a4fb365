"""What a set of identities can add to anybody's score is bounded by how the others trust it.

Whatever the strangers S sign, about whomever, and however many they are: the evidence that counts
is no more than without them, plus 4 · 20 · the probability that ego's walk ever steps to one of
them. That probability is computed here by linear algebra, from the formulas.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from hypothesis import event, given, strategies as st, target
from tests.scoring import (
    NEWEST,
    Rating,
    Reference,
    Vector,
    agent,
    book_of,
    by_rows,
    crossing,
    ends_of,
    merged,
)

from bazaar_reputation.book import Book
from bazaar_reputation.credibility import opinion_of
from bazaar_reputation.scores import Part, Scorer

EGO = 0
SATURATION, FULL_WEIGHT = 4.0, 20.0
EXACT = 1e-13
TOLERANCE = 1e-6

jobs = st.sampled_from((0.2, 0.5, 1.0, 3.0, 10.0, 50.0))
"""Nobody honest has more than fifty jobs that have not faded."""
claims = st.sampled_from((0.2, 1.0, 50.0, 1e3, 1e9, 1e300))
rarely = st.sampled_from((True, False, False, False))


@dataclass(frozen=True)
class World:
    """Agents 0 to ``honest`` - 1 are honest, the rest are strangers who sign what they like."""

    honest: int
    strangers: list[int]
    said: list[Rating]
    """By the honest."""
    lies: list[Rating]
    proofs: list[Rating]
    """What agents have proven against themselves."""
    vouches: list[tuple[int, int]]
    seeds: list[int]

    @property
    def everybody(self) -> range:
        return range(self.honest + len(self.strangers))

    def book(self) -> Book:
        return book_of([*self.said, *self.lies, *self.proofs], self.vouches)

    def vouched(self, voucher: int) -> list[int]:
        own = [vouched for by, vouched in self.vouches if by == voucher]
        newest = list(dict.fromkeys(reversed(own)))[::-1]
        return [one for one in newest[:3] if one != voucher]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    honest = draw(st.integers(1, 6))
    strangers = list(range(honest, honest + draw(st.integers(1, 6))))
    everybody = range(honest + len(strangers))

    def ratings(
        raters: Iterable[int | None],
        amounts: st.SearchStrategy[float],
        size: int,
        subjects: Sequence[int] = everybody,
    ) -> list[Rating]:
        """Return what each of ``raters`` says about a few of ``subjects``."""
        rating = st.builds(
            Rating, subject=st.sampled_from(subjects), good=amounts, bad=amounts,
            capability=st.sampled_from(("a", "b")), version=st.integers(1, 2),
            fingerprint=st.sampled_from((b"", b"f")), age=st.sampled_from((0, 0, 1, 20, NEWEST)),
        )  # fmt: skip
        said: list[Rating] = []
        for rater in raters:
            for one in draw(st.lists(rating, max_size=size)):
                is_bad = rater is None or draw(rarely)
                half = replace(one, good=0.0) if is_bad else replace(one, bad=0.0)
                said.append(replace(half, rater=rater))
        return merged(said)

    pairs = st.tuples(st.sampled_from(everybody), st.sampled_from(everybody))
    said = ratings(range(honest), jobs, 5)
    # They go for one victim above all, whom they praise or slander with one voice.
    campaign = ratings(strangers, claims, 4, [draw(st.sampled_from(everybody))])
    share = 1.0 if draw(st.booleans()) else 0.0
    campaign = [
        replace(one, good=share * amount, bad=(1 - share) * amount)
        for one in campaign
        for amount in [one.good + one.bad]
    ]
    lies = merged([*ratings(strangers, claims, 4), *campaign])
    proofs = ratings([None], jobs, 3)
    vouches = draw(st.lists(pairs, max_size=8))
    seeds = draw(st.lists(st.sampled_from(everybody), max_size=2))
    return World(honest, strangers, said, lies, proofs, vouches, seeds)


@given(worlds())
def test_strangers_add_no_more_than_the_walk_gives_them(world: World) -> None:
    bound, alone = _without_strangers(world)
    reference = Reference([*world.said, *world.proofs], EGO)
    scorer = Scorer(world.book(), agent(EGO), map(agent, world.seeds), epsilon=EXACT)
    gains: list[float] = []
    for subject in world.everybody:
        score = scorer.score(agent(subject))
        good, bad = reference.evidence(subject, alone, world.vouched(subject))
        gains.append(max(score.good - good, score.bad - bad))
        assert score.good <= (good + bound) * (1 + TOLERANCE) + TOLERANCE
        assert score.bad <= (bad + bound) * (1 + TOLERANCE) + TOLERANCE
        assert score.lower <= score.mean <= 1
    if bound > 0:
        event(f"strangers added {10 * max(gains) // bound:.0f} tenths of the bound")
        target(max(gains) / bound)


@given(worlds())
def test_the_word_of_strangers_is_bounded_at_every_exactness(world: World) -> None:
    bound, _ = _without_strangers(world)
    for epsilon in (1e-4, 1e-2, 1.0):
        book = world.book()
        scorer = Scorer(book, agent(EGO), map(agent, world.seeds), epsilon=epsilon)
        for subject in world.everybody:
            heard = scorer.parts(agent(subject))
            for side in ("good", "bad"):
                said = _said(heard, {agent(one) for one in world.strangers}, side)
                assert said <= min(bound, SATURATION * len(world.strangers)) + TOLERANCE


@given(worlds())
def test_strangers_lift_no_rater_by_more_than_the_walk_gives_them(world: World) -> None:
    bound, alone = _without_strangers(world)
    scorer = Scorer(world.book(), agent(EGO), map(agent, world.seeds), epsilon=EXACT)
    for rater in range(world.honest):
        assert scorer.weight(agent(rater)) <= alone[rater] + bound / SATURATION + TOLERANCE


@given(worlds())
def test_strangers_lift_nobodys_class_unless_one_of_them_weighs_something(world: World) -> None:
    scorer = Scorer(world.book(), agent(EGO), map(agent, world.seeds))
    for subject in world.everybody:
        lifting = [voucher for voucher in world.everybody if subject in world.vouched(voucher)
                   and scorer.weight(agent(voucher)) >= 0.1]  # fmt: skip
        expected = "vouched" if lifting else "bare"
        assert scorer.score(agent(subject)).admission == expected


@given(worlds())
def test_strangers_do_not_come_between_the_honest(world: World) -> None:
    """How far two honest raters believe each other depends on what these two have said."""
    without = book_of(world.said)
    assert _credibility(world, world.book()) == _credibility(world, without)


def _credibility(world: World, book: Book) -> list[float]:
    opinions = [opinion_of(book, book.enter(agent(one))) for one in range(world.honest)]
    return [one.credibility_of(other) for one in opinions for other in opinions]


def _without_strangers(world: World) -> tuple[float, Vector]:
    """Return the bound, and the weights of the honest if nobody could go to a stranger."""
    last = Rating(EGO, len(world.everybody) - 1)  # so that the matrices have room for everybody
    reference = Reference([*world.said, *world.lies, last], EGO, seeds=world.seeds)
    p_in = crossing(reference.steps(), EGO, world.strangers)
    edges = reference.edges.copy()
    edges[:, world.strangers] = edges[world.strangers, :] = 0
    alone = reference.weights(ends_of(by_rows(edges), EGO))
    alone[world.strangers] = 0
    return SATURATION * FULL_WEIGHT * p_in, alone


def _said(parts: tuple[Part, ...], raters: set[bytes], side: str) -> float:
    """Return what these raters add together, weighted and saturated."""
    of_rater: dict[bytes, tuple[float, float]] = {}
    for part in parts:
        rater = part.strand.rater
        if rater in raters:
            _, jobs = of_rater.get(rater, (0.0, 0.0))
            of_rater[rater] = part.weight, jobs + getattr(part, side)
    return sum(weight * jobs / (1 + jobs / SATURATION) for weight, jobs in of_rater.values())


def test_the_bound_is_tight() -> None:
    """Forty strangers who got all of ego's trust, and keep the walk among themselves."""
    strangers = range(1, 41)
    said = [Rating(EGO, one, good=5.0) for one in strangers]
    lies = [Rating(one, other, good=1e9) for one in strangers for other in (one % 40 + 1, 41)]
    lies += [Rating(41, one, good=1e9) for one in strangers]
    world = World(1, [*strangers, 41], said, lies, [], [], [])
    bound, _ = _without_strangers(world)
    good = Scorer(world.book(), agent(EGO), epsilon=EXACT).score(agent(41)).good
    assert 0.7 * bound < good <= bound
