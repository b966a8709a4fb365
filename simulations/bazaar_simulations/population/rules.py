"""Numbers and rules of the market that hold in a small population and in a large one."""

from typing import Final

import numpy as np

from bazaar_simulations.adversaries.adversary import Bools, Floats, Ints, Traits
from bazaar_simulations.population.defences import Outcomes
from bazaar_simulations.population.evidence import BREACH_JOBS, DISPUTED_JOBS, NO_VERDICT_JOBS
from bazaar_simulations.population.setting import USUAL_PRICE

PRICE: Final = USUAL_PRICE
"""What a job costs, of what it is worth to its poster."""
USUAL_VALUE: Final = 1.0
"""The median of the values."""
SPREAD: Final = 0.8
TOP: Final = 12
"""From so many of its best a poster draws those that it invites."""
ASKED_BY_HOSTILE: Final = 3
TIES: Final = 1e-9
"""By how much chance may move a score: it decides between equals only."""
MESSAGES_PER_JOB: Final = 5
"""Post, award, accept, result and verdict; bids are counted one by one."""
BYTES_PER_BID: Final = 293 + 433
"""The post to who hears of it, and its sealed bid, as they are signed."""
BYTES_PER_JOB: Final = 293 + 392 + 299 + 316 + 275
"""Post, award, accept, result (its record alone) and verdict."""
BYTES_PER_OFFER: Final = 38
"""What each bidder that was considered adds to the award."""
OFFERS_MAX: Final = 16


def signed(
    who: tuple[Ints, Ints], good: Bools, honest: int, traits: Traits, *, is_probe: bool
) -> Outcomes:
    """Return what both sides sign of work for the honest.

    Args:
        who: The posters, and the workers.
        good: Whether the work was good in the eyes of the posters.
        honest: How many honest ones there are.
        traits: Of the others, who have the numbers that follow.
        is_probe: Whether the poster can prove that a result is wrong.

    """
    posters, workers = who
    blame, of_poster = np.ones(len(workers)), np.where(good, 1.0, 0.0)
    bad_ones = np.flatnonzero(workers >= honest)
    members = workers[bad_ones] - honest
    if len(bad_ones):
        is_breach = traits.breaks_leases[members]
        blame[bad_ones[is_breach]] = BREACH_JOBS
        disputed = bad_ones[traits.disputes[members] & ~is_breach & ~good[bad_ones]]
        blame[disputed] = 1.0 if is_probe else DISPUTED_JOBS
        of_poster[disputed] = -DISPUTED_JOBS
    return Outcomes(posters, workers, np.where(good, 1.0, -blame), of_poster)


def passes(
    good: Bools, members: Ints, traits: Traits, rng: np.random.Generator, *, is_probe: bool
) -> Bools:
    """Return which work of ``members`` its posters take for good: some see nothing wrong with it.

    Who knows the answer, as in a probe, is not fooled.
    """
    unseen = traits.unseen[members]
    if is_probe or not unseen.any():
        return good
    return np.asarray(good | (rng.random(len(good)) < unseen))


def judged(posters: Ints, workers: Ints, good: Bools, verdicts: Ints) -> Outcomes:
    """Return what both sides sign of work that the honest have done for somebody malicious."""
    unjust = good & (verdicts < 0)
    jobs: Floats = np.where(unjust, -DISPUTED_JOBS, verdicts.astype(float))
    of_poster = np.where(unjust, -DISPUTED_JOBS, np.maximum(verdicts, 0).astype(float))
    of_poster = np.where(verdicts == 0, -NO_VERDICT_JOBS, of_poster)
    return Outcomes(posters, workers, jobs, of_poster)


def hostile_posters(traits: Traits, rng: np.random.Generator) -> Ints:
    """Return under which identity each malicious principal posts, if it does."""
    names = np.flatnonzero(traits.posts)
    names = names[np.argsort(traits.owner[names], kind="stable")]
    _, starts, counts = np.unique(traits.owner[names], return_index=True, return_counts=True)
    return np.asarray(names[starts + rng.integers(0, counts)])
