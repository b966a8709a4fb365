"""Scores as the product computes them, of all subjects for all egos at once.

The formulas are those of ``bazaar_reputation``: ``credibility`` and ``walk`` say what raters weigh,
``testimony`` adds up what they say, ``scores`` makes the bound of it. Nothing is tuned here; that
both give the same numbers is tested. The one difference: the walk is solved exactly.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from bazaar_reputation.credibility import CREDIBILITY_LEAST, SEED_EDGE
from bazaar_reputation.scores import FULL_WEIGHT, KNOWN_LEAST, POSTER_KNOWN_LEAST
from bazaar_reputation.testimony import SATURATION
from bazaar_reputation.vouches import FAILURES_SHARED, WEIGHT_LEAST
from bazaar_reputation.walk import RESTART
from bazaar_simulations.adversaries.adversary import Bools, Floats, Ints
from bazaar_simulations.population.evidence import Evidence, Role
from bazaar_simulations.population.setting import NOTHING_OFF

_BAD_COUNTS: Final = 2.0
_HALF_NET: Final = 8.0
_HEARD_LEAST: Final = 0.3
_PRIOR_JOBS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Heard:
    """The weighted evidence of each ego about each identity, in jobs."""

    good: Floats
    bad: Floats
    known_least: float = KNOWN_LEAST

    @property
    def is_known(self) -> Bools:
        """Tell of whom there is enough evidence."""
        return np.asarray(self.good + self.bad >= self.known_least)


class Formulas:
    """The formulas, with parts of them switched off."""

    def __init__(self, off: frozenset[str] = NOTHING_OFF) -> None:
        self._off = off
        self._blame = 1.0 if "double blame" in off else _BAD_COUNTS

    def weights(self, evidence: Evidence, egos: Ints, seeds: Ints) -> Floats:
        """Return what each identity weighs with each ego."""
        good, bad = evidence.good["worker"], evidence.bad["worker"]
        net = np.maximum(good - self._blame * bad, 0.0)
        edges = net / (1.0 + net / _HALF_NET)
        if "walk" in self._off:
            return self._believed(good, bad, egos)
        voices = _reached(edges, np.union1d(egos, seeds))
        place = np.searchsorted(voices, egos)
        credibility = self._credibility(good[voices], bad[voices])
        steps = edges[np.ix_(voices, voices)]
        own = steps[place].copy()
        own[:, np.searchsorted(voices, seeds)] += SEED_EDGE
        own[np.arange(len(egos)), place] = 0.0
        ends = _walk(_by_rows(steps * credibility), place, _by_rows(own * credibility[place]))
        weights = np.zeros((len(egos), len(good)))
        weights[:, voices] = np.minimum(1.0, FULL_WEIGHT * ends) * (credibility[place] > 0)
        weights[np.arange(len(egos)), egos] = 1.0
        return weights

    def heard(
        self, evidence: Evidence, raters: tuple[Floats, Ints], vouches: Floats, role: Role
    ) -> Heard:
        """Return what each ego has heard of everybody.

        Args:
            evidence: All of it.
            raters: What they weigh with each ego, and the egos.
            vouches: Who answers for whom.
            role: In which role.

        """
        weights, egos = raters
        good, bad = evidence.good[role], evidence.bad[role]
        if role == "worker" and vouches.any() and "vouches" not in self._off:
            shared = FAILURES_SHARED * (bad @ vouches.T)
            np.fill_diagonal(shared, 0.0)
            bad = bad + shared
        least = KNOWN_LEAST if role == "worker" else POSTER_KNOWN_LEAST
        return Heard(self._sum(good, weights, egos), self._sum(bad, weights, egos), least)

    def is_vouched(self, weights: Floats, vouches: Floats) -> Bools:
        """Tell for whom somebody answers who weighs enough."""
        if "vouches" in self._off:
            return np.zeros(weights.shape, bool)
        return np.asarray((weights >= WEIGHT_LEAST).astype(float) @ vouches > 0)

    def lower(self, heard: Heard, prior: Floats) -> Floats:
        """Return the lower confidence bound of the share of good work."""
        whole = heard.good + self._blame * heard.bad + _PRIOR_JOBS
        mean = (heard.good + _PRIOR_JOBS * prior) / whole
        if "lower bound" in self._off:
            return np.asarray(mean)
        doubt = np.sqrt(np.maximum(mean * (1.0 - mean), 0.0) / (whole + 1.0))
        return np.asarray(np.maximum(mean - doubt, 0.0))

    def _believed(self, good: Floats, bad: Floats, egos: Ints) -> Floats:
        """Return the weights without a walk: everybody counts as far as it is believed."""
        weights = self._credibility(good, bad)[egos]
        weights[np.arange(len(egos)), egos] = 1.0
        return np.asarray(weights)

    def _sum(self, jobs: Floats, weights: Floats, egos: Ints) -> Floats:
        heard = jobs if "saturation" in self._off else jobs / (1.0 + jobs / SATURATION)
        speaks = weights.any(axis=0)
        whole = weights[:, speaks] @ heard[speaks]
        return np.asarray(whole + (jobs[egos] - heard[egos]))  # one's own is not saturated

    def _credibility(self, good: Floats, bad: Floats) -> Floats:
        if "credibility" in self._off:
            return np.ones((len(good), len(good)))
        is_heard = good + bad > _HEARD_LEAST
        likes = (is_heard & (good > bad)).astype(np.float32)
        dislikes = (is_heard & (good < bad)).astype(np.float32)
        crossed = likes @ dislikes.T
        agreed = (likes @ likes.T + dislikes @ dislikes.T).astype(float)
        differed = (crossed + crossed.T).astype(float)
        credibility = (agreed + 1.0) / (agreed + _BAD_COUNTS * differed + 2.0)
        return np.where(credibility >= CREDIBILITY_LEAST, credibility, 0.0)


def _reached(edges: Floats, start: Ints) -> Ints:
    """Return whom anybody's walk can get to, in order of their numbers."""
    reached = np.zeros(len(edges), bool)
    reached[start] = True
    newest = start
    while len(newest):
        there = (edges[newest] > 0).any(axis=0) & ~reached
        newest = np.flatnonzero(there)
        reached[newest] = True
    return np.flatnonzero(reached)


def _by_rows(edges: Floats) -> Floats:
    whole = edges.sum(axis=1, keepdims=True)
    return np.asarray(edges / np.where(whole > 0, whole, 1.0))


def _walk(steps: Floats, egos: Ints, own: Floats) -> Floats:
    """Return where the walk of each ego ends: only its own row differs from everybody's.

    By the formula of Sherman and Morrison, one inverse serves all egos.
    """
    passed_on = 1.0 - RESTART
    inverse = np.linalg.inv(np.eye(len(steps)) - passed_on * steps)
    change = (own - steps[egos]) @ inverse
    rows = np.arange(len(egos))
    returns = inverse[egos, egos] / (1.0 - passed_on * change[rows, egos])
    return np.asarray(RESTART * (inverse[egos] + passed_on * returns[:, None] * change))
